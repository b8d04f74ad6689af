//! A shard whose task panics: what others rely on outlives the task.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use baton_discord::What;
use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, ToMaster, ToSlave, Version,
    message::{CopyState, Resume, Step, Unit},
};
use baton_slave::{Mark, StateStatus};

use crate::{
    ahead::{Scene, quiet},
    common::{
        Doing, FakeMaster, LONG, Peer, Recorder, Running, config, discord, logged, run, sent,
        traffic, until,
    },
    lost::copy,
    sessions::{flows, scene_of},
    unfinished::give,
};

/// The first piece of a copy does it.
async fn panics(slave: &Running, peer: &mut Peer, epoch: u64) {
    slave.bot.panics.store(true, Ordering::Relaxed);
    peer.order(ToSlave::CopyState(CopyState {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        reader: Version::NEWEST,
        unacknowledged: 0,
    }))
    .await;
    let heard = peer.wait("a word", |message| match message {
        ToMaster::Progress(progress) => (progress.step == Step::Reconnecting).then_some(()),
        _ => None,
    });
    heard.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_task_panics_begins_anew_from_its_last_checkpoint_and_marks_what_it_repeats()
{
    let mut scene = scene_of(Recorder::with_cache(), |_| {}).await;
    panics(&scene.slave, &mut scene.peer, 1).await;
    scene.peer.serving(0).await;
    flows(&scene.slave).await;
    traffic(&scene.discord, 0.0);
    let told = || scene.slave.bot.told();
    let missing = || {
        let told = scene.slave.bot.sequences();
        let sent = sent(&scene.discord);
        sent.iter().any(|(_, sequence)| !told.contains(sequence))
    };
    until("every event", || !missing()).await;
    let mut seen = BTreeSet::new();
    for told in told() {
        assert!(seen.insert(told.sequence) || told.mark == Mark::MayRepeat);
    }
    let counts = scene.slave.counts().await;
    assert_eq!((counts.panics, counts.sessions_lost), (1, 0));
    assert_eq!(scene.identifies(), 1);
    let states = scene.slave.bot.states.lock().unwrap().clone();
    assert_eq!(
        states.last(),
        Some(&(0, StateStatus::Lost)),
        "it is never silent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadly_events_are_set_aside_behind_a_panic_too() {
    let Scene {
        discord,
        old,
        mut old_peer,
        new,
        new_peer: mut peer,
    } = quiet(discord(|_| {}).await, Recorder::with_cache, |_| {}).await;
    // What is lost is not copied, and it is a copy that panics.
    let ready = copy(&mut old_peer, &mut peer, 1).await;
    let mut ticket = old_peer.seal(0, 1, LONG).await;
    ticket.state_at = ready.state_at;
    // None of them was sent yet.
    let deadly = ticket.highest().get() + 50;
    let deadly: SequenceRanges = (deadly..deadly + 3).map(Sequence).collect();
    let care = Resume {
        deadly: deadly.clone(),
        skipped: deadly.clone(),
        ..Resume::default()
    };
    give(&mut peer, 2, ticket, care).await;
    peer.resumed(0, 2).await;
    panics(&new, &mut peer, 2).await;
    peer.serving(0).await;
    traffic(&discord, 200.0);
    for sequence in deadly.iter() {
        let aside = peer.wait("an event that is set aside", |message| match message {
            ToMaster::SetAside(aside) => Some(aside.event.sequence),
            _ => None,
        });
        assert_eq!(aside.await, sequence);
    }
    flows(&new).await;
    let told = new.bot.sequences();
    assert!(!told.iter().any(|told| deadly.contains(Sequence(*told))));
    drop(old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_seals_late_seals_when_its_task_panics() {
    let mut scene = scene_of(Recorder::with_cache(), |_| {}).await;
    let unit = Unit {
        shard: ShardId(0),
        epoch: Epoch(1),
    };
    scene.peer.seals_late(unit).await;
    panics(&scene.slave, &mut scene.peer, 1).await;
    let ticket = scene.peer.ticket(0).await;
    assert!(ticket.has_session());
    assert!(logged(&scene.discord, What::Resume).is_empty());
}

/// Discord replays 200 events, and more than that are behind one that never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_replay_brings_again_outlives_a_panic() {
    let discord = discord(|config| {
        config.replay_buffer = Some(200);
        config.guilds_per_shard = 2;
    })
    .await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::with_cache());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    let first = slave.bot.told().len() as u64 + 10;
    slave.bot.does(move |event| {
        if event.sequence().get() == first {
            Doing::Keep
        } else {
            Doing::Finish
        }
    });
    traffic(&discord, 500.0);
    until("events behind it", || {
        slave.bot.sequences().last() > Some(&(first + 450))
    })
    .await;
    // However long this machine takes until it resumes, it may.
    traffic(&discord, 0.0);
    panics(&slave, &mut peer, 1).await;
    peer.serving(0).await;
    until("it is handed out again", || {
        let told = slave.bot.sequences();
        told.iter().filter(|told| **told == first).count() == 2
    })
    .await;
    let told = slave.bot.told();
    let again = told.iter().rfind(|told| told.sequence == first);
    assert_eq!(again.map(|told| told.mark), Some(Mark::MayRepeat));
    let counts = slave.counts().await;
    assert_eq!((counts.panics, counts.sessions_lost), (1, 0));
    assert_eq!(discord.counters().total.identifies, 1);
}
