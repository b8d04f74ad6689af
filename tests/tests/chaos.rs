//! A few rows of the fault matrix; `scripts/chaos` has all of them.

use baton_tests::chaos::{
    phase::Phase,
    report, rows,
    run::{Again, run},
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

async fn passes(name: &str, phase: Phase) {
    let row = rows::all().into_iter().find(|row| row.name == name);
    let report = run(&row.expect("a row"), phase, 1, Again::No).await;
    let line = report::line(&report);
    assert!(report::is_clean(&[report]), "{line}");
}
