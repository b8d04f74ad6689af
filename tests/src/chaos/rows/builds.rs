//! Builds that are judged before the rest moves, or that come when nobody wants them
//! any more; and deploys in a row while handlers run.

use super::ROW;
use crate::chaos::{
    expect::Expect,
    phase::Phase::{M1, M6, M7},
    row::{Act, Blow, Build, Row},
    scene::Setup,
};

fn with_a_look_at_the_canary(setup: &mut Setup) {
    setup.limits.insert("canary_time", "2s".to_owned());
    setup.limits.insert("lag_gate", "500ms".to_owned());
}

/// Handlers that run for longer than a deploy takes, and are always given the time.
fn slow_and_patient(setup: &mut Setup) {
    setup.handler_ms = 1500;
    setup.limits.insert("drain", "10s".to_owned());
    setup.limits.insert("retire", "15s".to_owned());
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "canary-panics",
        about: "the new build panics on every event: only the canary moves",
        phases: &[M6],
        quick: M6,
        blow: Blow::Build(Build::PanicsAtCanary),
        setup: with_a_look_at_the_canary,
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
    Row {
        name: "canary-hangs",
        about: "the new build's handlers never finish: it goes back",
        phases: &[M6],
        quick: M6,
        blow: Blow::Build(Build::Hangs),
        setup: with_a_look_at_the_canary,
        expect: |_| Expect::rolled_back().with_marks_at_every_move(),
        ..ROW
    },
    Row {
        name: "build-forks",
        about: "the command ends and leaves the new build behind: it is not deployed later",
        phases: &[M1],
        quick: M1,
        blow: Blow::Build(Build::Forks),
        expect: |_| Expect::aborted().unnoticed(),
        ..ROW
    },
    Row {
        name: "abort-and-again",
        about: "handlers take 1.5 s; a deploy goes back in its soak, and the next one begins",
        phases: &[M6, M7],
        quick: M7,
        blow: Blow::Operator(Act::AbortAndAgain),
        setup: slow_and_patient,
        // At a third build.
        expect: |_| Expect::calm().ending(&["done"]),
        ..ROW
    },
];
