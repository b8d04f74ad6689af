//! Every hazard of the gateway and of twilight, by name, against the simulated
//! Discord.

mod handlers;
mod silence;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{
    Doing, FakeMaster, LONG, Peer, Recorder, Running, all_once_unmarked, config, discord,
    heartbeats, logged, run, until,
};
use baton_discord::{Discord, Fault, FaultName, What};
use baton_protocol::{
    ToMaster,
    message::{IdentifyCause, Step},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// One shard that serves.
struct Scene {
    discord: Discord,
    peer: Peer,
    slave: Running,
    _master: FakeMaster,
}

async fn scene() -> Scene {
    scene_with(|_| {}, Recorder::default()).await
}

async fn scene_with(change: impl FnOnce(&mut baton_slave::SlaveConfig), bot: Recorder) -> Scene {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    change(&mut settings);
    let slave = run(settings, bot);
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    Scene {
        discord,
        peer,
        slave,
        _master: master,
    }
}

impl Scene {
    /// Events come, a fault happens, events come: none is missing or twice.
    async fn survives(&mut self, fault: Fault) {
        crate::common::traffic(&self.discord, 500.0);
        self.flows().await;
        self.discord.fault(fault).unwrap();
    }

    async fn flows(&self) {
        let before = self.slave.bot.told().len();
        until("more events", || self.slave.bot.told().len() > before + 20).await;
    }

    /// Every dispatch of the ledger was handed out once, in order, unmarked.
    async fn all_handled_once(&self) {
        all_once_unmarked(&self.discord, &[&self.slave.bot]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_7_is_answered_by_a_resume_and_no_event_is_lost() {
    let mut scene = scene().await;
    scene.survives(Fault::new(FaultName::Op7)).await;
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.identifies, 1);
    assert_eq!(scene.discord.counters().total.resumes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_9_that_may_resume_is_resumed_after_a_pause() {
    let mut scene = scene().await;
    scene.survives(Fault::new(FaultName::Op9True)).await;
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_9_that_ends_the_session_asks_the_master_for_exactly_one_identify() {
    let mut scene = scene().await;
    scene.peer.permits = false;
    scene.survives(Fault::new(FaultName::Op9False)).await;
    session_is_lost(&mut scene).await;
}

/// The loss is reported, one permit is asked for, and without it nothing is sent.
async fn session_is_lost(scene: &mut Scene) {
    scene
        .peer
        .wait("the loss", |message| match message {
            ToMaster::Progress(progress) => (progress.step == Step::SessionLost).then_some(()),
            _ => None,
        })
        .await;
    let cause = scene
        .peer
        .wait("a request", |message| match message {
            ToMaster::IdentifyRequest(request) if request.cause != IdentifyCause::Cold => {
                Some(request.cause)
            }
            _ => None,
        })
        .await;
    assert_eq!(cause, IdentifyCause::SessionLost);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        scene.discord.counters().total.identifies,
        1,
        "no permit yet"
    );
    let resumes = logged(&scene.discord, What::Resume).len();
    assert!(resumes <= 1, "{resumes} RESUMEs of a dead session");
    scene
        .peer
        .order(baton_protocol::ToSlave::IdentifyPermit(
            baton_protocol::message::Unit {
                shard: baton_protocol::ShardId(0),
                epoch: baton_protocol::Epoch(1),
            },
        ))
        .await;
    scene.peer.serving(0).await;
    scene.flows().await;
    assert_eq!(scene.discord.counters().total.identifies, 2);
    assert_eq!(scene.slave.counts().await.sessions_lost, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_4007_ends_the_session_without_a_storm_of_resumes() {
    let mut scene = scene().await;
    scene.peer.permits = false;
    scene
        .survives(Fault::new(FaultName::Close).with_code(4007))
        .await;
    session_is_lost(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_4009_in_answer_to_a_resume_ends_the_session_without_a_storm() {
    let mut scene = scene().await;
    scene.peer.permits = false;
    scene
        .discord
        .fault(Fault::new(FaultName::CloseOnResume).with_code(4009))
        .unwrap();
    scene.survives(Fault::new(FaultName::Reset)).await;
    session_is_lost(&mut scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_close_is_reported_and_never_dialled_again() {
    let mut scene = scene().await;
    scene
        .survives(Fault::new(FaultName::Close).with_code(4014))
        .await;
    let code = scene
        .peer
        .wait("the failure", |message| match message {
            ToMaster::Failed(failed) => Some(failed.close_code),
            _ => None,
        })
        .await;
    assert_eq!(code, 4014);
    let connects = scene.discord.counters().total.connects;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.discord.counters().total.connects, connects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_is_refused_stays_pending_and_heartbeats_go_on() {
    let discord = discord(|_| {}).await;
    // It asks for some in a test's time, and a host that is busy answers each before the next.
    let often = Fault::new(FaultName::OddHello).with_value(serde_json::json!(1000));
    discord.fault(often).unwrap();
    let master = FakeMaster::new(1).await;
    let _slave = run(config(&master, &discord), Recorder::default());
    let mut peer = master.accept().await;
    peer.permits = false;
    peer.order(baton_protocol::ToSlave::FullStart(
        baton_protocol::message::FullStart {
            shards: vec![baton_protocol::message::Unit {
                shard: baton_protocol::ShardId(0),
                epoch: baton_protocol::Epoch(1),
            }],
            shard_count: 1,
        },
    ))
    .await;
    peer.wait("a request", |message| {
        matches!(message, ToMaster::IdentifyRequest(_)).then_some(())
    })
    .await;
    until("heartbeats", || heartbeats(&discord) >= 3).await;
    peer.catch_up().await;
    assert_eq!(peer.identifies.len(), 1, "asked once, not in a loop");
    assert_eq!(discord.counters().total.connects, 1);
    assert_eq!(discord.counters().total.identifies, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_hears_when_an_identify_is_on_its_way_and_not_only_of_its_ready() {
    let scene = scene().await;
    // It serves: what was said before.
    let steps = scene.peer.steps(0);
    let at = |step| steps.iter().position(|said| *said == step);
    let (waits, sent) = (at(Step::Waiting), at(Step::Hello));
    assert!(waits.is_some() && waits < sent, "{steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_seal_there_is_no_second_connection() {
    let mut scene = scene().await;
    crate::common::traffic(&scene.discord, 2000.0);
    scene.flows().await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    let told = scene.slave.bot.told().len();
    assert!(scene.peer.settled(0).await.is_empty());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.discord.counters().total.connects, 1);
    assert_eq!(scene.discord.counters().total.last_client_close_code, 4000);
    assert_eq!(
        scene.slave.bot.told().len(),
        told,
        "nothing after the ticket"
    );
    let last = scene.slave.bot.sequences().into_iter().max().unwrap();
    assert_eq!(ticket.handled.get(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_while_the_server_cuts_tcp_resumes_nothing() {
    let mut scene = scene().await;
    crate::common::traffic(&scene.discord, 2000.0);
    scene.flows().await;
    scene.discord.fault(Fault::new(FaultName::Reset)).unwrap();
    scene.peer.seal(0, 1, LONG).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(logged(&scene.discord, What::Resume).len() <= 1);
    assert_eq!(scene.discord.sessions_connected(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_7_before_hello_is_answered_by_another_dial() {
    let mut scene = scene().await;
    scene
        .discord
        .fault(Fault::new(FaultName::Op7BeforeHello))
        .unwrap();
    scene.survives(Fault::new(FaultName::Reset)).await;
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_cannot_be_read_is_answered_by_a_resume() {
    for name in [FaultName::BadZstd, FaultName::BadJson, FaultName::UnknownOp] {
        let mut scene = scene().await;
        scene.survives(Fault::new(name)).await;
        scene.flows().await;
        scene.all_handled_once().await;
        assert_eq!(scene.discord.counters().total.identifies, 1, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_accepted_and_closed_at_once_are_dialled_at_a_bounded_pace() {
    let mut scene = scene().await;
    crate::common::traffic(&scene.discord, 100.0);
    scene.flows().await;
    scene
        .discord
        .fault(
            Fault::new(FaultName::CloseOnResume)
                .with_code(4000)
                .times(10_000),
        )
        .unwrap();
    scene.discord.fault(Fault::new(FaultName::Reset)).unwrap();
    let resumes = || logged(&scene.discord, What::Resume);
    until("RESUMEs", || resumes().len() >= 8).await;
    // The first two at once, then 50 ms doubling up to 400 ms, each at least half of it.
    let at: Vec<u64> = resumes().iter().map(|line| line.at_us / 1000).collect();
    let apart = at.windows(2).map(|pair| pair[1] - pair[0]);
    let least = [25, 50, 100, 200, 200, 200];
    assert!(
        apart
            .skip(1)
            .zip(least)
            .all(|(apart, least)| apart >= least),
        "RESUMEs at {at:?} ms"
    );
    scene.discord.clear_faults();
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
}
