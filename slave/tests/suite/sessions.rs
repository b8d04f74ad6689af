//! How long a session is held on to: a Discord that is away, slow or odd costs none,
//! and one that can never be resumed costs one IDENTIFY.

use std::time::Duration;

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, all_once_unmarked, config, discord, logged, run,
    until,
};
use baton_discord::{Discord, Fault, FaultName, What, When};
use baton_protocol::{
    Sequence, SequenceRanges, ToMaster, ToSlave,
    message::{IdentifyCause, ResumeAfter, Step},
};
use baton_slave::SlaveConfig;
use serde_json::json;

/// One shard that serves, under traffic.
pub struct Scene {
    pub discord: Discord,
    master: FakeMaster,
    pub slave: Running,
    pub peer: Peer,
}

async fn scene(change: impl FnOnce(&mut SlaveConfig)) -> Scene {
    scene_of(Recorder::default(), change).await
}

pub async fn scene_of(bot: Recorder, change: impl FnOnce(&mut SlaveConfig)) -> Scene {
    let discord = discord(|config| {
        config.resume_window = LONG * 10;
        config.replay_buffer = Some(10_000);
    })
    .await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    change(&mut settings);
    let slave = run(settings, bot);
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    crate::common::traffic(&discord, 200.0);
    flows(&slave).await;
    Scene {
        discord,
        master,
        slave,
        peer,
    }
}

impl Scene {
    fn fault(&self, fault: Fault) {
        self.discord.fault(fault).unwrap();
    }

    pub fn identifies(&self) -> u64 {
        self.discord.counters().total.identifies
    }

    /// What the master hears of a host that opened no websocket.
    async fn refusal(&mut self) -> String {
        let refused = self.peer.wait("the refusal", |message| match message {
            ToMaster::Progress(progress) => {
                Some(progress.refused.clone()).filter(|refused| !refused.is_empty())
            }
            _ => None,
        });
        refused.await
    }

    /// Every dispatch was handed to one of these, once, unmarked.
    async fn all_once(&self, slaves: &[&Running]) {
        let bots: Vec<&Recorder> = slaves.iter().map(|slave| &*slave.bot).collect();
        all_once_unmarked(&self.discord, &bots).await;
    }
}

pub async fn flows(slave: &Running) {
    let told = || slave.bot.told.lock().unwrap().len();
    let before = told();
    until("more events", || told() > before + 20).await;
}

/// Sessions live for a second here.
fn short(settings: &mut SlaveConfig) {
    let timings = &mut settings.timings;
    timings.session = Duration::from_secs(1);
    timings.redial_session = Duration::from_millis(100);
    timings.progress = Duration::from_millis(50);
    timings.replay = Duration::from_millis(100);
}

