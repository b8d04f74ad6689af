//! What a fleet does around a deploy: refusals, triggers, adoption, launches.

use std::time::Duration;

use baton_tests::{
    checker::Exactness,
    discord::TOKEN,
    fleet::{Fleet, FleetOptions},
    process::program,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{process::Command, time::Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_build_with_other_intents_is_refused_before_anything_moves() {
    let fleet = serving(FleetOptions::default()).await;
    let before = fleet.discord.counts().await.expect("counts");
    let output = fleet
        .deploy_command_with("v2", &["--intents", "1"])
        .expect("a command")
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("intents"), "{said}");
    assert_eq!(fleet.discord.counts().await.expect("counts"), before);
    fleet.all_serving(LIMIT).await.expect("v1 serves on");
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn starting_a_candidate_by_hand_deploys_it() {
    let mut fleet = serving(FleetOptions::default()).await;
    fleet.discord.traffic(30.0).await.expect("traffic");
    let mut candidate = fleet.start_slave("v2").await.expect("a candidate");
    deployed(&mut fleet).await;
    assert_eq!(owners(&fleet).await, vec![candidate.process.pid()]);
    exact(&fleet).await;
    assert!(candidate.process.pid().is_some());
    assert_eq!(candidate.process.stop().await.expect("it ends"), 0);
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn sigusr1_deploys_the_slots_own_command_again() {
    let mut fleet = launched().await;
    let first = owners(&fleet).await;
    fleet.discord.traffic(30.0).await.expect("traffic");
    fleet.master.signal(Signal::USR1);
    deployed(&mut fleet).await;
    assert_ne!(owners(&fleet).await, first);
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn an_empty_slot_gets_a_slave() {
    let fleet = launched().await;
    assert_eq!(owners(&fleet).await.len(), 1);
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn the_master_leaves_the_slaves_serve_on_and_the_next_master_adopts_them() {
    let mut fleet = serving(FleetOptions::default()).await;
    fleet.discord.traffic(30.0).await.expect("traffic");
    let before = (owners(&fleet).await, epochs(&fleet).await);
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(fleet.master.stop().await.expect("it leaves"), 0);
    fleet.restart_master().await.expect("the next one");
    fleet.all_serving(LIMIT).await.expect("adopted");
    assert_eq!((owners(&fleet).await, epochs(&fleet).await), before);
    assert_eq!(fleet.discord.counts().await.expect("counts"), counts);

    let output = fleet
        .deploy_command("v2")
        .expect("a command")
        .output()
        .await
        .expect("it runs");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_killed_master_is_replaced_without_anybody_noticing() {
    let mut fleet = serving(FleetOptions::default()).await;
    fleet.discord.traffic(30.0).await.expect("traffic");
    let before = (owners(&fleet).await, epochs(&fleet).await);
    let counts = fleet.discord.counts().await.expect("counts");
    fleet.master.signal(Signal::KILL);
    fleet.master.ended(LIMIT).await.expect("it is dead");
    fleet.restart_master().await.expect("the next one");
    fleet.all_serving(LIMIT).await.expect("adopted");
    assert_eq!((owners(&fleet).await, epochs(&fleet).await), before);
    assert_eq!(fleet.discord.counts().await.expect("counts"), counts);
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_slave_told_to_end_leaves_its_sessions_to_the_next_one() {
    let (fleet, mut first) = serving_keep(FleetOptions::default()).await;
    fleet.discord.traffic(30.0).await.expect("traffic");
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(first.process.stop().await.expect("it leaves"), 0);
    let _second = fleet.start_slave("v2").await.expect("the next one");
    fleet.all_serving(LIMIT).await.expect("resumed");
    assert_eq!(
        fleet.discord.counts().await.expect("counts").identifies,
        counts.identifies
    );
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn doctor_asks_discord_what_it_documents_nowhere_and_remembers_the_answers() {
    let fleet = serving(FleetOptions::default()).await;
    let before = fleet.discord.counts().await.expect("counts");
    let doctor = async |more: &[&str]| {
        let mut command = Command::new(program("baton-master").expect("it is built"));
        command.args(["doctor", "--json", "--config"]);
        command.arg(fleet.folder().join("baton.toml")).args(more);
        command.env("DISCORD_TOKEN", TOKEN);
        let output = command.output().await.expect("it runs");
        let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut findings = findings["findings"].as_array().into_iter().flatten();
        let found = findings.find(|finding| finding["check"] == "probe");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains(TOKEN), "{said}");
        let detail = found.expect("a finding")["detail"].as_str();
        (detail.expect("text").to_owned(), said)
    };
    let (unknown, _) = doctor(&[]).await;
    assert!(unknown.contains("was not tried"), "{unknown}");
    let (found, said) = doctor(&["--probe", "--probe-longest", "100ms"]).await;
    assert!(said.contains("this costs one IDENTIFY"), "{said}");
    assert!(found.contains("RESUME while connected: yes"), "{found}");
    assert_eq!(doctor(&[]).await.0, found, "it is kept");
    let after = fleet.discord.counts().await.expect("counts");
    assert_eq!(after.identifies, before.identifies + 1);
    fleet
        .all_serving(LIMIT)
        .await
        .expect("nobody was disturbed");
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_deploy_that_went_back_says_why_and_where_everything_is() {
    let fleet = serving(FleetOptions::default()).await;
    fleet.discord.traffic(60.0).await.expect("traffic");
    let badbot = program("baton-badbot").expect("scripts/test builds it");
    let config = fleet.folder().join("baton.toml");
    let mut deploy = Command::new(program("baton-master").expect("it is built"));
    deploy
        .args(["deploy", "--soak", "1s", "--config"])
        .args([config, "--".into(), badbot, "panics".into()])
        .arg(&fleet.discord.gateway_url)
        .env("DISCORD_TOKEN", TOKEN);
    let output = deploy.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    eprintln!("{said}");
    for expected in [
        "rolled back: ",
        "failed ",
        "(build v1): 4 shards serving (0-3)",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_killed_slave_is_followed_by_its_standby_at_once() {
    killed_again_and_again(1).await;
}

#[tokio::test]
async fn a_killed_slave_without_a_standby_is_followed_by_the_next_one_soon() {
    killed_again_and_again(0).await;
}

#[tokio::test]
async fn a_standby_has_each_state_in_a_store_open_before_its_shard_is_given_to_it() {
    let store = tempfile::tempdir().expect("a folder");
    let folder = store.path().join("store").display().to_string();
    let mut all = FleetOptions {
        launch: true,
        ..FleetOptions::default()
    };
    let shards = all.discord.shards as usize;
    all.special.standbys = 1;
    let flags = ["--state", "store", "--store", &folder];
    all.special.slave_flags = flags.map(str::to_owned).to_vec();
    let fleet = Fleet::start(all).await.expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.standing_by(1, LIMIT).await.expect("it stands by");
    let until = Instant::now() + LIMIT;
    loop {
        let status = fleet.status().await.expect("a status");
        let slaves = status["slaves"].as_array().expect("slaves");
        let mut standbys = slaves.iter().filter(|slave| slave["role"] == "standby");
        let pid = standbys.next().expect("a standby")["pid"].to_string();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
        let states = |line: &&str| line.contains(&folder) && line.ends_with("/data.mdb");
        let open = maps.lines().filter(states).count();
        if open == shards {
            break;
        }
        assert!(Instant::now() < until, "{open} of {shards} are open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fleet.shut_down().await.expect("it ends");
}

/// Kills the slave that serves, three times, where nobody is saved by the launch
/// into an empty slot.
async fn killed_again_and_again(standbys: u32) {
    let mut all = FleetOptions {
        launch: true,
        ..FleetOptions::default()
    };
    all.special.standbys = standbys;
    let limits = [("contact", "60s"), ("backoff", "100ms")];
    all.special.limits = limits.map(|(name, limit)| (name, limit.to_owned())).into();
    let fleet = Fleet::start(all).await.expect("a fleet");
    let first = fleet.start_slave("v1").await.expect("a slave");
    std::mem::forget(first);
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(30.0).await.expect("traffic");
    let identifies = fleet.discord.counts().await.expect("counts").identifies;
    let mut spans = Vec::new();
    for _ in 0..3 {
        let ready = fleet.standing_by(standbys, LIMIT).await;
        ready.expect("it stands by");
        let before = owners(&fleet).await;
        let pid = before[0].and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::KILL).expect("it lived");
        let killed = Instant::now();
        while owners(&fleet).await == before {}
        fleet.all_serving(LIMIT).await.expect("the next one serves");
        spans.push(killed.elapsed());
    }
    spans.sort_unstable();
    eprintln!("back after a kill, {standbys} standing by: {spans:?}");
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies);
    fleet.discord.traffic(0.0).await.expect("traffic");
    let settled = fleet.settle(Duration::from_secs(10)).await;
    let sent = fleet.discord.ledger().await.expect("a ledger");
    let verdict = Exactness::of(&sent, &settled.expect("records"));
    let wrong = verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.invented;
    assert_eq!(wrong, 0, "repeats are marked: {verdict:#?}");
    fleet.shut_down().await.expect("it ends");
}

async fn serving(options: FleetOptions) -> Fleet {
    let (fleet, slave) = serving_keep(options).await;
    // The fleet ends it.
    std::mem::forget(slave);
    fleet
}

async fn serving_keep(options: FleetOptions) -> (Fleet, baton_tests::fleet::Slave) {
    let fleet = Fleet::start(options).await.expect("a fleet");
    let slave = fleet.start_slave("v1").await.expect("a slave");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    (fleet, slave)
}

/// A fleet whose slot has a command: the master starts the slave.
async fn launched() -> Fleet {
    let mut fleet = Fleet::start(FleetOptions {
        launch: true,
        ..FleetOptions::default()
    })
    .await
    .expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet
        .news
        .wait("a launch", LIMIT, |event| event["type"] == "launching")
        .await
        .expect("the master started it");
    fleet
}

async fn deployed(fleet: &mut Fleet) {
    let ended = fleet
        .news
        .wait("end of the deploy", LIMIT, |event| {
            event["type"] == "deploy_ended"
        })
        .await
        .expect("it ends");
    assert_eq!(ended["outcome"], "done", "{ended}");
}

/// Pauses traffic and compares what was sent with what was handled.
async fn exact(fleet: &Fleet) {
    fleet.discord.traffic(0.0).await.expect("traffic");
    let handled = fleet
        .settle(Duration::from_secs(10))
        .await
        .expect("records");
    let sent = fleet.discord.ledger().await.expect("a ledger");
    let verdict = Exactness::of(&sent, &handled);
    assert!(verdict.is_exact(), "{verdict:#?}");
}

async fn owners(fleet: &Fleet) -> Vec<Option<u32>> {
    let status = fleet.status().await.expect("status");
    list(&status["slaves"])
        .iter()
        .filter(|slave| slave["shards"].as_u64() > Some(0))
        .map(|slave| {
            slave["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok())
        })
        .collect()
}

async fn epochs(fleet: &Fleet) -> Vec<u64> {
    let status = fleet.status().await.expect("status");
    list(&status["shards"])
        .iter()
        .filter_map(|shard| shard["epoch"].as_u64())
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
