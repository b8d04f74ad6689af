//! A bot is told that its shard leaves, and may come to rest and give back what it has not
//! begun.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_protocol::{Sequence, SequenceRanges, message::ResumeAfter};
use baton_slave::{Mark, Settling, ShardHandle};
use tokio::time::Instant;

use crate::common::{Doing, LONG, Peer, Recorder, Running, config, run, sent, traffic, until};
use crate::unfinished::{Scene, scene_of};

/// One shard whose bot may keep every event.
async fn scene() -> Scene {
    scene_of(Recorder::default(), |_| {}, |config| config.window = 65_536).await
}

impl Scene {
    async fn next(&self) -> (Running, Peer) {
        let new = run(config(&self.master, &self.discord), Recorder::default());
        let peer = self.master.accept().await;
        (new, peer)
    }

    /// So many events are kept, and no other comes. Gives the first and the last.
    async fn keeps(&self, events: usize) -> (u64, u64) {
        self.old.bot.does(|_| Doing::Keep);
        let kept = || self.old.bot.kept.lock().unwrap().len();
        until("events that are kept", || kept() >= events).await;
        traffic(&self.discord, 0.0);
        let last = sent(&self.discord).last().map(|(_, sequence)| *sequence);
        until("the last one", || {
            let kept = self.old.bot.kept.lock().unwrap();
            kept.last_key_value().map(|(sequence, _)| *sequence) == last
        })
        .await;
        let kept = self.old.bot.kept.lock().unwrap();
        let (first, last) = (kept.first_key_value(), kept.last_key_value());
        (*first.unwrap().0, *last.unwrap().0)
    }

    /// From now on the bot does this with a shard that leaves.
    fn rests(&self, how: impl Fn(&ShardHandle, Settling) + Send + 'static) {
        *self.old.bot.rests.lock().unwrap() = Some(Box::new(how));
    }
}

fn give_back(bot: &Recorder) {
    let kept = std::mem::take(&mut *bot.kept.lock().unwrap());
    kept.into_values().for_each(baton_slave::Ack::give_back);
}

