//! What handlers do to the process that they run in.

use super::ROW;
use crate::chaos::{
    deadly,
    expect::Expect,
    phase::Phase::M0,
    row::{Blow, Row},
    scene::Setup,
};

/// The fleet is away for seconds: Discord must replay all of them.
fn dies_of_one_event(setup: &mut Setup) {
    setup.rate = 8.0;
    deadly::prepare(setup);
}

pub(super) const ROWS: &[Row] = &[Row {
    name: "event-that-kills",
    about: "one event kills each process that handles it: it is found out and said, and the rest goes on",
    phases: &[M0],
    quick: M0,
    blow: Blow::DeadlyEvent,
    setup: dies_of_one_event,
    expect: |_| Expect::recovered(),
    ..ROW
}];
