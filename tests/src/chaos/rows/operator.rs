//! What operators do at the wrong moment.

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    operator::REPLAYED,
    phase::Phase::{M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Act, Blow, Row},
    scene::Setup,
};

pub(super) fn short_replays(setup: &mut Setup) {
    let flags = ["--replay-buffer".to_owned(), REPLAYED.to_string()];
    setup.discord.extend(flags);
    setup.limits.insert("replay_buffer", REPLAYED.to_string());
    // Held with some of them moved.
    setup.limits.insert("width", "1".to_owned());
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "second-deploy",
        about: "another deploy is asked for: refused with the reason",
        phases: &[M1, M2, M5, M7],
        quick: M5,
        blow: Blow::Operator(Act::SecondDeploy),
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "second-candidate",
        about: "another slave is started by hand: it ends by itself",
        phases: &[M2, M5, M7],
        quick: M2,
        blow: Blow::Operator(Act::SecondCandidate),
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "second-master",
        about: "another master is started: it ends with 2 and names the first",
        phases: &[M0, M2, M5],
        quick: M0,
        blow: Blow::Operator(Act::SecondMaster),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).unnoticed(),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "abort",
        about: "the operator stops the deploy",
        phases: &[M1, M2, M3, M5, M6, M7],
        quick: M6,
        blow: Blow::Operator(Act::Abort),
        expect: Expect::back_at,
        ..ROW
    },
    Row {
        name: "abort-late",
        about: "the deploy is held for longer than Discord replays, and goes back",
        phases: &[M5, M6],
        quick: M6,
        blow: Blow::Operator(Act::LateAbort),
        setup: short_replays,
        expect: |_| Expect::rolled_back(),
        ..ROW
    },
    Row {
        name: "abort-late-killed",
        about: "the deploy is held for longer than Discord replays, and the new slave is killed",
        phases: &[M5, M6],
        quick: M6,
        blow: Blow::Operator(Act::LateKill),
        setup: short_replays,
        expect: |_| Expect::recovered().at(Serves::Old).ending(&["rolled_back"]),
        ..ROW
    },
    Row {
        name: "same-build-again",
        about: "the build that serves is deployed again",
        phases: &[M0],
        quick: M0,
        blow: Blow::Operator(Act::SameBuild),
        expect: |_| Expect::calm().at(Serves::Old).unnoticed(),
        ..ROW
    },
];
