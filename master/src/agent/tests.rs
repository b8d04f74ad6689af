//! An agent with real processes, and a master that a test plays over a real socket.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use baton_protocol::{
    AgentId, Connection, FleetId, LaunchId, ProcessIdentity, SlaveId, Term, Trust, Version,
    message::{
        Ping, Role, Welcome,
        agent::{AgentAccepted, Ended, Launch, Launched, OfLaunch, OfSlave, Sight, Watch},
    },
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::{ledger::Ledger, link::addresses, *};
use crate::process::{Common, Listeners};

mod parent;

/// Only a broken test waits this long.
const LONG: Duration = Duration::from_secs(30);

/// A master that listens in a folder.
struct Master {
    listener: UnixListener,
    secret: Secret,
    term: u64,
}

/// A link of an agent.
struct Linked {
    connection: Connection,
    hello: AgentHello,
    /// What it launched and no master has noted as ended.
    launches: Vec<LaunchId>,
}

impl Master {
    fn new(dir: &Path) -> Self {
        Self {
            listener: UnixListener::bind(dir.join("master.sock")).unwrap(),
            secret: Secret::random().unwrap(),
            term: 3,
        }
    }

    /// Takes the next agent that dials.
    async fn accepts(&self) -> Linked {
        let accepted = timeout(LONG, self.listener.accept()).await;
        let (socket, _) = accepted.unwrap().unwrap();
        self.greets(socket).await
    }

    async fn greets(&self, socket: UnixStream) -> Linked {
        let mut connection = Connection::new(socket);
        connection.trust(Trust::Known);
        let mut linked = Linked {
            connection,
            hello: AgentHello::default(),
            launches: Vec::new(),
        };
        let FromAgent::Hello(hello) = linked.hears().await else {
            panic!("a hello was to come");
        };
        let welcome = Welcome {
            version: Version::NEWEST,
            term: Term {
                fleet: FleetId(7),
                counter: self.term,
            },
            proof: self.secret.master_proof_to_agent(&hello.nonce, hello.agent),
            challenge: "0123456789abcdef".into(),
            checkpoint_ms: 0,
        };
        let expected = self
            .secret
            .agent_proof(b"0123456789abcdef", hello.agent, &hello.host);
        linked.hello = *hello;
        linked.says(ToAgent::Welcome(welcome)).await;
        let FromAgent::Proof(proof) = linked.hears().await else {
            panic!("a proof was to come");
        };
        assert!(Secret::is_proof(&expected, &proof.proof));
        let FromAgent::Report(report) = linked.hears().await else {
            panic!("a report was to come");
        };
        linked.launches = report.launches.iter().map(|of| of.launch).collect();
        let accepted = AgentAccepted { ping_ms: 60_000 };
        linked.says(ToAgent::Accepted(accepted)).await;
        linked
    }
}

impl Linked {
    async fn says(&mut self, message: ToAgent) {
        self.connection.send(&message.to_frame()).await.unwrap();
    }

    async fn hears(&mut self) -> FromAgent {
        let frame = timeout(LONG, self.connection.recv()).await;
        FromAgent::from_frame(frame.unwrap().unwrap().expect("a message")).unwrap()
    }

    async fn launches(&mut self, launch: u128, script: &str) {
        let order = Launch {
            launch: LaunchId(launch),
            slot: "main".to_owned(),
            role: Role::Relaunch,
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("OWN".to_owned(), "yes".to_owned())]),
            ..Launch::default()
        };
        self.says(ToAgent::Launch(Box::new(order))).await;
    }

    async fn launched(&mut self) -> Launched {
        let heard = self.hears().await;
        let FromAgent::Launched(launched) = heard else {
            panic!("a launch was to be answered: {heard:?}");
        };
        launched
    }

    async fn ended(&mut self) -> Ended {
        let heard = self.hears().await;
        let FromAgent::Ended(ended) = heard else {
            panic!("an end was to be told: {heard:?}");
        };
        *ended
    }

    /// Everything before it was heard.
    async fn pings(&mut self) {
        self.says(ToAgent::Ping(Ping {
            number: 9,
            heard: 0,
        }))
        .await;
        assert_eq!(
            self.hears().await,
            FromAgent::Pong(Ping {
                number: 9,
                heard: 0
            })
        );
    }

    async fn watches(&mut self, slave: u128, process: &ProcessIdentity) -> FromAgent {
        let (slave, process) = (SlaveId(slave), process.clone());
        self.says(ToAgent::Watch(Watch { slave, process })).await;
        self.hears().await
    }
}

