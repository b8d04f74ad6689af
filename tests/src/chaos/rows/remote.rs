//! What happens to a host of the fleet: its agent and all of its slaves at once.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, HostHarm, Row},
    wire::Way,
};

/// Longer than every limit.
const LONG: Duration = Duration::from_secs(5);

/// Its slaves serve on. What was being moved may go back.
fn cut(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 => Expect::calm(),
        M3 | M4 | M5 | M6 | M7 => Expect::calm().with_marks(),
    }
}

const HOST: Row = Row {
    phases: &[M0, M1, M3, M5, M7],
    quick: M0,
    expect: cut,
    agent: true,
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "host-unheard",
        about: "nothing that a host's agent and slaves say arrives, for longer than every limit",
        quick: M3,
        blow: Blow::Host(HostHarm::Cut(Way::Up, LONG)),
        ..HOST
    },
    Row {
        name: "host-deaf",
        about: "nothing arrives at a host's agent and slaves, for longer than every limit",
        quick: M5,
        blow: Blow::Host(HostHarm::Cut(Way::Down, LONG)),
        ..HOST
    },
    Row {
        name: "host-cut",
        about: "nothing goes between a host and the master, for longer than every limit",
        blow: Blow::Host(HostHarm::Cut(Way::Both, LONG)),
        ..HOST
    },
    Row {
        name: "host-lost",
        about: "everything on a host ends, the operator says so, and it is started again",
        quick: M5,
        blow: Blow::Host(HostHarm::Lost),
        expect: |_| Expect::recovered(),
        ..HOST
    },
    Row {
        name: "host-fenced-alive",
        about: "the operator says that a host is dead that is only cut off, and it comes back",
        phases: &[M0],
        blow: Blow::Host(HostHarm::CutAndFenced),
        expect: |_| Expect::recovered(),
        ..HOST
    },
];
