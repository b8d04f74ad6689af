//! `baton-testing`, as the author of a bot uses it.

use std::time::Duration;

use baton_testing::{Error, Fault, FaultName, Fleet, process::program};

/// A ready-made bot stands for the author's.
fn bot(build: &str) -> Vec<String> {
    let program = program("baton-slave").unwrap().display().to_string();
    let flags = ["--build", build, "--sink", "none", "--intents", "33280"];
    std::iter::once(program)
        .chain(flags.map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_and_the_deaths_of_bot_and_master_lose_nothing() {
    let mut fleet = Fleet::builder().start(bot("v1")).await.unwrap();
    let first = fleet.bot().await.unwrap();
    fleet.deploy(bot("v2")).await.unwrap();
    let second = fleet.bot().await.unwrap();
    assert_ne!(first, second);
    fleet.assert_nothing_lost().await;
    fleet.kill_bot().await.unwrap();
    fleet.kill_master().await.unwrap();
    fleet.assert_nothing_lost().await;
    assert_ne!(fleet.bot().await.unwrap(), second);
    assert_eq!(fleet.discord().counters().total.identifies, 4);
    let asked = fleet.requests();
    assert!(asked.iter().any(|line| line.path == "/gateway/bot"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_lost_is_said_with_its_shard() {
    let mut fleet = Fleet::builder().shards(2).start(bot("v1")).await.unwrap();
    let over = Fault {
        shard: Some(1),
        ..Fault::new(FaultName::Op9False)
    };
    fleet.fault(over).unwrap();
    while fleet.discord().counters().total.identifies < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.serves().await.unwrap();
    let lost = fleet.nothing_lost().await.unwrap_err();
    assert!(matches!(lost, Error::Lost(_)), "{lost}");
    let text = lost.to_string();
    assert!(
        text.starts_with("shard 1: its session was lost once"),
        "{text}"
    );
    assert!(!text.contains("shard 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_bot_never_finishes_are_said() {
    let mut slow = bot("v1");
    slow.extend(["--handler-ms", "3600000"].map(str::to_owned));
    let mut fleet = Fleet::builder().shards(1).start(slow).await.unwrap();
    // Guilds, beside READY.
    while fleet.discord().ledger_counts().0 < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fleet.set_patience(Duration::from_millis(300));
    let lost = fleet.nothing_lost().await.unwrap_err().to_string();
    assert!(
        lost.contains("shard 0: Discord sent events up to"),
        "{lost}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_does_not_start_is_said_with_the_masters_log() {
    let builder = Fleet::builder().patience(Duration::from_secs(5));
    let error = builder.start(["/bin/false"]).await.unwrap_err().to_string();
    assert!(
        error.contains("waited 5s for every shard to serve"),
        "{error}"
    );
    assert!(error.contains("exit code 1"), "{error}");
}
