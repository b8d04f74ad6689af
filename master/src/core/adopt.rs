//! What a slave reports when it joins, and how a master that starts learns whose
//! every shard is.
//!
//! ```text
//! Unknown ──a report: starting, resuming, serving──▶ its reporter's (highest epoch wins)
//!         ──grace over, nobody who may hold it is missing──▶ Free, with the ticket that a
//!           report or the journal has
//! ```
//!
//! A shard stays `Unknown` while a slave that the journal knows to be alive has
//! not reported and may hold it: a row says `Reserved` for the next owner and
//! does not name the one before, so every missing slave of the slot may. That is
//! an alarm, not a reassignment.

use std::collections::BTreeMap;

use baton_protocol::{
    Epoch, ShardId, SlaveId, ToSlave,
    message::{Held, Holding, Report, ResumeAfter, Role, Unit},
};

use super::{
    Core, Life,
    event::{History, Hold, News},
    fleet::{Origin, Presence, Standing},
    shard::{Free, How, Link, Phase, Reach},
    timers::Timer,
};

impl Core {
    /// Compares everything that a slave holds with what we believe.
    pub(super) fn report_in(&mut self, slave: SlaveId, report: &Report) {
        let mut said = BTreeMap::new();
        for held in &report.shards {
            said.insert(held.ticket.shard, held.epoch);
            self.claim(slave, held);
        }
        let Some(holds) = self
            .fleet
            .slaves
            .get(&slave)
            .map(|slave| slave.holds.clone())
        else {
            return;
        };
        for id in holds {
            let ours = self.fleet.shards.get(&id).and_then(|s| s.phase.claimant());
            if ours.is_some_and(|(_, epoch)| said.get(&id) != Some(&epoch)) {
                self.unclaimed(slave, id);
            }
        }
        // Copies to this slave ended with its connection.
        for id in self.copies_to(slave) {
            self.said_again(id);
        }
        self.work_reported(slave, report.work);
    }

    fn claim(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        let Some(shard) = self.fleet.shards.get(&id) else {
            return;
        };
        let claimant = shard.phase.claimant();
        if claimant == Some((slave, held.epoch)) {
            self.claim_confirmed(slave, held);
            return;
        }
        let is_newer = held.epoch > shard.epoch;
        let may_be_its = match &shard.phase {
            // A row at a higher epoch is a reservation that was never used: the
            // seal comes first.
            Phase::Unknown { row } => {
                is_newer
                    || held.epoch == shard.epoch
                    || (matches!(row, Some((_, Hold::Reserved))) && self.is_journaled(slave))
            }
            // Believed dead by mistake, and nobody was told since.
            Phase::Free(free) => {
                is_newer || (held.epoch == shard.epoch && free.after == ResumeAfter::Death)
            }
            Phase::Starting { .. }
            | Phase::Serving { .. }
            | Phase::Copying { .. }
            | Phase::Sealing { .. } => is_newer,
        };
        match held.holding {
            Holding::Starting | Holding::Resuming | Holding::Serving if may_be_its => {
                self.adopt(slave, held);
            }
            Holding::Sealed if may_be_its => self.adopt_sealed(slave, held),
            Holding::Failed if may_be_its => self.adopt_ticket(held, ResumeAfter::Death),
            Holding::Sealed if self.is_needed_frozen(slave, id) => {
                if let Some(shard) = self.fleet.shards.get_mut(&id) {
                    shard.copies.insert(slave, held.ticket.state_at);
                }
                self.ask_settled_again(slave, held);
            }
            Holding::Starting
            | Holding::Resuming
            | Holding::Serving
            | Holding::Sealed
            | Holding::Failed => self.forget(slave, id),
        }
    }

    /// Whether the journal named this slave: one that it does not was given up
    /// before, and what it says at an older epoch is void.
    fn is_journaled(&self, slave: SlaveId) -> bool {
        self.fleet
            .slaves
            .get(&slave)
            .is_some_and(|slave| slave.origin == Origin::Journal)
    }

    /// Whether frozen state may be gone back to: in a deploy, and while it is not
    /// known whether one is under way.
    fn is_needed_frozen(&self, slave: SlaveId, id: ShardId) -> bool {
        let deploy = self
            .fleet
            .shards
            .get(&id)
            .and_then(|shard| self.deploy_in(shard.slot));
        self.stage == Life::Adopting
            || deploy.is_some_and(|deploy| deploy.from == Some(slave) || deploy.to() == Some(slave))
    }

