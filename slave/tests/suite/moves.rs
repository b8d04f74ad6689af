//! Shards move between slaves of this process, by orders of a small master.

mod master;
mod state;

use std::{collections::BTreeMap, time::Duration};

use crate::common::{
    Doing, FakeMaster, LONG, Peer, Recorder, Running, Told, config, discord, run, sent, until,
    with_session,
};
use crate::lost::copy;
use baton_discord::Discord;
use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, Ticket, ToMaster, ToSlave, Version,
    message::{CopyState, Holding, ResumeAfter, Role, ShardMigrationStart, Unit, Work},
};
use baton_slave::{CommandError, Mark, StateStatus};
use bytes::Bytes;

/// One shard, an old slave that serves it, and a new one that serves nothing.
struct Scene {
    discord: Discord,
    master: FakeMaster,
    old: Side,
    new: Side,
}

struct Side {
    slave: Running,
    peer: Peer,
}

async fn scene() -> Scene {
    scene_of(Recorder::default, |_| {}).await
}

async fn scene_of(bot: fn() -> Recorder, change: fn(&mut baton_discord::DiscordConfig)) -> Scene {
    let discord = discord(change).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), bot());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    let old = Side { slave, peer };
    let slave = run(config(&master, &discord), bot());
    let peer = master.accept().await;
    let new = Side { slave, peer };
    crate::common::traffic(&discord, 500.0);
    let scene = Scene {
        discord,
        master,
        old,
        new,
    };
    scene.old.flows().await;
    scene
}

impl Side {
    async fn flows(&self) {
        let before = self.slave.bot.told().len();
        until("more events", || self.slave.bot.told().len() > before + 20).await;
    }

    fn told(&self) -> Vec<Told> {
        self.slave.bot.told()
    }
}

impl Scene {
    /// Old seals, new resumes; what was in doubt is forwarded.
    async fn moves(&mut self, epoch: u64, ticket: Ticket) {
        self.new.peer.resume(epoch, ResumeAfter::Seal, ticket).await;
    }

    /// Copies the state from old to new, as the master forwards it.
    async fn copies(&mut self, epoch: u64) -> (Sequence, u64) {
        let ready = copy(&mut self.old.peer, &mut self.new.peer, epoch).await;
        assert_eq!(ready.epoch, Epoch(epoch));
        (ready.state_at, ready.pieces)
    }

