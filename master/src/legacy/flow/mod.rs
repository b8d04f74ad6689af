//! The Go master's flow between unchanged Go slaves, as a pure state machine:
//! what a connection did goes in, what to send comes out.
//!
//! ```text
//!                     8{false}, no slave serves: 2
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
//! A connection has no name in the Go wire, and a slave whose connection
//! ended dials again within a millisecond and says `8{true}`, no matter what it was. So
//! a slave that is missed has [`RETURN`] to come back, and the next `8{true}` is
//! taken to be it. Frames that no step waits for are old ones out of a slave's
//! send queue and change nothing.
//!
//! Who serves is known only from them: a flow begins without any memory. A running
//! slave that missed its master dials every 5 s, and a newcomer at once. So for a grace
//! after the start no slave that asks for work gets any: no shard is started again that
//! a slave serves, and none moves from a slave that has only a part of them.
//!
//! What the Go master cannot promise, this cannot either: a sequence counts
//! received events, not finished ones; nothing is fenced; a `5` is acknowledged
//! one second later, no matter what Discord said.

mod migration;
mod parts;
mod rollback;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::go::{Session, ToMaster, ToSlave};

use baton_core::event::Time;

pub use self::parts::Peer;
use self::parts::{Migration, Phase, Restore};

/// A slave whose connection ended is back within this time, or dead. The
/// Go slave dials again at once, and every 5 s after a failed dial.
pub const RETURN: Duration = Duration::from_secs(6);

/// A step of a migration takes at most this long. The Go bot drains for
/// 1 s and copies its state inside a step.
pub const STEP: Duration = Duration::from_secs(60);

/// Guild states kept for the way back, in bytes. Beyond it a rollback is without
/// them.
pub const MAX_KEPT_STATE: usize = 256 * 1024 * 1024;

/// Connections at once: the runner lets in no more. So every slave that says that it
/// serves while another does is remembered.
pub(super) const MOST_PEERS: usize = 64;

/// So many of them are an alarm each; more are one for all.
const MOST_ALARMS: usize = 16;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send this to that slave.
    Send(Peer, ToSlave),
    /// Start a slave: none has served for the contact time.
    Launch,
    /// Tell the observers.
    Tell(String),
    /// Tell an operator, who must act.
    Alarm(String),
}

/// The state machine.
#[derive(Debug)]
pub struct Flow {
    contact: Duration,
    main: Option<Peer>,
    /// Until then slaves that serve may say so, and none gets work; `None`: over.
    collecting: Option<Time>,
    /// Since when no slave serves, or when one was last started.
    vacant_since: Time,
    /// Connected slaves that asked for work, in their order.
    waiting: VecDeque<Peer>,
    /// Connected slaves that say that they serve while another does.
    others: BTreeSet<Peer>,
    /// Whether it was said that there are too many of them.
    said_full: bool,
    /// The main slave's connection ended.
    main_missed: Option<Time>,
    migration: Option<Migration>,
    restore: Option<Restore>,
    orders: VecDeque<Order>,
}