    /// It still has what we believe that it has.
    fn claim_confirmed(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        match held.holding {
            Holding::Starting | Holding::Resuming => self.said_again(id),
            Holding::Serving => {
                self.served(slave, id, held.epoch);
                self.said_again(id);
            }
            Holding::Sealed => {
                self.sealed(slave, id, held.epoch, Some(held.ticket.clone()));
                self.ask_settled_again(slave, held);
            }
            Holding::Failed => {
                let failed = baton_protocol::message::Failed {
                    shard: id,
                    epoch: held.epoch,
                    close_code: 0,
                    detail: "the slave reports that it cannot serve it".to_owned(),
                };
                self.failed(slave, &failed);
            }
        }
    }

    /// Its report does not name a shard that we believe is its, at our epoch.
    fn unclaimed(&mut self, slave: SlaveId, id: ShardId) {
        let Some(shard) = self.fleet.shards.get(&id) else {
            return;
        };
        if matches!(shard.phase, Phase::Starting { .. }) {
            // The order was lost with the connection.
            self.order_again(id);
        } else {
            self.alarm(format!(
                "slave {slave} does not serve shard {id} any more, which was its own; it is \
                 resumed from its last checkpoint"
            ));
            self.set_free(id, ResumeAfter::Death);
        }
    }

    /// The shard is its reporter's.
    fn adopt(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        let Some(shard) = self.fleet.shards.get_mut(&id) else {
            return;
        };
        let before = shard.phase.claimant();
        shard.epoch = shard.epoch.max(held.epoch);
        shard.keep(held.ticket.clone(), held.epoch, ResumeAfter::Death);
        let phase = match held.holding {
            Holding::Serving => Phase::Serving {
                owner: slave,
                epoch: held.epoch,
                link: Link::Up,
            },
            Holding::Starting | Holding::Resuming | Holding::Sealed | Holding::Failed => {
                Phase::Starting {
                    owner: slave,
                    epoch: held.epoch,
                    how: match shard.ticket {
                        Some(_) => How::Resume(ResumeAfter::Death),
                        None => How::Full,
                    },
                    reach: Reach::Dispatches,
                }
            }
        };
        self.drop_doubt(id);
        self.enter(id, phase);
        self.ticket_changed(id);
        if let Some((other, _)) = before
            && other != slave
        {
            self.forget(other, id);
        }
    }

    fn adopt_ticket(&mut self, held: &Held, after: ResumeAfter) {
        let id = held.ticket.shard;
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && shard
                .ticket
                .as_ref()
                .is_none_or(|kept| kept.epoch <= held.epoch)
        {
            shard.epoch = shard.epoch.max(held.epoch);
            shard.keep(held.ticket.clone(), held.epoch, after);
        }
    }

    fn adopt_sealed(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        self.adopt_ticket(held, ResumeAfter::Seal);
        if let Some(shard) = self.fleet.shards.get_mut(&id) {
            shard.copies.insert(slave, held.ticket.state_at);
        }
        let in_doubt = held.ticket.in_doubt.clone();
        self.doubt(id, slave, held.epoch, in_doubt);
        self.ask_settled_again(slave, held);
    }

    /// The word that settles a seal may have been lost with the connection: the
    /// same question brings it again.
    fn ask_settled_again(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        if let Some(shard) = self.fleet.shards.get(&id)
            && let Some(doubt) = &shard.doubt
            && doubt.unfinished.is_none()
            && (doubt.sealer, doubt.epoch) == (slave, held.epoch)
        {
            self.send_stop(id, slave, held.epoch);
        }
    }

    /// A higher epoch exists: whatever this slave has of the shard is void.
    fn forget(&mut self, slave: SlaveId, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get(&id) {
            let epoch = shard.epoch;
            self.send(slave, ToSlave::Forget(Unit { shard: id, epoch }));
        }
    }

    // ---- the grace after a start ---------------------------------------------

    /// The grace ends early when nobody is missing, unless the journal may not
    /// name everybody.
    pub(super) fn end_adoption_early(&mut self) {
        if self.stage == Life::Adopting
            && self.history == History::Whole
            && (0..self.fleet.slots.len()).all(|slot| self.missing(slot).is_empty())
        {
            self.end_adoption();
        }
    }

    pub(super) fn end_adoption(&mut self) {
        if self.stage != Life::Adopting {
            return;
        }
        self.stage = Life::Running;
        self.timers.stop(Timer::Adopt);
        for slot in 0..self.fleet.slots.len() {
            self.resolve_unknown(slot);
            self.settle_slot(slot);
            self.touch(slot);
        }
        let waiting: Vec<_> = self
            .fleet
            .slaves
            .iter()
            .filter(|(_, slave)| slave.standing == Standing::Waiting)
            .map(|(&id, slave)| (slave.hello.role != Role::Standby, id))
            .collect();
        for (_, id) in waiting {
            if self.fleet.is_joined(id) {
                self.decide_standing(id);
            }
        }
    }

    /// Slaves of a slot that are alive and have not reported.
    fn missing(&self, slot: usize) -> Vec<SlaveId> {
        self.fleet
            .of_slot(slot)
            .filter(|(_, slave)| slave.presence == Presence::Expected)
            .map(|(id, _)| id)
            .collect()
    }

