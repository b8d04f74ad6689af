//! Slaves and masters that do not want each other.

use std::{sync::Arc, time::Duration};

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, config, discord, run, traffic, until,
};
use baton_discord::{Discord, Fault, FaultName};
use baton_protocol::{
    Epoch, FleetId, Frame, Term, ToMaster,
    auth::Secret,
    go, handshake,
    message::{Holding, RefusedReason, Step, Welcome},
};
use baton_slave::SecretSource;
use tokio::time::sleep;

/// One slave that serves one shard under traffic.
struct Scene {
    _gateway: Discord,
    master: FakeMaster,
    slave: Running,
    peer: Peer,
}

async fn scene() -> Scene {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 500.0);
    Scene {
        _gateway: discord,
        master,
        slave,
        peer,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_does_not_know_the_secret_is_not_obeyed() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    settings.secret = SecretSource::Given(Secret::random().unwrap());
    let slave = run(settings, Recorder::default());
    // The slave hangs up where its proof is due.
    let accepted = tokio::spawn(async move { master.accept().await.running });
    assert!(accepted.await.is_err());
    let status = slave.monitor.status().await.unwrap();
    assert!(!status.linked && status.shards.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_refused_ends_and_says_whether_to_try_again() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    for (reason, code) in [
        (RefusedReason::Busy, 75),
        (RefusedReason::Parameters, 2),
        (RefusedReason::Superseded, 2),
    ] {
        let slave = run(config(&master, &discord), Recorder::default());
        master.refuse(reason).await;
        let error = slave.ends().await.unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains("because of a test"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_refused_serves_on_and_dials_again() {
    let scene = scene().await;
    drop(scene.peer);
    scene.master.refuse(RefusedReason::Superseded).await;
    let told = || scene.slave.bot.told().len();
    let before = told();
    until("more events", || told() > before + 20).await;
    assert!(scene.master.accept().await.running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_says_what_has_no_place_loses_the_link_and_never_a_shard() {
    let mut scene = scene().await;
    let shard = 0;
    let go = go::Session {
        shard,
        ..go::Session::default()
    };
    let frames: [Frame; 6] = [
        handshake::ToSlave::Welcome(Welcome::default()).into(),
        // Orders of the Go form: no epoch says to whom, no ticket from where.
        go::ToSlave::FullStart.into(),
        go::ToSlave::StopShard(go.clone()).into(),
        go::ToSlave::Resume(go).into(),
        go::ToSlave::GuildState("a guild".into()).into(),
        // A resume without a ticket.
        Frame {
            id: 5,
            body: b"\x81\xa5Baton\x81\xa5epoch\x09"[..].into(),
        },
    ];
    for frame in frames {
        scene.peer.order(frame).await;
        let report = scene.master.accept().await;
        assert!(report.running);
        let held = &report.report.shards[0];
        assert_eq!((held.epoch, held.holding), (Epoch(1), Holding::Serving));
        scene.peer = report;
    }
    let told = || scene.slave.bot.told().len();
    let before = told();
    until("more events", || told() > before + 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_an_older_term_or_another_fleet_is_not_obeyed() {
    let mut scene = scene().await;
    let term = scene.master.term;
    drop(scene.peer);
    for wrong in [
        Term { counter: 0, ..term },
        Term {
            fleet: FleetId(7),
            ..term
        },
    ] {
        scene.master.term = wrong;
        // It hangs up where its proof is due.
        let master = Arc::new(scene.master);
        let accepts = master.clone();
        let accepted = tokio::spawn(async move { accepts.accept().await.running });
        assert!(accepted.await.is_err());
        scene.master = Arc::into_inner(master).unwrap();
    }
    scene.master.term = term;
    scene.master.accept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_master_hears_that_a_shard_which_is_reported_as_served_has_no_connection() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    // It says so once, and then nothing until the next try.
    (settings.timings.redial_first, settings.timings.redial_max) = (2 * LONG, 2 * LONG);
    let slave = run(settings, Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    drop(peer);
    let away = Fault::new(FaultName::Away).lasting(Duration::ZERO);
    discord.fault(away).unwrap();
    while slave.counts().await.dials < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let mut peer = master.accept().await;
    assert_eq!(peer.report.shards[0].holding, Holding::Serving);
    peer.wait("it reconnects", |message| match message {
        ToMaster::Progress(progress) if progress.step == Step::Reconnecting => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_over_is_not_reported_to_the_next_master() {
    let mut scene = scene().await;
    scene.peer.permits = false;
    scene
        ._gateway
        .fault(Fault::new(FaultName::Op9False))
        .unwrap();
    scene
        .peer
        .wait("it asks", |message| match message {
            ToMaster::IdentifyRequest(request) => Some(request.cause),
            _ => None,
        })
        .await;
    drop(scene.peer);
    let peer = scene.master.accept().await;
    let held = &peer.report.shards[0];
    assert_eq!(held.holding, Holding::Starting);
    assert!(!held.ticket.has_session());
}
