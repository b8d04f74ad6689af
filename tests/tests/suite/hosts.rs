//! Slots whose slaves the agents of other hosts start, watch and kill: one master, two agents,
//! and the simulated Discord, all real processes.

use std::{fs, time::Duration};

use baton_tests::{
    checker::Exactness,
    fleet::{Fleet, FleetOptions},
    parts::processes_naming,
    process::{Process, command},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{process::Command, time::Instant};

const LIMIT: Duration = Duration::from_secs(60);

const HOSTS: [&str; 2] = ["east", "west"];

/// Each host has a pid namespace of its own, with the agent as its process 1.
pub(crate) const NAMESPACE: [&str; 6] = [
    "unshare",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
];

#[tokio::test]
async fn two_agents_start_watch_and_deploy_and_nothing_that_dies_takes_more_along() {
    let (mut fleet, mut agents) = serving(&[]).await;
    let identifies = fleet.discord.counts().await.expect("counts").identifies;

    // A deploy of each slot.
    for host in HOSTS {
        deploy(&fleet, host, "v2").await;
    }
    assert_eq!(builds(&fleet).await, ["east-v2", "west-v2"]);
    exact(&fleet).await;

    // A slave: its agent knows at once that it is dead, and how it ended.
    fleet.discord.traffic(30.0).await.expect("traffic");
    let before = slave(&fleet, "east").await;
    kill(number(&before["pid"]));
    let ended = fleet
        .news
        .wait("its end", LIMIT, |event| {
            event["type"] == "slave_ended" && event["slave"] == before["slave"]
        })
        .await
        .expect("its agent tells it");
    assert_eq!(ended["host"], "east", "{ended}");
    let how = ended["ending"].as_str().unwrap();
    assert!(how.contains("signal 9"), "{how}");
    followed(&fleet, "east", &before).await;

    // An agent: its slaves go on, and the next one knows them.
    let before = slave(&fleet, "west").await;
    agents[1].signal(Signal::KILL);
    fleet
        .news
        .wait("its absence", LIMIT, |event| {
            event["type"] == "agent_gone" && event["host"] == "west"
        })
        .await
        .expect("it is told");
    let alarm = |event: &Value| {
        let detail = event["detail"].as_str().unwrap_or_default();
        event["type"] == "alarm" && detail.contains("agent of host \"west\" has been away")
    };
    fleet
        .news
        .wait("an alarm", LIMIT, alarm)
        .await
        .expect("an alarm");
    let refused = deploying(&fleet, "west", "v3").output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("agent of host"),
        "{said}"
    );
    agents[1] = fleet
        .start_agent("west", &[])
        .await
        .expect("it starts again");
    here(&fleet, "west").await;
    assert_eq!(slave(&fleet, "west").await["slave"], before["slave"]);
    // The slave that it did not start itself.
    kill(number(&before["pid"]));
    followed(&fleet, "west", &before).await;

    // The master: the agents come back, and say who lives.
    let (east, west) = (slave(&fleet, "east").await, slave(&fleet, "west").await);
    fleet.master.signal(Signal::KILL);
    while !fleet.master.is_over() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kill(number(&east["pid"]));
    fleet.restart_master().await.expect("the next master");
    fleet.all_serving(LIMIT).await.expect("all serve");
    assert_eq!(
        slave(&fleet, "west").await["slave"],
        west["slave"],
        "adopted"
    );
    assert_ne!(slave(&fleet, "east").await["slave"], east["slave"]);

    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies, "every session was resumed");
    handled_all(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_host_that_is_gone_is_fenced_and_a_second_one_of_its_name_is_refused() {
    let (fleet, agents) = serving(&[]).await;
    // Another agent of the same name is told why it is not let in.
    let second = fleet.folder().join("second");
    let mut twin = command("baton-master", ["agent", "--host", "east"]).unwrap();
    twin.args(["--join", fleet.listen(), "--runtime-dir"])
        .arg(&second);
    let secret = fs::read_to_string(fleet.folder().join("run/secret")).unwrap();
    twin.env("BATON_SECRET", secret.trim());
    let (twin, _) = Process::start("twin", &fleet.folder().join("logs"), twin, false)
        .await
        .expect("it starts");
    wait_for("the refusal", || {
        let log = fs::read_to_string(fleet.folder().join("logs/twin.log")).unwrap_or_default();
        log.contains("two hosts cannot have one name")
    })
    .await;
    drop(twin);

    let before = slave(&fleet, "east").await;
    let refused = fence(&fleet, "east").await;
    assert!(
        refused.contains("is connected: the host is not gone"),
        "{refused}"
    );
    let pid = number(&before["pid"]);
    // As if the network were gone: nobody answers, and nobody is known to be dead.
    agents[0].signal(Signal::STOP);
    let is_away = |host: &Value| host["host"] == "east" && host["connected"] == false;
    until(&fleet, "its agent is away", |status| {
        list(&status["hosts"]).iter().any(is_away)
    })
    .await;
    signal(pid, Signal::STOP);
    let deadline = Instant::now() + LIMIT;
    let done = loop {
        let said = fence(&fleet, "east").await;
        if said.contains("are dead") {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(
        done.contains(&before["slave"].as_str().unwrap()[..8]),
        "{done}"
    );
    // It is not dead at all, and comes back: it has nothing any more, and ends.
    signal(pid, Signal::CONT);
    // Its parent, which stands still, has not waited for it.
    wait_for("its end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    })
    .await;
    agents[0].signal(Signal::CONT);
    here(&fleet, "east").await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn in_two_pid_namespaces_slaves_with_one_number_are_not_confused() {
    if !namespaces_are_permitted().await {
        return;
    }
    // Threads take numbers as well, so two slaves do not have one each time.
    let mut attempts = 0;
    let (mut fleet, mut agents, east, west) = loop {
        let (fleet, agents) = serving(&NAMESPACE).await;
        let (east, west) = (slave(&fleet, "east").await, slave(&fleet, "west").await);
        if east["pid"] == west["pid"] {
            break (fleet, agents, east, west);
        }
        attempts += 1;
        assert!(
            attempts < 20,
            "no two slaves have one number: {east} {west}"
        );
    };

    // One of the two is killed: the other one is not taken for it.
    kill(outside(&fleet, "baton-slave", &["--build", "east-v1"]));
    followed(&fleet, "east", &east).await;
    assert_eq!(slave(&fleet, "west").await["slave"], west["slave"]);

    // A deploy, and the way back.
    deploy(&fleet, "west", "v2").await;
    let mut back = command("baton-master", ["rollback", "--slot", "west", "--config"]).unwrap();
    back.arg(fleet.folder().join("baton.toml")).arg("--wait");
    let back = back.output().await.expect("it runs");
    assert!(
        back.status.success(),
        "{}",
        String::from_utf8_lossy(&back.stdout)
    );
    assert_eq!(builds(&fleet).await, ["east-v1", "west-v1"]);
    handled_all(&fleet).await;

    // An agent is process 1: all of its container dies with it, and the next one knows that.
    fleet.discord.traffic(30.0).await.expect("traffic");
    let before = slave(&fleet, "west").await;
    agents[1].signal(Signal::KILL);
    while !agents[1].is_over() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fleet
        .news
        .wait("its absence", LIMIT, |event| {
            event["type"] == "agent_gone" && event["host"] == "west"
        })
        .await
        .expect("it is told");
    assert_eq!(
        slave(&fleet, "west").await["slave"],
        before["slave"],
        "unknown, and not dead"
    );
    agents[1] = fleet
        .start_agent("west", &NAMESPACE)
        .await
        .expect("the next container");
    followed(&fleet, "west", &before).await;

    // Asked to end, process 1 ends its slaves first, which say goodbye.
    let init = outside(&fleet, "baton-master", &["--host", "east"]);
    signal(init, Signal::TERM);
    while !agents[0].is_over() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = fs::read_to_string(fleet.folder().join("logs/agent-east.log")).unwrap_or_default();
    assert!(log.contains("exit code 0"), "{log}");
    agents[0] = fleet
        .start_agent("east", &NAMESPACE)
        .await
        .expect("the next container");
    fleet.all_serving(LIMIT).await.expect("all serve");
    handled_all(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

/// A fleet of two hosts, whose slots have all shards, with an agent each.
async fn serving(wrapper: &[&str]) -> (Fleet, Vec<Process>) {
    let mut options = FleetOptions::default();
    options.special.hosts = HOSTS.to_vec();
    let limits = [("ping", "200ms"), ("hang", "1s"), ("backoff", "100ms")];
    options.special.limits = limits.map(|(name, limit)| (name, limit.to_owned())).into();
    let fleet = Fleet::start(options).await.expect("a fleet");
    let status = fleet.status().await.expect("a status");
    let waits = status["slots"][0]["cannot_start"]
        .as_str()
        .unwrap_or_default();
    assert!(
        waits.contains("agent of host \"east\" is not connected"),
        "{status}"
    );
    let mut agents = Vec::new();
    for host in HOSTS {
        agents.push(fleet.start_agent(host, wrapper).await.expect("an agent"));
    }
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(30.0).await.expect("traffic");
    (fleet, agents)
}

/// The slave that fills the slot of a host.
async fn slave(fleet: &Fleet, host: &str) -> Value {
    let status = fleet.status().await.expect("a status");
    let slaves = status["slaves"].as_array().unwrap();
    let found = slaves
        .iter()
        .find(|slave| slave["host"] == host && slave["role"] == "owner");
    found
        .unwrap_or_else(|| panic!("no slave of {host}: {status}"))
        .clone()
}

async fn builds(fleet: &Fleet) -> Vec<String> {
    let mut builds = Vec::new();
    for host in HOSTS {
        builds.push(
            slave(fleet, host).await["build"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    builds
}

/// Waits until another slave serves in the place of this one.
async fn followed(fleet: &Fleet, host: &str, before: &Value) {
    until(fleet, "the next slave", |status| {
        let slaves = list(&status["slaves"]);
        let gone = slaves.iter().all(|slave| slave["slave"] != before["slave"]);
        gone && slaves.iter().any(|slave| slave["host"] == host)
    })
    .await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");
}

/// Waits until the agent of a host is connected.
async fn here(fleet: &Fleet, host: &str) {
    let is_it = |known: &Value| known["host"] == host && known["connected"] == true;
    until(fleet, "its agent", |status| {
        list(&status["hosts"]).iter().any(is_it)
    })
    .await;
}

async fn until(fleet: &Fleet, what: &str, is: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = fleet.status().await.expect("a status");
        if is(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn deploying(fleet: &Fleet, host: &str, build: &str) -> Command {
    let mut deploy = command("baton-master", ["deploy", "--slot", host, "--config"]).unwrap();
    deploy
        .arg(fleet.folder().join("baton.toml"))
        .args(["--wait", "--"]);
    deploy.args(fleet.host_command(host, build).expect("it is built"));
    deploy
}

async fn deploy(fleet: &Fleet, host: &str, build: &str) {
    let output = deploying(fleet, host, build)
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{why}");
}

async fn fence(fleet: &Fleet, host: &str) -> String {
    let mut fence = command("baton-master", ["fence", "--host", host, "--config"]).unwrap();
    let output = fence
        .arg(fleet.folder().join("baton.toml"))
        .output()
        .await
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Pauses traffic: every event was handled once.
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

/// The same after deaths: repeats are marked.
async fn handled_all(fleet: &Fleet) {
    fleet.discord.traffic(0.0).await.expect("traffic");
    let handled = fleet
        .settle(Duration::from_secs(10))
        .await
        .expect("records");
    let sent = fleet.discord.ledger().await.expect("a ledger");
    let verdict = Exactness::of(&sent, &handled);
    let wrong = verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.invented;
    assert_eq!(wrong, 0, "{verdict:#?}");
}

/// Whether a test may have pid namespaces. Where it may not it says so, and fails in CI.
pub(crate) async fn namespaces_are_permitted() -> bool {
    let mut tried = Command::new(NAMESPACE[0]);
    tried.args(&NAMESPACE[1..]).arg("true");
    let permitted = tried.status().await.is_ok_and(|status| status.success());
    if !permitted {
        eprintln!("NOT TESTED: pid namespaces are not permitted here (unshare --pid needs root)");
        assert!(std::env::var_os("CI").is_none(), "in CI they have to be");
    }
    permitted
}

/// A process of this fleet, by its own words: what it is outside of its namespace.
fn outside(fleet: &Fleet, program: &str, words: &[&str]) -> u32 {
    let folder = fleet.folder().display().to_string();
    let words = words.join("\0");
    let is_it = |pid: &u32| {
        let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let said = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        runs.ends_with(program) && String::from_utf8_lossy(&said).contains(&words)
    };
    let mut found = processes_naming(&folder).into_iter().filter(is_it);
    found.next().expect("it runs")
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .expect("a process id")
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("it lives");
}

async fn wait_for(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
