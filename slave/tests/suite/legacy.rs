//! Slaves under the 2018 Go master.

mod alone;
mod killed;
mod recordings;

use std::time::{Duration, Instant};

use crate::common::go::{Master, Recorded, Wire, config, migrate, recorded};
use crate::common::{Doing, Recorder, Running, all_once, discord, logged, run, traffic, until};
use baton_discord::{Discord, Fault, FaultName, What};
use baton_protocol::{
    go::{Session, ToMaster},
    message::{self, Holding},
};
use baton_slave::{Mark, SlaveConfig, StateStatus};

/// A slave that serves all its shards.
struct Scene {
    discord: Discord,
    master: Master,
    slave: Running,
    wire: Wire,
}

async fn scene(shards: u32) -> Scene {
    scene_of(shards, |_| {}).await
}

async fn scene_of(shards: u32, change: fn(&mut SlaveConfig)) -> Scene {
    let discord = discord(|config| config.shards = shards).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, shards);
    change(&mut config);
    let slave = run(config, Recorder::default());
    let wire = master.starts(&discord, shards).await;
    let scene = Scene {
        discord,
        master,
        slave,
        wire,
    };
    scene.serves(shards).await;
    scene
}

impl Scene {
    /// All shards serve: the work began.
    async fn serves(&self, shards: u32) {
        let work = &self.slave.bot.work;
        until("the work", || work.lock().unwrap().len() == 1).await;
        assert_eq!(
            self.slave.monitor.status().await.unwrap().shards.len(),
            shards as usize
        );
    }

    async fn flows(&self) {
        traffic(&self.discord, 200.0);
        flows(&self.slave).await;
    }

    /// Every event of every session reached exactly one bot, once.
    async fn all_handled_once(&self, bots: &[&Recorder]) {
        all_once(&self.discord, bots).await;
    }
}