impl Flow {
    /// Starts without connections. Slaves that serve have `grace` to say so, and no
    /// less than [`RETURN`]. A slave is started after `contact`, and not before that.
    #[must_use]
    pub fn new(contact: Duration, grace: Duration, now: Time) -> Self {
        Self {
            contact,
            main: None,
            collecting: (!mutant!("legacy-newcomer-first")).then(|| now.after(grace.max(RETURN))),
            vacant_since: now,
            waiting: VecDeque::new(),
            others: BTreeSet::new(),
            said_full: false,
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
        let vacant = (self.main.is_none() && self.collecting.is_none())
            .then(|| self.vacant_since.after(self.contact));
        let moving = self.migration.as_ref();
        [
            self.collecting,
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
            ToMaster::Hello { running: true } => self.returned(now, peer),
            ToMaster::Hello { running: false } => self.asked_for_work(now, peer),
            ToMaster::ShardMigrationStart(start) => self.ready(now, peer, start),
            ToMaster::GuildState(state) => self.guild_state(peer, state),
            ToMaster::StopShard(ticket) => self.stopped(now, peer, ticket),
            ToMaster::Resume(ack) => self.resumed(now, peer, &ack),
            // Sent by no Go slave, or of no meaning to its master.
            ToMaster::Shutdown | ToMaster::SoftStartComplete | ToMaster::ShardStopped => {}
        }
    }

    fn asked_for_work(&mut self, now: Time, peer: Peer) {
        if self.main == Some(peer) || self.is_new(peer) || self.waiting.contains(&peer) {
            return;
        }
        self.waiting.push_back(peer);
        if self.collecting.is_some() {
            self.tell(format!(
                "connection {} waits: those who serve already may say so first",
                peer.0
            ));
        }
        self.next_turn(now);
    }

    /// A waiting slave gets work, if it is time and no slave has the shards.
    fn next_turn(&mut self, now: Time) {
        if self.collecting.is_some() {
            return;
        }
        if self.main.is_none() {
            // One that says that it runs has shards: no newcomer starts them again.
            if let Some(other) = self.others.pop_first() {
                self.become_main(other);
                self.alarm(format!(
                    "connection {} said that it is running, and serves now; shards that it does not \
                     have are with no slave until it is started again",
                    other.0
                ));
                return;
            }
            if let Some(next) = self.waiting.pop_front() {
                self.tell(format!("connection {}: cold start", next.0));
                self.become_main(next);
                // The only slave that may ever get this order: it owns nothing.
                self.send(next, ToSlave::FullStart);
            }
        }
        self.migrate_next(now);
    }

    /// `8{true}`: the missed slave is back. If none is missed, its process is a slave
    /// that lost its connection to an earlier master.
    fn returned(&mut self, now: Time, peer: Peer) {
        self.waiting.retain(|waiting| *waiting != peer);
        if self.main_missed.take().is_some() {
            self.tell(format!("connection {}: the serving slave is back", peer.0));
            self.main = Some(peer);
            self.repeat_to_main();
            self.next_turn(now);
        } else if let Some(migration) = self.migration.as_mut().filter(|m| m.new_missed.is_some()) {
            migration.new_missed = None;
            migration.new = peer;
            self.tell(format!("connection {}: the new slave is back", peer.0));
            self.repeat_to_new();
        } else if self.main.is_none() {
            self.tell(format!("connection {}: adopted", peer.0));
            self.become_main(peer);
            self.next_turn(now);
        } else if self.main != Some(peer) && !self.is_new(peer) {
            self.is_stranger(peer);
        }
    }

    /// A slave serves, and this one says that it does too: a master that ended in the middle
    /// of a migration leaves two of them, each with a part of the shards. Who asks for
    /// work waits until one of them is gone: it would be given shards that are served.
    fn is_stranger(&mut self, peer: Peer) {
        if self.others.len() >= MOST_PEERS || !self.others.insert(peer) {
            return;
        }
        if self.others.len() > MOST_ALARMS {
            if !std::mem::replace(&mut self.said_full, true) {
                self.alarm(format!(
                    "more than {MOST_ALARMS} connections say that they are running"
                ));
            }
            return;
        }
        self.alarm(format!(
            "connection {} says that it is running, but another slave serves; it is left alone, and \
             no deploy begins while it is there: look which process is the right one, and end the \
             other",
            peer.0
        ));
    }

    /// A connection ended.
    pub fn gone(&mut self, now: Time, peer: Peer) {
        self.waiting.retain(|waiting| *waiting != peer);
        if self.others.remove(&peer) && self.others.is_empty() {
            self.said_full = false;
            self.next_turn(now);
        }
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

    /// Time went by.
    pub fn tick(&mut self, now: Time) {
        if self.collecting.is_some_and(|until| now >= until) {
            self.collecting = None;
            self.next_turn(now);
        }
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
        if self.main.is_none()
            && self.collecting.is_none()
            && now.since(self.vacant_since) >= self.contact
        {
            self.vacant_since = now;
            self.orders.push_back(Order::Launch);
        }
    }

    /// The serving slave is dead. In a migration the new one goes on: with the
    /// shards that it has, and with new sessions for those that no slave can
    /// resume (an empty session id makes the Go bot IDENTIFY).
    fn main_died(&mut self, now: Time) {
        self.main_missed = None;
        self.main = None;
        self.restore = None;
        self.vacant_since = now;
        let Some(migration) = self.migration.take() else {
            self.tell("the serving slave died".to_owned());
            self.next_turn(now);
            return;
        };
        let new = migration.new;
        let first_lost = match migration.phase {
            Phase::Preparing | Phase::Stopping(0) => {
                // It owns nothing: a cold start in a fresh process is all there is.
                self.send(new, ToSlave::Shutdown);
                self.alarm("the old slave died before a shard had moved".to_owned());
                self.next_turn(now);
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
        self.next_turn(now);
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

fn stop(shard: u32) -> ToSlave {
    ToSlave::StopShard(Session {
        shard,
        ..Session::default()
    })
}

fn resume(shard: u32, session_id: String, sequence: u64) -> ToSlave {
    ToSlave::Resume(Session {
        shard,
        session_id,
        sequence,
    })
}
