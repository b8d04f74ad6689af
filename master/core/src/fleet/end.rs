//! A slave goes: its connection ends, it dies, hangs, leaves by itself, or was to end and
//! has not.
//!
//! ```text
//! Left     nothing moves: its process may well be alive and serving
//! Died     only now are its shards free: its process ended, or a word says so (fence.rs)
//! ```

use std::{collections::BTreeSet, time::Duration};

use baton_protocol::{ShardId, SlaveId, text};

use crate::{
    deploy::{Deploys, Succession},
    event::{Action, Durability, Entry, Evidence, News},
    fleet::{Fleet, Presence, SlotId, Standing},
    out::Out,
    settings::Settings,
    timers::Timer,
};

impl Deploys {
    /// A slave lost its link. Its process may well be alive and serving.
    pub(crate) fn link_lost(&mut self, id: SlaveId, patience: Duration, out: &mut Out) {
        let Some(deploy) = self.with_mut(id) else {
            return;
        };
        if let Some(soak) = deploy.soak_of(id) {
            // The question, or its answer, is lost with the connection.
            soak.asked = false;
        }
        if deploy.needs(id) {
            out.start(Timer::Away(id), patience);
        }
    }
}

impl Succession<'_> {
    /// Kills a slave that did not do its part, and says why. If nothing comes from its host, it
    /// is not known to live or not, and is told what to do when it is back.
    pub(crate) fn condemn(&mut self, id: SlaveId, why: &'static str) {
        if self.fleet.is_in_sight(id, self.settings, self.out.now) {
            self.fleet.condemn(id, why, self.settings.retire, self.out);
        }
    }

    /// A slave seals its shards unasked, or says that it ends.
    pub(crate) fn leaves_by_itself(&mut self, id: SlaveId) {
        if !self.fleet.is_healthy(id) {
            return;
        }
        let slot = self.fleet.slaves.get(&id).map(|slave| slave.slot);
        debug_assert!(slot.is_some(), "slave {id} is well, so it is there");
        let Some(slot) = slot else {
            return;
        };
        self.fleet.stand(id, Standing::Leaving);
        self.out.start(Timer::Slave(id), self.settings.retired());
        self.fleet.vacate(slot, id);
        self.fleet.slots[slot].deaths = 0;
        self.deploy_lost(id, "it leaves by itself");
        self.out.touch(slot);
    }
}

/// A slave that is dead, while its shards are still its.
pub(crate) struct Dead {
    pub(crate) slot: SlotId,
    pub(crate) standing: Standing,
    pub(crate) holds: BTreeSet<ShardId>,
}

impl Fleet {
    /// The connection of a slave ended; its slot, if it had one.
    pub(crate) fn link_ends(&mut self, id: SlaveId, out: &mut Out) -> Option<SlotId> {
        let slave = self.slaves.get_mut(&id)?;
        if slave.presence != Presence::Joined {
            return None;
        }
        slave.presence = Presence::Away;
        let slot = slave.slot;
        self.tell_gone(id, None, out);
        Some(slot)
    }

    /// A slave is known dead. Nobody waits for its words; what it holds is not free yet.
    pub(crate) fn dies(&mut self, id: SlaveId, evidence: Evidence, out: &mut Out) -> Option<Dead> {
        let slave = self.slaves.get(&id)?;
        let dead = Dead {
            slot: slave.slot,
            standing: slave.standing,
            holds: slave.holds.clone(),
        };
        let unsettled = slave.unsettled.clone();
        self.tell_gone(id, Some(evidence), out);
        for shard in unsettled {
            self.sealer_gone(Some(id), shard, out);
        }
        self.owner_died(&dead.holds, out);
        Some(dead)
    }

    /// It is forgotten, as `entry` is to say on the disk: its shards are free.
    pub(crate) fn is_no_more(
        &mut self,
        id: SlaveId,
        slot: SlotId,
        (entry, durability): (Entry, Durability),
        settings: &Settings,
        out: &mut Out,
    ) {
        // Also of shards that it had before they moved to another slot.
        for (_, shard) in self.shards.iter_mut() {
            shard.copies.remove(&id);
        }
        debug_assert!(self.holds_nothing(id), "nothing is a dead slave's");
        self.slaves.remove(&id);
        out.stop(Timer::Slave(id));
        out.stop(Timer::Away(id));
        out.stop(Timer::Lease(id));
        out.save(vec![entry], durability);
        let place = &mut self.slots[slot];
        if place.owner == Some(id) {
            place.died(out.now, settings);
            if place.keeps_dying() {
                let (name, deaths) = (&place.name, place.deaths);
                let wait = place.contact(settings);
                out.alarm(format!(
                    "slot {name:?} is empty: {deaths} slaves in a row died soon after they filled \
                     it; the next one in {wait}. Why they died is in their logs",
                    wait = text::span(wait)
                ));
            }
        }
        self.vacate(slot, id);
    }

    /// Kills a slave, and says why. What it holds stays its until it is known dead.
    pub(crate) fn condemn(
        &mut self,
        id: SlaveId,
        why: &'static str,
        retire: Duration,
        out: &mut Out,
    ) {
        debug_assert!(self.is_known(id), "{id} is dead already: {why}");
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.standing != Standing::Condemned {
            slave.standing = Standing::Condemned;
            out.order(Action::Kill(id, why));
            out.start(Timer::Slave(id), retire);
        }
    }

    /// A slave that was to end has not.
    pub(crate) fn slave_due(&mut self, id: SlaveId, settings: &Settings, out: &mut Out) {
        let retire = settings.retire;
        let slave = self.slaves.get(&id);
        // Its deadline was stopped with its death.
        debug_assert!(slave.is_some(), "{id} has ended already");
        let Some(slave) = slave else {
            return;
        };
        debug_assert!(
            matches!(slave.standing, Standing::Leaving | Standing::Condemned),
            "slave {id} is to end: {:?}",
            slave.standing
        );
        if slave.standing == Standing::Condemned {
            let pid = slave.hello.process.pid;
            out.alarm(format!(
                "slave {id} (process {pid}) was killed and is not known to be dead; its shards \
                 wait. When it is dead, run: baton-master fence {id}"
            ));
            out.order(Action::Kill(id, "once more"));
            out.start(Timer::Slave(id), retire);
        } else if !self.is_in_sight(id, settings, out.now) {
            // Nobody can say that it does not end.
            out.start(Timer::Slave(id), retire);
        } else {
            self.condemn(id, "it was told to end and did not", retire, out);
        }
    }

    /// A slave is dead, or not connected.
    fn tell_gone(&self, id: SlaveId, dead: Option<Evidence>, out: &mut Out) {
        if let Some(slave) = self.slaves.get(&id) {
            out.tell(News::SlaveGone {
                slave: id,
                dead,
                held: slave.holds.len(),
                slot: self.slots[slave.slot].name.clone(),
                build: slave.hello.build.clone(),
                pid: slave.hello.process.pid,
                host: self.host_of(id),
            });
        }
    }

    fn vacate(&mut self, slot: SlotId, id: SlaveId) {
        let slot = &mut self.slots[slot];
        if slot.owner == Some(id) {
            slot.owner = None;
        }
    }
}
