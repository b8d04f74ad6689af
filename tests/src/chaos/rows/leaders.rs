//! Two masters that share a store: what happens to the one that leads, and to the store. The
//! slaves are on a third host, where an agent launches them.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M2, M3, M4, M5, M6, M7},
    row::{Blow, LeaderHarm, Row, SharedHarm},
    scene::Setup,
};

/// No shard is without an owner for longer: the lease of a leader and 5 s.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// The store is away for longer than every other thing of a fleet.
const MINUTE: Duration = Duration::from_secs(60);

fn leaders(setup: &mut Setup) {
    setup.leaders = true;
    // Discord replays what comes while another leader is looked for.
    setup.rate = 20.0;
    setup
        .discord
        .extend(["--replay-buffer", "3500"].map(str::to_owned));
}

/// A fleet at rest notices nothing. A shard that moves may wait for the next leader.
fn taken_over(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        Phase::M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm().within(TAKEN_OVER),
    }
}

const LEADER: Row = Row {
    phases: &[M0, M2, M3, M4, M5, M6, M7],
    quick: M0,
    setup: leaders,
    expect: taken_over,
    agent: true,
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "leader-killed",
        about: "kill -9 of the master that leads, whose host is gone: another one leads",
        quick: M4,
        blow: Blow::Leader(LeaderHarm::Killed),
        ..LEADER
    },
    Row {
        name: "leader-and-old-killed",
        about: "kill -9 of the master that leads and of the old slave",
        phases: &[M0, M2, M5],
        blow: Blow::Leader(LeaderHarm::KilledWithOld),
        expect: |_| Expect::recovered().within(TAKEN_OVER),
        ..LEADER
    },
    Row {
        name: "leader-killed-and-started",
        about: "kill -9 of the master that leads, which is started again at once",
        phases: &[M0, M3, M5],
        quick: M3,
        blow: Blow::Leader(LeaderHarm::KilledAndStarted),
        ..LEADER
    },
    Row {
        name: "leader-paused",
        about: "SIGSTOP of the master that leads for longer than its lease: it wakes and leads no more",
        quick: M3,
        blow: Blow::Leader(LeaderHarm::Paused),
        ..LEADER
    },
    Row {
        name: "leader-woken-with-orders",
        about: "the same, and operators order it to deploy as it wakes: of two leaders one is refused",
        phases: &[M0, M5],
        blow: Blow::Leader(LeaderHarm::WokenWithOrders),
        ..LEADER
    },
    Row {
        name: "leader-cut-from-store",
        about: "nothing goes between the leader and the store: another one leads, and gets the slaves",
        quick: M5,
        blow: Blow::Leader(LeaderHarm::CutFromStore),
        ..LEADER
    },
    Row {
        name: "leader-cut-from-slaves",
        about: "nothing goes between the leader and the slaves: it yields to one that reaches more",
        phases: &[M0, M3, M5],
        blow: Blow::Leader(LeaderHarm::CutFromSlaves),
        ..LEADER
    },
    Row {
        name: "leader-steps-down",
        about: "the operator has the master that leads step down",
        quick: M5,
        blow: Blow::Leader(LeaderHarm::SteppedDown),
        ..LEADER
    },
    Row {
        name: "store-of-masters-killed",
        about: "kill -9 of the store that masters share; it is started again",
        quick: M3,
        blow: Blow::Shared(SharedHarm::Killed),
        ..LEADER
    },
    Row {
        name: "store-of-masters-and-old-killed",
        about: "kill -9 of that store, then of the old slave: its shards wait for the store",
        phases: &[M0],
        blow: Blow::Shared(SharedHarm::KilledThenOld),
        expect: |_| Expect::recovered(),
        ..LEADER
    },
    Row {
        name: "store-of-masters-paused",
        about: "that store stands still for a minute: what serves goes on, nothing begins",
        phases: &[M0, M3, M5],
        blow: Blow::Shared(SharedHarm::Paused(MINUTE)),
        ..LEADER
    },
    Row {
        name: "store-of-masters-emptied",
        about: "kill -9 of that store, which comes back with nothing: a lost journal",
        phases: &[M0, M3, M5],
        blow: Blow::Shared(SharedHarm::Emptied),
        ..LEADER
    },
];
