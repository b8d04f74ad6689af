//! The rows of the fault matrix.

mod agent;
mod budget;
mod builds;
mod crashes;
mod discord;
mod doors;
mod handlers;
mod host;
mod late;
mod leaders;
mod lease;
mod links;
mod master;
mod operator;
mod proxy;
mod remote;
mod sessions;
mod sinks;
mod slaves;
mod store;

use super::{
    expect::Expect,
    phase::Phase,
    row::{Blow, Row},
    scene::Setup,
};

/// Every row, in the order of the matrix.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        // The slowest one is among them: what begins last should be quick.
        discord::ANSWERS,
        sinks::ROWS,
        &of_a_fleet(),
        slaves::ROWS,
        slaves::BUILDS,
        store::ROWS,
        proxy::ROWS,
        builds::ROWS,
        handlers::ROWS,
        master::ROWS,
        crashes::SAVES,
        crashes::SENDS,
        crashes::BACK,
        links::ROWS,
        discord::ROWS,
        budget::ROWS,
        sessions::ROWS,
        operator::ROWS,
        doors::ROWS,
        host::ROWS,
        &late::rows(),
    ]
    .concat()
}

/// Those of a fleet of several hosts or several masters.
#[must_use]
pub fn of_a_fleet() -> Vec<Row> {
    [leaders::ROWS, remote::ROWS, agent::ROWS, lease::ROWS].concat()
}

/// Points at which a master can kill itself and no row has it do so.
#[must_use]
pub const fn not_passed() -> &'static [&'static str] {
    crashes::NOT_PASSED
}

/// What a row does not say.
const ROW: Row = Row {
    name: "",
    about: "",
    phases: &[],
    quick: Phase::M0,
    blow: Blow::Nothing,
    setup: usual,
    expect: |_| Expect::calm(),
    late_expect: None,
    late: false,
    unhurried: false,
    agent: false,
};

/// A fleet like any other.
fn usual(_: &mut Setup) {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn every_row_has_a_name_of_its_own_and_its_quick_phase_is_one_of_its_phases() {
        let mut names = BTreeSet::new();
        for row in all() {
            assert!(names.insert(row.name), "{} is there twice", row.name);
            assert!(!row.about.is_empty(), "{}", row.name);
            assert!(row.phases.contains(&row.quick), "{}", row.name);
            assert!(row.phases.is_sorted(), "{}", row.name);
        }
    }

    #[test]
    fn the_matrix_has_enough_pairs() {
        let pairs: usize = all().iter().map(|row| row.phases.len()).sum();
        assert!(pairs >= 60, "{pairs}");
    }
}
