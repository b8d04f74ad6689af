//! Slaves under the 2018 Go master.

mod killed;

use std::time::{Duration, Instant};

use crate::common::go::{Master, Recorded, Wire, config, migrate, recorded};
use crate::common::{Doing, Recorder, Running, discord, logged, run, traffic, until};
use baton_discord::{Discord, Fault, FaultName, What};
use baton_protocol::{
    go::{Session, ToMaster},
    message::{self, Holding},
};
use baton_slave::{Mark, SlaveConfig, StateStatus};

const RECORDINGS: [&str; 2] = [
    "yagmaster-frames.json",
    "yagmaster-frames-compact-ints.json",
];

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
        traffic(&self.discord, 0.0);
        let sent = || {
            let entries = self.discord.ledger(0, usize::MAX).into_iter();
            let mut sent: Vec<(String, u64)> = entries
                .filter(|entry| entry.kind.name() != "RESUMED")
                .map(|entry| (entry.session.to_string(), entry.seq))
                .collect();
            sent.sort();
            sent
        };
        let told = || {
            let told = bots.iter().flat_map(|bot| bot.told());
            let mut told: Vec<(String, u64)> =
                told.map(|told| (told.session, told.sequence)).collect();
            told.sort();
            told
        };
        until("every event", || sent() == told()).await;
    }
}

async fn flows(slave: &Running) {
    let before = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > before + 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_identifies_each_shard_once_in_order_and_at_the_legal_pace() {
    let discord = discord(|config| {
        config.shards = 3;
        config.identify_window = Duration::from_millis(100);
    })
    .await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 3);
    // So much later than Discord wants it that none arrives too early.
    config.timings.identify_window = Duration::from_millis(2000);
    let slave = run(config, Recorder::default());
    let mut wire = master.starts(&discord, 3).await;
    let identified: Vec<_> = logged(&discord, What::Identify)
        .iter()
        .map(|line| line.shard)
        .collect();
    assert_eq!(identified, [0, 1, 2].map(Some));
    // An owner is never started again.
    wire.raw(2, b"").await;
    wire.raw(1, b"").await;
    wire.becomes_source(3).await;
    let work = || slave.bot.work.lock().unwrap().clone();
    until("the work", || !work().is_empty()).await;
    assert_eq!(work(), ["start None"]);
    let total = discord.counters().total;
    assert_eq!((total.connects, total.identifies), (3, 3));
    assert_eq!(total.identifies_refused.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_master_moves_shards_out_of_a_slave() {
    for name in RECORDINGS {
        let mut scene = scene(2).await;
        for frame in recorded(name).iter().skip_while(|frame| frame.id != 3) {
            if frame.who != "slaveA" || frame.id == 7 {
                continue;
            }
            if frame.to_slave {
                scene.wire.raw(frame.id, &frame.body).await;
            } else {
                says_like(&mut scene.wire, frame, name).await;
            }
        }
        scene.wire.ends().await;
        scene.slave.ends().await.unwrap();
        assert_eq!(scene.discord.counters().total.identifies, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_master_moves_shards_into_a_slave_that_identifies_what_is_no_session() {
    for name in RECORDINGS {
        let discord = discord(|config| config.shards = 2).await;
        let master = Master::new().await;
        let slave = run(config(&master, &discord, 2), Recorder::default());
        let mut wire = master.slave(false).await;
        for frame in recorded(name).iter().skip_while(|frame| frame.id != 3) {
            if frame.who != "slaveB" || frame.id == 8 {
                continue;
            }
            if frame.to_slave {
                wire.raw(frame.id, &frame.body).await;
            } else {
                says_like(&mut wire, frame, name).await;
            }
        }
        // Discord knows no sess-0: said loudly, one IDENTIFY each.
        let total = discord.counters().total;
        let refused: u64 = total.resumes_refused.values().sum();
        assert_eq!((refused, total.identifies), (2, 2), "{name}");
        assert_eq!(slave.counts().await.sessions_lost, 2);
        // The recording's last connection: Running is true now.
        drop(wire);
        master.slave(true).await;
    }
}

/// The next frame is the recorded one, with the session that Discord gave.
async fn says_like(wire: &mut Wire, frame: &Recorded, name: &str) {
    let said = wire.frame().await;
    assert_eq!(said.id, frame.id);
    if frame.id != 4 && name.contains("compact") {
        assert_eq!(said.body[..], frame.body);
    }
    match ToMaster::from_frame(said).unwrap() {
        ToMaster::StopShard(stop) => {
            assert_eq!(frame.decoded["Shard"], stop.shard);
            assert!(!stop.session_id.is_empty() && stop.sequence > 0);
        }
        said => assert_eq!(
            said,
            ToMaster::from_frame(baton_protocol::Frame {
                id: frame.id,
                body: frame.body.clone().into(),
            })
            .unwrap()
        ),
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_without_a_meaning_here_are_passed_over() {
    let mut scene = scene(1).await;
    scene.wire.raw(7, &vec![0xff; 3_000_000]).await;
    for id in [8, 9, 10, 13, 14, 28, 100, 4_000_000] {
        scene.wire.raw(id, b"\x80").await;
    }
    for broken in [
        &b"\x81\xa5Shard\xff"[..],
        b"",
        b"\xc1",
        b"\x81\xa5Shard\xa1x",
    ] {
        for id in [3, 4, 5] {
            scene.wire.raw(id, broken).await;
        }
    }
    scene
        .wire
        .order(message::ToSlave::StopWork(Default::default()))
        .await;
    scene.wire.becomes_source(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_waits_in_vain_asks_anew_for_work() {
    let discord = discord(|_| {}).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_patience = Duration::from_millis(50);
    let _slave = run(config, Recorder::default());
    let mut wire = master.slave(false).await;
    wire.becomes_target(1).await;
    wire.ends().await;
    // The slave before it died: this is a cold start.
    master.starts(&discord, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_without_shards_lets_owners_say_hello_first_to_a_master_that_was_away() {
    let discord = discord(|config| config.shards = 1).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_redial = Duration::from_millis(200);
    let slave = run(config, Recorder::default());
    let wire = master.slave(false).await;
    let lost = Instant::now();
    drop(wire);
    // The redial comes after 200 ms, the hello 240 ms behind it.
    let mut wire = master.slave(false).await;
    assert!(
        lost.elapsed() >= Duration::from_millis(440),
        "{:?}",
        lost.elapsed()
    );
    wire.raw(2, b"").await;
    until("READY", || !slave.bot.work.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_closes_whatever_is_dialled_is_not_dialled_in_a_loop() {
    let discord = discord(|_| {}).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_redial = Duration::from_secs(3600);
    let slave = run(config, Recorder::default());
    drop(master.slave(false).await);
    let again = tokio::time::timeout(Duration::from_millis(200), master.connection());
    assert!(again.await.is_err(), "dialled again at once");
    slave.stop.cancel();
    slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_from_which_another_takes_its_session_again_and_again_stops() {
    let scene = scene(1).await;
    scene.flows().await;
    // Taken away as soon as it serves, each time; its log of RESUMEs ends.
    let resumed = || logged(&scene.discord, What::Resumed).len();
    for times in 1..=5 {
        let taken = Fault::new(FaultName::Close).with_code(4000);
        scene.discord.fault(taken).unwrap();
        if times < 5 {
            until("it is resumed", || resumed() == times).await;
        }
    }
    let stopped = async || {
        let status = scene.slave.monitor.status().await.unwrap();
        status.shards[0].holding == Some(Holding::Failed)
    };
    while !stopped().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(resumed(), 4, "and leaves the session to the other one");
}