/// A session that no slave can resume, in this way, is over after its
/// life: the slave reports that, and one IDENTIFY brings the next.
async fn is_given_up(fault: Fault) {
    let name = format!("{fault:?}");
    let mut scene = scene(short).await;
    crate::common::traffic(&scene.discord, 0.0);
    scene.fault(fault.for_ever());
    scene.fault(Fault::new(FaultName::Reset));
    let lost = scene.peer.wait("the loss", |message| match message {
        ToMaster::Progress(progress) => (progress.step == Step::SessionLost).then_some(()),
        _ => None,
    });
    lost.await;
    let resumes = logged(&scene.discord, What::Resume).len();
    assert!((3..=80).contains(&resumes), "{name}: {resumes} RESUMEs");
    scene.peer.serving(0).await;
    let causes: Vec<_> = scene.peer.identifies.iter().map(|it| it.cause).collect();
    assert_eq!(
        causes,
        [IdentifyCause::Cold, IdentifyCause::SessionLost],
        "{name}"
    );
    assert_eq!(scene.identifies(), 2, "{name}");
    assert_eq!(scene.slave.counts().await.sessions_lost, 1, "{name}");
    crate::common::traffic(&scene.discord, 200.0);
    flows(&scene.slave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_which_each_resume_is_closed_is_over_after_its_life() {
    for code in [4000, 4001, 4003, 1001, 1006] {
        is_given_up(Fault::new(FaultName::CloseOnResume).with_code(code)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_which_each_resume_is_answered_by_op_7_is_over_after_its_life() {
    is_given_up(Fault::new(FaultName::Op7).at(When::Resume)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_may_be_resumed_later_for_ever_is_over_after_its_life() {
    is_given_up(Fault::new(FaultName::Op9True).at(When::Resume)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_resumed_never_comes_is_over_after_its_life() {
    is_given_up(Fault::new(FaultName::NoResumed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_which_each_resume_is_reset_is_over_after_its_life() {
    is_given_up(Fault::new(FaultName::Reset).at(When::Resume)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_resumed_before_its_life_is_over_is_kept() {
    let mut scene = scene(|settings| {
        short(settings);
        settings.timings.session = Duration::from_secs(600);
    })
    .await;
    let closes = Fault::new(FaultName::CloseOnResume);
    scene.fault(closes.times(15));
    scene.fault(Fault::new(FaultName::Reset));
    scene.peer.serving(0).await;
    flows(&scene.slave).await;
    scene.all_once(&[&scene.slave]).await;
    assert_eq!(scene.identifies(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discord_that_is_away_is_dialled_at_a_steady_pace_while_the_session_may_live() {
    let mut scene = scene(|settings| {
        settings.timings.redial_session = Duration::from_millis(100);
        // Two or three doublings further the session would be lost.
        settings.timings.redial_first = Duration::from_millis(100);
        settings.timings.redial_max = Duration::from_secs(3600);
    })
    .await;
    let dials = scene.slave.counts().await.dials;
    scene.fault(Fault::new(FaultName::RefuseConnect).lasting(Duration::from_secs(3600)));
    // With doubling pauses it would take a day.
    let mut now = dials;
    while now <= dials + 20 {
        if now == dials {
            // It is for the connection that there is: between two, it is for none.
            scene.fault(Fault::new(FaultName::Reset));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        now = scene.slave.counts().await.dials;
    }
    scene.discord.clear_faults();
    scene.peer.serving(0).await;
    flows(&scene.slave).await;
    scene.all_once(&[&scene.slave]).await;
    assert_eq!(scene.identifies(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_to_a_new_slave_that_is_cut_short_goes_on_from_what_came_and_marks_nothing() {
    let mut scene = scene(|_| {}).await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert!(scene.peer.settled(0).await.is_empty());
    // What the replay will be.
    let sent = || scene.discord.ledger(0, usize::MAX).len();
    let before = sent();
    until("a backlog", || sent() > before + 200).await;
    let mut settings = config(&scene.master, &scene.discord);
    // A pause that doubles would not be over in the time of this test.
    settings.timings.redial_first = Duration::from_secs(40);
    settings.timings.redial_max = Duration::from_secs(3600);
    let new = run(settings, Recorder::default());
    let mut peer = scene.master.accept().await;
    for (after, code) in [4000, 1001, 1006].into_iter().enumerate() {
        let close = Fault::new(FaultName::CloseInReplay).with_code(code);
        scene.fault(Fault {
            after: after as u32,
            ..close.with_events(40)
        });
    }
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    peer.settle(0, 1, SequenceRanges::new()).await;
    flows(&new).await;
    scene.all_once(&[&scene.slave, &new]).await;
    let resumes = logged(&scene.discord, What::Resume);
    assert_eq!(resumes.len(), 4, "{resumes:?}");
    assert_eq!(scene.identifies(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_that_takes_longer_than_its_limit_is_waited_for_the_next_time() {
    let discord = discord(|_| {}).await;
    let late = Fault::new(FaultName::SlowReady).lasting(Duration::from_millis(700));
    discord.fault(late.for_ever()).unwrap();
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    settings.timings.ready = Duration::from_millis(200);
    let slave = run(settings, Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    crate::common::traffic(&discord, 200.0);
    flows(&slave).await;
    // 200, 400 and 800 ms.
    assert!(peer.identifies.len() <= 4, "{:?}", peer.identifies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_take_longer_than_their_limits_are_waited_for_and_no_session_is_lost() {
    for name in [FaultName::SlowResumed, FaultName::SlowHello] {
        let mut scene = scene(|settings| {
            let timings = &mut settings.timings;
            timings.hello = Duration::from_millis(100);
            timings.progress = Duration::from_millis(100);
            timings.replay = Duration::from_millis(200);
        })
        .await;
        crate::common::traffic(&scene.discord, 0.0);
        let late = Fault::new(name).lasting(Duration::from_millis(700));
        scene.fault(late.for_ever());
        scene.fault(Fault::new(FaultName::Reset));
        scene.peer.serving(0).await;
        crate::common::traffic(&scene.discord, 200.0);
        flows(&scene.slave).await;
        scene.all_once(&[&scene.slave]).await;
        assert_eq!(scene.identifies(), 1, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_with_an_odd_interval_costs_its_connection_and_nothing_else() {
    let odd = [json!(0), json!(1), json!(-5), json!(null), json!("soon")];
    for value in odd.into_iter().chain([json!(u64::MAX), json!(1e300)]) {
        let mut scene = scene(|_| {}).await;
        let hello = Fault::new(FaultName::OddHello).with_value(value.clone());
        scene.fault(hello.times(2));
        scene.fault(Fault::new(FaultName::Reset));
        scene.peer.serving(0).await;
        flows(&scene.slave).await;
        scene.all_once(&[&scene.slave]).await;
        let counts = scene.slave.counts().await;
        assert_eq!((counts.dials, counts.panics), (4, 0), "{value}");
        assert_eq!(scene.identifies(), 1, "{value}");
    }
}

/// The slave was asked to end, and asked to be followed.
async fn asks_to_leave(patience: Duration) -> Scene {
    let mut scene = scene(|settings| settings.timings.followed = patience).await;
    scene.slave.stop.cancel();
    let asks = scene.peer.wait("a word", |message| {
        matches!(message, ToMaster::Leave).then_some(())
    });
    asks.await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_is_asked_to_end_serves_until_its_shards_are_elsewhere() {
    let mut scene = asks_to_leave(LONG).await;
    flows(&scene.slave).await;
    scene.peer.seal(0, 1, LONG).await;
    scene.peer.settled(0).await;
    scene.peer.order(ToSlave::Shutdown).await;
    scene.slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_nobody_follows_leaves_when_it_is_told_to_or_after_a_while() {
    let mut scene = asks_to_leave(LONG).await;
    scene.peer.order(ToSlave::Shutdown).await;
    let ticket = scene.peer.ticket(0).await;
    assert!(ticket.has_session());
    scene.slave.ends().await.unwrap();

    let mut scene = asks_to_leave(Duration::from_millis(100)).await;
    let ticket = scene.peer.ticket(0).await;
    assert!(ticket.has_session());
    scene.slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_owner_had_in_hand_and_no_replay_brings_is_said_and_holds_nothing_up() {
    let mut scene = scene(|_| {}).await;
    crate::common::traffic(&scene.discord, 0.0);
    scene.all_once(&[&scene.slave]).await;
    let mut ticket = scene.peer.seal(0, 1, LONG).await;
    // The next number is that of RESUMED.
    let never = ticket.handled.get() + 1;
    ticket.in_doubt.insert(Sequence(never));
    scene.peer.settled(0).await;
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    crate::common::traffic(&scene.discord, 200.0);
    flows(&new).await;
    let handled = peer.wait("a checkpoint above", |message| match message {
        ToMaster::Checkpoint(checkpoint) => {
            let handled = checkpoint.shards.first()?.handled.get();
            (handled > never).then_some(handled)
        }
        _ => None,
    });
    handled.await;
    assert_eq!(new.counts().await.holes, 1);
}

/// Every request for a websocket is answered so.
fn instead(name: FaultName) -> Fault {
    Fault::new(name).at(When::Upgrade)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_answers_429_is_left_alone_for_as_long_as_it_says_and_no_identify_is_spent() {
    for name in [FaultName::Bot429, FaultName::Bot429Body] {
        let mut scene = scene(|_| {}).await;
        let wait = Duration::from_secs(2);
        // The dial, and the question why.
        scene.fault(instead(name).times(2).lasting(wait));
        let began = tokio::time::Instant::now();
        scene.fault(Fault::new(FaultName::Reset));
        let refused = scene.refusal().await;
        assert!(refused.contains("429 Too Many Requests"), "{refused}");
        assert!(refused.contains("left alone for 2.0 s"), "{refused}");
        let requests = scene.discord.counters().total.upgrades_refused[&429];
        assert_eq!(requests, 2, "{name:?}");
        scene.peer.serving(0).await;
        assert!(began.elapsed() >= wait, "{name:?}");
        flows(&scene.slave).await;
        scene.all_once(&[&scene.slave]).await;
        assert_eq!(scene.identifies(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_refuses_without_a_wait_is_dialled_again_and_named_with_what_it_shows() {
    for (code, says) in [
        (401, "401 Unauthorized and opened no websocket"),
        (403, "403 Forbidden"),
        (
            502,
            "502 Bad Gateway and opened no websocket (<!DOCTYPE html>",
        ),
    ] {
        let mut scene = scene(|_| {}).await;
        scene.fault(instead(FaultName::BotStatus).with_code(code).times(3));
        scene.fault(Fault::new(FaultName::Reset));
        let refused = scene.refusal().await;
        assert!(refused.contains(says), "{refused}");
        scene.peer.serving(0).await;
        flows(&scene.slave).await;
        scene.all_once(&[&scene.slave]).await;
        assert_eq!(scene.identifies(), 1);
    }
}
