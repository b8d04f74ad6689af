//! Slaves, slots and shards, and the indexes over them.
//!
//! A message touches the one shard, slave and slot that it names; nothing here
//! walks over all shards but a death, a report and a restart.

mod adopt;
mod backlog;
mod fence;
mod identity;
mod join;
mod leave;
mod lies;
mod placement;
mod report;
mod standby;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::{ShardId, SlaveId, Version, message::Hello};

use crate::{
    event::{Losses, News, Recovered, Time},
    fleet::standby::Reserve,
    out::Out,
    settings::Settings,
    shard::{Kept, Members, Phase, Shard},
    timers::Timer,
};

/// Who is there and what there is to serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Every slave that is not known to be dead.
    pub(crate) slaves: BTreeMap<SlaveId, Slave>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Slave {
    pub(crate) hello: Hello,
    pub(crate) slot: usize,
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
    /// Whether it said that its bot is built.
    pub(crate) built: bool,
    pub(crate) origin: Origin,
    pub(crate) past: Past,
    /// What its handlers did since its start, as it said last.
    pub(crate) record: Record,
    /// How old its oldest unfinished event was, as it said last; `None`: it cannot
    /// say that.
    pub(crate) lag: Option<Duration>,
    /// When it said something last.
    pub(crate) heard: Time,
    /// When a deploy was committed to it, and how old the oldest unfinished event was
    /// before that, where it is known.
    pub(crate) deployed: Option<(Time, Option<Duration>)>,
    /// How well its connections hear, as it said last; `None`: it cannot say that.
    pub(crate) hearing: Option<Hearing>,
    /// Whether it keeps up.
    pub(crate) backpressure: Backpressure,
    /// Whether it is asked to end, and waits until its shards have moved.
    pub(crate) asks_to_leave: bool,
    /// Since when its shards take nothing for most of their time, and whether an operator
    /// heard of it.
    pub(crate) full: Option<(Time, bool)>,
    /// Whether it said something that cannot be, and an operator heard of it.
    pub(crate) disbelieved: bool,
}

/// For how long a slave's shards could take nothing, as it said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backpressure {
    /// When it said so.
    pub(crate) at: Time,
    /// Milliseconds since its start, of all its shards together.
    pub(crate) full_ms: u64,
    /// The part of its shards' time between its last two words, in percent.
    pub(crate) percent: u64,
}

/// How well a slave's connections to Discord hear.
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

/// One place of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) members: Members,
    pub(crate) size: usize,
    pub(crate) launches: bool,
    /// The slave that fills it. It may be away; only its death or its leaving
    /// empties the slot.
    pub(crate) owner: Option<SlaveId>,
    /// Free shards that wait for nothing but a slave.
    pub(crate) free: BTreeSet<ShardId>,
    pub(crate) unknown: BTreeSet<ShardId>,
    pub(crate) launch: Launch,
    /// Starts that failed in a row.
    pub(crate) failed_launches: u32,
    /// When it was filled last.
    pub(crate) filled: Time,
    /// Slaves in a row that died soon after they filled it; zero where the last one
    /// left by itself.
    pub(crate) deaths: u32,
    /// No slave fills it before: its slaves die one after the other.
    pub(crate) rests_until: Time,
    /// The standbys that are to be.
    pub(crate) reserve: Reserve,
    /// What it lost since its last deploy began.
    pub(crate) losses: Losses,
    /// Processes that came too late for their deploy: refused when they join.
    pub(crate) unwanted: BTreeSet<u32>,
}

/// Whether a process is being started into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launch {
    Idle,
    Started,
}

/// Processes refused at most for one slot; the oldest pids go first.
const MAX_UNWANTED: usize = 64;

