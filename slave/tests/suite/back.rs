//! A shard goes back to the slave that had it, which may have been a while ago.

use baton_discord::Discord;
use baton_protocol::{Epoch, message::ResumeAfter};
use baton_slave::StateStatus;

use crate::{
    common::{
        FakeMaster, LONG, Peer, Recorder, Running, all_once_unmarked, config, discord, moment, run,
        traffic, until,
    },
    lost::copy,
};

/// So many events Discord keeps for a replay.
const KEPT: usize = 150;

/// One shard that moved from the first slave to the second, with its state.
struct Scene {
    discord: Discord,
    first: (Running, Peer),
    second: (Running, Peer),
    _master: FakeMaster,
}

async fn scene() -> Scene {
    scene_of(Recorder::with_cache).await
}

async fn scene_of(bot: fn() -> Recorder) -> Scene {
    let discord = discord(|config| config.replay_buffer = u32::try_from(KEPT).ok()).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), bot());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    let mut first = (slave, peer);
    let slave = run(config(&master, &discord), bot());
    let mut second = (slave, master.accept().await);
    traffic(&discord, 500.0);
    flows(&first.0, 20).await;
    // What is behind a copy depends on no machine's speed.
    traffic(&discord, 0.0);
    copy(&mut first.1, &mut second.1, 1).await;
    let ticket = first.1.seal(0, 1, LONG).await;
    first.1.settled(0).await;
    second.1.resume(2, ResumeAfter::Seal, ticket).await;
    Scene {
        discord,
        first,
        second,
        _master: master,
    }
}

async fn flows(slave: &Running, events: usize) {
    let before = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > before + events).await;
}

/// More than Discord keeps.
async fn much_happens(scene: &Scene) {
    traffic(&scene.discord, 500.0);
    flows(&scene.second.0, 2 * KEPT).await;
    traffic(&scene.discord, 0.0);
}

async fn goes_on(scene: &Scene) {
    traffic(&scene.discord, 500.0);
    flows(&scene.first.0, 20).await;
    scene.is_exact().await;
}

impl Scene {
    /// Each event was handed out once, by one of them, and no session was lost.
    async fn is_exact(&self) {
        let bots = [&self.first.0, &self.second.0].map(|slave| &*slave.bot);
        all_once_unmarked(&self.discord, &bots).await;
        assert_eq!(self.discord.counters().total.identifies, 1);
    }

    fn last_state(&self) -> Option<(u32, StateStatus)> {
        self.first.0.bot.states.lock().unwrap().last().copied()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_too_old_to_go_back_to_costs_no_event_and_is_said_to_be_lost() {
    let mut scene = scene().await;
    much_happens(&scene).await;
    let ticket = scene.second.1.seal(0, 2, LONG).await;
    scene.second.1.settled(0).await;
    let first = &mut scene.first.1;
    first.give_to(3, ResumeAfter::Seal, ticket, true).await;
    first.resumed(0, 3).await;
    goes_on(&scene).await;
    assert_eq!(scene.last_state(), Some((0, StateStatus::Lost)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_state_makes_room_for_a_copy_from_beyond_every_replay() {
    let mut scene = scene().await;
    much_happens(&scene).await;
    copy(&mut scene.second.1, &mut scene.first.1, 2).await;
    let ticket = scene.second.1.seal(0, 2, LONG).await;
    scene.second.1.settled(0).await;
    scene.first.1.resume(3, ResumeAfter::Seal, ticket).await;
    goes_on(&scene).await;
    assert_eq!(scene.last_state(), Some((0, StateStatus::Complete)));
    let moment = moment(&scene.discord, 0, &scene.first.0.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_state_that_a_replay_reaches_is_as_good_as_a_copy() {
    let mut scene = scene().await;
    let ready = copy(&mut scene.second.1, &mut scene.first.1, 2).await;
    assert_eq!(
        (ready.epoch, ready.pieces),
        (Epoch(2), 0),
        "nothing was taken in"
    );
    let ticket = scene.second.1.seal(0, 2, LONG).await;
    scene.second.1.settled(0).await;
    scene.first.1.resume(3, ResumeAfter::Seal, ticket).await;
    goes_on(&scene).await;
    let moment = moment(&scene.discord, 0, &scene.first.0.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_a_shard_back_does_not_wait_for_a_word_that_goes_elsewhere() {
    let mut scene = scene().await;
    // One handler runs on at the second slave, and its shard moves to the first.
    scene.second.0.bot.does(|_| crate::common::Doing::Keep);
    traffic(&scene.discord, 500.0);
    let kept = || scene.second.0.bot.kept.lock().unwrap().len();
    until("an event is kept", || kept() > 0).await;
    traffic(&scene.discord, 0.0);
    let ticket = scene.second.1.seal(0, 2, LONG).await;
    assert!(!ticket.in_doubt.is_empty());
    let first = &mut scene.first.1;
    first.resume(3, ResumeAfter::Seal, ticket).await;
    // Nobody tells the first what became of it: it goes back before.
    let ticket = first.seal(0, 3, 100 * LONG).await;
    let unfinished = first.settled(0).await;
    assert_eq!(unfinished, ticket.in_doubt, "what it does not know");
    scene.second.0.bot.let_go();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_without_state_goes_back_however_long_it_took() {
    let mut scene = scene_of(Recorder::default).await;
    much_happens(&scene).await;
    let ready = copy(&mut scene.second.1, &mut scene.first.1, 2).await;
    assert_eq!((ready.state_at.get(), ready.pieces), (0, 0), "it has none");
    let ticket = scene.second.1.seal(0, 2, LONG).await;
    scene.second.1.settled(0).await;
    scene.first.1.resume(3, ResumeAfter::Seal, ticket).await;
    goes_on(&scene).await;
}
