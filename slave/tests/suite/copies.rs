//! State that is copied more than once, and messages after a report.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::common::{
    FakeMaster, LONG, Peer, Recorder, Running, config, discord, logged, moment, run, traffic, until,
};
use crate::{
    ahead::{Scene, quiet},
    lost::{copy, forward},
};
use baton_discord::{Discord, Fault, FaultName, What};
use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket, ToMaster, ToSlave, Version,
    message::{Dial, Holding, ResumeAfter, Seal, Step},
    state::StateFrame,
};
use baton_slave::{
    Ack, Bot, Event, ImportError, Mark, ShardHandle, Slave, State, StateCompression, StateStatus,
};
use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// With a state of more than a frame.
async fn many_guilds() -> Discord {
    discord(|config| {
        config.guilds_per_shard = 30;
        config.members_per_guild = 20;
    })
    .await
}

async fn flows(at: &Running) {
    let before = at.bot.told().len();
    until("more events", || at.bot.told().len() > before + 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_made_anew_takes_the_place_of_the_one_before_and_so_does_its_connection() {
    let Scene {
        discord,
        old,
        mut old_peer,
        new,
        mut new_peer,
    } = quiet(discord(|_| {}).await, Recorder::with_cache, |_| {}).await;
    traffic(&discord, 500.0);

    let mut stands = Vec::new();
    for _ in 0..2 {
        flows(&old).await;
        let ready = copy(&mut old_peer, &mut new_peer, 1).await;
        assert_eq!(ready.epoch, Epoch(1));
        stands.push(ready.state_at);
        old_peer.catch_up().await;
        let mut ticket = old_peer.checkpoints[&ShardId(0)].clone();
        ticket.handled = ticket.handled.max(ready.state_at);
        ticket.state_at = ready.state_at;
        let (shard, epoch) = (ShardId(0), Epoch(1));
        let dial = Dial {
            shard,
            epoch,
            ticket,
        };
        new_peer.order(ToSlave::Dial(Box::new(dial))).await;
        let waited = new_peer.wait("dialled", |message| match message {
            ToMaster::Dialled(dialled) => Some(dialled.failed.clone()),
            _ => None,
        });
        assert_eq!(waited.await, "");
    }
    assert!(stands[0] < stands[1], "{stands:?}");

    flows(&old).await;
    let mut ticket = old_peer.seal(0, 1, LONG).await;
    let unfinished = old_peer.settled(0).await;
    ticket.state_at = stands[1];
    new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    new_peer.settle(0, 1, unfinished).await;
    flows(&new).await;
    let now = moment(&discord, 0, &new.bot).await;
    assert_eq!(now.difference(), None);
    assert_eq!(
        *new.bot.states.lock().unwrap(),
        [(0, StateStatus::Complete)]
    );
    assert!(new.bot.told().iter().all(|told| told.mark == Mark::None));
    let resumes = logged(&discord, What::Resume);
    assert_eq!(resumes.len(), 1);
    assert!(
        resumes[0].detail.contains(&stands[1].to_string()),
        "from where the newer copy stands: {} {stands:?}",
        resumes[0].detail
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_the_form_that_its_reader_takes_and_the_truth_in_each() {
    let old_and_new = [
        (Version(4), StateCompression::Zstd),
        (Version::NEWEST, StateCompression::None),
        (Version::NEWEST, StateCompression::Zstd),
    ];
    let mut lengths = Vec::new();
    for (reader, compression) in old_and_new {
        let discord = many_guilds().await;
        let master = FakeMaster::new(1).await;
        let mut of_old = config(&master, &discord);
        of_old.state_compression = compression;
        let old = run(of_old, Recorder::with_cache());
        let mut old_peer = master.accept().await;
        old_peer.start(&[0], 1, 1).await;
        let new = run(config(&master, &discord), Recorder::with_cache());
        let mut new_peer = master.accept().await;
        traffic(&discord, 200.0);
        flows(&old).await;

        let frames = forward(&mut old_peer, &mut new_peer, 1, reader, |frame| frame).await;
        let ids: BTreeSet<u32> = frames.iter().map(StateFrame::id).collect();
        let known = if reader < Version::CHECKED_STATE {
            [100, 101]
        } else {
            [102, 103]
        };
        assert_eq!(ids, BTreeSet::from(known));
        lengths.push(frames.iter().map(|frame| frame.body().len()).sum::<usize>());
        let ticket = old_peer.seal(0, 1, LONG).await;
        new_peer.resume(2, ResumeAfter::Seal, ticket).await;
        let unfinished = old_peer.settled(0).await;
        new_peer.settle(0, 1, unfinished).await;
        flows(&new).await;
        let now = moment(&discord, 0, &new.bot).await;
        assert_eq!(now.difference(), None);
        assert_eq!(
            *new.bot.states.lock().unwrap(),
            [(0, StateStatus::Complete)]
        );
    }
    assert!(lengths[2] * 2 < lengths[1], "{lengths:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_of_a_copy_is_acknowledged_before_it_is_said_to_be_ready() {
    let discord = many_guilds().await;
    let master = FakeMaster::new(1).await;
    let mut of_old = config(&master, &discord);
    of_old.state_compression = StateCompression::None;
    let _old = run(of_old, Recorder::with_cache());
    let mut old_peer = master.accept().await;
    old_peer.start(&[0], 1, 1).await;
    let _new = run(config(&master, &discord), Recorder::with_cache());
    let mut new_peer = master.accept().await;
    let same = |frame| frame;
    let frames = forward(&mut old_peer, &mut new_peer, 1, Version::NEWEST, same).await;

    let _third = run(config(&master, &discord), Recorder::with_cache());
    let mut third_peer = master.accept().await;
    // All at once: one word may be for several frames.
    for frame in &frames {
        third_peer.order(ToSlave::State(frame.clone())).await;
    }
    let mut acknowledged = 0;
    third_peer
        .wait("the state", |message| match message {
            ToMaster::StateAck(ack) => {
                acknowledged += ack.bytes;
                None
            }
            ToMaster::StateReady(_) => Some(()),
            _ => None,
        })
        .await;
    let bytes: usize = frames.iter().map(|frame| frame.body().len()).sum();
    assert_eq!(acknowledged, bytes as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_frame_of_a_copy_is_said_and_its_state_is_never_ready() {
    let Scene {
        discord: _discord,
        old: _old,
        mut old_peer,
        new: _new,
        mut new_peer,
    } = quiet(discord(|_| {}).await, Recorder::with_cache, |_| {}).await;
    let damage = |frame: StateFrame| {
        let mut body = frame.body().to_vec();
        // In the content of the first frame, and what the end says of all.
        let at = if frame.is_end() { 16 } else { body.len() - 9 };
        body[at] ^= 1;
        StateFrame::from_body(frame.id(), body.into()).unwrap()
    };
    forward(&mut old_peer, &mut new_peer, 1, Version::NEWEST, damage).await;
    let failed = new_peer.wait("why not", |message| match message {
        ToMaster::Failed(failed) => Some(failed.clone()),
        ToMaster::StateReady(ready) => panic!("false state: {ready:?}"),
        _ => None,
    });
    let failed = failed.await;
    assert_eq!((failed.shard, failed.epoch), (ShardId(0), Epoch(1)));
    assert!(failed.detail.contains("damaged"), "{}", failed.detail);
    // The next copy is whole again.
    let ready = copy(&mut old_peer, &mut new_peer, 1).await;
    assert_eq!(ready.epoch, Epoch(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_taken_in_is_not_said_again_on_another_connection() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let _old = run(config(&master, &discord), Recorder::with_cache());
    let mut old_peer = master.accept().await;
    old_peer.start(&[0], 1, 1).await;
    let _new = run(config(&master, &discord), Recorder::with_cache());
    let mut new_peer = master.accept().await;
    copy(&mut old_peer, &mut new_peer, 1).await;
    drop(new_peer);
    let mut new_peer = master.accept().await;
    // A newer copy may be under way: only its end is to be said.
    new_peer.order(ToSlave::SoftStart).await;
    let first = new_peer.wait("its first word", |message| Some(message.clone()));
    assert!(matches!(first.await, ToMaster::SoftStartComplete));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_shard_between_the_report_and_its_acceptance_is_said() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let _old = run(config(&master, &discord), Recorder::default());
    let mut old_peer = master.accept().await;
    old_peer.start(&[0], 1, 1).await;
    let ticket = old_peer.seal(0, 1, LONG).await;
    traffic(&discord, 500.0);

    let quick = |config: &mut baton_slave::SlaveConfig| {
        config.timings.hello = Duration::from_millis(100);
    };
    let mut config = config(&master, &discord);
    quick(&mut config);
    let new = run(config, Recorder::default());
    let mut new_peer = master.accept().await;
    discord
        .fault(Fault::new(FaultName::NoHello).times(10_000))
        .unwrap();
    new_peer.give(2, ResumeAfter::Seal, ticket).await;
    until("a dial", || logged(&discord, What::Connected).len() > 1).await;
    drop(new_peer);
    let unaccepted = master.meet().await;
    assert_eq!(unaccepted.report.shards[0].holding, Holding::Resuming);
    assert!(unaccepted.report.shards[0].untouched);
    discord.clear_faults();
    until("RESUMED", || !logged(&discord, What::Resumed).is_empty()).await;
    // Until it is known at the link's end, too.
    let serves = async {
        while new.monitor.status().await.unwrap().shards[0].holding != Some(Holding::Serving) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, serves).await.unwrap();
    let mut new_peer = unaccepted.accepted().await;
    let waited = new_peer.wait("that something came", |message| match message {
        ToMaster::Progress(progress) if progress.step == Step::Replaying => Some(()),
        _ => None,
    });
    waited.await;
    new_peer.serving(0).await;
    drop(new_peer);
    let reported = master.meet().await.report.shards;
    assert_eq!(reported[0].holding, Holding::Serving);
    assert!(!reported[0].untouched);
}

/// Takes a piece in for as long as it takes ten events to come.
#[derive(Default)]
struct Slow {
    came: Mutex<u64>,
    more: Condvar,
}

impl Bot for Slow {
    fn handle(&self, _: Event, _: Ack, _: &ShardHandle) {
        *self.came.lock().unwrap() += 1;
        self.more.notify_all();
    }
}

impl State for Slow {
    fn apply(&self, _: &Event) {}

    fn export(&self, _: ShardId) -> Vec<u64> {
        Vec::new()
    }

    fn export_piece(&self, _: ShardId, _: u64) -> Option<Bytes> {
        None
    }

    fn drop_shard(&self, _: ShardId) {}

    fn import_piece(&self, _: ShardId, _: u64, _: Sequence, _: Bytes) -> Result<(), ImportError> {
        let came = self.came.lock().unwrap();
        let enough = *came + 10;
        let waited = self
            .more
            .wait_timeout_while(came, LONG, |came| *came < enough);
        if waited.unwrap().1.timed_out() {
            return Err(ImportError("no event came meanwhile".to_owned()));
        }
        Ok(())
    }
}

// One thread: a task that holds it holds up everything.
#[tokio::test]
async fn while_state_is_taken_in_other_shards_handle_their_events() {
    let discord = discord(|config| config.guilds_per_shard = 2).await;
    let master = FakeMaster::new(2).await;
    let _old = run(config(&master, &discord), Recorder::with_cache());
    let mut old_peer = master.accept().await;
    old_peer.start(&[0], 1, 2).await;
    let stop = CancellationToken::new();
    let slow = Arc::new(Slow::default());
    let slow = Slave::builder(slow.clone())
        .state(slow)
        .config(config(&master, &discord))
        .stop(stop.clone());
    let _new = AbortOnDropHandle::new(tokio::spawn(slow.run()));
    let mut new_peer = master.accept().await;
    new_peer.start(&[1], 1, 2).await;
    traffic(&discord, 200.0);

    let ready = copy(&mut old_peer, &mut new_peer, 1).await;
    assert_eq!((ready.shard, ready.pieces), (ShardId(0), 2));
}

/// What came of an order to seal that names where the next owner would begin.
enum Answer {
    Sealed(Box<Ticket>),
    CopyAnew,
}

async fn asked_to_seal(peer: &mut Peer, epoch: u64, begins: Sequence) -> Answer {
    peer.order(ToSlave::Seal(Seal {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        drain: Duration::from_secs(1),
        begins: Some(begins),
    }))
    .await;
    let waited = peer.wait("an answer", |message| match message {
        ToMaster::CopyAnew(unit) => {
            assert_eq!((unit.shard, unit.epoch), (ShardId(0), Epoch(epoch)));
            Some(Answer::CopyAnew)
        }
        ToMaster::Sealed(sealed) => Some(Answer::Sealed(Box::new(sealed.ticket.clone()))),
        _ => None,
    });
    waited.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_a_heartbeat_overtook_is_put_off_and_one_behind_it_is_not() {
    let discord = discord(|config| config.heartbeat_interval = Duration::from_millis(200)).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::with_cache());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 500.0);
    flows(&slave).await;
    peer.catch_up().await;
    let begins = peer.checkpoints[&ShardId(0)].handled;
    let mut epoch = 1;
    // As long as no heartbeat went out it seals, and is given the shard back.
    let began = Instant::now();
    while let Answer::Sealed(ticket) = asked_to_seal(&mut peer, epoch, begins).await {
        assert!(began.elapsed() < LONG, "no heartbeat ever puts a seal off");
        peer.settled(0).await;
        epoch += 1;
        peer.resume(epoch, ResumeAfter::Seal, *ticket).await;
        flows(&slave).await;
    }
    flows(&slave).await;
    let anew = Sequence(u64::MAX);
    let sealed = asked_to_seal(&mut peer, epoch, anew).await;
    assert!(matches!(sealed, Answer::Sealed(_)), "the copy stands above");
    assert_eq!(discord.counters().total.identifies, 1);
}
