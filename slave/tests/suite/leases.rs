//! A slave that keeps a lease serves only as long as a leader says that it heard it.

use std::time::{Duration, Instant};

use baton_discord::What;
use baton_protocol::{
    ToMaster, ToSlave,
    message::{Holding, Ping, ResumeAfter},
};

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, all_once_unmarked, config, discord, logged, run,
    traffic, until,
};

/// Longer than a busy host takes for a ping.
const LEASE: Duration = Duration::from_secs(4);

async fn leased() -> (FakeMaster, baton_discord::Discord, Running, Peer) {
    let mut master = FakeMaster::new(1).await;
    master.lease_ms = u64::try_from(LEASE.as_millis()).unwrap();
    let discord = discord(|_| {}).await;
    let mut config = config(&master, &discord);
    config.timings.master_redial_first = Duration::from_millis(20);
    let slave = run(config, Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 200.0);
    (master, discord, slave, peer)
}

/// Asks for a sign of life, and says which one was heard.
async fn ping(peer: &mut Peer, number: u64, heard: u64) {
    peer.order(ToSlave::Ping(Ping { number, heard })).await;
    let lease = peer.wait("a pong", |message| match message {
        ToMaster::Pong(pong) if pong.number == number => Some(pong.lease_ms),
        _ => None,
    });
    assert_eq!(u128::from(lease.await), LEASE.as_millis(), "it keeps it");
}

/// Its connection to Discord was closed by it.
fn closed(discord: &baton_discord::Discord) -> bool {
    logged(discord, What::CloseReceived)
        .iter()
        .any(|line| line.detail.contains("4000"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_while_its_answers_are_heard_and_seals_itself_when_they_are_not() {
    let (master, discord, slave, mut peer) = leased().await;
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < LEASE + LEASE / 2 {
        number += 1;
        ping(&mut peer, number, number - 1).await;
        tokio::time::sleep(LEASE / 16).await;
    }
    assert!(!closed(&discord), "it was heard all the time");
    // It hears pings, and none says that it is heard.
    let last = Instant::now();
    let deaf = async {
        loop {
            number += 1;
            let ping = Ping { number, heard: 0 };
            if !peer.tries_to_order(ToSlave::Ping(ping)).await {
                return;
            }
            tokio::time::sleep(LEASE / 16).await;
        }
    };
    tokio::time::timeout(LONG, deaf)
        .await
        .expect("it drops the link");
    until("it closes", || closed(&discord)).await;
    assert!(last.elapsed() >= LEASE / 2, "not at once");

    let met = master.meet().await;
    assert!(met.report.lapsed);
    let held = &met.report.shards[0];
    assert_eq!((held.holding, held.epoch.get()), (Holding::Sealed, 1));
    let ticket = held.ticket.clone();
    let finished = slave.counts().await.handed;
    tokio::time::sleep(LEASE / 16).await;
    assert_eq!(
        slave.counts().await.handed,
        finished,
        "it hands nothing out"
    );
    // A leader is there again, and gives it back.
    let mut peer = met.accepted().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    ping(&mut peer, 1, 0).await;
    ping(&mut peer, 2, 1).await;
    traffic(&discord, 0.0);
    all_once_unmarked(&discord, &[&slave.bot]).await;
    assert_eq!(discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_comes_late_does_not_make_the_lease_longer() {
    let (_master, discord, _slave, mut peer) = leased().await;
    ping(&mut peer, 1, 0).await;
    // It says the same again and again: what was heard was sent long ago.
    let began = Instant::now();
    let mut number = 1;
    while !closed(&discord) {
        number += 1;
        let late = Ping { number, heard: 1 };
        if !peer.tries_to_order(ToSlave::Ping(late)).await {
            break;
        }
        tokio::time::sleep(LEASE / 16).await;
        assert!(began.elapsed() < LONG, "it serves on");
    }
    until("it closes", || closed(&discord)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_lease_it_serves_on_for_ever() {
    let master = FakeMaster::new(1).await;
    let discord = discord(|_| {}).await;
    let _slave = run(config(&master, &discord), Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    drop(peer);
    tokio::time::sleep(LEASE).await;
    assert!(!closed(&discord));
}