    /// How often each dispatch was handed out, by both; quiet first.
    async fn handed(&self) -> BTreeMap<u64, Vec<Told>> {
        crate::common::traffic(&self.discord, 0.0);
        let before = sent(&self.discord).len();
        let all = || {
            let mut all: BTreeMap<u64, Vec<Told>> = BTreeMap::new();
            for told in self.old.told().into_iter().chain(self.new.told()) {
                all.entry(told.sequence).or_default().push(told);
            }
            all
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sent_now = || sent(&self.discord).len();
        assert!(sent_now() >= before);
        until("every event", || all().len() == sent_now()).await;
        all()
    }

    async fn exactly_once(&self) {
        for (sequence, told) in self.handed().await {
            assert_eq!(told.len(), 1, "{sequence}: {told:?}");
            assert_eq!(told[0].mark, Mark::None, "{sequence}");
        }
        assert_eq!(self.discord.counters().total.identifies, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_shard_goes_on_at_the_next_owner_with_every_event_once() {
    let mut scene = scene().await;
    for round in 0..5 {
        let (from, to) = if round % 2 == 0 {
            (&mut scene.old, &mut scene.new)
        } else {
            (&mut scene.new, &mut scene.old)
        };
        let epoch = round + 1;
        let ticket = from.peer.seal(0, epoch, LONG).await;
        let unfinished = from.peer.settled(0).await;
        to.peer.resume(epoch + 1, ResumeAfter::Seal, ticket).await;
        to.peer.settle(0, epoch, unfinished).await;
        to.flows().await;
    }
    scene.exactly_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_doubt_waits_and_is_not_handed_out_again_when_it_is_finished() {
    let mut scene = scene().await;
    scene.old.slave.bot.does(|_| Doing::Keep);
    until("three slow handlers", || {
        scene.old.slave.bot.kept.lock().unwrap().len() >= 3
    })
    .await;
    let ticket = scene.old.peer.seal(0, 1, LONG).await;
    assert!(ticket.in_doubt.count() >= 3, "{ticket:?}");
    scene.moves(2, ticket).await;
    // The newest ones do not wait for the old ones.
    scene.new.flows().await;
    scene.old.slave.bot.let_go();
    let unfinished = scene.old.peer.settled(0).await;
    assert!(unfinished.is_empty());
    scene.new.peer.settle(0, 1, unfinished).await;
    scene.exactly_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_finished_within_the_drain_deadline_is_handed_out_again_marked() {
    let mut scene = scene().await;
    scene.old.slave.bot.does(|_| Doing::Keep);
    until("slow handlers", || {
        scene.old.slave.bot.kept.lock().unwrap().len() >= 3
    })
    .await;
    let ticket = scene.old.peer.seal(0, 1, Duration::from_millis(100)).await;
    let in_doubt = ticket.in_doubt.clone();
    scene.moves(2, ticket).await;
    let unfinished = scene.old.peer.settled(0).await;
    assert_eq!(unfinished, in_doubt);
    scene.new.peer.settle(0, 1, unfinished.clone()).await;
    for (sequence, told) in scene.handed().await {
        let repeated = unfinished.contains(Sequence(sequence));
        assert_eq!(told.len(), 1 + usize::from(repeated), "{sequence}");
        let marked = told
            .iter()
            .filter(|told| told.mark == Mark::MayRepeat)
            .count();
        assert_eq!(marked, usize::from(repeated), "{sequence}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_nobody_else_could_serve_is_taken_back_where_it_stood() {
    let mut scene = scene().await;
    scene.old.slave.bot.does(|_| Doing::Keep);
    until("slow handlers", || {
        scene.old.slave.bot.kept.lock().unwrap().len() >= 3
    })
    .await;
    let ticket = scene.old.peer.seal(0, 1, LONG).await;
    scene.old.slave.bot.does(|_| Doing::Finish);
    // Epoch 2 was the new one's, which died before it did anything.
    scene.old.peer.resume(3, ResumeAfter::Seal, ticket).await;
    scene.old.flows().await;
    scene.old.slave.bot.let_go();
    scene.exactly_once().await;
    let handled = scene.old.slave.monitor.status().await.unwrap().shards[0].handled;
    let last = *scene.old.slave.bot.sequences().iter().max().unwrap();
    assert!(handled >= last, "what ran over the taking back counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_ticket_an_undecided_shard_neither_handles_nor_reconnects() {
    let mut scene = scene().await;
    scene.old.peer.seal(0, 1, LONG).await;
    let told = scene.old.told().len();
    let connects = scene.discord.counters().total.connects;
    // An order of an epoch that is over changes nothing.
    let old_ticket = scene.old.peer.checkpoints[&ShardId(0)].clone();
    scene.old.peer.give(1, ResumeAfter::Seal, old_ticket).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.old.told().len(), told);
    assert_eq!(scene.discord.counters().total.connects, connects);
    // Asked again, the same ticket and the same word.
    let again = scene.old.peer.seal(0, 1, LONG).await;
    scene.old.peer.settled(0).await;
    scene.old.peer.settled(0).await;
    assert_eq!(
        again.handled.get(),
        *scene.old.slave.bot.sequences().iter().max().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_what_is_replayed_before_resumed_is_marked_and_nothing_else() {
    let mut scene = scene().await;
    let checkpoint = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.old.peer.catch_up().await;
        if let Some(ticket) = scene.old.peer.checkpoints.get(&ShardId(0))
            && ticket.handled > Sequence(20)
        {
            break ticket.clone();
        }
    };
    scene.old.flows().await;
    // As far as a test can kill a task of its own process.
    scene.old.slave.task.abort();
    until("the old connection to end", || {
        scene.discord.sessions_connected() == 0
    })
    .await;
    let last = *scene.old.slave.bot.sequences().iter().max().unwrap();
    scene
        .new
        .peer
        .resume(2, ResumeAfter::Death, checkpoint.clone())
        .await;
    scene.new.flows().await;
    for (sequence, told) in scene.handed().await {
        if told.len() == 2 {
            assert!(
                sequence > checkpoint.handled.get() && sequence <= last,
                "{sequence}"
            );
            assert_eq!((told[0].mark, told[1].mark), (Mark::None, Mark::MayRepeat));
        } else {
            assert_eq!(told.len(), 1, "{sequence}");
        }
    }
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_wait_over_a_migration_and_fail_when_the_shard_has_moved_for_good() {
    let mut scene = scene().await;
    let handle = scene.old.slave.bot.handle.lock().unwrap().clone().unwrap();
    let command = serde_json::json!({"op": 3, "d": {"since": null, "activities": [], "status": "idle", "afk": false}});
    handle.command(&command).unwrap().sent().await.unwrap();
    let ticket = scene.old.peer.seal(0, 1, LONG).await;
    let mut waiting = handle.command(&command).unwrap();
    let kept = (0..200).find_map(|_| handle.command(&command).err());
    assert_eq!(kept, Some(CommandError::Full));
    scene.old.peer.resume(3, ResumeAfter::Seal, ticket).await;
    waiting.sent().await.unwrap();
    scene.old.peer.seal(0, 3, LONG).await;
    scene
        .old
        .peer
        .order(ToSlave::Forget(Unit {
            shard: ShardId(0),
            epoch: Epoch(4),
        }))
        .await;
    until("an error", || {
        matches!(handle.command(&command), Err(CommandError::Moved))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_once_per_bot_work_moves_with_what_was_written_down() {
    let mut scene = scene().await;
    let work = |epoch, ticket: &'static [u8]| Work {
        epoch: Epoch(epoch),
        ticket: Bytes::from_static(ticket),
    };
    scene.old.peer.order(ToSlave::StartWork(work(1, b""))).await;
    let started = |message: &ToMaster| match message {
        ToMaster::StartWork(work) => Some(work.epoch),
        _ => None,
    };
    assert_eq!(scene.old.peer.wait("work", started).await, Epoch(1));
    for _ in 0..2 {
        scene.old.peer.order(ToSlave::StopWork(work(1, b""))).await;
        let stopped = scene
            .old
            .peer
            .wait("a ticket", |message| match message {
                ToMaster::StopWork(work) => Some(work.clone()),
                _ => None,
            })
            .await;
        assert_eq!(stopped, work(1, b"next job at noon"));
    }
    scene
        .new
        .peer
        .order(ToSlave::StartWork(work(2, b"next job at noon")))
        .await;
    assert_eq!(scene.new.peer.wait("work", started).await, Epoch(2));
    assert_eq!(
        *scene.old.slave.bot.work.lock().unwrap(),
        ["start None", "stop"]
    );
    assert_eq!(
        *scene.new.slave.bot.work.lock().unwrap(),
        [r#"start Some(b"next job at noon")"#]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_other_parameters_is_refused_and_the_field_named() {
    let mut scene = scene().await;
    let ticket = scene.old.peer.seal(0, 1, LONG).await;
    let mut other = ticket.clone();
    with_session(&mut other, |session| session.parameters.intents = 1);
    scene.new.peer.give(2, ResumeAfter::Seal, other).await;
    let detail = scene
        .new
        .peer
        .wait("a refusal", |message| match message {
            ToMaster::Failed(failed) => Some(failed.detail.clone()),
            _ => None,
        })
        .await;
    assert!(detail.starts_with("intents"), "{detail}");
    scene.new.peer.resume(2, ResumeAfter::Seal, ticket).await;
}
