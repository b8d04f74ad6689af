//! Two masters that share a store: a real nats-server, the program itself, and a slave that
//! dials both.

use std::{
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    time::Duration,
};

use baton_brokers::{Nats, or_pass_over};
use baton_protocol::{
    auth::Secret,
    message::{RefusedReason, Role},
};
use rustix::process::Signal;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    fake::Fake,
    fleet::{Fleet, LONG, Master, until},
};

/// With the usual lease a master that is killed is followed within this time.
const TAKEN_OVER: Duration = Duration::from_secs(17);

/// Between a master and the store: it can be cut.
struct Wire {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Wire {
    fn to(store: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut here, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let mut there = TcpStream::connect(("127.0.0.1", store)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { port, cut }
    }

    fn cut(&self) {
        self.cut.send_replace(true);
    }

    fn mend(&self) {
        self.cut.send_replace(false);
    }
}

/// A fleet of two hosts. Each has a folder of its own, and both have one secret.
struct Hosts {
    /// One server, or three.
    store: Vec<Nats>,
    /// Between the master on `a` and the store.
    wire: Option<Wire>,
    a: Fleet,
    b: Fleet,
}

impl Hosts {
    fn new() -> Option<Self> {
        Self::with(|_| None)
    }

    fn through_a_wire() -> Option<Self> {
        Self::with(|store| Some(Wire::to(store.port)))
    }

    fn with(wire: impl FnOnce(&Nats) -> Option<Wire>) -> Option<Self> {
        let store = or_pass_over(Nats::start())?;
        let wire = wire(&store);
        Some(Self::at(vec![store], wire))
    }

    fn of_three() -> Option<Self> {
        let store = or_pass_over(Nats::three())?;
        Some(Self::at(store.into(), None))
    }

    fn at(store: Vec<Nats>, wire: Option<Wire>) -> Self {
        let secret = Secret::random().unwrap().to_hex();
        let host = |name: &str, url: String| {
            let fleet = Fleet::new(&format!(
                "host = {name:?}\nstore = {:?}\nshard_count = 4\n[limits]\nbackoff = \"100ms\"\nping = \"500ms\"\n",
                url
            ));
            let run = fleet.socket().with_file_name("");
            std::fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
            let mut file = std::fs::OpenOptions::new();
            let file = file.write(true).create_new(true).mode(0o600);
            let mut file = file.open(run.join("secret")).unwrap();
            file.write_all(secret.as_bytes()).unwrap();
            fleet
        };
        let ports = store.iter().map(|server| server.port);
        let hosts: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        let all = format!("nats://{}", hosts.join(","));
        let wired = wire.as_ref();
        let wired = wired.map(|wire| format!("nats://127.0.0.1:{}", wire.port));
        let a = host("a", wired.unwrap_or_else(|| all.clone()));
        let b = host("b", all);
        Self { store, wire, a, b }
    }

