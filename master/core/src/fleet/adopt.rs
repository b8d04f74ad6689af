//! How a master that starts learns who owns each shard: from its journal and from the
//! reports of slaves (`report.rs`).
//!
//! ```text
//! Unknown ──a report: starting, resuming, serving──▶ its reporter's (highest epoch wins)
//!         ──grace over, no slave that may hold it is missing──▶ Free, with the ticket that a
//!           report or the journal has
//! ```
//!
//! A shard stays `Unknown` while a slave that may hold it is alive, as far as the journal
//! knows, and has not reported. A row that says `Reserved` names the next owner and not the
//! one before, so each missing slave may hold that shard. This is an alarm, not a
//! reassignment.
//!
//! A shard may be held by a slave of another slot than it is to be in: it was on its way when
//! that master ended, or the settings have cut the slots anew since. It is in that slave's slot
//! then, and moves (`moves/`).

use std::{collections::BTreeSet, time::Duration};

use baton_protocol::{ShardId, SlaveId, message::ResumeAfter};

use crate::{
    deploy::Succession,
    event::{Basis, Durability, Entry, Hold, JournalState},
    fleet::{Fleet, Presence, SlotId, Standing},
    master_stage::MasterStage,
    out::Out,
    shard::{Free, Kept, Phase, Shard},
};

impl Succession<'_> {
    /// Decides who fills a slot after reports came in. Two slaves that both hold
    /// shards: a deploy was interrupted, it goes on to the newer one.
    pub(crate) fn settle_slot(&mut self, slot: SlotId) {
        if self.deploys.of(slot).is_some() {
            return;
        }
        let newest = |holds: &BTreeSet<ShardId>| {
            holds
                .iter()
                .filter_map(|id| self.fleet.shards[*id].phase.claimant())
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
                self.fleet.fill(slot, old, self.out);
                self.fleet.stand(new, Standing::Active);
                // Else the next master goes on with it.
                if self.stage == MasterStage::Running {
                    self.deploy_goes_on(slot, old, new);
                }
            }
            (Some((.., only)), None) if owner != Some(only) => {
                if owner.is_none_or(|owner| self.fleet.holds_nothing(owner)) {
                    self.fleet.fill(slot, only, self.out);
                }
            }
            (Some(_), None) => {}
            (None, _) => {
                if owner.is_none()
                    && let Some(next) = self.fleet.heir(slot)
                {
                    self.fleet.fill(slot, next, self.out);
                }
            }
        }
    }
}

impl Fleet {
    /// A journal that took the place of a lost one is whole again once every shard
    /// has an owner: its row says so.
    pub(crate) fn journal_is_intact_again(&mut self, out: &mut Out) {
        let whole = self.journal == JournalState::Lost
            && !out.saves.fail()
            && self
                .shards
                .iter()
                .map(|(_, shard)| shard)
                .all(|shard| shard.phase.claimant().is_some());
        if whole {
            self.journal = JournalState::Intact;
            out.save(vec![Entry::Whole], Durability::Now);
        }
    }

    /// Frees the shards of a slot that no slave can hold, and tells of those that wait for
    /// one. Those of other slots may have waited for the same slave.
    pub(crate) fn resolve_unknown(&mut self, slot: SlotId, drained: Duration, out: &mut Out) {
        // Of any slot: it may have been another one when they were given the shard.
        let alive = self.missing_anywhere();
        for other in self.slots.ids() {
            let (waits, missing) = self.free_unheld(other, &alive, drained, out);
            if waits > 0 && other == slot {
                let names: Vec<_> = missing.iter().map(|id| format!("{id:.8}")).collect();
                let slot = &self.slots[slot].name;
                out.alarm(format!(
                    "{waits} shards of slot {slot:?} wait: the journal knows living slaves that \
                     have not joined ({}). If one is dead, run: baton-master fence SLAVE",
                    names.join(", ")
                ));
            }
        }
    }

