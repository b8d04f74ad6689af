//! Events that are never finished, and events that kill: what a slave does with them.

use std::time::Duration;

use crate::common::{
    Doing, FakeMaster, LONG, Peer, Recorder, Running, config, discord, run, traffic, until,
};
use crate::lost::copy;
use baton_discord::{Discord, DiscordConfig};
use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, ToMaster, ToSlave,
    message::{Ping, Resume, ResumeAfter, Settled, Trying, Unfinished},
};
use baton_slave::{Mark, OnDeadlyEvent, SlaveConfig};

/// One shard whose handlers may keep what they are given.
pub struct Scene {
    pub discord: Discord,
    pub master: FakeMaster,
    pub old: Running,
    pub peer: Peer,
}

async fn scene() -> Scene {
    scene_of(Recorder::default(), |_| {}, |_| {}).await
}

/// On a Discord that replays 200 events.
async fn forgetful() -> Scene {
    let bot = Recorder::default();
    scene_of(bot, |config| config.replay_buffer = Some(200), |_| {}).await
}

pub async fn scene_of(
    bot: Recorder,
    change: fn(&mut DiscordConfig),
    set: fn(&mut SlaveConfig),
) -> Scene {
    let discord = discord(change).await;
    let master = FakeMaster::new(1).await;
    let mut config = config(&master, &discord);
    set(&mut config);
    let old = run(config, bot);
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 500.0);
    Scene {
        discord,
        master,
        old,
        peer,
    }
}

impl Scene {
    /// One event is kept for ever, and so many are finished behind it. Nothing else
    /// happens from then on.
    async fn hangs(&self, behind: usize) -> u64 {
        let first = std::sync::atomic::AtomicBool::new(true);
        self.old.bot.does(move |_| {
            if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                Doing::Keep
            } else {
                Doing::Finish
            }
        });
        until("an event that hangs", || {
            !self.old.bot.kept.lock().unwrap().is_empty()
        })
        .await;
        let at = self.old.bot.told().len();
        until("events behind it", || {
            self.old.bot.told().len() > at + behind
        })
        .await;
        traffic(&self.discord, 0.0);
        self.kept()
    }

    fn kept(&self) -> u64 {
        let kept = self.old.bot.kept.lock().unwrap();
        *kept.keys().next().unwrap()
    }
}

/// What is settled, with the payloads.
async fn settled(peer: &mut Peer) -> Settled {
    peer.wait("settled", |message| match message {
        ToMaster::Settled(settled) => Some(settled.clone()),
        _ => None,
    })
    .await
}

async fn unfinished(peer: &mut Peer) -> Vec<Unfinished> {
    peer.order(ToSlave::Ping(Ping {
        number: 7,
        heard: 0,
    }))
    .await;
    peer.wait("pong", |message| match message {
        ToMaster::Pong(pong) => Some(pong.unfinished.clone()),
        _ => None,
    })
    .await
}

