//! One slave: a process, and what is known of it.

use std::{collections::BTreeSet, time::Duration};

use baton_protocol::{
    LaunchId, ShardId, Version,
    message::{Clients, Hello, MemoryUse, Role, StoreRoom},
    state::MAX_UNACKNOWLEDGED,
};

use crate::{
    event::Time,
    fleet::{KnownSink, SlotId, lease::Leased},
    view::Because,
};

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Slave {
    pub(crate) hello: Hello,
    pub(crate) slot: SlotId,
    pub(crate) presence: Presence,
    pub(crate) standing: Standing,
    /// Shards of which it is the claimant.
    pub(crate) holds: BTreeSet<ShardId>,
    /// How many of them it serves.
    pub(crate) serving: usize,
    /// How many of them have no session yet.
    pub(crate) without_session: usize,
    /// Shards that it sealed and has not settled.
    pub(crate) unsettled: BTreeSet<ShardId>,
    /// Of these, those that moved to another slot: it forgets them once they are settled.
    pub(crate) left_behind: BTreeSet<ShardId>,
    /// Whether it said that its bot is built.
    pub(crate) built: bool,
    pub(crate) origin: Origin,
    /// State bytes of each of its shards that may be on their way: the most that it was told.
    pub(crate) unacknowledged: u64,
    pub(crate) past: Past,
    /// What its handlers did since its start, as it said last.
    pub(crate) record: Record,
    /// How old its oldest unfinished event was, as it said last; `None`: it cannot
    /// say that.
    pub(crate) lag: Option<Duration>,
    /// How old it is as a rule: the oldest of late. A single word may come at a moment at
    /// which nothing happens to run.
    pub(crate) usual_lag: Option<Duration>,
    /// When it said something last.
    pub(crate) heard: Time,
    /// Since when it is doubted that its host can be reached (`hosts.rs`).
    pub(crate) doubted: Option<Time>,
    /// What its silence says.
    pub(crate) lease: Leased,
    /// How well its connections hear, as it said last; `None`: it cannot say that.
    pub(crate) hearing: Option<Hearing>,
    /// How its local clients do, as it said last; `None`: it serves none.
    pub(crate) clients: Option<Box<Clients>>,
    /// How its sink does, as it said last; `None`: it publishes to no broker.
    pub(crate) sink: Option<Box<KnownSink>>,
    /// Whether it keeps up.
    pub(crate) backpressure: Backpressure,
    /// How much room its states that stay where they are have, as it said last; `None`: it
    /// has none, or does not say so.
    pub(crate) store: Option<Box<StoreRoom>>,
    /// How much memory its process has, as it said last; `None`: it does not say so.
    pub(crate) memory: Option<MemoryUse>,
    /// Whether it is asked to end, and waits until its shards have moved.
    pub(crate) asks_to_leave: bool,
    /// Since when its shards take nothing for most of their time, and whether an operator
    /// heard of it.
    pub(crate) full: Option<(Time, bool)>,
    /// Whether it said something that cannot be, and an operator heard of it.
    pub(crate) disbelieved: bool,
}

/// For how long a slave's shards could take nothing, as it said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backpressure {
    /// When it said so.
    pub(crate) at: Time,
    /// Since its start, of all its shards together.
    pub(crate) full: FullMs,
    /// The part of its shards' time of late.
    pub(crate) part: Part,
    /// When that was reckoned last, and its milliseconds then.
    pub(crate) reckoned: (Time, FullMs),
}

/// Milliseconds in which shards took nothing, whatever the reason was, and for two of the
/// reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FullMs {
    pub(crate) all: u64,
    pub(crate) bot: u64,
    pub(crate) store: u64,
}

impl FullMs {
    const NONE: Self = Self {
        all: 0,
        bot: 0,
        store: 0,
    };
}

/// The part of their time in which shards took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) percent: u64,
    /// Why, for most of it.
    pub(crate) because: Because,
}

impl Part {
    pub(crate) const NONE: Self = Self {
        percent: 0,
        because: Because::Window,
    };
}

/// How well a slave's connections to the service hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hearing {
    /// Nothing came for this long, on an open connection of this shard.
    pub(crate) silent: (Duration, ShardId),
    /// The answer to a heartbeat took this long, of this shard.
    pub(crate) heartbeat: (Duration, ShardId),
}

/// How a slave's handlers fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Events that they finished.
    pub(crate) finished: u64,
    /// Events of these that failed.
    pub(crate) failed: u64,
    /// Events that were handed to them; zero: it does not say that.
    pub(crate) handed: u64,
}

/// Whether a slave ever had shards: one that had is no new build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    Fresh,
    Served,
}

/// How we know of a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The journal of the master before named it.
    Journal,
    /// It joined this master.
    Hello,
}

/// Whether a slave can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The journal knows it to be alive; it has not joined this master.
    Expected,
    Joined,
    /// It joined, and its connection ended.
    Away,
}

/// What is to become of a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Joined while reports are collected; decided afterwards.
    Waiting,
    /// It fills a slot, or is about to.
    Active,
    Standby,
    /// It was ordered to end, or ends by itself.
    Leaving,
    /// It is being killed.
    Condemned,
}

impl Slave {
    /// Whether it speaks this version of the wire. It joined: one was agreed on.
    pub(crate) fn speaks(&self, version: Version) -> bool {
        self.hello.version >= version
    }

    /// Whether it is what a launch brought. One that does not say so is taken for it by its
    /// role.
    pub(crate) fn is_of(&self, launch: LaunchId, role: Role) -> bool {
        if self.hello.launch.is_said() {
            self.hello.launch == launch
        } else {
            self.hello.role == role
        }
    }

    pub(crate) const fn new(hello: Hello, slot: SlotId, presence: Presence) -> Self {
        Self {
            hello,
            slot,
            presence,
            standing: Standing::Waiting,
            holds: BTreeSet::new(),
            serving: 0,
            without_session: 0,
            unsettled: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            built: false,
            past: Past::Fresh,
            record: Record {
                finished: 0,
                failed: 0,
                handed: 0,
            },
            lag: None,
            usual_lag: None,
            heard: Time(Duration::ZERO),
            doubted: None,
            lease: Leased {
                keeps: None,
                sent: 0,
                answered: 0,
                is_acknowledged: false,
                refuses: false,
            },
            hearing: None,
            store: None,
            clients: None,
            sink: None,
            memory: None,
            asks_to_leave: false,
            backpressure: Backpressure {
                at: Time(Duration::ZERO),
                full: FullMs::NONE,
                part: Part::NONE,
                reckoned: (Time(Duration::ZERO), FullMs::NONE),
            },
            full: None,
            disbelieved: false,
            unacknowledged: MAX_UNACKNOWLEDGED,
            origin: match presence {
                Presence::Expected => Origin::Journal,
                Presence::Joined | Presence::Away => Origin::Hello,
            },
        }
    }
}
