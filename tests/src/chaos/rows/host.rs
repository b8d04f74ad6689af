//! What the host hides from a master, or takes away under it.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
};

/// Longer than a new master waits for the slaves that it knows.
const LONG: Duration = Duration::from_secs(4);

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "runtime-emptied",
        about: "what the master has in its runtime folder is removed, under it and before the next one",
        phases: &[M0, M4, M7],
        quick: M0,
        blow: Blow::Emptied,
        setup: |setup| setup.data_apart = true,
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).unnoticed(),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm(),
        },
        ..ROW
    },
    Row {
        name: "old-unseen",
        about: "the next master does not see the process of the slave that serves, and has no wire to it",
        phases: &[M0, M5, M7],
        quick: M0,
        blow: Blow::Unseen(LONG),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).unnoticed(),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm(),
        },
        ..ROW
    },
];