async fn flows(slave: &Running) {
    let before = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > before + 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_hands_every_event_out_once_and_spends_no_identify() {
    let mut scene = scene(3).await;
    scene.flows().await;
    let config = config(&scene.master, &scene.discord, 3);
    let new = run(config, Recorder::with_cache());
    let mut to = scene.master.slave(false).await;
    migrate(&mut scene.wire, &mut to, 3).await;
    let old = scene.slave.bot.clone();
    scene.slave = {
        scene.slave.ends().await.unwrap();
        new
    };
    flows(&scene.slave).await;
    let new = scene.slave.bot.clone();
    scene.all_handled_once(&[&old, &new]).await;
    let total = scene.discord.counters().total;
    assert_eq!((total.identifies, total.resumes), (3, 3));
    // No state travels on this wire, no event is marked, the work moved once.
    let mut states = new.states.lock().unwrap().clone();
    states.sort_by_key(|(shard, _)| *shard);
    assert_eq!(states, [0, 1, 2].map(|shard| (shard, StateStatus::Lost)));
    assert!(new.told().iter().all(|told| told.mark == Mark::None));
    assert_eq!(*old.work.lock().unwrap(), ["start None", "stop"]);
    until("the work", || !new.work.lock().unwrap().is_empty()).await;
    assert_eq!(*new.work.lock().unwrap(), ["start None"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_waits_for_handlers_and_its_sequence_is_behind_them() {
    let mut scene = scene(1).await;
    scene.slave.bot.does(|_| Doing::Keep);
    scene.flows().await;
    traffic(&scene.discord, 0.0);
    scene.wire.becomes_source(1).await;
    scene.wire.stop(0).await;
    let closed = || scene.discord.counters().total.last_client_close_code == 4000;
    until("the seal", closed).await;
    // Its answer comes first.
    scene.wire.becomes_source(1).await;
    let bot = scene.slave.bot.clone();
    let told = bot.told();
    bot.let_go();
    let ticket = scene.wire.ticket(0).await;
    let last = told.last().unwrap().sequence;
    assert!(ticket.sequence >= last, "{} < {last}", ticket.sequence);
    // A repeated question gets the same answer.
    scene.wire.stop(0).await;
    assert_eq!(scene.wire.ticket(0).await, ticket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_finished_in_time_is_replayed_to_the_next_owner() {
    let mut scene = scene_of(1, |config| {
        config.timings.drain = Duration::from_millis(100);
    })
    .await;
    scene.slave.bot.does(|event| match event.sequence().get() {
        9 => Doing::Keep,
        _ => Doing::Finish,
    });
    scene.flows().await;
    scene.wire.becomes_source(1).await;
    scene.wire.stop(0).await;
    assert_eq!(scene.wire.ticket(0).await.sequence, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_ignores_a_stop_outside_a_migration_and_says_nothing() {
    let mut scene = scene(2).await;
    for shard in [0, 1, 2, 7] {
        scene.wire.stop(shard).await;
    }
    // Neither does it become the target of itself.
    scene.wire.migration(false, 2).await;
    scene.wire.becomes_source(2).await;
    // Nor does it end while a shard is here.
    scene.wire.stop(2).await;
    scene.wire.becomes_source(2).await;
    scene.flows().await;
    let bot = scene.slave.bot.clone();
    scene.all_handled_once(&[&bot]).await;
    let total = scene.discord.counters().total;
    assert_eq!((total.connects, total.last_client_close_code), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_without_shards_ends_at_a_stop() {
    let discord = discord(|_| {}).await;
    let master = Master::new().await;
    let slave = run(config(&master, &discord, 2), Recorder::default());
    let mut wire = master.slave(false).await;
    wire.stop(0).await;
    wire.ends().await;
    slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_a_slave_with_shards() {
    let mut scene = scene(2).await;
    scene.wire.raw(6, b"").await;
    scene.wire.ends().await;
    let bot = scene.slave.bot.clone();
    scene.slave.ends().await.unwrap();
    assert_eq!(*bot.work.lock().unwrap(), ["start None", "stop"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_whose_question_is_lost_is_undone_and_nothing_is_said_later() {
    let mut scene = scene(1).await;
    scene.flows().await;
    scene.slave.bot.does(|_| Doing::Keep);
    flows(&scene.slave).await;
    scene.wire.becomes_source(1).await;
    scene.wire.stop(0).await;
    let closed = || scene.discord.counters().total.last_client_close_code == 4000;
    until("the seal", closed).await;
    scene.wire = {
        drop(scene.wire);
        // The Go master would crash over a late ticket.
        let mut wire = scene.master.slave(true).await;
        wire.becomes_source(1).await;
        wire
    };
    scene.slave.bot.does(|_| Doing::Finish);
    scene.slave.bot.let_go();
    flows(&scene.slave).await;
    let bot = scene.slave.bot.clone();
    scene.all_handled_once(&[&bot]).await;
    let total = scene.discord.counters().total;
    assert_eq!((total.identifies, total.resumes), (1, 1));
    until("the work", || bot.work.lock().unwrap().len() == 3).await;
    let again = "start Some(b\"next job at noon\")";
    assert_eq!(*bot.work.lock().unwrap(), ["start None", "stop", again]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_given_away_can_come_back() {
    let mut scene = scene(2).await;
    scene.flows().await;
    scene.wire.becomes_source(2).await;
    scene.wire.stop(0).await;
    let ticket = scene.wire.ticket(0).await;
    scene.wire.give(&ticket).await;
    scene.wire.acknowledges(&ticket).await;
    // An old frame out of a send queue: acknowledged, not carried out again.
    scene.wire.give(&ticket).await;
    scene.wire.acknowledges(&ticket).await;
    flows(&scene.slave).await;
    let bot = scene.slave.bot.clone();
    scene.all_handled_once(&[&bot]).await;
    let total = scene.discord.counters().total;
    assert_eq!((total.identifies, total.resumes), (2, 1));
    assert!(
        bot.states
            .lock()
            .unwrap()
            .iter()
            .all(|(_, state)| *state == StateStatus::Complete)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_gave_everything_away_ends_when_the_master_is_lost() {
    let mut scene = scene(2).await;
    scene.wire.becomes_source(2).await;
    for shard in [0, 1] {
        scene.wire.stop(shard).await;
        scene.wire.ticket(shard).await;
    }
    drop(scene.wire);
    scene.slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_told_to_end_stays_for_those_who_fetch_its_tickets() {
    let mut scene = scene(2).await;
    scene.wire.becomes_source(2).await;
    scene.wire.stop(0).await;
    scene.wire.ticket(0).await;
    scene.slave.stop.cancel();
    scene.wire.stop(1).await;
    assert!(!scene.wire.ticket(1).await.session_id.is_empty());
    scene.wire.stop(2).await;
    scene.wire.ends().await;
    scene.slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_not_here_is_given_without_a_session_and_started_by_the_next() {
    let discord = discord(|config| config.shards = 2).await;
    let master = Master::new().await;
    let old = run(config(&master, &discord, 2), Recorder::default());
    let mut from = master.slave(false).await;
    from.becomes_source(2).await;
    let new = run(config(&master, &discord, 2), Recorder::default());
    let mut to = master.slave(false).await;
    to.becomes_target(2).await;
    for shard in [0, 1] {
        from.stop(shard).await;
        let ticket = from.ticket(shard).await;
        assert_eq!((ticket.session_id.as_str(), ticket.sequence), ("", 0));
        to.give(&ticket).await;
        to.acknowledges(&ticket).await;
    }
    from.stop(2).await;
    old.ends().await.unwrap();
    let total = discord.counters().total;
    assert_eq!((total.identifies, total.resumes), (2, 0));
    assert_eq!(new.counts().await.sessions_lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_the_sessions_wins_over_the_setting() {
    let discord = discord(|config| config.shards = 3).await;
    let master = Master::new().await;
    let slave = run(config(&master, &discord, 2), Recorder::default());
    let mut wire = master.slave(false).await;
    wire.becomes_target(3).await;
    for shard in [0, 1, 2, 3] {
        wire.give(&Session {
            shard,
            ..Session::default()
        })
        .await;
    }
    for _ in 0..3 {
        assert!(matches!(wire.said().await, ToMaster::Resume(_)));
    }
    wire.becomes_source(3).await;
    assert_eq!(slave.monitor.status().await.unwrap().shards.len(), 3);
    assert!(discord.counters().total.identifies_refused.is_empty());
}
