//! The ancestor's flow between its unchanged slaves, as a pure state machine:
//! what a connection did goes in, what to send comes out.
//!
//! ```text
//!                     8{false}, nobody serves: 2
//!  vacant ───────────────────────────────────────────> steady (main)
//!                                                        │ 8{false} from another: 3{true,0} to main
//!                                                        v
//!  preparing ── 3{true,N} from main: 3{false,N} to new ──> preparing
//!                                                        │ 3{false,N} from new: 4{0} to main
//!                                                        v
//!  stopping k ── 4{k,s,q} from main: 7.. and 5{k,s,q} to new ──> resuming k
//!       ^                                                │ 5{k} from new
//!       └──────────────── 4{k+1} to main ────────────────┤
//!                                                        │ k+1 = N: 4{N} to main
//!                                                        v
//!  steady (new is main) <── main's connection ends ── retiring
//! ```
//!
//! A connection has no name in the ancestor's wire, and a slave whose connection
//! ended dials again within a millisecond and says `8{true}` whatever it was. So
//! a slave that is missed has [`RETURN`] to come back, and the next `8{true}` is
//! taken to be it. Frames that nobody waits for are old ones out of a slave's
//! send queue and change nothing.
//!
//! What the ancestor cannot promise, this cannot either: a sequence counts
//! received events, not finished ones; nothing is fenced; a `5` is acknowledged
//! one second later, whatever Discord said.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::{
    ToMaster, ToSlave,
    message::{Resume, ShardMigrationStart, StopShard},
};
use bytes::Bytes;

use crate::core::event::Time;

/// A slave whose connection ended is back within this time, or dead. The
/// ancestor dials again at once, and every 5 s after a failed dial.
pub const RETURN: Duration = Duration::from_secs(6);

/// A step of a migration takes at most this long. The ancestor's bot drains for
/// 1 s and copies its state inside a step.
pub const STEP: Duration = Duration::from_secs(60);

/// Guild states kept for the way back, in bytes. Beyond it a rollback is without
/// them.
pub const MAX_KEPT_STATE: usize = 256 * 1024 * 1024;

/// A connection of a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(pub u64);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send this to that slave.
    Send(Peer, ToSlave),
    /// Start a slave: nobody has served for the contact time.
    Launch,
    /// Tell whoever watches.
    Tell(String),
    /// Tell an operator, who must act.
    Alarm(String),
}

/// The state machine.
#[derive(Debug)]
pub struct Flow {
    contact: Duration,
    main: Option<Peer>,
    /// Since when nobody serves, or when a slave was last started.
    vacant_since: Time,
    /// Connected slaves that asked for work, in their order.
    waiting: VecDeque<Peer>,
    /// Connected slaves that are nobody.
    others: BTreeSet<Peer>,
    /// The main slave's connection ended.
    main_missed: Option<Time>,
    migration: Option<Migration>,
    restore: Option<Restore>,
    orders: VecDeque<Order>,
}

/// After a rollback: the ancestor's bot stopped its plugins at the start of the
/// migration and starts them again only when its last shard is resumed. So that
/// shard is stopped and given back, after the one that was in hand.
#[derive(Debug)]
struct Restore {
    /// The shard that was told to stop; `None` while the slave has not yet said
    /// how many it has.
    told: Option<u32>,
    /// The last shard, still to come.
    last: Option<u32>,
    states: Vec<Bytes>,
    deadline: Time,
}

#[derive(Debug)]
struct Migration {
    new: Peer,
    /// The new slave's connection ended.
    new_missed: Option<Time>,
    shards: u32,
    phase: Phase,
    /// When the phase must be over.
    deadline: Time,
    /// What was handed over, for the way back, by shard.
    handed: Vec<Handed>,
    kept: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Both slaves get ready.
    Preparing,
    /// The old one was told to stop this shard.
    Stopping(u32),
    /// The new one was told to resume this shard.
    Resuming(u32),
    /// The old one was told that everything moved.
    Retiring,
}