    /// Frees the shards of a slot that nobody can hold.
    pub(super) fn resolve_unknown(&mut self, slot: usize) {
        if self.fleet.slots[slot].unknown.is_empty() {
            return;
        }
        let missing = self.missing(slot);
        let unknown: Vec<_> = self.fleet.slots[slot].unknown.iter().copied().collect();
        let mut waits = 0;
        for id in unknown {
            let Some(shard) = self.fleet.shards.get(&id) else {
                continue;
            };
            let Phase::Unknown { row } = shard.phase else {
                continue;
            };
            let may_be_held = match row {
                None => false,
                Some((owner, Hold::Owned)) => missing.contains(&owner),
                Some((_, Hold::Reserved)) => !missing.is_empty(),
            };
            if may_be_held {
                waits += 1;
                continue;
            }
            // A seal is the last word only if nobody went on from it.
            let untouched = |kept_epoch: Epoch| {
                kept_epoch == shard.epoch
                    || row.is_some_and(|(owner, _)| self.fleet.is_joined(owner))
            };
            let after = match &shard.ticket {
                Some(kept) if kept.after == ResumeAfter::Seal && untouched(kept.epoch) => {
                    ResumeAfter::Seal
                }
                Some(_) | None => ResumeAfter::Death,
            };
            if after == ResumeAfter::Death {
                self.drop_doubt(id);
            }
            self.enter(id, Phase::Free(Free::new(self.now, after)));
        }
        if waits > 0 {
            let names: Vec<_> = missing.iter().map(|id| format!("{id:.8}")).collect();
            let slot = &self.fleet.slots[slot].name;
            self.alarm(format!(
                "{waits} shards of slot {slot:?} wait: the journal knows living slaves that have \
                 not joined ({}). If one is dead, run: baton-master fence SLAVE",
                names.join(", ")
            ));
        }
    }

    /// Decides who fills a slot after reports came in. Two slaves that both hold
    /// shards: a deploy was interrupted, it goes on to the newer one.
    pub(super) fn settle_slot(&mut self, slot: usize) {
        if self.deploy_in(slot).is_some() {
            return;
        }
        let newest = |holds: &std::collections::BTreeSet<ShardId>| {
            holds
                .iter()
                .filter_map(|id| self.fleet.shards.get(id)?.phase.claimant())
                .map(|(_, epoch)| epoch)
                .max()
        };
        let mut holders: Vec<_> = self
            .fleet
            .of_slot(slot)
            .filter(|(id, slave)| !slave.holds.is_empty() && self.fleet.is_healthy(*id))
            .map(|(id, slave)| (newest(&slave.holds), slave.holds.len(), id))
            .collect();
        holders.sort_unstable();
        let owner = self.fleet.slots[slot].owner;
        match (holders.pop(), holders.pop()) {
            (Some((.., new)), Some((.., old))) => {
                self.fill(slot, old);
                self.stand(new, Standing::Active);
                self.deploy_goes_on(slot, old, new);
            }
            (Some((.., only)), None) if owner != Some(only) => {
                if owner.is_none_or(|owner| self.fleet.holds_nothing(owner)) {
                    self.fill(slot, only);
                }
            }
            (Some(_), None) => {}
            (None, _) => {
                if owner.is_none()
                    && let Some(next) = self.heir(slot)
                {
                    self.fill(slot, next);
                }
            }
        }
    }

    /// Nobody holds a shard of the slot: the slave that has frozen state of it, or
    /// a missing one that may hold some.
    fn heir(&self, slot: usize) -> Option<SlaveId> {
        let place = &self.fleet.slots[slot];
        let frozen = place.free.iter().find_map(|id| {
            let copies = &self.fleet.shards.get(id)?.copies;
            copies.keys().copied().find(|&id| self.fleet.can_take(id))
        });
        let row_owner = place.unknown.iter().find_map(|id| {
            match self.fleet.shards.get(id)?.phase {
                Phase::Unknown { row } => row.map(|(owner, _)| owner),
                Phase::Free(_)
                | Phase::Starting { .. }
                | Phase::Serving { .. }
                | Phase::Copying { .. }
                | Phase::Sealing { .. } => None,
            }
            .filter(|owner| self.fleet.slaves.contains_key(owner))
        });
        frozen.or(row_owner).or_else(|| {
            self.missing(slot)
                .first()
                .copied()
                .filter(|_| !place.unknown.is_empty())
        })
    }

    /// A joined slave with a master that knows it: news for whoever watches.
    pub(super) fn tell_serving(&mut self, shard: ShardId, epoch: Epoch, slave: SlaveId) {
        self.tell(News::ShardServing {
            shard,
            epoch,
            slave,
        });
    }
}