impl Fleet {
    pub(crate) fn new(settings: &Settings, recovered: Recovered) -> Self {
        let mut fleet = Self::default();
        let last = settings.shard_count.saturating_sub(1);
        for (index, slot) in settings.slots.iter().enumerate() {
            let (first, last) = slot.shards.map_or((0, last), |(a, b)| (a, b.min(last)));
            let mut made = Slot::new(slot.name.clone(), Members { first, last }, slot.launches);
            for shard in made.members.iter() {
                // A shard named by two slots belongs to the first.
                if let std::collections::btree_map::Entry::Vacant(place) = fleet.shards.entry(shard)
                {
                    place.insert(Shard::new(index, recovered.floor));
                    made.unknown.insert(shard);
                }
            }
            made.size = made.unknown.len();
            fleet.slots.push(made);
        }
        for (id, row) in recovered.shards {
            if let Some(shard) = fleet.shards.get_mut(&id) {
                shard.epoch = row.epoch;
                shard.holder = Some(row.owner);
                shard.basis = row.basis;
                shard.phase = Phase::Unknown {
                    row: Some((row.owner, row.hold)),
                };
            }
        }
        for (id, found) in recovered.tickets {
            if let Some(shard) = fleet.shards.get_mut(&id)
                && !found.ticket.session_id.is_empty()
            {
                shard.ticket = Some(Kept {
                    ticket: found.ticket,
                    epoch: found.epoch,
                    after: found.after,
                    age: found.age,
                    is_new: false,
                });
            }
        }
        for (id, hello) in recovered.slaves {
            if let Some(slot) = fleet.slot_named(&hello.slot) {
                fleet
                    .slaves
                    .insert(id, Slave::new(hello, slot, Presence::Expected));
            }
        }
        fleet
    }

    pub(crate) fn slot_named(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == name)
    }

    /// Puts a shard into a phase and keeps the indexes. The deadline of its phase before
    /// is void.
    pub(crate) fn enter(&mut self, id: ShardId, phase: Phase, out: &mut Out) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        out.stop(Timer::Shard(id));
        out.touch(shard.slot);
        let before = std::mem::replace(&mut shard.phase, phase);
        let after = &shard.phase;
        if let Some((slave, _)) = before.claimant()
            && let Some(slave) = self.slaves.get_mut(&slave)
        {
            slave.holds.remove(&id);
            slave.serving -= usize::from(before.serves());
            slave.without_session -= usize::from(before.has_no_session());
        }
        if let Some((slave, _)) = after.claimant()
            && let Some(slave) = self.slaves.get_mut(&slave)
        {
            slave.holds.insert(id);
            slave.past = Past::Served;
            slave.serving += usize::from(after.serves());
            slave.without_session += usize::from(after.has_no_session());
        }
        if let Some(slot) = self.slots.get_mut(shard.slot) {
            slot.unknown.remove(&id);
            slot.free.remove(&id);
            match after {
                Phase::Unknown { .. } => {
                    slot.unknown.insert(id);
                }
                Phase::Free(free) if free.parked.is_none() => {
                    slot.free.insert(id);
                }
                Phase::Free(_) | Phase::Claimed(_) => {}
            }
        }
    }

    /// The session of a shard is over, and what Discord would have replayed with it.
    pub(crate) fn session_lost(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        if let Some(shard) = self.shards.get(&id) {
            let losses = &mut self.slots[shard.slot].losses;
            losses.sessions = losses.sessions.saturating_add(1);
        }
        out.tell(News::SessionLost { shard: id, slave });
    }

    /// Whether an order sent now reaches this slave.
    pub(crate) fn is_joined(&self, slave: SlaveId) -> bool {
        self.slaves
            .get(&slave)
            .is_some_and(|slave| slave.presence == Presence::Joined)
    }

    /// Whether this slave may be given shards now.
    pub(crate) fn can_take(&self, slave: SlaveId) -> bool {
        self.is_joined(slave) && self.is_healthy(slave)
    }

    /// Whether this slave is alive, as far as is known, and is to stay.
    pub(crate) fn is_healthy(&self, slave: SlaveId) -> bool {
        self.slaves
            .get(&slave)
            .is_some_and(|slave| match slave.standing {
                Standing::Waiting | Standing::Active | Standing::Standby => true,
                Standing::Leaving | Standing::Condemned => false,
            })
    }

    /// How many shards this slave serves.
    pub(crate) fn serving(&self, slave: SlaveId) -> usize {
        self.slaves.get(&slave).map_or(0, |slave| slave.serving)
    }

    /// How many shards are where a deploy to this slave wants them: those that it
    /// serves, and those that can be no further, because they have no session.
    pub(crate) fn placed(&self, slave: SlaveId) -> usize {
        self.slaves
            .get(&slave)
            .map_or(0, |slave| slave.serving + slave.without_session)
    }

    pub(crate) fn holds_nothing(&self, slave: SlaveId) -> bool {
        self.slaves
            .get(&slave)
            .is_none_or(|slave| slave.holds.is_empty())
    }

    /// The slaves of a slot, in the order of their ids.
    pub(crate) fn of_slot(&self, slot: usize) -> impl Iterator<Item = (SlaveId, &Slave)> {
        self.slaves
            .iter()
            .filter(move |(_, slave)| slave.slot == slot)
            .map(|(&id, slave)| (id, slave))
    }
}

