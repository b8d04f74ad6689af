//! Handlers that are slow, that panic, or that give their events back.

use baton_protocol::{ToSlave, message::Ping};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_window_stops_reading_then_reconnects_and_nothing_is_lost() {
    let mut scene = scene_with(
        |config| {
            config.window = 8;
            config.timings.crowded = Duration::from_millis(300);
        },
        Recorder::default(),
    )
    .await;
    scene.slave.bot.does(|_| Doing::Keep);
    crate::common::traffic(&scene.discord, 200.0);
    until("a full window", || {
        scene.slave.bot.kept.lock().unwrap().len() == 8
    })
    .await;
    until("a close", || {
        !logged(&scene.discord, What::CloseReceived).is_empty()
    })
    .await;
    assert_eq!(scene.slave.bot.kept.lock().unwrap().len(), 8, "never more");
    scene.slave.bot.does(|_| Doing::Finish);
    scene.goes_on_after_a_close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_while_nothing_is_taken_and_so_it_is_kept() {
    let scene = scene_with(
        |config| {
            config.window = 8;
            config.timings.crowded = Duration::from_millis(20);
            config.timings.keep = Duration::from_millis(20);
        },
        Recorder::default(),
    )
    .await;
    scene.slave.bot.does(|_| Doing::Keep);
    crate::common::traffic(&scene.discord, 200.0);
    let resumes = || scene.discord.counters().total.resumes;
    until("it is resumed again and again", || resumes() > 4).await;
    assert_eq!(scene.slave.bot.kept.lock().unwrap().len(), 8, "never more");
    scene.slave.bot.does(|_| Doing::Finish);
    scene.slave.bot.let_go();
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_without_room_gets_nothing_more_until_it_has_some_and_nothing_is_lost() {
    let mut scene = scene_with(
        |config| config.timings.crowded = Duration::from_millis(300),
        Recorder::default(),
    )
    .await;
    scene.slave.bot.does(|event| match event.sequence().get() {
        20 => Doing::FinishAndHold,
        _ => Doing::Finish,
    });
    crate::common::traffic(&scene.discord, 200.0);
    until("a close", || {
        !logged(&scene.discord, What::CloseReceived).is_empty()
    })
    .await;
    let last = || scene.slave.bot.sequences().last().copied();
    assert_eq!(last(), Some(20), "what follows waits at Discord");
    let connects = scene.discord.counters().total.connects;
    let full = scene.full().await;
    assert!(full.0 > 200 && full.0 == full.1, "because of it: {full:?}");
    // There is no connection, and none is dialled.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.discord.counters().total.connects, connects);
    scene.goes_on_after_a_close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_without_room_gets_no_new_session_that_it_would_not_take() {
    let crowded = Duration::from_millis(20);
    let bot = Recorder::default();
    let mut scene = scene_with(|config| config.timings.crowded = crowded, bot).await;
    let refused = Fault::new(FaultName::RefuseConnect).for_ever();
    scene.discord.fault(refused).unwrap();
    scene.survives(Fault::new(FaultName::Op9False)).await;
    let loss = scene.peer.wait("the loss", |message| match message {
        ToMaster::Progress(progress) => (progress.step == Step::SessionLost).then_some(()),
        _ => None,
    });
    loss.await;
    let handle = scene.slave.bot.handle.lock().unwrap().clone();
    let held = handle.expect("READY was handed out").hold();
    // A dial that was under way ends, and no other begins.
    let connects = || scene.discord.counters().total.connects;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = connects();
    scene.discord.clear_faults();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(connects(), before);
    drop(held);
    scene.peer.serving(0).await;
    scene.flows().await;
    assert_eq!(scene.discord.counters().total.identifies, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_has_room_again_soon_keeps_its_connection() {
    let scene = scene().await;
    scene.slave.bot.does(|event| match event.sequence().get() {
        20 | 60 | 100 => Doing::FinishAndHold,
        _ => Doing::Finish,
    });
    crate::common::traffic(&scene.discord, 200.0);
    let last = || scene.slave.bot.sequences().last().copied();
    for at in [20, 60, 100] {
        until("the event", || last() == Some(at)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(last(), Some(at));
        scene.slave.bot.let_go();
    }
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.connects, 1);
}

impl Scene {
    /// Its bot has room again, after the connection was closed once.
    async fn goes_on_after_a_close(&mut self) {
        self.slave.bot.let_go();
        self.peer.serving(0).await;
        self.flows().await;
        self.all_handled_once().await;
        assert_eq!(self.slave.counts().await.crowded, 1);
    }

    /// For how long its shards took nothing, as the slave says when it is asked.
    async fn full_ms(&mut self) -> u64 {
        self.full().await.0
    }

    /// The same, and of it because its bot had no room.
    async fn full(&mut self) -> (u64, u64) {
        self.peer
            .order(ToSlave::Ping(Ping {
                number: 1,
                heard: 0,
            }))
            .await;
        let said = self.peer.wait("a pong", |message| match message {
            ToMaster::Pong(pong) => Some((pong.full_ms, pong.full_bot_ms)),
            _ => None,
        });
        said.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_waits_for_its_handlers_without_a_connection_is_full_all_the_same() {
    let mut scene = scene_with(
        |config| {
            config.window = 8;
            config.timings.crowded = Duration::from_millis(50);
        },
        Recorder::default(),
    )
    .await;
    scene.slave.bot.does(|_| Doing::Keep);
    crate::common::traffic(&scene.discord, 200.0);
    until("a close", || {
        !logged(&scene.discord, What::CloseReceived).is_empty()
    })
    .await;
    let before = scene.full_ms().await;
    let deadline = tokio::time::Instant::now() + LONG;
    while scene.full_ms().await <= before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it says {before} ms"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_counted_and_the_shard_goes_on() {
    panics_are_counted(|| Doing::Panic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_after_it_let_go_of_its_event_is_counted_too() {
    panics_are_counted(|| Doing::FinishAndPanic).await;
}

async fn panics_are_counted(panics: fn() -> Doing) {
    let scene = scene().await;
    scene.slave.bot.does(move |event| {
        if event.kind() == "MESSAGE_CREATE" {
            panics()
        } else {
            Doing::Finish
        }
    });
    crate::common::traffic(&scene.discord, 200.0);
    scene.flows().await;
    until("a panic", || {
        scene
            .slave
            .bot
            .told()
            .iter()
            .any(|told| told.kind == "MESSAGE_CREATE")
    })
    .await;
    scene.all_handled_once().await;
    let counts = scene.slave.counts().await;
    assert!(
        counts.failed > 0 && counts.finished >= counts.failed,
        "{counts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_given_back_comes_again_a_bounded_number_of_times() {
    let scene = scene_with(|config| config.timings.retries = 3, Recorder::default()).await;
    scene.slave.bot.does(|event| {
        if event.sequence().get() == 20 {
            Doing::Retry
        } else {
            Doing::Finish
        }
    });
    crate::common::traffic(&scene.discord, 200.0);
    until("the third time", || {
        let times = scene.slave.bot.sequences();
        times.iter().filter(|sequence| **sequence == 20).count() == 3
    })
    .await;
    scene.flows().await;
    let times = scene.slave.bot.sequences();
    assert_eq!(times.iter().filter(|sequence| **sequence == 20).count(), 3);
    assert_eq!(scene.slave.counts().await.failed, 1);
}
