//! What happens to the agent of a host, and to its link. `--agent` has an agent launch the
//! slaves in every other row, too.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::Who,
    wire::{Harm, Way},
};

/// Shorter than every limit.
const NAP: Duration = Duration::from_secs(1);

/// Longer than every limit.
const LONG: Duration = Duration::from_secs(5);

/// Slaves serve and move without the agent. A fleet at rest notices nothing.
fn unconcerned(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        // The candidate is being launched: it may be given up.
        M1 => Expect::calm(),
        M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

/// The death of the old slave is known when the agent says it.
fn recovered(phase: Phase) -> Expect {
    match phase {
        M7 => Expect::calm().at(Serves::New),
        M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
    }
}

const AGENT: Row = Row {
    phases: &Phase::ALL,
    quick: M3,
    expect: unconcerned,
    agent: true,
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "agent-killed",
        about: "kill -9 of the agent; it is started again",
        quick: M3,
        blow: Blow::Kill(&[Who::Agent]),
        ..AGENT
    },
    Row {
        name: "agent-terminated",
        about: "SIGTERM of the agent; it is started again",
        phases: &[M0, M1, M3, M5, M7],
        quick: M0,
        blow: Blow::Leave(Who::Agent),
        ..AGENT
    },
    Row {
        name: "agent-naps",
        about: "SIGSTOP of the agent, woken before any limit",
        phases: &[M0, M1, M2, M5, M7],
        quick: M5,
        blow: Blow::Freeze(&[Who::Agent], NAP),
        ..AGENT
    },
    Row {
        name: "agent-frozen",
        about: "SIGSTOP of the agent for longer than every limit",
        phases: &[M0, M1, M2, M5, M7],
        quick: M0,
        blow: Blow::Freeze(&[Who::Agent], LONG),
        ..AGENT
    },
    Row {
        name: "agent-cut",
        about: "the agent's link is reset, and new ones are, for longer than every limit",
        phases: &[M0, M1, M3, M6],
        quick: M6,
        blow: Blow::AgentToMaster(Harm::Cut, LONG),
        ..AGENT
    },
    Row {
        name: "agent-unheard",
        about: "nothing that the agent says arrives, for longer than every limit",
        phases: &[M0, M1, M3, M6],
        quick: M3,
        blow: Blow::AgentToMaster(Harm::Hold(Way::Up), LONG),
        ..AGENT
    },
    Row {
        name: "agent-deaf",
        about: "nothing arrives at the agent, for longer than every limit",
        phases: &[M0, M1, M3, M6],
        quick: M1,
        blow: Blow::AgentToMaster(Harm::Hold(Way::Down), LONG),
        ..AGENT
    },
    Row {
        name: "agent-and-old-killed",
        about: "kill -9 of the agent and of the old slave: the death is known when the next agent says it",
        quick: M0,
        blow: Blow::Kill(&[Who::Agent, Who::Old]),
        expect: recovered,
        ..AGENT
    },
    Row {
        name: "agent-and-master-killed",
        about: "kill -9 of the agent and of the master; both are started again",
        quick: M4,
        blow: Blow::Kill(&[Who::Agent, Who::Master]),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).unnoticed(),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm(),
        },
        ..AGENT
    },
    Row {
        name: "agent-old-killed",
        about: "kill -9 of the old slave of another host: its agent says so",
        quick: M2,
        blow: Blow::Kill(&[Who::Old]),
        expect: recovered,
        ..AGENT
    },
    Row {
        name: "agent-new-killed",
        about: "kill -9 of the new slave of another host: its agent says so",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M5,
        blow: Blow::Kill(&[Who::New]),
        expect: |_| Expect::recovered(),
        ..AGENT
    },
];
