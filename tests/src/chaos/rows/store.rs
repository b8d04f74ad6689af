//! State that stays where it is: what happens to its owner, and to itself.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Act, Blow, Row, StoreHarm},
    scene::{Setup, Snapshots, Who},
};

/// Every slave has a store.
fn stored(setup: &mut Setup) {
    setup.store();
}

/// A new build that has a store follows one that has a cache.
fn from_cache(setup: &mut Setup) {
    setup.second = ["--state", "store"].map(str::to_owned).to_vec();
}

/// The other way round.
fn to_cache(setup: &mut Setup) {
    setup.store();
    setup.second = ["--state", "cache"].map(str::to_owned).to_vec();
}

/// A shard's guilds take two megabytes.
const LARGE: [&str; 2] = ["--state-bytes-per-guild", "400000"];

/// The least that a store may have.
const SMALL: [&str; 2] = ["--store-limit", "1MiB"];

/// The owner is dead: what it wrote is whole.
fn survives(phase: Phase) -> Expect {
    match phase {
        // Everything has moved.
        M7 => Expect::calm().at(Serves::New),
        M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::calm().with_marks(),
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "store-deploy",
        about: "a deploy whose state stays where it is",
        phases: &[M7],
        quick: M7,
        setup: stored,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "store-old-killed",
        about: "kill -9 of the old slave: its state is whole for the next owner",
        phases: &Phase::ALL,
        quick: M5,
        blow: Blow::Kill(&[Who::Old]),
        setup: stored,
        expect: survives,
        ..ROW
    },
    Row {
        name: "store-new-killed",
        about: "kill -9 of the new slave: the old one goes on in the state",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M6,
        blow: Blow::Kill(&[Who::New]),
        setup: stored,
        expect: |phase| Expect::back_at(phase).with_marks_if_handed_on(),
        ..ROW
    },
    Row {
        name: "store-both-killed",
        about: "kill -9 of both slaves at once: whoever comes has the state",
        phases: &[M2, M4, M5, M7],
        quick: M4,
        blow: Blow::Kill(&[Who::Old, Who::New]),
        setup: stored,
        expect: |_| Expect::calm().with_marks(),
        ..ROW
    },
    Row {
        name: "store-killed-in-a-change",
        about: "kill -9 of the old slave in the middle of a change of its state",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Store(StoreHarm::KilledInAChange),
        setup: stored,
        expect: survives,
        ..ROW
    },
    Row {
        name: "store-naps-in-a-change",
        about: "SIGSTOP of the old slave in the middle of a change, woken before any limit",
        phases: &[M0, M2],
        quick: M2,
        blow: Blow::Store(StoreHarm::NapsInAChange),
        setup: stored,
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "store-hangs-in-a-change",
        about: "SIGSTOP of the old slave in the middle of a change, for good",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Store(StoreHarm::HangsInAChange),
        setup: stored,
        expect: survives,
        ..ROW
    },
    Row {
        name: "store-full",
        about: "the old slave's disk is full for a while: events wait, and none is lost",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Store(StoreHarm::NoRoom),
        setup: |setup| {
            stored(setup);
            setup.discord.extend(LARGE.map(str::to_owned));
        },
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "store-at-its-limit",
        about: "the old slave serves with states at their limit: events wait for a build with more",
        phases: &[M2],
        quick: M2,
        blow: Blow::Store(StoreHarm::AtItsLimit),
        setup: |setup| {
            stored(setup);
            setup.slave.extend(SMALL.map(str::to_owned));
            setup.second = ["--store-limit", "64MiB"].map(str::to_owned).to_vec();
            setup.discord.extend(LARGE.map(str::to_owned));
        },
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "store-damaged",
        about: "kill -9 of the old slave, and what it wrote is damaged: the state is said to be lost",
        phases: &[M0],
        quick: M0,
        blow: Blow::Store(StoreHarm::Damaged),
        setup: stored,
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "store-deleted",
        about: "kill -9 of the old slave, and what it wrote is gone: the state is said to be lost",
        phases: &[M0, M2],
        quick: M2,
        blow: Blow::Store(StoreHarm::Deleted),
        setup: stored,
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "store-other-format",
        about: "kill -9 of the old slave, and its state is of a build that nobody knows",
        phases: &[M0],
        quick: M0,
        blow: Blow::Store(StoreHarm::OtherFormat),
        setup: stored,
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "store-abort-late",
        about: "the deploy is held for longer than Discord replays, and its state goes back with it",
        phases: &[M5, M6],
        quick: M6,
        blow: Blow::Operator(Act::LateAbort),
        setup: |setup| {
            super::operator::short_replays(setup);
            stored(setup);
        },
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
    Row {
        name: "cache-to-store",
        about: "the old build has a cache and the new one a store: state is copied, and back again",
        phases: &[M7],
        quick: M7,
        setup: from_cache,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "cache-to-store-killed",
        about: "the same, and the new slave is killed",
        phases: &[M2, M5, M6],
        quick: M5,
        blow: Blow::Kill(&[Who::New]),
        setup: from_cache,
        expect: |phase| Expect::back_at(phase).with_marks_if_handed_on(),
        ..ROW
    },
    Row {
        name: "cache-to-store-full",
        about: "the same, and the store has no room for the state: nothing moves",
        phases: &[M2],
        quick: M2,
        setup: |setup| {
            from_cache(setup);
            // Nothing is struck on the way.
            setup.pace = Duration::from_millis(5);
            setup.snapshots = Snapshots::Off;
            setup.discord.extend(LARGE.map(str::to_owned));
            setup.second.extend(SMALL.map(str::to_owned));
        },
        expect: |_| Expect::aborted(),
        ..ROW
    },
    Row {
        name: "store-to-cache",
        about: "the old build has a store and the new one a cache: state is copied",
        phases: &[M7],
        quick: M7,
        setup: to_cache,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "store-to-cache-back",
        about: "the same, and the operator stops the deploy",
        phases: &[M2, M5, M6],
        quick: M6,
        blow: Blow::Operator(Act::Abort),
        setup: to_cache,
        expect: Expect::back_at,
        ..ROW
    },
];
