//! A host with a network of its own: its agent and its slaves reach the master by TLS and
//! nothing else, and the slot's socket is open there.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use baton_tests::{
    fleet::{Fleet, FleetOptions, SlotOptions, Special},
    hosts::{Host, Network, or_pass_over},
    process::{Process, command},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const LIMIT: Duration = Duration::from_secs(60);

/// A fleet whose one slot is on another host, where its slaves serve local clients at a socket
/// that the agent opens.
async fn apart(network: &Arc<Network>, host: &Host, store: &Path) -> (Fleet, Process, SocketAddr) {
    let clients = SocketAddr::from((host.address(), 7878));
    let limits = [("ping", "200ms"), ("hang", "5s"), ("backoff", "100ms")];
    let (address, store) = (clients.to_string(), store.display().to_string());
    let flags = [
        "--proxy", &address, "--sink", "none", "--state", "store", "--store", &store,
    ];
    let flags = flags.map(str::to_owned);
    let mut options = FleetOptions {
        launch: true,
        keep: true,
        special: Special {
            slots: vec![SlotOptions {
                name: "main".to_owned(),
                host: Some(host.name()),
                shards: None,
                // Beyond the loopback, clients need a token of their own.
                more: format!(
                    "listen = \"{clients}\"\nenv = {{ BATON_PROXY_TOKEN = \"of clients\" }}\n"
                ),
            }],
            limits: BTreeMap::from(limits.map(|(name, limit)| (name, limit.to_owned()))),
            slave_flags: flags.to_vec(),
            network: Some(Arc::clone(network)),
            ..Special::default()
        },
        ..FleetOptions::default()
    };
    options.discord.at = network.here();
    let fleet = Fleet::start(options).await.expect("a fleet");
    let agent = fleet.start_agent_of(host).await.expect("an agent");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    (fleet, agent, clients)
}

/// The slave that fills the slot, once it has said how its clients do.
async fn slave(fleet: &Fleet) -> Value {
    let owner = async {
        loop {
            let status = fleet.status().await.expect("a status");
            let mut slaves = status["slaves"].as_array().into_iter().flatten();
            let said = slaves.find(|it| it["role"] == "owner" && it["clients"].is_object());
            match said {
                Some(slave) => return slave.clone(),
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(LIMIT, owner).await.expect("an owner with clients")
}

/// A client that dials now; it is answered when a slave takes it.
async fn dial(clients: SocketAddr) -> TcpStream {
    let dialled = timeout(Duration::from_secs(5), TcpStream::connect(clients));
    let mut client = dialled.await.expect("in time").expect("the socket is open");
    let request = "GET /gateway HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("room");
    client
}

async fn is_answered(mut client: TcpStream) {
    let mut answer = Vec::new();
    let read = timeout(LIMIT, client.read_to_end(&mut answer)).await;
    read.expect("in time").expect("an answer");
    assert!(
        answer.starts_with(b"HTTP/1.1 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn over_tls_an_agent_starts_slaves_that_get_the_socket_which_it_opened() {
    let Some(network) = or_pass_over(Network::make(1)) else {
        return;
    };
    let network = Arc::new(network);
    let host = network.hosts()[0].clone();
    let store = tempfile::tempdir().unwrap();
    let (mut fleet, agent, clients) = apart(&network, &host, &store.path().join("store")).await;
    let identifies = fleet.discord.counts().await.expect("counts").identifies;

    // Both are known by their certificates, and nobody spoke in clear.
    let status = fleet.status().await.expect("a status");
    assert_eq!(status["hosts"][0]["host"], host.name(), "{status}");
    assert_eq!(status["hosts"][0]["connected"], true, "{status}");
    assert_eq!(status["master"]["links"]["untrusted"], 0, "{status}");
    let first = slave(&fleet).await;
    assert_eq!(first["host"], host.name(), "{first}");
    assert_eq!(first["clients"]["passed"], true, "{first}");
    is_answered(dial(clients).await).await;

    // A death: who dials meanwhile waits in the socket, which the agent holds.
    let pid = i32::try_from(first["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let waits = dial(clients).await;
    let ended = fleet.news.wait("its end", LIMIT, |event| {
        event["type"] == "slave_ended" && event["slave"] == first["slave"]
    });
    assert_eq!(
        ended.await.expect("its agent tells it")["host"],
        host.name()
    );
    fleet.all_serving(LIMIT).await.expect("another one serves");
    is_answered(waits).await;
    let second = slave(&fleet).await;
    assert_ne!(second["slave"], first["slave"]);
    assert_eq!(second["clients"]["passed"], true, "{second}");

    // A deploy: the next build has the same socket.
    let config = fleet.folder().join("baton.toml").display().to_string();
    let mut deploy = command(
        "baton-master",
        ["deploy", "--config", &config, "--wait", "--"],
    );
    let deploy = deploy.as_mut().expect("it is built");
    deploy.args(fleet.slave_command("v2", &[]).expect("it is built"));
    let deploying = tokio::spawn(deploy.output());
    while !deploying.is_finished() {
        is_answered(dial(clients).await).await;
        sleep(Duration::from_millis(20)).await;
    }
    let deployed = deploying.await.unwrap().expect("it runs");
    let said = String::from_utf8_lossy(&deployed.stderr);
    assert!(deployed.status.success(), "{said}");
    let third = slave(&fleet).await;
    assert!(
        third["build"].as_str().unwrap().starts_with("v2"),
        "{third}"
    );
    assert_eq!(third["clients"]["passed"], true, "{third}");
    is_answered(dial(clients).await).await;

    // An agent that comes back finds its slave, and its socket again.
    agent.signal(Signal::KILL);
    let gone = fleet
        .news
        .wait("its absence", LIMIT, |event| event["type"] == "agent_gone");
    gone.await.expect("it is told");
    is_answered(dial(clients).await).await;
    let _agent = fleet.start_agent_of(&host).await.expect("the next agent");
    let pid = i32::try_from(third["pid"].as_i64().unwrap()).unwrap();
    let back = fleet
        .news
        .wait("its return", LIMIT, |event| event["type"] == "agent_joined");
    back.await.expect("it is told");
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let ended = fleet.news.wait("its end", LIMIT, |event| {
        event["type"] == "slave_ended" && event["slave"] == third["slave"]
    });
    ended.await.expect("the next agent tells it");
    fleet.all_serving(LIMIT).await.expect("another one serves");
    assert_eq!(slave(&fleet).await["clients"]["passed"], true);
    is_answered(dial(clients).await).await;

    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(counts.identifies, identifies, "every session was resumed");
    fleet.shut_down().await.expect("it ends");
}