    /// How many shards of the slot still wait, and for whom of those that are alive and have
    /// not reported.
    fn free_unheld(
        &mut self,
        slot: SlotId,
        alive: &[SlaveId],
        drained: Duration,
        out: &mut Out,
    ) -> (u32, BTreeSet<SlaveId>) {
        let unknown: Vec<_> = self.slots[slot].unknown.iter().copied().collect();
        let (mut waits, mut missing) = (0, BTreeSet::new());
        for id in unknown {
            let shard = &self.shards[id];
            let Phase::Unknown { row } = shard.phase else {
                debug_assert!(
                    false,
                    "shard {id} of the index is unknown: {:?}",
                    shard.phase
                );
                continue;
            };
            let may_hold = self.may_hold(slot, row, alive);
            if !may_hold.is_empty() {
                waits += 1;
                missing.extend(may_hold);
                continue;
            }
            let after = match &shard.ticket {
                Some(kept) if kept.after == ResumeAfter::Seal && self.is_last(shard, row, kept) => {
                    ResumeAfter::Seal
                }
                Some(_) | None => ResumeAfter::Death,
            };
            match after {
                ResumeAfter::Seal => self.doubt_of_ticket(id, drained, out),
                ResumeAfter::Death => self.drop_doubt(id, out),
            }
            let shard = &mut self.shards[id];
            shard.alone = Some(out.now);
            self.enter(id, Phase::Free(Free::new(out.now, after)), out);
        }
        (waits, missing)
    }

    /// Which of these may hold a shard of this slot with this row in the journal.
    fn may_hold(
        &self,
        slot: SlotId,
        row: Option<(SlaveId, Hold)>,
        missing: &[SlaveId],
    ) -> Vec<SlaveId> {
        if self.journal == JournalState::Lost && !mutant!("lost-rows-believed") {
            // Its rows may be older than what became of their shards.
            return missing.to_vec();
        }
        let slot_of = |id| self.slaves.get(&id).map(|slave| slave.slot);
        let may = |missing: &SlaveId| match row {
            None => false,
            Some((owner, Hold::Owned)) => *missing == owner,
            // It may have moved between any two slots: whoever has not reported may be the one
            // that was to seal it.
            Some((next, Hold::Reserved)) => {
                let is = slot_of(*missing);
                !mutant!("reserved-of-its-slot")
                    || is == Some(slot)
                    || slot_of(next).is_none_or(|next| is == Some(next))
            }
        };
        missing.iter().copied().filter(may).collect()
    }

    /// Whether no slave can have gone on from the ticket of a seal.
    fn is_last(&self, shard: &Shard, row: Option<(SlaveId, Hold)>, kept: &Kept) -> bool {
        let Some((owner, hold)) = row.filter(|_| self.journal == JournalState::Intact) else {
            return false;
        };
        if kept.epoch == shard.epoch {
            // Its owner sealed it. One that had not been through with its replay
            // leaves what it replayed.
            hold == Hold::Owned || shard.basis != Basis::Death
        } else {
            // The next owner joined without it: it never began.
            shard.basis == Basis::Seal(kept.epoch)
                && self
                    .slaves
                    .get(&owner)
                    .is_some_and(|slave| slave.presence != Presence::Expected)
        }
    }

    /// No slave holds a shard of the slot: the slave of the slot that has frozen state of
    /// it, or a missing one that may hold some. None that is to end.
    fn heir(&self, slot: SlotId) -> Option<SlaveId> {
        let place = &self.slots[slot];
        let may_fill = |id: &SlaveId| {
            let of_slot = self.slaves.get(id).is_some_and(|slave| slave.slot == slot);
            (of_slot && self.is_healthy(*id)) || mutant!("any-heir")
        };
        let frozen = place.free.iter().find_map(|id| {
            let copies = self.shards[*id].copies.keys().copied();
            copies.filter(may_fill).find(|&id| self.is_joined(id))
        });
        let row_owner = place.unknown.iter().find_map(|id| {
            let row = self.shards[*id].phase.row();
            row.map(|(owner, _)| owner).filter(may_fill)
        });
        let missing = || {
            let missing = self.missing(slot);
            missing.into_iter().find(may_fill)
        };
        frozen
            .or(row_owner)
            .or_else(|| missing().filter(|_| !place.unknown.is_empty()))
    }
}