/// An agent of this test; aborted, it is as if it had been killed.
fn agent(dir: &Path, secret: &Secret) -> AbortOnDropHandle<u8> {
    agent_of(dir, secret, None)
}

/// The same, maybe of one slave that it starts by itself.
fn agent_of(dir: &Path, secret: &Secret, script: Option<&str>) -> AbortOnDropHandle<u8> {
    let common = Common {
        host: "east".to_owned(),
        masters: "127.0.0.1:1".to_owned(),
        runtime_dir: dir.to_owned(),
        secret: secret.clone(),
        token_file: None,
        tls_dir: None,
        // Threads of outputs outlive a test.
        outputs: None,
        listeners: Arc::new(Listeners::new(dir, Vec::new())),
    };
    let here = ProcessIdentity::current().unwrap();
    let (events, happened) = mpsc::channel(QUEUE);
    let ledger = Ledger::open(dir).unwrap();
    let processes = Processes::adopt(common, here.clone(), ledger, events);
    let parent = script.map(|script| {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Parent::new("main".to_owned(), command, &processes)
    });
    let (asked, listening) = door::open(dir).unwrap();
    let on_exit = parent.as_ref().map_or(OnExit::Leave, |_| OnExit::Stop);
    let agent = Agent {
        hello: AgentHello {
            version: Version::NEWEST,
            lowest: Version::OLDEST,
            agent: AgentId::random().unwrap(),
            host: "east".to_owned(),
            process: here,
            ..AgentHello::default()
        },
        masters: addresses(&format!("unix:{}", dir.join("master.sock").display()), None).unwrap(),
        tls_dir: None,
        next: 0,
        failures: 0,
        secret: secret.clone(),
        processes,
        parent,
        happened,
        asked,
        link: Way::Wait(Instant::now()),
        heard: Instant::now(),
    };
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ending = Ending::new().unwrap();
        let _listening = listening;
        agent.run(&mut ending, on_exit, Duration::ZERO).await
    }))
}

/// A file that a launched process makes, so that its starts can be counted.
fn starts(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("start-")).count()
}

#[tokio::test]
async fn an_order_that_is_said_twice_is_carried_out_once_also_by_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    let script = format!("echo >{}/start-$$; exec sleep 60", dir.path().display());
    link.launches(1, &script).await;
    let first = link.launched().await;
    assert_eq!((first.launch, first.failed.as_str()), (LaunchId(1), ""));
    link.launches(1, &script).await;
    assert_eq!(link.launched().await, first, "the same process");
    // The answer was lost with the link, and then the agent is killed.
    drop(link);
    let mut link = master.accepts().await;
    assert_eq!(link.launches, [LaunchId(1)]);
    link.launches(1, &script).await;
    assert_eq!(link.launched().await, first);
    drop(running);
    drop(link);
    let running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    assert_eq!(
        link.launches,
        [LaunchId(1)],
        "it knows what was launched before"
    );
    link.launches(1, &script).await;
    assert_eq!(link.launched().await, first);
    assert_eq!(starts(dir.path()), 1);
    // It is the next one's to kill, with its group.
    link.says(ToAgent::GiveUp(OfLaunch {
        launch: LaunchId(1),
    }))
    .await;
    let ended = link.ended().await;
    assert_eq!((ended.launch, ended.pid), (LaunchId(1), first.process.pid));
    drop(running);
}

#[tokio::test]
async fn an_end_is_told_on_each_link_until_it_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    link.launches(1, "exit 7").await;
    link.launched().await;
    let ended = link.ended().await;
    assert_eq!((ended.code, ended.signal), (Some(7), None));
    drop(link);
    let mut link = master.accepts().await;
    assert_eq!(link.ended().await, ended);
    // Also by the next agent, and then no more.
    drop((running, link));
    let _running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    assert_eq!(link.ended().await, ended);
    link.says(ToAgent::Noted(OfLaunch {
        launch: LaunchId(1),
    }))
    .await;
    link.pings().await;
    drop(link);
    let mut link = master.accepts().await;
    assert!(link.launches.is_empty());
    link.pings().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_told_with_the_reason_and_is_no_launch() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let _running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    let order = Launch {
        launch: LaunchId(2),
        command: vec!["/nonexistent/bot".to_owned()],
        ..Launch::default()
    };
    link.says(ToAgent::Launch(Box::new(order))).await;
    let failed = link.launched().await.failed;
    assert!(failed.contains("/nonexistent/bot"), "{failed}");
    drop(link);
    assert!(master.accepts().await.launches.is_empty());
}

