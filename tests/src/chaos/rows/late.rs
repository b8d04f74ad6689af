//! Shards that are sealed late. The whole matrix runs that way with `--late-seal`;
//! these rows are what is different there.

use std::time::Duration;

use super::{ROW, crashes, discord};
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::Who,
    wire::Harm,
};

const SHORT: Duration = Duration::from_secs(1);

fn recovered(phase: Phase) -> Expect {
    match phase {
        M7 => Expect::calm().at(Serves::New),
        M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::recovered(),
    }
}

const ROWS: &[Row] = &[
    Row {
        name: "late-seal",
        about: "a RESUME beside the open connection takes over",
        phases: &[M7],
        quick: M7,
        setup: discord::takes_over,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "late-seal-refused",
        about: "a RESUME beside the open connection is refused",
        phases: &[M7],
        quick: M7,
        setup: discord::refuses,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "late-seal-both",
        about: "a RESUME beside the open connection: both are served",
        phases: &[M7],
        quick: M7,
        setup: discord::serves_both,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "late-old-killed",
        about: "kill -9 of the old slave, whose session is taken over",
        phases: &[M3, M4, M5],
        quick: M4,
        blow: Blow::Kill(&[Who::Old]),
        expect: recovered,
        ..ROW
    },
    Row {
        name: "late-old-killed-both",
        about: "kill -9 of the old slave, both connections being served",
        phases: &[M3, M4, M5],
        quick: M4,
        blow: Blow::Kill(&[Who::Old]),
        setup: discord::serves_both,
        expect: recovered,
        ..ROW
    },
    Row {
        name: "late-new-killed",
        about: "kill -9 of the new slave, which takes the session over",
        phases: &[M3, M4, M5],
        quick: M4,
        blow: Blow::Kill(&[Who::New]),
        // The ticket follows the RESUME at once.
        expect: |phase| Expect::back_at(phase).with_marks_if_handed_on(),
        ..ROW
    },
    Row {
        name: "late-master-killed",
        about: "kill -9 of the master during a late seal",
        phases: &[M3, M4, M5],
        quick: M4,
        blow: Blow::Kill(&[Who::Master]),
        expect: |_| Expect::calm(),
        ..ROW
    },
    Row {
        name: "late-old-link-cut",
        about: "the old slave loses the master during a late seal",
        phases: &[M3, M4, M5],
        quick: M3,
        blow: Blow::ToMaster(Some(Who::Old), Harm::Cut, SHORT),
        expect: |_| Expect::calm().with_marks(),
        ..ROW
    },
    Row {
        name: "late-new-link-cut",
        about: "the new slave loses the master during a late seal",
        phases: &[M3, M4, M5],
        quick: M4,
        blow: Blow::ToMaster(Some(Who::New), Harm::Cut, SHORT),
        expect: |_| Expect::calm().with_marks(),
        ..ROW
    },
];

/// All of them, sealed late.
pub(super) fn rows() -> Vec<Row> {
    let late = |row: &Row| Row { late: true, ..*row };
    ROWS.iter().chain(crashes::LATE).map(late).collect()
}