#[derive(Debug, Default)]
struct Handed {
    session_id: String,
    sequence: u64,
    states: Vec<Bytes>,
}

impl Flow {
    /// Begins with nobody connected. A slave is started after `contact`.
    #[must_use]
    pub fn new(contact: Duration, now: Time) -> Self {
        Self {
            contact,
            main: None,
            vacant_since: now,
            waiting: VecDeque::new(),
            others: BTreeSet::new(),
            main_missed: None,
            migration: None,
            restore: None,
            orders: VecDeque::new(),
        }
    }

    /// What to do next, in order.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Whether a slave serves, or is expected back.
    #[must_use]
    pub const fn is_served(&self) -> bool {
        self.main.is_some()
    }

    /// Whether shards are moving.
    #[must_use]
    pub const fn is_migrating(&self) -> bool {
        self.migration.is_some()
    }

    /// When [`tick`](Self::tick) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let missed = |since: Option<Time>| since.map(|since| since.after(RETURN));
        let vacant = self
            .main
            .is_none()
            .then(|| self.vacant_since.after(self.contact));
        let moving = self.migration.as_ref();
        [
            missed(self.main_missed),
            moving.and_then(|migration| missed(migration.new_missed)),
            moving.map(|migration| migration.deadline),
            self.restore.as_ref().map(|restore| restore.deadline),
            vacant,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A slave said something.
    pub fn said(&mut self, now: Time, peer: Peer, message: ToMaster) {
        match message {
            ToMaster::SlaveHello(hello) if hello.running => self.returned(now, peer),
            ToMaster::SlaveHello(_) => self.asked_for_work(now, peer),
            ToMaster::ShardMigrationStart(start) => self.ready(now, peer, &start),
            ToMaster::GuildState(state) => self.guild_state(peer, state),
            ToMaster::StopShard(stop) => self.stopped(now, peer, stop),
            ToMaster::Resume(resume) => self.resumed(now, peer, &resume),
            // Sent by no slave of the ancestor, or of no meaning to its master.
            ToMaster::Shutdown
            | ToMaster::SoftStartComplete
            | ToMaster::ShardStopped
            | ToMaster::Proof(_)
            | ToMaster::Report(_)
            | ToMaster::Pong(_)
            | ToMaster::IdentifyRequest(_)
            | ToMaster::Progress(_)
            | ToMaster::Checkpoint(_)
            | ToMaster::Settled(_)
            | ToMaster::StateReady(_)
            | ToMaster::StateAck(_)
            | ToMaster::StopWork(_)
            | ToMaster::StartWork(_)
            | ToMaster::Failed(_)
            | ToMaster::Dialled(_)
            | ToMaster::SealLate(_)
            | ToMaster::Overtaken(_)
            | ToMaster::State(_) => {}
        }
    }

    fn asked_for_work(&mut self, now: Time, peer: Peer) {
        if self.main == Some(peer) || self.is_new(peer) {
            return;
        }
        if self.main.is_none() {
            self.tell(format!("connection {}: cold start", peer.0));
            self.become_main(peer);
            // The only slave that may ever be told this: it owns nothing.
            self.send(peer, ToSlave::FullStart(Default::default()));
        } else {
            self.waiting.push_back(peer);
            self.migrate_next(now);
        }
    }

    /// `8{true}`: whoever is missed is back. If nobody is, its process is a slave
    /// that lost its connection to an earlier master.
    fn returned(&mut self, now: Time, peer: Peer) {
        self.waiting.retain(|waiting| *waiting != peer);
        if self.main_missed.take().is_some() {
            self.tell(format!("connection {}: the serving slave is back", peer.0));
            self.main = Some(peer);
            self.repeat_to_main();
        } else if let Some(migration) = self.migration.as_mut().filter(|m| m.new_missed.is_some()) {
            migration.new_missed = None;
            migration.new = peer;
            self.tell(format!("connection {}: the new slave is back", peer.0));
            self.repeat_to_new();
        } else if self.main.is_none() {
            self.tell(format!("connection {}: adopted", peer.0));
            self.become_main(peer);
            self.migrate_next(now);
        } else if self.main != Some(peer) && !self.is_new(peer) {
            self.others.insert(peer);
            self.alarm(format!(
                "connection {} says that it is running, but another slave serves; it is left alone: look which process is the right one",
                peer.0
            ));
        }
    }

    fn migrate_next(&mut self, now: Time) {
        if self.migration.is_some() || self.restore.is_some() || self.main_missed.is_some() {
            return;
        }
        let (Some(main), Some(new)) = (self.main, self.waiting.front().copied()) else {
            return;
        };
        self.waiting.pop_front();
        self.tell(format!("migration from connection {} to {}", main.0, new.0));
        self.migration = Some(Migration {
            new,
            new_missed: None,
            shards: 0,
            phase: Phase::Preparing,
            deadline: now.after(STEP),
            handed: Vec::new(),
            kept: 0,
        });
        self.send(main, migration_start(true, 0));
    }

    fn ready(&mut self, now: Time, peer: Peer, start: &ShardMigrationStart) {
        let main = self.main;
        if let Some(restore) = &self.restore
            && restore.told.is_none()
            && main == Some(peer)
        {
            self.restore_last(now, start.num_shards.checked_sub(1));
            return;
        }
        let Some(migration) = self
            .migration
            .as_mut()
            .filter(|m| m.phase == Phase::Preparing)
        else {
            return;
        };
        if start.from_this_slave && main == Some(peer) {
            migration.shards = start.num_shards;
            let new = migration.new;
            self.send(new, migration_start(false, start.num_shards));
        } else if !start.from_this_slave && migration.new == peer {
            self.stop_next(now, 0);
        }
    }

    /// `4{k}` for the next shard; for `k = N` it means "everything moved".
    fn stop_next(&mut self, now: Time, shard: u32) {
        let (Some(main), Some(migration)) = (self.main, self.migration.as_mut()) else {
            return;
        };
        migration.deadline = now.after(STEP);
        migration.phase = if shard < migration.shards {
            migration.handed.push(Handed::default());
            Phase::Stopping(shard)
        } else {
            Phase::Retiring
        };
        self.send(main, stop(shard));
    }

    fn guild_state(&mut self, peer: Peer, state: Bytes) {
        if self.main != Some(peer) {
            return;
        }
        if let Some(restore) = &mut self.restore {
            restore.states.push(state);
            return;
        }
        let Some(migration) = self.migration.as_mut() else {
            return;
        };
        if !matches!(migration.phase, Phase::Stopping(_)) {
            return;
        }
        if let Some(handed) = migration.handed.last_mut()
            && migration.kept + state.len() <= MAX_KEPT_STATE
        {
            migration.kept += state.len();
            handed.states.push(state.clone());
        }
        let new = migration.new;
        self.send(new, ToSlave::GuildState(state));
    }

    fn stopped(&mut self, now: Time, peer: Peer, ticket: StopShard) {
        if self.main != Some(peer) {
            return;
        }
        if self
            .restore
            .as_ref()
            .is_some_and(|restore| restore.told == Some(ticket.shard))
        {
            self.give_back(now, peer, ticket);
            return;
        }
        let Some(migration) = self.migration.as_mut() else {
            return;
        };
        if migration.phase != Phase::Stopping(ticket.shard) {
            return;
        }
        if let Some(handed) = migration.handed.last_mut() {
            handed.session_id.clone_from(&ticket.session_id);
            handed.sequence = ticket.sequence;
        }
        migration.phase = Phase::Resuming(ticket.shard);
        migration.deadline = now.after(STEP);
        let new = migration.new;
        self.send(
            new,
            resume(ticket.shard, ticket.session_id, ticket.sequence),
        );
    }

    fn resumed(&mut self, now: Time, peer: Peer, ack: &Resume) {
        if self.is_new(peer)
            && self.migration.as_ref().map(|m| m.phase) == Some(Phase::Resuming(ack.shard))
        {
            self.tell(format!("shard {} moved", ack.shard));
            self.stop_next(now, ack.shard + 1);
        }
    }

    /// A connection ended.
    pub fn gone(&mut self, now: Time, peer: Peer) {
        self.waiting.retain(|waiting| *waiting != peer);
        self.others.remove(&peer);
        if self.is_new(peer) {
            if let Some(migration) = self.migration.as_mut() {
                migration.new_missed = Some(now);
            }
            // A new slave that owns nothing costs nothing: no need to wait for it.
            if self
                .migration
                .as_ref()
                .is_some_and(|m| m.phase == Phase::Preparing)
            {
                self.roll_back(now, "the new slave's connection ended");
            }
        } else if self.main == Some(peer) {
            match self.migration.as_ref().map(|m| (m.phase, m.new)) {
                Some((Phase::Retiring, new)) => self.moved(now, new),
                _ => self.main_missed = Some(now),
            }
        }
    }

    fn moved(&mut self, now: Time, new: Peer) {
        self.migration = None;
        self.become_main(new);
        self.tell(format!("migration done: connection {} serves", new.0));
        self.migrate_next(now);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Time) {
        if let Some(since) = self.main_missed
            && now >= since.after(RETURN)
        {
            self.main_died(now);
        }
        let overdue = self
            .migration
            .as_ref()
            .and_then(|migration| match migration.new_missed {
                Some(since) if now >= since.after(RETURN) => Some("the new slave died"),
                _ if now >= migration.deadline => Some("a step took too long"),
                _ => None,
            });
        if let Some(reason) = overdue {
            self.roll_back(now, reason);
        }
        if self
            .restore
            .as_ref()
            .is_some_and(|restore| now >= restore.deadline)
        {
            self.restore = None;
            self.alarm("the old slave did not take its shards back: restart it".to_owned());
            self.migrate_next(now);
        }
        if self.main.is_none() && now.since(self.vacant_since) >= self.contact {
            self.vacant_since = now;
            self.orders.push_back(Order::Launch);
        }
    }

    /// The serving slave is dead. In a migration the new one goes on: with the
    /// shards that it has, and with new sessions for those that nobody can
    /// resume (an empty session id makes the ancestor's bot IDENTIFY).
    fn main_died(&mut self, now: Time) {
        self.main_missed = None;
        self.main = None;
        self.restore = None;
        self.vacant_since = now;
        let Some(migration) = self.migration.take() else {
            self.tell("the serving slave died".to_owned());
            if let Some(next) = self.waiting.pop_front() {
                self.asked_for_work(now, next);
            }
            return;
        };
        let new = migration.new;
        let first_lost = match migration.phase {
            Phase::Preparing | Phase::Stopping(0) => {
                // It owns nothing: a cold start in a fresh process is all there is.
                self.send(new, ToSlave::Shutdown);
                self.alarm("the old slave died before a shard had moved: cold start".to_owned());
                return;
            }
            Phase::Stopping(shard) => shard,
            Phase::Resuming(shard) => shard + 1,
            Phase::Retiring => migration.shards,
        };
        self.become_main(new);
        for shard in first_lost..migration.shards {
            self.send(new, resume(shard, String::new(), 0));
        }
        self.alarm(format!(
            "the old slave died: shards {first_lost} to {} get new sessions",
            migration.shards
        ));
    }

    /// The old slave takes back what it gave. It deleted the states that it sent,
    /// and starts its plugins again when its last shard is resumed.
    fn roll_back(&mut self, now: Time, reason: &str) {
        let Some(migration) = self.migration.take() else {
            return;
        };
        let Some(main) = self.main else { return };
        if migration.new_missed.is_none() {
            self.send(migration.new, ToSlave::Shutdown);
        }
        self.alarm(format!("migration rolled back: {reason}"));
        let in_hand = match migration.phase {
            Phase::Stopping(shard) => Some(shard),
            Phase::Preparing | Phase::Resuming(_) | Phase::Retiring => None,
        };
        let count = migration.handed.len() - usize::from(in_hand.is_some());
        let restarted = migration.shards > 0 && count as u64 == u64::from(migration.shards);
        for (shard, handed) in (0..).zip(migration.handed.into_iter().take(count)) {
            self.give(
                main,
                shard,
                handed.states,
                handed.session_id,
                handed.sequence,
            );
        }
        if restarted {
            self.migrate_next(now);
            return;
        }
        self.restore = Some(Restore {
            told: in_hand,
            last: migration
                .shards
                .checked_sub(1)
                .filter(|last| Some(*last) != in_hand),
            states: Vec::new(),
            deadline: now.after(STEP),
        });
        if in_hand.is_none() && migration.shards > 0 {
            self.restore_last(now, migration.shards.checked_sub(1));
        }
    }

    fn restore_last(&mut self, now: Time, last: Option<u32>) {
        match (self.main, last) {
            (Some(main), Some(last)) => {
                self.restore = Some(Restore {
                    told: Some(last),
                    last: None,
                    states: Vec::new(),
                    deadline: now.after(STEP),
                });
                self.send(main, stop(last));
            }
            _ => {
                self.restore = None;
                self.migrate_next(now);
            }
        }
    }

    fn give_back(&mut self, now: Time, main: Peer, ticket: StopShard) {
        let Some(restore) = self.restore.take() else {
            return;
        };
        self.give(
            main,
            ticket.shard,
            restore.states,
            ticket.session_id,
            ticket.sequence,
        );
        self.restore_last(now, restore.last);
    }

    fn give(
        &mut self,
        peer: Peer,
        shard: u32,
        states: Vec<Bytes>,
        session_id: String,
        sequence: u64,
    ) {
        for state in states {
            self.send(peer, ToSlave::GuildState(state));
        }
        self.send(peer, resume(shard, session_id, sequence));
    }

    fn repeat_to_main(&mut self) {
        let (Some(main), Some(migration)) = (self.main, self.migration.as_ref()) else {
            return;
        };
        let order = match migration.phase {
            Phase::Preparing => migration_start(true, 0),
            Phase::Stopping(shard) => stop(shard),
            Phase::Retiring => stop(migration.shards),
            Phase::Resuming(_) => return,
        };
        self.send(main, order);
    }

    fn repeat_to_new(&mut self) {
        let Some(migration) = self.migration.as_ref() else {
            return;
        };
        if let (Phase::Resuming(shard), Some(handed)) = (migration.phase, migration.handed.last()) {
            let order = resume(shard, handed.session_id.clone(), handed.sequence);
            self.send(migration.new, order);
        }
    }

    fn become_main(&mut self, peer: Peer) {
        self.main = Some(peer);
        self.main_missed = None;
    }

    fn is_new(&self, peer: Peer) -> bool {
        self.migration
            .as_ref()
            .is_some_and(|migration| migration.new == peer)
    }

    fn send(&mut self, peer: Peer, message: ToSlave) {
        self.orders.push_back(Order::Send(peer, message));
    }

    fn tell(&mut self, text: String) {
        self.orders.push_back(Order::Tell(text));
    }

    fn alarm(&mut self, text: String) {
        self.orders.push_back(Order::Alarm(text));
    }
}

fn migration_start(from_this_slave: bool, num_shards: u32) -> ToSlave {
    ToSlave::ShardMigrationStart(ShardMigrationStart {
        from_this_slave,
        num_shards,
        extra: None,
    })
}

fn stop(shard: u32) -> ToSlave {
    ToSlave::StopShard(StopShard {
        shard,
        ..StopShard::default()
    })
}

fn resume(shard: u32, session_id: String, sequence: u64) -> ToSlave {
    ToSlave::Resume(Resume {
        shard,
        session_id,
        sequence,
        extra: None,
    })
}