    /// The master on `a` leads, the one on `b` stands by, and a slave serves all shards.
    async fn served(&self) -> (Master, Master, Fake) {
        let a = self.a.master().await;
        leads(&self.a).await;
        let b = self.b.master().await;
        let slave = self
            .a
            .slave("v1", Role::Candidate)
            .also_at(&self.b.socket());
        until("all serve", || slave.serving() == 4).await;
        self.a.settled().await;
        (a, b, slave)
    }
}

/// Waits until this host's master leads; gives how long that took.
async fn leads(host: &Fleet) -> Duration {
    let began = Instant::now();
    loop {
        let said = host.says(&["status", "--json"]).await;
        if said.code == Some(0) {
            return began.elapsed();
        }
        assert!(began.elapsed() < LONG, "{said:?}\n{}", host.log());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn ended(mut master: Master) -> Option<i32> {
    timeout(LONG, master.child.wait())
        .await
        .unwrap()
        .unwrap()
        .code()
}

#[tokio::test]
async fn a_standby_master_says_who_leads_and_follows_one_that_steps_down_within_a_second() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, mut b, slave) = hosts.served().await;
    let said = hosts.b.says(&["status"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the one on a does"), "{said:?}");
    let stranger = hosts.b.slave("v1", Role::Standby);
    until("a refusal", || stranger.seen().refused.is_some()).await;
    let refused = stranger.seen().refused.clone().unwrap();
    assert_eq!(refused.reason, RefusedReason::NotLeading);
    assert!(refused.detail.contains("the one on a does"), "{refused:?}");
    drop(stranger);

    let term = slave.seen().term.counter;
    let shards = slave.seen().shards.clone();
    let said = hosts.a.says(&["step-down"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let took = leads(&hosts.b).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    until("a later term", || slave.seen().term.counter > term).await;
    assert_eq!(ended(a).await, Some(5));
    hosts.b.settled().await;
    // Nothing moved, and nothing began anew.
    assert_eq!(slave.seen().shards, shards);
    assert_eq!(slave.seen().permits.len(), 4);

    // Alone it steps down for nobody.
    let said = hosts.b.says(&["step-down"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("--force"), "{said:?}");
    // The one that stepped down stands by when it is started again.
    let _a = hosts.a.master().await;
    let said = hosts.a.says(&["status"]).await;
    assert!(said.err.contains("the one on b does"), "{said:?}");
    // One that leaves gives the lead back.
    b.signal(Signal::TERM);
    leads(&hosts.a).await;
    assert_eq!(
        timeout(LONG, b.child.wait()).await.unwrap().unwrap().code(),
        Some(0)
    );
    hosts.a.settled().await;
    assert_eq!(slave.seen().shards, shards);
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_within_the_lease_and_no_shard_notices() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    let shards = slave.seen().shards.clone();
    a.signal(Signal::KILL);
    let took = leads(&hosts.b).await;
    assert!(took < TAKEN_OVER, "{took:?}");
    until("a later term", || slave.seen().term.counter > term).await;
    hosts.b.settled().await;
    assert_eq!(slave.seen().shards, shards);
    assert_eq!(slave.seen().permits.len(), 4);
    drop(a);
    // Started again it finds another one leading.
    let _a = hosts.a.master().await;
    let said = hosts.a.says(&["status"]).await;
    assert!(said.err.contains("the one on b does"), "{said:?}");
}

#[tokio::test]
async fn of_three_servers_of_the_store_each_may_die_and_a_killed_leader_is_followed() {
    let Some(mut hosts) = Hosts::of_three() else {
        return;
    };
    let (a, b, slave) = hosts.served().await;
    let shards = slave.seen().shards.clone();
    for server in 0..3 {
        hosts.store[server].kill();
        // As long as the store needs for another leader; nobody waits for it but saves.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(slave.serving(), 4);
        hosts.store[server].start_again().unwrap();
        let answers = |status: &serde_json::Value| status["leadership"]["store_away_ms"].is_null();
        sleep(Duration::from_secs(4)).await;
        hosts.a.shows("the store answers", answers).await;
    }
    a.signal(Signal::KILL);
    let took = leads(&hosts.b).await;
    assert!(took < TAKEN_OVER, "{took:?}");
    hosts.b.settled().await;
    assert_eq!(slave.seen().shards, shards);
    assert_eq!(slave.seen().permits.len(), 4);
    drop((a, b));
}

#[tokio::test]
async fn a_leader_that_stood_still_for_longer_than_its_lease_decides_nothing_when_it_goes_on() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    a.signal(Signal::STOP);
    // As a slave that hears nothing: it dials the next.
    slave.come_back();
    let took = leads(&hosts.b).await;
    assert!(took < TAKEN_OVER, "{took:?}");
    until("a later term", || slave.seen().term.counter > term).await;
    a.signal(Signal::CONT);
    assert_eq!(ended(a).await, Some(5));
    hosts.b.settled().await;
    assert_eq!(slave.serving(), 4);
}

#[tokio::test]
async fn while_the_store_is_away_nothing_begins_and_what_is_served_goes_on() {
    let Some(hosts) = Hosts::new() else { return };
    let (_a, _b, slave) = hosts.served().await;
    let orders = slave.seen().orders.clone();
    hosts.store[0].process.stop();
    hosts
        .a
        .shows("the store is away", |status| {
            status["leadership"]["store_away_ms"].is_u64()
        })
        .await;
    let said = hosts.a.says(&["deploy", "--", "true"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(slave.serving(), 4);
    hosts.store[0].process.go_on();
    hosts
        .a
        .shows("the store is back", |status| {
            status["leadership"]["store_away_ms"].is_null()
        })
        .await;
    hosts.a.settled().await;
    assert_eq!(slave.seen().orders, orders);
    // The same master leads, under the same term.
    assert_eq!(hosts.a.status().await["leadership"]["leads"], true);
}

#[tokio::test]
async fn a_leader_that_reaches_fewer_slaves_than_a_standby_master_steps_down_for_it() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    let slave = slave.only_at(&hosts.b.socket());
    until("a later term", || slave.seen().term.counter > term).await;
    assert_eq!(ended(a).await, Some(5));
    hosts.b.settled().await;
    assert_eq!(slave.serving(), 4);
    let log = hosts.a.log();
    assert!(log.contains("reaches 0 of 1 slaves"), "{log}");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_its_slaves_steps_down_although_their_links_stay() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    slave.seen().mute = true;
    until("a link that says nothing", || !slave.seen().mute).await;
    let slave = slave.only_at(&hosts.b.socket());
    until("a later term", || slave.seen().term.counter > term).await;
    assert_eq!(ended(a).await, Some(5));
    hosts.b.settled().await;
    assert_eq!(slave.serving(), 4);
    let log = hosts.a.log();
    assert!(log.contains("reaches 0 of 1 slaves"), "{log}");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_store_lets_its_slaves_go_to_the_next_one() {
    let Some(hosts) = Hosts::through_a_wire() else {
        return;
    };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    hosts.wire.as_ref().unwrap().cut();
    leads(&hosts.b).await;
    until("a later term", || slave.seen().term.counter > term).await;
    hosts.b.settled().await;
    assert_eq!(slave.serving(), 4);
    assert_eq!(slave.seen().permits.len(), 4);
    // The wire is mended: the old one learns it.
    hosts.wire.as_ref().unwrap().mend();
    assert_eq!(ended(a).await, Some(5));
}

#[tokio::test]
async fn a_store_that_was_restarted_empty_is_a_journal_that_was_lost_and_costs_no_session() {
    let Some(mut hosts) = Hosts::new() else {
        return;
    };
    let (a, _b, slave) = hosts.served().await;
    let term = slave.seen().term.counter;
    hosts.store[0].kill();
    hosts.store[0].forget().unwrap();
    hosts.store[0].start_again().unwrap();
    assert_eq!(ended(a).await, Some(5));
    leads(&hosts.b).await;
    until("a later term", || slave.seen().term.counter > term).await;
    hosts.b.settled().await;
    // By what it reported, not by a new session.
    assert_eq!(slave.serving(), 4);
    assert_eq!(slave.seen().permits.len(), 4);
    let log = hosts.b.log();
    assert!(log.contains("does not know everything"), "{log}");
}

#[tokio::test]
async fn a_store_that_has_forgotten_a_term_is_found_out_by_a_slave_that_has_seen_it() {
    let Some(hosts) = Hosts::new() else { return };
    let (a, b, slave) = hosts.served().await;
    slave.cut_off();
    // As if a master of a much later start had given it orders, and the store was put back.
    let later = slave.seen().term.counter + 1_000_000_000;
    slave.seen().term.counter = later;
    slave.come_back();
    assert_eq!(ended(a).await, Some(5));
    // The other host knows no more than the store did, and hears it too.
    assert_eq!(ended(b).await, Some(5));
    let _a = hosts.a.master().await;
    until("a later term", || slave.seen().term.counter > later).await;
    hosts.a.settled().await;
    assert_eq!(slave.serving(), 4);
    assert_eq!(slave.seen().permits.len(), 4);
}