impl Slave {
    /// Whether it speaks this version of the wire. It joined: one was agreed on.
    pub(crate) fn speaks(&self, version: Version) -> bool {
        self.hello.version >= version
    }

    pub(crate) const fn new(hello: Hello, slot: usize, presence: Presence) -> Self {
        Self {
            hello,
            slot,
            presence,
            standing: Standing::Waiting,
            holds: BTreeSet::new(),
            serving: 0,
            without_session: 0,
            unsettled: BTreeSet::new(),
            built: false,
            past: Past::Fresh,
            record: Record {
                finished: 0,
                failed: 0,
                handed: 0,
            },
            lag: None,
            heard: Time(Duration::ZERO),
            deployed: None,
            hearing: None,
            asks_to_leave: false,
            backpressure: Backpressure {
                at: Time(Duration::ZERO),
                full_ms: 0,
                percent: 0,
            },
            full: None,
            disbelieved: false,
            origin: match presence {
                Presence::Expected => Origin::Journal,
                Presence::Joined | Presence::Away => Origin::Hello,
            },
        }
    }
}

impl Slot {
    const fn new(name: String, members: Members, launches: bool) -> Self {
        Self {
            name,
            members,
            size: 0,
            launches,
            owner: None,
            free: BTreeSet::new(),
            unknown: BTreeSet::new(),
            launch: Launch::Idle,
            failed_launches: 0,
            filled: Time(Duration::ZERO),
            deaths: 0,
            rests_until: Time(Duration::ZERO),
            reserve: Reserve::new(),
            losses: Losses {
                sessions: 0,
                events: 0,
            },
            unwanted: BTreeSet::new(),
        }
    }

    /// Remembers a process that is to be refused when it joins.
    pub(crate) fn refuse_pid(&mut self, pid: u32) {
        if self.unwanted.len() >= MAX_UNWANTED {
            self.unwanted.pop_first();
        }
        self.unwanted.insert(pid);
    }

    /// How long an empty slot waits for a slave that comes by itself: not at all
    /// where the last one is known dead, but more each time that this happens soon.
    pub(crate) fn contact(&self, settings: &Settings) -> Duration {
        match self.deaths {
            0 => settings.contact,
            deaths => doubled(settings.backoff, settings.contact, deaths),
        }
    }

    /// Its slave died.
    pub(crate) fn died(&mut self, now: Time, settings: &Settings) {
        if now.since(self.filled) > settings.backoff_max {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.keeps_dying() {
            self.rests_until = now.after(self.contact(settings));
        }
    }

    /// Whether so many slaves in a row died soon after they filled it that the next one
    /// is likely to do so as well.
    pub(crate) const fn keeps_dying(&self) -> bool {
        self.deaths >= 3
    }

    /// How long the next attempt waits after `failed` launches in a row.
    pub(crate) fn backoff(&self, settings: &Settings) -> Duration {
        doubled(settings.backoff, settings.backoff_max, self.failed_launches)
    }
}

/// `first`, doubled for each failure after the first, at most `longest`.
pub(crate) fn doubled(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(longest)
}
