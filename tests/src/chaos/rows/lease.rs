//! Slaves that keep a lease: their silence is their end, whatever their process does.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::M0,
    row::{Blow, Row},
    scene::{Setup, Who},
    wire::{Harm, Way},
};

/// More than the master waits for a slave with such a lease (5.3 s), a launch, and what a
/// busy host takes.
const SILENCE: Duration = Duration::from_secs(12);

/// Three signs of life.
fn leased(setup: &mut Setup) {
    setup.lease = Some("3s");
    // What hangs is not killed: its process is out of reach.
    setup.limits.insert("hang", "10m".to_owned());
}

/// Its shards went on elsewhere, from the last checkpoints.
fn handed_on(_: crate::chaos::phase::Phase) -> Expect {
    Expect::recovered().at(Serves::Old)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "lease-stopped",
        about: "a slave with a lease is stopped for longer than that: when it wakes it handles nothing",
        phases: &[M0],
        quick: M0,
        blow: Blow::Freeze(&[Who::Old], SILENCE),
        setup: leased,
        expect: handed_on,
        ..ROW
    },
    Row {
        name: "lease-cut",
        about: "a slave with a lease is cut off from the master, and not from Discord: it seals itself",
        phases: &[M0],
        quick: M0,
        blow: Blow::ToMaster(Some(Who::Old), Harm::Cut, SILENCE),
        setup: leased,
        expect: handed_on,
        ..ROW
    },
    Row {
        name: "lease-unheard",
        about: "what a slave with a lease says does not arrive: it seals itself",
        phases: &[M0],
        quick: M0,
        blow: Blow::ToMaster(Some(Who::Old), Harm::Hold(Way::Up), SILENCE),
        setup: leased,
        expect: handed_on,
        ..ROW
    },
];
