//! Pods: containers without the host's process ids, in each of which an agent is process 1 and
//! the parent of one slave. A test does what Kubernetes does with them: the next one is started
//! before the one before is asked to end, and only then when it is ready.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use baton_tests::{
    checker::Exactness,
    discord::TOKEN,
    fleet::{Fleet, FleetOptions},
    hosts::{Host, Network, or_pass_over},
    parts::processes_naming,
    process::{Process, command},
    programs::wrapped,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::Instant;

use crate::hosts::{NAMESPACE, namespaces_are_permitted};

const LIMIT: Duration = Duration::from_secs(60);

/// Where pods run, and how they reach the master.
#[derive(Clone)]
struct Node {
    /// What runs a container's command line, which follows.
    runs: Vec<String>,
    join: String,
    /// The certificates of agents, and of slaves.
    tls: Option<[PathBuf; 2]>,
}

impl Node {
    /// This machine.
    fn here(join: String) -> Self {
        Self {
            runs: NAMESPACE.map(str::to_owned).to_vec(),
            join,
            tls: None,
        }
    }

    /// A host of the fleet's network. All pods have the same two certificates, which an operator
    /// made before any of them had a name.
    fn of(host: &Host, fleet: &Fleet) -> Self {
        let tls = ["agent", "slave"].map(|role| fleet.folder().join(format!("tls/pods-{role}")));
        Self {
            runs: [host.runs(), NAMESPACE.map(str::to_owned).to_vec()].concat(),
            join: format!("tls://{}", fleet.listen()),
            tls: Some(tls),
        }
    }
}

/// A pod: its folder outlives its containers.
struct Pod {
    node: Node,
    name: &'static str,
    build: &'static str,
    dir: PathBuf,
    containers: u32,
    agent: Process,
}

impl Pod {
    /// Its first container.
    async fn starts(fleet: &Fleet, node: &Node, name: &'static str, build: &'static str) -> Self {
        let dir = fleet.folder().join(format!("pod-{name}"));
        Self {
            agent: container(fleet, node, (name, build), &dir, 1).await,
            node: node.clone(),
            name,
            build,
            dir,
            containers: 1,
        }
    }

    /// Its container ended, and it gets the next one.
    async fn restarts(&mut self, fleet: &Fleet) {
        assert!(self.agent.is_over());
        self.containers += 1;
        let build = (self.name, self.build);
        self.agent = container(fleet, &self.node, build, &self.dir, self.containers).await;
    }

