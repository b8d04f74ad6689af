//! Promises that no other test would see broken: `scripts/mutants` breaks them.

use std::time::Duration;

use crate::common::{
    Doing, FakeMaster, LONG, Peer, Recorder, Running, config, discord, run, until,
};
use baton_discord::{Discord, Fault, FaultName};
use baton_protocol::{Sequence, ShardId, message::ResumeAfter};
use baton_slave::Mark;

/// An old slave that serves the only shard, and a new one that serves nothing.
struct Scene {
    discord: Discord,
    old: (Running, Peer),
    new: (Running, Peer),
}

async fn scene() -> Scene {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    settings.timings.replay = Duration::from_secs(3);
    let slave = run(settings.clone(), Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    let old = (slave, peer);
    let slave = run(settings, Recorder::default());
    let new = (slave, master.accept().await);
    crate::common::traffic(&discord, 500.0);
    let scene = Scene { discord, old, new };
    flows(&scene.old.0).await;
    scene
}

async fn flows(slave: &Running) {
    let before = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > before + 20).await;
}

impl Scene {
    /// The next event stays in its handler, all others are finished. Which one.
    async fn one_is_slow(&self) -> u64 {
        let first = std::sync::atomic::AtomicBool::new(true);
        let slow = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let named = slow.clone();
        self.old.0.bot.does(move |event| {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                named.store(event.sequence().get(), std::sync::atomic::Ordering::SeqCst);
                return Doing::Keep;
            }
            Doing::Finish
        });
        flows(&self.old.0).await;
        slow.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_stays_below_what_a_handler_has_not_finished() {
    let mut scene = scene().await;
    let slow = scene.one_is_slow().await;
    let (slave, peer) = &mut scene.old;
    // The checkpoint that names what is finished above it knows of all this.
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        peer.catch_up().await;
        let ticket = &peer.checkpoints[&ShardId(0)];
        assert!(ticket.handled < Sequence(slow), "{ticket:?}, {slow} runs");
        if ticket.finished_above.contains(Sequence(slow + 1)) {
            break;
        }
    }
    slave.bot.let_go();
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        peer.catch_up().await;
        if peer.checkpoints[&ShardId(0)].handled > Sequence(slow) {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_finished_above_a_slow_event_is_not_handed_out_by_the_next_owner() {
    let mut scene = scene().await;
    let slow = scene.one_is_slow().await;
    let ticket = scene.old.1.seal(0, 1, Duration::ZERO).await;
    assert_eq!(ticket.handled, Sequence(slow - 1));
    assert!(ticket.finished_above.count() > 10, "{ticket:?}");
    let unfinished = scene.old.1.settled(0).await;
    assert_eq!(unfinished, ticket.in_doubt);
    scene.new.1.resume(2, ResumeAfter::Seal, ticket).await;
    scene.new.1.settle(0, 1, unfinished).await;
    flows(&scene.new.0).await;
    let old = scene.old.0.bot.sequences();
    for told in scene.new.0.bot.told() {
        let again = old.contains(&told.sequence);
        assert_eq!(again, told.sequence == slow, "{told:?}");
        assert_eq!(again, told.mark == Mark::MayRepeat, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_is_confirmed_when_discord_said_resumed_and_not_before() {
    let mut scene = scene().await;
    let ticket = scene.old.1.seal(0, 1, LONG).await;
    scene
        .discord
        .fault(Fault::new(FaultName::NoResumed))
        .unwrap();
    scene.new.1.resume(2, ResumeAfter::Seal, ticket).await;
    // The first RESUME was never answered.
    assert_eq!(scene.discord.counters().total.resumes, 2);
}