#[tokio::test]
async fn a_slave_that_is_watched_is_dead_when_its_process_is_and_strangers_are_never_judged() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let _running = agent(dir.path(), &master.secret);
    let mut link = master.accepts().await;
    link.launches(1, "exec sleep 60").await;
    let process = link.launched().await.process;
    let FromAgent::Watched(watched) = link.watches(5, &process).await else {
        panic!("it lives");
    };
    assert_eq!((watched.sight, watched.may_kill), (Sight::Watched, true));
    // One of another namespace may have the same number, and another boot may go on elsewhere.
    let mut elsewhere = process.clone();
    elsewhere.pid_namespace += 1;
    let FromAgent::Watched(watched) = link.watches(6, &elsewhere).await else {
        panic!("nothing is known of it");
    };
    assert_eq!(watched.sight, Sight::Elsewhere);
    // Nor is the agent itself a slave.
    let own = ProcessIdentity::current().unwrap();
    let FromAgent::Watched(watched) = link.watches(7, &own).await else {
        panic!("it is none");
    };
    assert_eq!(watched.sight, Sight::Elsewhere);
    // A process of that number that started at another time is dead.
    let mut earlier = process.clone();
    earlier.start_time -= 1;
    let dead = FromAgent::Died(OfSlave { slave: SlaveId(8) });
    assert_eq!(link.watches(8, &earlier).await, dead);
    link.says(ToAgent::Kill(OfSlave { slave: SlaveId(5) }))
        .await;
    let mut told = [link.hears().await, link.hears().await];
    told.sort_by_key(|message| matches!(message, FromAgent::Ended(_)));
    assert_eq!(told[0], FromAgent::Died(OfSlave { slave: SlaveId(5) }));
    let FromAgent::Ended(ended) = &told[1] else {
        panic!("{told:?}");
    };
    assert_eq!(ended.signal, Some(9));
}

#[tokio::test]
async fn a_master_of_an_earlier_term_or_without_the_secret_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Master::new(dir.path());
    let _running = agent(dir.path(), &master.secret);
    let link = master.accepts().await;
    assert_eq!(link.hello.term.counter, 0);
    drop(link);
    master.term = 2;
    let (socket, _) = master.listener.accept().await.unwrap();
    // It ends the handshake instead of proving itself.
    let greeted = tokio::spawn({
        let mut connection = Connection::new(socket);
        connection.trust(Trust::Known);
        let secret = master.secret.clone();
        async move {
            let frame = connection.recv().await.unwrap().unwrap();
            let FromAgent::Hello(hello) = FromAgent::from_frame(frame).unwrap() else {
                panic!("a hello was to come");
            };
            let welcome = Welcome {
                version: Version::NEWEST,
                term: Term {
                    fleet: FleetId(7),
                    counter: 2,
                },
                proof: secret.master_proof_to_agent(&hello.nonce, hello.agent),
                ..Welcome::default()
            };
            let welcome = ToAgent::Welcome(welcome);
            connection.send(&welcome.to_frame()).await.unwrap();
            (hello.term.counter, connection.recv().await.unwrap())
        }
    });
    let (known, answer) = greeted.await.unwrap();
    assert_eq!((known, answer), (3, None));
    master.term = 4;
    assert_eq!(master.accepts().await.hello.term.counter, 3);
}

#[test]
fn several_masters_are_named_with_commas_and_a_mistake_is_named() {
    let dir = Some(Path::new("/etc/baton/tls"));
    let found = addresses("unix:/run/a.sock, localhost:1,[::1]:2,tls://a:3", dir).unwrap();
    assert_eq!(found.len(), 4);
    for (wrong, says) in [
        ("host", "HOST:PORT"),
        ("a:1,,b:2", "HOST:PORT"),
        ("10.0.0.5:7447", "give tls://10.0.0.5:7447"),
    ] {
        let why = addresses(wrong, dir).unwrap_err();
        assert!(why.contains(says), "{why}");
    }
    let why = addresses("tls://a:3", None).unwrap_err();
    assert!(why.contains("BATON_TLS_DIR"), "{why}");
}