/// Asks until what is named is such.
async fn says_of_unfinished(
    peer: &mut Peer,
    such: impl Fn(&[Unfinished]) -> bool,
) -> Vec<Unfinished> {
    let asking = async {
        loop {
            let named = unfinished(peer).await;
            if such(&named) {
                return named;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, asking)
        .await
        .expect("it is named so")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_hangs_is_named_with_what_is_behind_it() {
    let mut scene = scene().await;
    let sequence = scene.hangs(310).await;
    let far = |named: &[Unfinished]| named.iter().any(|event| event.behind >= 300);
    let named = says_of_unfinished(&mut scene.peer, far).await;
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!(named[0].shard, ShardId(0));
    assert_eq!(named[0].sequence, Sequence(sequence));
    assert!(
        !named[0].kind.is_empty() && named[0].guild != 0,
        "{named:?}"
    );
    scene.old.bot.let_go();
    says_of_unfinished(&mut scene.peer, <[Unfinished]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_hangs_is_named_for_its_age_on_a_quiet_shard_too() {
    let mut scene = scene().await;
    let sequence = Sequence(scene.hangs(3).await);
    let is_named = |named: &[Unfinished]| named.iter().any(|event| event.sequence == sequence);
    says_of_unfinished(&mut scene.peer, is_named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_discord_replays_no_more_is_handed_over_by_its_former_owner() {
    let mut scene = forgetful().await;
    let sequence = scene.hangs(450).await;
    let mut ticket = scene.peer.seal(0, 1, Duration::from_millis(50)).await;
    assert_eq!(ticket.handled, Sequence(sequence - 1));
    let settled = settled(&mut scene.peer).await;
    assert_eq!(settled.events.len(), 1);
    assert_eq!(settled.events[0].sequence, Sequence(sequence));
    ticket.replay_from = ticket.highest();
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    traffic(&scene.discord, 200.0);
    until("events at the next owner", || new.bot.told().len() > 20).await;
    peer.order(ToSlave::Settled(settled)).await;
    until("the event that hung", || {
        new.bot.told().iter().any(|told| told.sequence == sequence)
    })
    .await;
    let told = new.bot.told();
    let told = told.iter().find(|told| told.sequence == sequence).unwrap();
    assert_eq!(told.mark, Mark::MayRepeat);
    assert_eq!(scene.discord.counters().total.identifies, 1);
    let handled = peer
        .wait("a checkpoint that goes on", |message| match message {
            ToMaster::Checkpoint(checkpoint) => checkpoint
                .shards
                .iter()
                .map(|entry| entry.handled)
                .find(|handled| handled.get() > sequence + 450),
            _ => None,
        })
        .await;
    assert!(handled.get() > sequence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_carries_is_given_up_and_holds_nothing_back() {
    let mut scene = forgetful().await;
    let sequence = scene.hangs(450).await;
    let mut ticket = scene.peer.seal(0, 1, Duration::from_millis(50)).await;
    let mut settled = settled(&mut scene.peer).await;
    settled.events.clear();
    ticket.replay_from = ticket.highest();
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    traffic(&scene.discord, 200.0);
    peer.order(ToSlave::Settled(settled)).await;
    peer.wait("a checkpoint that goes on", |message| match message {
        ToMaster::Checkpoint(checkpoint) => checkpoint
            .shards
            .iter()
            .find(|entry| entry.handled.get() > sequence + 450)
            .map(|_| ()),
        _ => None,
    })
    .await;
    assert_eq!(new.counts().await.given_up, 1);
    assert!(!new.bot.told().iter().any(|told| told.sequence == sequence));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_with_millions_of_events_finished_behind_one_that_hangs_is_taken() {
    let mut scene = forgetful().await;
    scene.hangs(10).await;
    let mut ticket = scene.peer.seal(0, 1, Duration::from_millis(50)).await;
    let highest = ticket.highest();
    ticket.finished_above = SequenceRanges::new();
    ticket
        .finished_above
        .insert_range(Sequence(ticket.handled.get() + 2), highest);
    // As after many hours: only numbers, so that it must not be walked.
    ticket.handled = Sequence(0);
    ticket.in_doubt = SequenceRanges::new();
    ticket.finished_above.insert_range(Sequence(2), highest);
    ticket
        .finished_above
        .insert_range(Sequence(1 << 50), Sequence(1 << 51));
    ticket.replay_from = highest;
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.resume(2, ResumeAfter::Death, ticket).await;
    traffic(&scene.discord, 200.0);
    until("events at the next owner", || new.bot.told().len() > 20).await;
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_above_what_discord_ever_sent_is_disproved_by_resumed() {
    let mut scene = scene_of(Recorder::with_cache(), |_| {}, |_| {}).await;
    until("events", || scene.old.bot.told().len() > 50).await;
    let new = run(
        config(&scene.master, &scene.discord),
        Recorder::with_cache(),
    );
    let mut peer = scene.master.accept().await;
    let ready = copy(&mut scene.peer, &mut peer, 1).await;
    let mut ticket = scene.peer.seal(0, 1, LONG).await;
    // The RESUME begins where the state stands, so Discord takes it.
    ticket.state_at = ready.state_at;
    ticket.handled = Sequence(1 << 40);
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    until("events at the next owner", || new.bot.told().len() > 20).await;
}

/// As [`Peer::give`], with what is to be taken care of.
pub async fn give(peer: &mut Peer, epoch: u64, ticket: baton_protocol::Ticket, care: Resume) {
    let resume = Resume {
        epoch: Epoch(epoch),
        after: ResumeAfter::Death,
        ticket,
        ..care
    };
    peer.order(ToSlave::Resume(Box::new(resume))).await;
}

async fn trying(peer: &mut Peer) -> Trying {
    peer.wait("an event that is tried", |message| match message {
        ToMaster::Trying(trying) => Some(trying.clone()),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspects_are_handed_out_one_at_a_time_each_after_it_was_written_down() {
    let mut scene = scene().await;
    until("events", || scene.old.bot.told().len() > 50).await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    until("what is replayed", || {
        let sent = scene.discord.ledger(0, usize::MAX).len() as u64;
        sent > ticket.handled.get() + 5
    })
    .await;
    traffic(&scene.discord, 0.0);
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    let alone = Resume {
        alone: true,
        ..Resume::default()
    };
    give(&mut peer, 2, ticket.clone(), alone).await;
    peer.resumed(0, 2).await;
    let mut last = ticket.handled;
    for round in 0..5 {
        let tried = trying(&mut peer).await;
        assert!(tried.sequence > last, "in order");
        last = tried.sequence;
        assert_eq!(new.bot.told().len(), round, "nothing before the answer");
        peer.order(ToSlave::Try(tried)).await;
        until("it is handed out", || new.bot.told().len() == round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_suspects_and_no_process_had_is_not_marked_at_the_next_owner() {
    let mut scene = scene().await;
    until("events", || scene.old.bot.told().len() > 50).await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    let first = ticket.handled.get() + 1;
    until("what is replayed", || {
        let sent = scene.discord.ledger(0, usize::MAX).len() as u64;
        sent > first + 5
    })
    .await;
    traffic(&scene.discord, 0.0);
    let suspicious = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    let alone = Resume {
        after: ResumeAfter::Death,
        alone: true,
        ..Resume::default()
    };
    give(&mut peer, 2, ticket, alone).await;
    peer.resumed(0, 2).await;
    trying(&mut peer).await;
    let newest = |discord: &Discord| discord.ledger(0, usize::MAX).last().map(|sent| sent.seq);
    let replayed = newest(&scene.discord).expect("events");
    let received = suspicious.counts().await.received;
    traffic(&scene.discord, 500.0);
    while suspicious.counts().await.received < received + 20 {
        tokio::task::yield_now().await;
    }
    let ticket = peer.seal(0, 2, LONG).await;
    let settled = Settled {
        shard: ShardId(0),
        epoch: Epoch(2),
        unfinished: peer.settled(0).await,
        events: Vec::new(),
    };
    let new = run(config(&scene.master, &scene.discord), Recorder::default());
    let mut peer = scene.master.accept().await;
    peer.resume(3, ResumeAfter::Seal, ticket).await;
    peer.order(ToSlave::Settled(settled)).await;
    let both = [first, replayed + 1];
    until("all of them", || {
        let told = new.bot.told();
        let mut due = both.iter();
        due.all(|due| told.iter().any(|told| told.sequence == *due))
    })
    .await;
    for told in new.bot.told() {
        let due = if told.sequence <= replayed {
            Mark::MayRepeat
        } else {
            Mark::None
        };
        assert_eq!(told.mark, due, "{} behind {replayed}", told.sequence);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadly_event_is_set_aside_or_handed_out_once_more_as_the_bot_wants_it() {
    for (choice, skipped) in [
        (OnDeadlyEvent::Skip, false),
        (OnDeadlyEvent::HandOut, false),
        (OnDeadlyEvent::HandOut, true),
    ] {
        let mut scene = scene().await;
        until("events", || scene.old.bot.told().len() > 50).await;
        let ticket = scene.peer.seal(0, 1, LONG).await;
        let deadly = ticket.handled.next();
        let deadly: SequenceRanges = (deadly.get()..deadly.get() + 3).map(Sequence).collect();
        until("what is replayed", || {
            let sent = scene.discord.ledger(0, usize::MAX).len() as u64;
            sent > ticket.handled.get() + 10
        })
        .await;
        let mut config = config(&scene.master, &scene.discord);
        config.on_deadly_event = choice;
        let new = run(config, Recorder::default());
        let mut peer = scene.master.accept().await;
        let care = Resume {
            deadly: deadly.clone(),
            skipped: if skipped {
                deadly.clone()
            } else {
                SequenceRanges::new()
            },
            ..Resume::default()
        };
        give(&mut peer, 2, ticket, care).await;
        let aside = peer
            .wait("an event that is set aside", |message| match message {
                ToMaster::SetAside(aside) => Some(aside.clone()),
                _ => None,
            })
            .await;
        assert!(deadly.contains(aside.event.sequence));
        assert!(aside.event.json.contains("\"s\":"), "its payload is kept");
        let handed_out = choice == OnDeadlyEvent::HandOut && !skipped;
        assert_eq!(aside.handed_out, handed_out);
        until("events behind it", || new.bot.told().len() > 20).await;
        let told = new.bot.told();
        let had = told
            .iter()
            .any(|told| told.sequence == aside.event.sequence.get());
        assert_eq!(had, handed_out);
    }
}
