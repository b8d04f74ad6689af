//! A slave goes: its connection ends, it dies, hangs, leaves by itself, or was to end and
//! has not.
//!
//! ```text
//! Left     nothing moves: its process may well be alive and serving
//! Died     only now are its shards free: its process ended, or a word says so (fence.rs)
//! ```

use baton_protocol::{SlaveId, message::ResumeAfter, text};

use crate::{
    Core,
    event::{Action, Durability, Entry, Evidence, News, RequestId},
    fleet::{Fleet, Presence, SlotId, Standing},
    master_stage::MasterStage,
    out::Out,
    timers::Timer,
};

impl Core {
    pub(crate) fn left(&mut self, id: SlaveId) {
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        if slave.presence != Presence::Joined {
            return;
        }
        slave.presence = Presence::Away;
        let slot = slave.slot;
        let deploy = self.deploys.with_mut(id);
        if let Some(soak) = deploy.and_then(|deploy| deploy.soak_of(id)) {
            // The question, or its answer, is lost with the connection.
            soak.asked = false;
        }
        self.fleet.tell_gone(id, None, &mut self.out);
        if self.deploy_needs(id) {
            self.out.start(Timer::Away(id), self.settings.no_progress);
        }
        self.permits.asks_anew(id);
        self.out.touch(slot);
        if mutant!("left-is-dead") {
            self.died(id, Evidence::Process);
        }
    }

    /// A slave is dead. One that may come back in spite of that is remembered, on the disk
    /// before anything relies on it (`fence.rs`).
    pub(crate) fn died(&mut self, id: SlaveId, evidence: Evidence) {
        let (entry, durability) = match evidence {
            Evidence::Process => {
                self.fleet.fenced.remove(&id);
                (Entry::Gone(id), Durability::Soon)
            }
            Evidence::Lease | Evidence::Operator => {
                if !self.fleet.slaves.contains_key(&id) {
                    return;
                }
                self.fleet.remember_fenced(id);
                (Entry::Fenced(id), Durability::Now)
            }
        };
        self.slave_gone(id, evidence, entry, durability);
    }

    /// A slave is dead, as `entry` is to say.
    fn slave_gone(
        &mut self,
        id: SlaveId,
        evidence: Evidence,
        entry: Entry,
        durability: Durability,
    ) {
        let Some(slave) = self.fleet.slaves.get(&id) else {
            return;
        };
        let (slot, standing) = (slave.slot, slave.standing);
        let (holds, unsettled) = (slave.holds.clone(), slave.unsettled.clone());
        self.fleet.tell_gone(id, Some(evidence), &mut self.out);
        for shard in unsettled {
            self.fleet.sealer_gone(Some(id), shard, &mut self.out);
        }
        self.fleet.owner_died(&holds, &mut self.out);
        for shard in holds {
            let after = self.never_told(shard).unwrap_or(ResumeAfter::Death);
            self.set_free(shard, after);
        }
        let members = self.fleet.slots[slot].members;
        for shard in members.iter() {
            let shard = &mut self.fleet.shards[shard];
            shard.copies.remove(&id);
        }
        debug_assert!(self.fleet.holds_nothing(id), "nothing is a dead slave's");
        self.fleet.slaves.remove(&id);
        self.out.stop(Timer::Slave(id));
        self.out.stop(Timer::Away(id));
        self.out.save(vec![entry], durability);
        if self.fleet.slots[slot].owner == Some(id) {
            self.fleet.slots[slot].died(self.out.now, &self.settings);
            let place = &self.fleet.slots[slot];
            if place.keeps_dying() {
                let (name, deaths) = (place.name.clone(), place.deaths);
                let wait = place.contact(&self.settings);
                self.out.alarm(format!(
                    "slot {name:?} is empty: {deaths} slaves in a row died soon after they filled \
                     it; the next one in {wait}. Why they died is in their logs",
                    wait = text::span(wait)
                ));
            }
        }
        self.fleet.vacate(slot, id);
        if standing == Standing::Standby && self.stage == MasterStage::Running {
            self.fleet.standby_died(slot, &self.settings, &mut self.out);
        }
        self.work.slave_gone(id, &mut self.out);
        self.deploy_lost(id, evidence.told());
        if self.stage != MasterStage::Adopting {
            let drained = self.settings.drained();
            self.fleet.resolve_unknown(slot, drained, &mut self.out);
        }
        self.end_adoption_early();
        self.out.touch(slot);
    }

    /// The operator's word that a slave is dead (`fence.rs`).
    pub(crate) fn fence(&mut self, request: RequestId, id: SlaveId) {
        if let Some(reason) = self.fence_refused(id, self.out.now) {
            self.out.tell(News::RequestRefused { request, reason });
            return;
        }
        self.died(id, Evidence::Operator);
        self.out.tell(News::Fenced { request, slave: id });
    }

    pub(crate) fn silent(&mut self, id: SlaveId) {
        if self.fleet.is_joined(id) {
            self.condemn(id, "it answered no ping for limits.hang");
            self.deploy_lost_soon(id, "it hangs");
        }
    }

    /// Kills a slave, and says why. What it holds stays its until it is known dead.
    pub(crate) fn condemn(&mut self, id: SlaveId, why: &'static str) {
        debug_assert!(self.fleet.is_known(id), "{id} is dead already: {why}");
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        if slave.standing != Standing::Condemned {
            slave.standing = Standing::Condemned;
            self.out.order(Action::Kill(id, why));
            self.out.start(Timer::Slave(id), self.settings.retire);
            if mutant!("kill-not-awaited") {
                self.died(id, Evidence::Process);
            }
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

    /// A slave that was to end has not.
    pub(crate) fn slave_due(&mut self, id: SlaveId) {
        let slave = self.fleet.slaves.get(&id);
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
            self.out.alarm(format!(
                "slave {id} (process {pid}) was killed and is not known to be dead; its shards \
                 wait. When it is dead, run: baton-master fence {id}"
            ));
            self.out.order(Action::Kill(id, "once more"));
            self.out.start(Timer::Slave(id), self.settings.retire);
        } else {
            self.condemn(id, "it was told to end and did not");
        }
    }
}

impl Fleet {
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
