//! What happens to slaves, and slaves that are no good.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Build, Row},
    scene::{Setup, Snapshots, Who},
};

/// Shorter than every limit.
const NAP: Duration = Duration::from_secs(1);

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "old-killed",
        about: "kill -9 of the old slave",
        phases: &Phase::ALL,
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        expect: |phase| match phase {
            // Everything has moved.
            M7 => Expect::calm().at(Serves::New),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
        },
        ..ROW
    },
    Row {
        name: "old-killed-bare",
        about: "kill -9 of the old slave, which writes no snapshots",
        phases: &[M0, M2, M5],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: |setup| setup.snapshots = Snapshots::Off,
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "old-killed-standby",
        about: "kill -9 of the old slave, for which another stands by",
        phases: &[M0, M1, M2, M3, M5, M7],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: |setup| setup.standbys = 1,
        expect: |phase| match phase {
            M7 => Expect::calm().at(Serves::New),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
        },
        ..ROW
    },
    Row {
        name: "old-hangs",
        about: "SIGSTOP of the old slave, for good",
        phases: &[M0, M2, M3, M5, M7],
        quick: M3,
        blow: Blow::Hang(Who::Old),
        expect: |phase| match phase {
            M7 => Expect::done(),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
        },
        ..ROW
    },
    Row {
        name: "old-naps",
        about: "SIGSTOP of the old slave, woken before any limit",
        phases: &[M0, M2, M3, M5, M7],
        quick: M5,
        blow: Blow::Freeze(&[Who::Old], NAP),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "old-leaves",
        about: "SIGTERM of the old slave",
        phases: &[M0, M2, M5, M7],
        quick: M2,
        blow: Blow::Leave(Who::Old),
        expect: |phase| match phase {
            M7 => Expect::calm().at(Serves::New),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::calm().with_state_lost(),
        },
        ..ROW
    },
    Row {
        name: "new-killed",
        about: "kill -9 of the new slave",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M5,
        blow: Blow::Kill(&[Who::New]),
        // If the master hears of a ticket before the death, it has handed it on.
        expect: |phase| Expect::back_at(phase).with_marks_if_handed_on(),
        ..ROW
    },
    Row {
        name: "new-hangs",
        about: "SIGSTOP of the new slave, for good",
        phases: &[M1, M2, M4, M5, M6, M7],
        quick: M7,
        blow: Blow::Hang(Who::New),
        expect: |phase| match phase {
            M0 | M1 | M2 => Expect::back_at(phase),
            // It may have gone on before it was killed.
            M3 | M4 | M5 | M6 | M7 => Expect::back_at(phase).with_marks(),
        },
        ..ROW
    },
    Row {
        name: "new-naps",
        about: "SIGSTOP of the new slave, woken before any limit",
        phases: &[M1, M2, M4, M5, M7],
        quick: M4,
        blow: Blow::Freeze(&[Who::New], NAP),
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "new-leaves",
        about: "SIGTERM of the new slave",
        phases: &[M2, M5, M6, M7],
        quick: M6,
        blow: Blow::Leave(Who::New),
        expect: Expect::back_at,
        ..ROW
    },
    Row {
        name: "both-killed",
        about: "kill -9 of both slaves at once",
        phases: &[M2, M4, M5, M7],
        quick: M5,
        blow: Blow::Kill(&[Who::Old, Who::New]),
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "all-slow",
        about: "each message between master and slaves takes 300 ms",
        phases: &[M7],
        quick: M7,
        setup: |setup| setup.pace = Duration::from_millis(300),
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "slow-handlers",
        about: "handlers take 600 ms, less than the drain",
        phases: &[M7],
        quick: M7,
        setup: |setup| setup.handler_ms = 600,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "handlers-outlast-drain",
        about: "handlers take 1.2 s, the drain is 300 ms",
        phases: &[M7],
        quick: M7,
        setup: |setup| {
            setup.handler_ms = 1200;
            setup.limits.insert("drain", "300ms".to_owned());
        },
        expect: |_| Expect::done().with_marks_at_every_move(),
        ..ROW
    },
];

/// Builds that never get anywhere are refused before anything moves.
const REFUSED: Row = Row {
    phases: &[M1],
    quick: M1,
    expect: |_| Expect::aborted().unnoticed(),
    ..ROW
};

/// So that a build that never says hello is given up soon.
fn impatient(setup: &mut Setup) {
    setup.limits.insert("ready", "2s".to_owned());
}

pub(super) const BUILDS: &[Row] = &[
    Row {
        name: "build-exits-0",
        about: "the new build ends at once, with 0",
        blow: Blow::Build(Build::Exits(0)),
        ..REFUSED
    },
    Row {
        name: "build-exits-1",
        about: "the new build ends at once, with 1",
        blow: Blow::Build(Build::Exits(1)),
        ..REFUSED
    },
    Row {
        name: "build-silent",
        about: "the new build never says hello",
        blow: Blow::Build(Build::Silent),
        setup: impatient,
        ..REFUSED
    },
    Row {
        name: "build-absent",
        about: "there is no such program",
        blow: Blow::Build(Build::Absent),
        expect: |_| Expect::calm().at(Serves::Old).unnoticed(),
        ..REFUSED
    },
    Row {
        name: "build-garbage",
        about: "the new build says garbage",
        blow: Blow::Build(Build::Garbage),
        setup: impatient,
        ..REFUSED
    },
    Row {
        name: "build-other-intents",
        about: "the new build asks for other intents",
        blow: Blow::Build(Build::OtherIntents),
        ..REFUSED
    },
    Row {
        name: "build-other-compression",
        about: "the new build has another transport compression",
        blow: Blow::Build(Build::OtherCompression),
        ..REFUSED
    },
    Row {
        name: "build-wrong-token",
        about: "the new build has another token: fatal close 4004",
        phases: &[M5],
        quick: M5,
        blow: Blow::Build(Build::WrongToken),
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
    Row {
        name: "build-aborts",
        about: "the new build aborts on its first event",
        phases: &[M5],
        quick: M5,
        blow: Blow::Build(Build::Aborts),
        expect: |_| Expect::rolled_back().with_marks(),
        ..ROW
    },
    Row {
        name: "build-too-slow",
        about: "the new build's handlers are so slow that it falls behind",
        phases: &[M7],
        quick: M7,
        blow: Blow::Build(Build::TooSlow),
        // The second half of it shows a full window.
        setup: |setup| setup.soak = Duration::from_millis(1500),
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
    Row {
        name: "build-panics",
        about: "the new build panics on every event",
        phases: &[M6],
        quick: M6,
        blow: Blow::Build(Build::Panics),
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
];
