//! The rows of the fault matrix.

use std::time::Duration;

use super::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::{Setup, Who},
};

/// Every row, in the order of the matrix.
#[must_use]
pub fn all() -> Vec<Row> {
    [SLAVES, MASTER, DISCORD].concat()
}

/// A fleet like any other.
fn usual(_: &mut Setup) {}

const SLAVES: &[Row] = &[
    Row {
        name: "old-killed",
        about: "kill -9 of the old slave",
        phases: &[M0, M1, M2, M3, M4, M5, M6, M7],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: usual,
        expect: |_| Expect::recovered(),
    },
    Row {
        name: "new-killed",
        about: "kill -9 of the new slave",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M5,
        blow: Blow::Kill(&[Who::New]),
        setup: usual,
        expect: |phase| match phase {
            M0 | M1 | M2 | M3 | M4 => Expect::back_at(phase),
            M5 | M6 | M7 => Expect::back_at(phase).with_marks(),
        },
    },
    Row {
        name: "new-hangs",
        about: "SIGSTOP of the new slave, for good",
        phases: &[M1, M2, M4, M5, M6, M7],
        quick: M5,
        blow: Blow::Hang(Who::New),
        setup: usual,
        expect: |phase| match phase {
            M0 | M1 | M2 | M3 | M4 => Expect::back_at(phase),
            M5 | M6 | M7 => Expect::back_at(phase).with_marks(),
        },
    },
];

const MASTER: &[Row] = &[Row {
    name: "master-killed",
    about: "kill -9 of the master; it is started again",
    phases: &Phase::ALL,
    quick: M4,
    blow: Blow::Kill(&[Who::Master]),
    setup: usual,
    expect: |phase| match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm(),
    },
}];

const DISCORD: &[Row] = &[Row {
    name: "op7",
    about: "op 7 on every connection",
    phases: &[M0, M2, M3, M5, M6, M7],
    quick: M0,
    blow: Blow::Discord(&[r#"{"name":"op7"}"#]),
    setup: usual,
    expect: |phase| match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    },
}];

/// Long enough that every scaled limit would pass.
pub const LONG: Duration = Duration::from_secs(3);
