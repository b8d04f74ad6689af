//! What handlers do to the process that they run in, or to the shard whose events they
//! have.

use super::ROW;
use crate::chaos::{
    deadly,
    expect::{Expect, Serves},
    overload,
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Act, Blow, Row},
    scene::{Setup, Who},
    unending::{self, Fate, Keeps},
};

/// The fleet is away for seconds: Discord must replay all of them.
fn dies_of_one_event(setup: &mut Setup) {
    setup.rate = 8.0;
    deadly::prepare(setup);
}

/// Seven eighths of it wait at Discord, for half a minute.
fn full(setup: &mut Setup) {
    overload::prepare(setup, 80);
}

fn full_for_long(setup: &mut Setup) {
    overload::prepare(setup, 190);
}

fn one_never_ends(setup: &mut Setup) {
    unending::prepare(setup, Keeps::First);
}

fn one_never_ends_anywhere(setup: &mut Setup) {
    unending::prepare(setup, Keeps::Everybody);
    setup.again = true;
}

/// Whoever has it goes on with it: the next deploy carries it on.
fn one_never_ends_and_a_deploy_follows(setup: &mut Setup) {
    unending::prepare(setup, Keeps::First);
    setup.again = true;
}

/// Discord does not replay it any more: it dies with the process that has it.
fn dies_with_its_owner(phase: Phase) -> Expect {
    let expect = match phase {
        // Everything has moved.
        M7 => Expect::calm().at(Serves::New),
        M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
    };
    expect.with_one_unending(Fate::GivenUp)
}

fn new_killed(phase: Phase) -> Expect {
    Expect::back_at(phase)
        .with_marks()
        .with_one_unending(Fate::Carried)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "event-that-kills",
        about: "one event kills each process that handles it: it is found out and said, and the rest goes on",
        phases: &[M0],
        quick: M0,
        blow: Blow::DeadlyEvent,
        setup: dies_of_one_event,
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "full",
        about: "handlers take 3 s and all windows are full; a deploy: it ends with the reason, and so does the next one",
        phases: &[M1],
        quick: M1,
        blow: Blow::Operator(Act::AwaitFull),
        setup: full,
        expect: |_| Expect::calm().ending(&["done", "rolled_back", "aborted"]),
        unhurried: true,
        ..ROW
    },
    Row {
        name: "full-abort",
        about: "the same, and the operator stops the deploy",
        phases: &[M2, M3, M4, M5],
        quick: M5,
        blow: Blow::Operator(Act::AbortFull),
        setup: full,
        expect: |_| Expect::calm().ending(&["done", "rolled_back", "aborted"]),
        unhurried: true,
        ..ROW
    },
    Row {
        name: "full-for-long",
        about: "handlers take 3 s and all windows are full for a minute and more: an alarm says why",
        phases: &[M0],
        quick: M0,
        blow: Blow::Operator(Act::AwaitAlarm),
        setup: full_for_long,
        expect: |_| Expect::calm().at(Serves::Old),
        // It is as long as it says.
        unhurried: true,
        ..ROW
    },
    Row {
        name: "event-unending",
        about: "one event is never finished, Discord does not replay it any more: a deploy carries it",
        phases: &[M7],
        quick: M7,
        setup: one_never_ends,
        expect: |_| Expect::done().with_one_unending(Fate::Carried),
        ..ROW
    },
    Row {
        name: "event-unending-anywhere",
        about: "the same, and no build ever finishes it: two deploys carry it, and it stays named",
        phases: &[M7],
        quick: M7,
        setup: one_never_ends_anywhere,
        expect: |_| Expect::done().with_one_unending(Fate::Held),
        unhurried: true,
        ..ROW
    },
    Row {
        name: "event-unending-killed",
        about: "one event is never finished, and the slave that has it is killed: it is given up by name",
        phases: &[M0, M2, M3, M4, M5, M6, M7],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: one_never_ends,
        expect: dies_with_its_owner,
        ..ROW
    },
    Row {
        name: "event-unending-new-killed",
        about: "one event is never finished, and the new slave is killed: the next deploy carries it",
        phases: &[M5, M6, M7],
        quick: M6,
        blow: Blow::Kill(&[Who::New]),
        setup: one_never_ends_and_a_deploy_follows,
        expect: new_killed,
        unhurried: true,
        ..ROW
    },
    Row {
        name: "event-unending-abort",
        about: "one event is never finished, a deploy goes back, and the next one carries it",
        phases: &[M6, M7],
        quick: M7,
        blow: Blow::Operator(Act::AbortAndAgain),
        setup: one_never_ends,
        // At a third build.
        expect: |_| {
            Expect::calm()
                .ending(&["done"])
                .with_one_unending(Fate::Carried)
        },
        ..ROW
    },
    Row {
        name: "event-unending-master-killed",
        about: "one event is never finished, and the master is killed while it is carried",
        phases: &[M3, M5, M7],
        quick: M5,
        blow: Blow::Kill(&[Who::Master]),
        setup: one_never_ends_and_a_deploy_follows,
        expect: |_| Expect::calm().with_one_unending(Fate::Carried),
        unhurried: true,
        ..ROW
    },
];
