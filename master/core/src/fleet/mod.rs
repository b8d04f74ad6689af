//! Slaves, slots and shards, and the indexes over them.
//!
//! A message touches the one shard, slave and slot that it names; nothing here
//! walks over all shards but a death, a report and a restart.

mod adopt;
mod arrangement;
mod deaths;
mod end;
mod fares;
mod fence;
mod hosts;
mod identity;
mod in_doubt;
mod join;
mod launch;
mod lease;
mod leave;
mod lies;
mod placement;
mod reach;
mod recut;
mod relief;
mod report;
mod shards;
mod sink;
mod slave;
mod slot;
mod slots;
mod standby;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::{LaunchId, Parameters, ShardId, SlaveId, ToSlave, message::ResumeAfter};

use crate::{
    event::{JournalState, News, Recovered, Time},
    out::Out,
    settings::Settings,
    shard::{Free, Kept, Phase},
    timers::Timer,
};

#[cfg(test)]
pub(crate) use self::lease::FIRST_PING;
pub(crate) use self::{
    hosts::{Sight, Silence},
    lies::Lies,
    sink::KnownSink,
    slave::{Backpressure, FullMs, Hearing, Origin, Part, Past, Presence, Record, Slave, Standing},
    slot::{Launch, Slot},
    slots::SlotId,
};
use self::{shards::Shards, slots::Slots};

/// Who is there and what there is to serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Every slave that is not known to be dead.
    pub(crate) slaves: BTreeMap<SlaveId, Slave>,
    pub(crate) slots: Slots,
    pub(crate) shards: Shards,
    /// The last process that was ordered to be launched.
    pub(crate) launches: LaunchId,
    /// What its sessions are made with, once that is known.
    pub(crate) pinned: Option<Parameters>,
    /// Dead by a word alone: what they say is not believed.
    pub(crate) fenced: BTreeSet<SlaveId>,
    /// Whether every row of it is known.
    pub(crate) journal: JournalState,
    /// Shards that are in another slot than they are to be, and that nobody looks after yet
    /// (`moves/`).
    pub(crate) astray: BTreeSet<ShardId>,
    /// How the agents that are here are heard, by the names of their hosts.
    pub(crate) sights: BTreeMap<String, Sight>,
    /// Hosts onto which nothing is placed.
    pub(crate) cordoned: BTreeSet<String>,
    /// Whether nothing begins by itself.
    pub(crate) held: bool,
}

impl Fleet {
    pub(crate) fn new(settings: &Settings, mut recovered: Recovered, now: Time) -> Self {
        let mut fleet = Self {
            launches: recovered.launches,
            pinned: recovered.pinned.or_else(|| settings.pinned.clone()),
            fenced: recovered.fenced,
            journal: recovered.journal,
            ..Self::default()
        };
        for slot in &settings.slots {
            let mut made = Slot::new(slot);
            if let Some(last) = recovered.deploys.remove(&slot.name) {
                made.deploys(last, now);
            }
            fleet.slots.add(made);
        }
        fleet.arrange(settings, &recovered.arrangement, recovered.floor);
        let mut rows = BTreeMap::new();
        for (id, row) in recovered.shards {
            if let Some(shard) = fleet.shards.get_mut(id) {
                rows.entry(row.owner).or_insert(shard.slot);
                shard.epoch = row.epoch;
                shard.holder = Some(row.owner);
                shard.basis = row.basis;
                shard.phase = Phase::Unknown {
                    row: Some((row.owner, row.hold)),
                };
            }
        }
        for (id, found) in recovered.tickets {
            if let Some(shard) = fleet.shards.get_mut(id)
                && found.ticket.has_session()
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
            // One whose slot has another name now, or is gone, still has its shards.
            let slot = fleet.slots.named(&hello.slot);
            let slot = slot.or_else(|| rows.get(&id).copied());
            if let Some(slot) = slot.or_else(|| fleet.slots.first()) {
                let mut slave = Slave::new(hello, slot, Presence::Expected);
                // Whatever a former leader said that it heard, it had heard by now.
                slave.heard = now;
                slave.lease.keeps = recovered.leases.get(&id).copied();
                fleet.slaves.insert(id, slave);
            }
        }
        fleet
    }

