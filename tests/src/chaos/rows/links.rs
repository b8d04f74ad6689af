//! What happens to the wires between slaves, master and Discord.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::{Setup, Who},
    wire::{Harm, Way},
};

/// Shorter than every limit.
const SHORT: Duration = Duration::from_secs(1);

/// Longer than every limit.
const LONG: Duration = Duration::from_secs(5);

fn goes_on(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

/// Nobody who serves is affected; a new slave that is cut off may be killed.
fn either_way(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 => Expect::calm(),
        M3 | M4 | M5 | M6 | M7 => Expect::calm().with_marks(),
    }
}

/// Heartbeats often enough that a dead connection is noticed in a second.
fn lively(setup: &mut Setup) {
    setup
        .discord
        .extend(["--heartbeat-interval", "700ms"].map(str::to_owned));
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "master-link-cut",
        about: "both slaves lose the master for a second, by RST",
        phases: &[M0, M2, M3, M4, M5, M6, M7],
        quick: M4,
        blow: Blow::ToMaster(None, Harm::Cut, SHORT),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "master-link-cut-long",
        about: "both slaves lose the master for longer than every limit",
        phases: &[M0, M2, M4, M5, M7],
        quick: M0,
        blow: Blow::ToMaster(None, Harm::Cut, LONG),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "old-link-cut",
        about: "the old slave loses the master for longer than every limit",
        phases: &[M2, M3, M5, M7],
        quick: M3,
        blow: Blow::ToMaster(Some(Who::Old), Harm::Cut, LONG),
        expect: |phase| match phase {
            M0 | M1 | M2 => Expect::aborted().unnoticed(),
            M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "new-link-cut",
        about: "the new slave loses the master for longer than every limit",
        phases: &[M2, M4, M5, M7],
        quick: M5,
        blow: Blow::ToMaster(Some(Who::New), Harm::Cut, LONG),
        expect: |phase| match phase {
            M0 | M1 | M2 => Expect::aborted().unnoticed(),
            M3 | M4 | M5 | M6 => Expect::rolled_back().with_marks(),
            M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "master-link-one-way-up",
        about: "nothing arrives at the master for a second",
        phases: &[M0, M2, M4, M5, M6],
        quick: M5,
        blow: Blow::ToMaster(None, Harm::Hold(Way::Up), SHORT),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "master-link-one-way-down",
        about: "nothing arrives at the slaves for a second",
        phases: &[M0, M2, M3, M4, M6],
        quick: M3,
        blow: Blow::ToMaster(None, Harm::Hold(Way::Down), SHORT),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "master-link-half-open",
        about: "no byte either way for a second, connections stay open",
        phases: &[M0, M2, M4, M5, M7],
        quick: M2,
        blow: Blow::ToMaster(None, Harm::Hold(Way::Both), SHORT),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "master-link-slow",
        about: "each byte takes 700 ms for a while",
        phases: &[M0, M2, M4, M5],
        quick: M4,
        blow: Blow::ToMaster(None, Harm::Delay(Duration::from_millis(700)), LONG),
        expect: goes_on,
        // Close to the scaled limits: a busy host adds the rest.
        unhurried: true,
        ..ROW
    },
    Row {
        name: "master-link-torn-up",
        about: "RST inside a frame on its way to the master",
        phases: &[M0, M2, M4, M5, M6],
        quick: M4,
        blow: Blow::ToMaster(None, Harm::Tear(Way::Up), SHORT),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "master-link-torn-down",
        about: "RST inside a frame on its way to the slaves",
        phases: &[M0, M2, M3, M4, M6],
        quick: M3,
        blow: Blow::ToMaster(None, Harm::Tear(Way::Down), SHORT),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "old-garbage",
        about: "garbage arrives from the old slave",
        phases: &[M0, M2, M3, M5],
        quick: M3,
        blow: Blow::ToMaster(Some(Who::Old), Harm::Garble(Way::Up), SHORT),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "new-garbage",
        about: "garbage arrives from the new slave",
        phases: &[M2, M4, M5, M6],
        quick: M5,
        blow: Blow::ToMaster(Some(Who::New), Harm::Garble(Way::Up), SHORT),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "master-garbage",
        about: "garbage arrives at both slaves",
        phases: &[M0, M2, M4, M5],
        quick: M4,
        blow: Blow::ToMaster(None, Harm::Garble(Way::Down), SHORT),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "discord-link-cut",
        about: "Discord cannot be reached for a second, by RST",
        phases: &[M0, M2, M3, M5, M7],
        quick: M0,
        blow: Blow::ToDiscord(None, Harm::Cut, SHORT),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).reconnecting(),
            M1 | M2 | M7 => Expect::calm(),
            M3 | M4 | M5 | M6 => Expect::calm().with_marks(),
        },
        ..ROW
    },
    Row {
        name: "old-path-cut",
        about: "only the old slave cannot reach Discord, for a second",
        phases: &[M2, M7],
        quick: M7,
        blow: Blow::ToDiscord(Some(Who::Old), Harm::Cut, SHORT),
        expect: |phase| match phase {
            M7 => Expect::done(),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::calm(),
        },
        ..ROW
    },
    Row {
        name: "new-path-cut",
        about: "only the new slave cannot reach Discord, for longer than every limit",
        phases: &[M2, M4],
        quick: M4,
        blow: Blow::ToDiscord(Some(Who::New), Harm::Cut, Duration::from_secs(8)),
        expect: |_| Expect::rolled_back().with_marks(),
        ..ROW
    },
    Row {
        name: "discord-link-half-open",
        about: "no byte to or from Discord for longer than two heartbeats",
        phases: &[M0, M2, M7],
        quick: M0,
        blow: Blow::ToDiscord(None, Harm::Hold(Way::Both), Duration::from_secs(3)),
        setup: lively,
        expect: |phase| match phase {
            M0 | M1 | M7 => Expect::calm(),
            M2 | M3 | M4 | M5 | M6 => Expect::calm().with_marks(),
        },
        ..ROW
    },
];