/// What it was handed out from the first of these on, and each mark.
fn since(bot: &Recorder, first: u64) -> Vec<(u64, Mark)> {
    let told = bot.told().into_iter();
    let told = told.filter(|told| told.sequence >= first);
    told.map(|told| (told.sequence, told.mark)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bot_gives_back_as_its_shard_leaves_is_handed_out_next_in_order_and_unmarked() {
    let mut scene = scene().await;
    let (first, last) = scene.keeps(20).await;
    scene.rests(move |shard, settling| {
        shard.set_luggage("along").unwrap();
        settling.gives_back_the_rest();
        // It never comes to rest.
        std::mem::forget(settling);
    });
    let began = Instant::now();
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert!(began.elapsed() >= Settling::LONGEST, "it was waited for");
    assert_eq!(ticket.handled, Sequence(first - 1));
    assert!(ticket.in_doubt.is_empty(), "{ticket:?}");
    assert_eq!(ticket.luggage, "along");
    let settled = scene.peer.settled(0).await;
    assert!(settled.is_empty(), "{settled}");

    let (new, mut peer) = scene.next().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    traffic(&scene.discord, 500.0);
    until("more", || new.bot.told().len() > 40).await;
    let told = since(&new.bot, 0);
    let expected = (first..).map(|sequence| (sequence, Mark::None));
    let all: Vec<_> = told.iter().copied().filter(|(at, _)| *at <= last).collect();
    assert_eq!(
        all,
        expected
            .take((last - first + 1) as usize)
            .collect::<Vec<_>>()
    );
    assert!(told.is_sorted_by_key(|(sequence, _)| *sequence));
    assert_eq!(*new.bot.luggage.lock().unwrap(), ["along"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_and_comes_back_itself_is_handed_out_again_here() {
    let mut scene = scene().await;
    let (first, last) = scene.keeps(5).await;
    let bot = Arc::clone(&scene.old.bot);
    scene.rests(move |_, settling| {
        settling.gives_back_the_rest();
        give_back(&bot);
    });
    let began = Instant::now();
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert!(began.elapsed() < LONG);
    assert_eq!(ticket.handled, Sequence(first - 1));
    let told = scene.old.bot.told().len();
    scene.old.bot.does(|_| Doing::Finish);
    scene.peer.resume(2, ResumeAfter::Seal, ticket).await;
    until("again", || scene.old.bot.told().len() > told + 4).await;
    let again: Vec<_> = scene.old.bot.sequences()[told..].to_vec();
    assert_eq!(again, (first..=last).collect::<Vec<_>>());
    assert!(
        since(&scene.old.bot, first)
            .iter()
            .all(|(_, mark)| *mark == Mark::None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_is_handed_out_once_more_only_whenever_its_ack_comes() {
    let mut scene = scene().await;
    let (first, last) = scene.keeps(5).await;
    scene.rests(|_, settling| settling.gives_back_the_rest());
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert!(ticket.in_doubt.is_empty(), "{ticket:?}");
    let acks = std::mem::take(&mut *scene.old.bot.kept.lock().unwrap());
    let told = scene.old.bot.told().len();
    scene.peer.resume(2, ResumeAfter::Seal, ticket).await;
    until("again", || scene.old.bot.told().len() > told + 4).await;
    acks.into_values().for_each(baton_slave::Ack::give_back);
    traffic(&scene.discord, 500.0);
    until("more", || scene.old.bot.told().len() > told + 60).await;
    let again: Vec<_> = scene.old.bot.sequences()[told..].to_vec();
    assert!(again.is_sorted_by(|one, next| one < next), "{again:?}");
    assert!(again.starts_with(&(first..=last).collect::<Vec<_>>()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_repeat_keeps_its_mark_when_it_is_given_back() {
    let scene = scene().await;
    let (first, last) = scene.keeps(5).await;
    let mut ticket = scene.peer.checkpoints.values().next().unwrap().clone();
    ticket.handled = Sequence(first - 1);
    ticket.state_at = ticket.handled;
    // The old one dies; what follows may repeat.
    let (new, mut peer) = scene.next().await;
    new.bot.does(|_| Doing::Keep);
    new.bot
        .rests
        .lock()
        .unwrap()
        .replace(Box::new(|_, settling| {
            settling.gives_back_the_rest();
        }));
    peer.resume(2, ResumeAfter::Death, ticket).await;
    until("replayed", || {
        new.bot.kept.lock().unwrap().contains_key(&last)
    })
    .await;
    let ticket = peer.seal(0, 2, LONG).await;
    assert!(ticket.in_doubt.is_empty(), "{ticket:?}");
    let marked: Vec<u64> = ticket.may_repeat.iter().map(Sequence::get).collect();
    assert_eq!(marked, (first..=last).collect::<Vec<_>>());
    let (third, mut peer) = scene.next().await;
    peer.resume(3, ResumeAfter::Seal, ticket).await;
    until("all", || third.bot.sequences().contains(&last)).await;
    let told = since(&third.bot, 0);
    assert!(
        told.iter().all(|(_, mark)| *mark == Mark::MayRepeat),
        "{told:?}"
    );
    assert_eq!(told.len() as u64, last - first + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_discord_replays_no_more_is_not_given_back_but_carried() {
    let mut scene = scene().await;
    traffic(&scene.discord, 4000.0);
    // Nothing says that Discord replays more than 75 events a guild.
    let (first, last) = scene.keeps(2000).await;
    let bot = Arc::clone(&scene.old.bot);
    scene.rests(move |_, settling| {
        settling.gives_back_the_rest();
        give_back(&bot);
    });
    let ticket = scene.peer.seal(0, 1, LONG).await;
    let in_doubt: SequenceRanges = (first..=last).map(Sequence).collect();
    assert_eq!(ticket.in_doubt, in_doubt);
    assert_eq!(scene.peer.settled(0).await, in_doubt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_order_is_asked_for_nothing_goes_before_what_is_in_doubt() {
    let mut scene = scene().await;
    let (first, last) = scene.keeps(5).await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    let in_doubt = ticket.in_doubt.clone();
    assert_eq!(in_doubt.count(), last - first + 1);
    let mut config = config(&scene.master, &scene.discord);
    config.in_order = true;
    let new = run(config, Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.give(2, ResumeAfter::Seal, ticket).await;
    traffic(&scene.discord, 500.0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(new.bot.told().is_empty(), "{:?}", new.bot.sequences());
    peer.settle(0, 1, in_doubt).await;
    until("more", || new.bot.told().len() > 20).await;
    let told = new.bot.sequences();
    assert_eq!(told[0], first);
    assert!(told.is_sorted(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bot_gives_along_as_its_shard_leaves_is_in_the_ticket_or_nowhere() {
    let mut scene = scene().await;
    scene.keeps(1).await;
    let (late, kept) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
    let (here, times) = (Arc::clone(&late), Arc::clone(&kept));
    scene.rests(move |shard, settling| {
        let mut times = times.lock().unwrap();
        *times += 1;
        if *times == 1 {
            settling.takes_along("in time").unwrap();
            settling.takes_along(&"x".repeat(5000)).unwrap_err();
            assert_eq!(&*shard.luggage(), "", "it is the ticket's alone");
        } else {
            *here.lock().unwrap() = Some(settling);
        }
    });
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert_eq!(ticket.luggage, "in time");
    scene.peer.resume(2, ResumeAfter::Seal, ticket).await;
    let mut ticket = scene.peer.seal(0, 2, LONG).await;
    assert_eq!(ticket.luggage, "in time");
    // It comes back, with what another owner gave along.
    ticket.luggage = "theirs".to_owned();
    scene.peer.resume(3, ResumeAfter::Seal, ticket).await;
    let settling = late.lock().unwrap().take().unwrap();
    settling.takes_along("too late").unwrap();
    drop(settling);
    *scene.old.bot.rests.lock().unwrap() = None;
    let ticket = scene.peer.seal(0, 3, LONG).await;
    assert_eq!(ticket.luggage, "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn luggage_is_with_the_master_before_anything_is_sealed() {
    let mut scene = scene().await;
    until("a handle", || {
        scene.old.bot.handle.lock().unwrap().is_some()
    })
    .await;
    let handle = scene.old.bot.handle.lock().unwrap().clone().unwrap();
    handle.set_luggage("kept").unwrap();
    let ticket = scene
        .peer
        .wait("a checkpoint with it", |message| match message {
            baton_protocol::ToMaster::Checkpoint(checkpoint) => {
                let mut tickets = checkpoint.shards.iter().filter_map(|at| at.session.clone());
                tickets.find(|ticket| ticket.luggage == "kept")
            }
            _ => None,
        })
        .await;
    assert!(ticket.has_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_is_told_once_that_its_shard_leaves_and_one_that_rests_at_once_holds_nothing_up() {
    let mut scene = scene().await;
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    scene.rests(move |_, _| *count.lock().unwrap() += 1);
    let ticket = scene.peer.seal(0, 1, LONG).await;
    scene.peer.settled(0).await;
    assert_eq!(*told.lock().unwrap(), 1);
    let (_new, mut peer) = scene.next().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.peer.order(baton_protocol::ToSlave::Shutdown).await;
    assert!(scene.old.ends().await.is_ok());
    assert_eq!(*told.lock().unwrap(), 1, "once");
}
