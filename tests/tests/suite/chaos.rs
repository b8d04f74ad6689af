//! A few rows of the fault matrix; `scripts/chaos` has all of them.

use std::{collections::BTreeSet, process::Command};

use baton_tests::{
    chaos::{
        phase::Phase,
        report,
        row::Blow,
        rows,
        run::{Again, run},
    },
    process::program,
};

#[tokio::test]
async fn a_killed_slave_is_followed_by_another_and_nothing_is_lost() {
    passes("old-killed", Phase::M0).await;
}

#[tokio::test]
async fn a_killed_candidate_gives_its_shard_back() {
    passes("new-killed", Phase::M5).await;
}

#[tokio::test]
async fn a_master_killed_between_seal_and_resume_goes_on() {
    passes("master-killed", Phase::M4).await;
}

#[test]
fn every_point_at_which_the_master_can_kill_itself_is_struck() {
    let program = program("baton-master").expect("scripts/test builds it");
    let output = Command::new(program).arg("crash-points").output();
    let output = output.expect("it runs");
    let names = String::from_utf8(output.stdout).expect("text");
    let there: BTreeSet<&str> = names.lines().collect();
    assert!(there.len() > 40, "{names}");
    let rows = rows::all();
    let mut known: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| {
            let Blow::Crash(crash) = row.blow else {
                return None;
            };
            Some(crash.at.to_owned())
        })
        .collect();
    for point in rows::not_passed() {
        known.extend(["before", "after"].map(|moment| format!("{moment}-{point}")));
    }
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(known, there);
}

async fn passes(name: &str, phase: Phase) {
    let row = rows::all().into_iter().find(|row| row.name == name);
    let report = run(&row.expect("a row"), phase, 1, Again::No).await;
    let line = report::line(&report);
    assert!(report::is_clean(&[report], 1), "{line}");
}
