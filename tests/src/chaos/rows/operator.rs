//! What operators do at the wrong moment.

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Act, Blow, Row},
};

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
        name: "same-build-again",
        about: "the build that serves is deployed again",
        phases: &[M0],
        quick: M0,
        blow: Blow::Operator(Act::SameBuild),
        expect: |_| Expect::calm().at(Serves::Old).unnoticed(),
        ..ROW
    },
];