    /// What a probe, or a hook, in its container comes to.
    async fn asks(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut asks = command("baton-master", ["agent-status", "--runtime-dir"]).unwrap();
        let output = asks.arg(&self.dir).args(arguments).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    async fn is_ready(&self) -> bool {
        self.asks(&["--ready"]).await.0 == Some(0)
    }

    async fn is_ready_in_the_end(&self) {
        let deadline = Instant::now() + LIMIT;
        while !self.is_ready().await {
            let why = self.asks(&[]).await.1;
            let words = self.agent.last_words();
            assert!(Instant::now() < deadline, "{}: {why}\n{words}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process of this program, as it is called outside of it.
    fn outside(&self, name: &str) -> u32 {
        let found = self.running(name);
        found.unwrap_or_else(|| panic!("{name} runs in pod {}", self.name))
    }

    /// The same, where it may have ended.
    fn running(&self, name: &str) -> Option<u32> {
        let dir = self.dir.display().to_string();
        let runs = |pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.ends_with(name)
        };
        processes_naming(&dir).into_iter().find(runs)
    }

    /// What Kubernetes does with a pod that is to go: the hook, the signal, its end.
    async fn deleted(mut self) -> i32 {
        let (code, said) = self.asks(&["--followed", "20s"]).await;
        assert_eq!(code, Some(0), "{said}");
        self.is_asked_to_end().await
    }

    async fn is_asked_to_end(&mut self) -> i32 {
        // It may end by itself just now: what it had has moved.
        if let Some(agent) = self.running("baton-master") {
            signal(agent, Signal::TERM);
        }
        self.agent.ended(LIMIT).await.expect("it ends")
    }
}

async fn container(
    fleet: &Fleet,
    node: &Node,
    (name, build): (&str, &str),
    dir: &Path,
    number: u32,
) -> Process {
    let sink = format!("{}/sinks/{name}{number}-%p.jsonl", fleet.folder().display());
    let slave = fleet.slave_command(build, &["--sink", &format!("file:{sink}")]);
    let host = format!("pod.{name}");
    let agent = [
        "agent",
        "--json-ready",
        "--host",
        &host,
        "--join",
        &node.join,
    ];
    let mut agent = wrapped(&node.runs, "baton-master", &agent).unwrap();
    agent.arg("--runtime-dir").arg(dir);
    agent
        .arg("--secret-file")
        .arg(fleet.folder().join("run/secret"));
    if let Some([agents, slaves]) = &node.tls {
        agent.arg("--tls-dir").arg(agents);
        agent.arg("--slaves-tls-dir").arg(slaves);
    }
    agent.args(["--slot", "main", "--"]).args(slave.unwrap());
    agent
        .env("DISCORD_TOKEN", TOKEN)
        .env("BATON_LOG", "info,baton_master=debug");
    let logs = fleet.folder().join("logs");
    let log = format!("pod-{name}-{number}");
    let (agent, _) = Process::start(&log, &logs, agent, true)
        .await
        .expect("an agent");
    agent
}

fn options() -> FleetOptions {
    let mut options = FleetOptions::default();
    let limits = [("ping", "200ms"), ("hang", "1s"), ("backoff", "100ms")];
    options.special.limits = limits.map(|(name, limit)| (name, limit.to_owned())).into();
    options
}

/// A fleet whose slot has no command, and its first pod, which serves.
async fn serving(by_socket: bool) -> (Fleet, Node, Pod) {
    let fleet = Fleet::start(options()).await.expect("a fleet");
    let socket = format!("unix:{}", fleet.folder().join("run/slave.sock").display());
    let join = match by_socket {
        true => socket,
        false => fleet.listen().to_owned(),
    };
    let node = Node::here(join);
    let first = first(&fleet, &node).await;
    (fleet, node, first)
}

/// The first pod of a fleet, which serves.
async fn first(fleet: &Fleet, node: &Node) -> Pod {
    let first = Pod::starts(fleet, node, "a", "v1").await;
    first.is_ready_in_the_end().await;
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(30.0).await.expect("traffic");
    first
}

#[tokio::test]
async fn a_rolling_update_is_a_deploy_and_undoing_it_is_another_one() {
    if !namespaces_are_permitted().await {
        return;
    }
    let (fleet, node, first) = serving(false).await;
    let identifies = fleet.discord.counts().await.expect("counts").identifies;

    let second = Pod::starts(&fleet, &node, "b", "v2").await;
    // Not ready before it cannot go back any more.
    second.is_ready_in_the_end().await;
    let status = fleet.status().await.expect("a status");
    let step = status["deploy"]["step"].as_str();
    assert!(matches!(step, None | Some("retiring")), "{status}");
    assert_eq!(owner(&fleet).await, "pod.b");
    assert_eq!(first.deleted().await, 0);
    exact(&fleet).await;

    fleet.discord.traffic(30.0).await.expect("traffic");
    let third = Pod::starts(&fleet, &node, "c", "v1").await;
    third.is_ready_in_the_end().await;
    assert_eq!(owner(&fleet).await, "pod.c");
    assert_eq!(second.deleted().await, 0);
    exact(&fleet).await;

    // A node is drained: the pod is to go before the next one is there, and waits for it.
    fleet.discord.traffic(30.0).await.expect("traffic");
    let goes = third.deleted();
    let next = async {
        let next = Pod::starts(&fleet, &node, "d", "v1").await;
        next.is_ready_in_the_end().await;
        next
    };
    let (code, next) = tokio::join!(goes, next);
    assert_eq!(code, 0);
    assert_eq!(owner(&fleet).await, "pod.d");
    exact(&fleet).await;

    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies, "every session was resumed");
    let status = fleet.status().await.expect("a status");
    assert_eq!(status["hosts"].as_array().unwrap().len(), 1, "{status}");
    drop(next);
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_pod_whose_slave_or_agent_is_killed_comes_back_and_begins_no_deploy() {
    if !namespaces_are_permitted().await {
        return;
    }
    let (fleet, node, mut pod) = serving(true).await;
    let identifies = fleet.discord.counts().await.expect("counts").identifies;

    // The slave: the agent tells it, and the container ends with the slave's code.
    signal(pod.outside("baton-slave"), Signal::KILL);
    assert_eq!(pod.agent.ended(LIMIT).await.unwrap(), 128 + 9);
    until(&fleet, "it is known to be dead", |status| {
        list(&status["slaves"]).is_empty()
    })
    .await;
    pod.restarts(&fleet).await;
    pod.is_ready_in_the_end().await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");

    // The agent: everything in its container dies with it, and the next one of the pod knows that.
    signal(pod.outside("baton-master"), Signal::KILL);
    pod.agent.ended(LIMIT).await.expect("it ends");
    pod.restarts(&fleet).await;
    pod.is_ready_in_the_end().await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");

    // Asked to end without a successor, it seals; the next pod goes on from there.
    assert_eq!(pod.is_asked_to_end().await, 0);
    until(&fleet, "it has left", |status| {
        list(&status["slaves"]).is_empty()
    })
    .await;
    let next = Pod::starts(&fleet, &node, "b", "v2").await;
    next.is_ready_in_the_end().await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");

    handled_all(&fleet).await;
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies, "every session was resumed");
    let status = fleet.status().await.expect("a status");
    assert!(status["deploy"].is_null(), "{status}");
    drop(next);
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn the_pod_of_a_bad_build_is_never_ready_and_the_one_before_serves_on() {
    if !namespaces_are_permitted().await {
        return;
    }
    let (mut fleet, node, first) = serving(true).await;
    // Other intents: the master does not let it in.
    fleet.special().slave_flags = ["--intents", "1"].map(str::to_owned).to_vec();
    let mut bad = Pod::starts(&fleet, &node, "b", "v2").await;
    assert_eq!(bad.agent.ended(LIMIT).await.unwrap(), 2);
    // It is started again and again, as Kubernetes does, and that begins nothing either.
    bad.restarts(&fleet).await;
    assert!(!bad.is_ready().await);
    assert!(first.is_ready().await);
    // One that dies when it has a shard: what it had goes back, and it comes back as nobody.
    fleet.special().slave_flags = Vec::new();
    let mut dies = Pod::starts(&fleet, &node, "c", "v3").await;
    until(&fleet, "it came", |status| {
        list(&status["slaves"])
            .iter()
            .any(|it| it["host"] == "pod.c")
    })
    .await;
    signal(dies.outside("baton-slave"), Signal::KILL);
    assert_eq!(dies.agent.ended(LIMIT).await.unwrap(), 128 + 9);
    until(&fleet, "it is over", |status| status["deploy"].is_null()).await;
    dies.restarts(&fleet).await;
    // The slot is taken, as often as it tries.
    assert_eq!(dies.agent.ended(LIMIT).await.unwrap(), 2);
    fleet.all_serving(LIMIT).await.expect("all serve");
    assert_eq!(owner(&fleet).await, "pod.a");
    assert!(first.is_ready().await);
    handled_all(&fleet).await;
    drop(bad);
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn pods_of_two_nodes_have_one_certificate_and_a_node_that_is_lost_is_fenced_by_its_pod() {
    let Some(network) = or_pass_over(Network::make(2)) else {
        return;
    };
    let network = Arc::new(network);
    let mut options = options();
    options.discord.at = network.here();
    options.special.network = Some(Arc::clone(&network));
    options.special.slot_keys = vec!["name = \"main\"\nhost = \"pod.*\""];
    let fleet = Fleet::start(options).await.expect("a fleet");
    for role in ["agent", "slave"] {
        let folder = fleet.folder().join("tls");
        let mut issue = command("baton-master", ["certs", "issue", "--host", "pod.*"]).unwrap();
        issue
            .args(["--role", role, "--ca"])
            .arg(folder.join("authority"));
        issue.arg("--out").arg(folder.join(format!("pods-{role}")));
        assert!(issue.status().await.unwrap().success());
    }
    let nodes: Vec<Node> = network
        .hosts()
        .iter()
        .map(|host| Node::of(host, &fleet))
        .collect();
    let first = first(&fleet, &nodes[0]).await;
    let identifies = fleet.discord.counts().await.expect("counts").identifies;
    let second = Pod::starts(&fleet, &nodes[1], "b", "v2").await;
    second.is_ready_in_the_end().await;
    assert_eq!(first.deleted().await, 0);
    assert_eq!(owner(&fleet).await, "pod.b");
    exact(&fleet).await;

    // Nobody says that anything on the node is dead, and the next pod is not let in.
    fleet.discord.traffic(30.0).await.expect("traffic");
    network.hosts()[1].lose();
    until(&fleet, "its agent is away", |status| {
        let hosts = list(&status["hosts"]);
        hosts
            .iter()
            .any(|it| it["host"] == "pod.b" && it["connected"] == false)
    })
    .await;
    let third = Pod::starts(&fleet, &nodes[0], "c", "v2").await;
    assert!(!third.is_ready().await);
    let mut fence = fleet.order(&["fence", "--host", "pod.b"]).unwrap();
    let deadline = Instant::now() + LIMIT;
    while !fence.output().await.unwrap().status.success() {
        assert!(Instant::now() < deadline, "its slave does not answer");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    third.is_ready_in_the_end().await;
    fleet.all_serving(LIMIT).await.expect("the next one serves");
    handled_all(&fleet).await;
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies, "every session was resumed");
    drop((second, third));
    fleet.shut_down().await.expect("it ends");
}

/// The host of the slave that fills the slot.
async fn owner(fleet: &Fleet) -> String {
    let status = fleet.status().await.expect("a status");
    let owner = status["slots"][0]["slave"].as_str().unwrap_or_default();
    let slaves = list(&status["slaves"]);
    let found = slaves.iter().find(|slave| slave["slave"] == owner);
    let host = found.and_then(|slave| slave["host"].as_str());
    host.unwrap_or_else(|| panic!("{status}")).to_owned()
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

/// Pauses traffic: every event was handled once.
async fn exact(fleet: &Fleet) {
    let verdict = verdict(fleet).await;
    assert!(verdict.is_exact(), "{verdict:#?}");
}

/// The same after deaths: repeats are marked.
async fn handled_all(fleet: &Fleet) {
    let verdict = verdict(fleet).await;
    let wrong = verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.invented;
    assert_eq!(wrong, 0, "{verdict:#?}");
}

async fn verdict(fleet: &Fleet) -> Exactness {
    fleet.discord.traffic(0.0).await.expect("traffic");
    let handled = fleet
        .settle(Duration::from_secs(10))
        .await
        .expect("records");
    let sent = fleet.discord.ledger().await.expect("a ledger");
    Exactness::of(&sent, &handled)
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("it lives");
}