    /// Puts a shard into a phase and keeps the indexes. The deadline of its phase before
    /// is void.
    pub(crate) fn enter(&mut self, id: ShardId, phase: Phase, out: &mut Out) {
        debug_assert!(self.is_indexed(id), "before shard {id} enters {phase:?}");
        let shard = &mut self.shards[id];
        out.stop(Timer::Shard(id));
        out.touch(shard.slot);
        let before = std::mem::replace(&mut shard.phase, phase);
        let owner = before.claimant().map(|(owner, _)| owner);
        let is_handed_on = owner != phase.claimant().map(|(owner, _)| owner);
        if let Some(slave) = owner
            && let Some(slave) = self.slaves.get_mut(&slave)
        {
            if is_handed_on {
                slave.holds.remove(&id);
            }
            slave.serving -= usize::from(before.serves());
            slave.without_session -= usize::from(before.has_no_session());
        }
        if let Some((slave, epoch)) = phase.claimant()
            && let Some(slave) = self.slaves.get_mut(&slave)
        {
            debug_assert!(epoch <= shard.epoch, "an epoch that is claimed is used up");
            if is_handed_on {
                slave.holds.insert(id);
                slave.left_behind.remove(&id);
            }
            slave.past = Past::Served;
            slave.serving += usize::from(phase.serves());
            slave.without_session += usize::from(phase.has_no_session());
        }
        let slot = &mut self.slots[shard.slot];
        match before {
            Phase::Unknown { .. } => {
                slot.unknown.remove(&id);
            }
            Phase::Free(_) => {
                slot.free.remove(&id);
            }
            Phase::Claimed(_) => {}
        }
        match phase {
            Phase::Unknown { .. } => {
                slot.unknown.insert(id);
            }
            Phase::Free(free) if free.parked.is_none() => {
                slot.free.insert(id);
            }
            Phase::Free(_) | Phase::Claimed(_) => {}
        }
        debug_assert!(self.is_indexed(id), "after shard {id} entered {phase:?}");
    }

    /// Whether the indexes say of a shard what its phase says: its claimant is a slave
    /// that is known and holds it, and nobody waits for it whom it does not wait for.
    fn is_indexed(&self, id: ShardId) -> bool {
        let shard = &self.shards[id];
        let slot = &self.slots[shard.slot];
        let is_held = shard.phase.claimant().is_none_or(|(owner, _)| {
            let owner = self.slaves.get(&owner);
            owner.is_some_and(|owner| owner.holds.contains(&id))
        });
        let waits = |free: Free| free.parked.is_none();
        let is_unknown = matches!(shard.phase, Phase::Unknown { .. });
        is_held
            && slot.free.contains(&id) == shard.phase.free().is_some_and(waits)
            && slot.unknown.contains(&id) == is_unknown
    }

    /// A shard begins with no session: nothing of the one before is of use, if there was
    /// one.
    pub(crate) fn starts_cold(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        let shard = &mut self.shards[id];
        let had_session = shard.ticket.take().is_some();
        shard.replays = ResumeAfter::Seal;
        shard.copies.clear();
        self.drop_doubt(id, out);
        if had_session {
            self.session_lost(id, slave, out);
        }
    }

    /// The session of a shard is over, and what the service would have replayed with it.
    pub(crate) fn session_lost(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        let losses = &mut self.slots[self.shards[id].slot].losses;
        losses.sessions = losses.sessions.saturating_add(1);
        out.tell(News::SessionLost { shard: id, slave });
    }

    /// Whether this slave is alive, as far as is known.
    pub(crate) fn is_known(&self, slave: SlaveId) -> bool {
        self.slaves.contains_key(&slave)
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

    /// One more launch is ordered.
    pub(crate) const fn next_launch(&mut self) -> LaunchId {
        self.launches = self.launches.next();
        self.launches
    }

    /// The slaves of a slot, in the order of their ids.
    pub(crate) fn of_slot(&self, slot: SlotId) -> impl Iterator<Item = (SlaveId, &Slave)> {
        self.slaves
            .iter()
            .filter(move |(_, slave)| slave.slot == slot)
            .map(|(&id, slave)| (id, slave))
    }

    /// What is to become of a slave.
    pub(crate) fn stand(&mut self, id: SlaveId, standing: Standing) {
        if let Some(slave) = self.slaves.get_mut(&id) {
            slave.standing = standing;
        }
    }

    /// A standby builds its bot.
    pub(crate) fn soft_start(&self, id: SlaveId, out: &mut Out) {
        if self.slaves.get(&id).is_some_and(|slave| !slave.built) {
            out.send(id, ToSlave::SoftStart);
        }
    }

    /// It says that its bot is built.
    pub(crate) fn built(&mut self, id: SlaveId) {
        if let Some(slave) = self.slaves.get_mut(&id) {
            slave.built = true;
        }
    }

    /// Tells a slave that owns nothing to end, within `retire`.
    pub(crate) fn dismiss(&mut self, id: SlaveId, retire: Duration, out: &mut Out) {
        if !self.is_healthy(id) {
            return;
        }
        self.stand(id, Standing::Leaving);
        if self.is_joined(id) {
            out.send(id, ToSlave::Shutdown);
        }
        out.start(Timer::Slave(id), retire);
    }

    /// Slaves of a slot that are alive and have not reported.
    pub(crate) fn missing(&self, slot: SlotId) -> Vec<SlaveId> {
        self.of_slot(slot)
            .filter(|(_, slave)| slave.presence == Presence::Expected)
            .map(|(id, _)| id)
            .collect()
    }

    /// The same of every slot.
    pub(crate) fn missing_anywhere(&self) -> Vec<SlaveId> {
        let slaves = self.slaves.iter();
        slaves
            .filter(|(_, slave)| slave.presence == Presence::Expected)
            .map(|(&id, _)| id)
            .collect()
    }
}
