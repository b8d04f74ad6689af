//! What the owner of a shard says of it: that it sealed it, or serves it (here), and how far
//! it is (`progress.rs`).
//!
//! ```text
//! Claimed ──sealed, its owner died, or cannot serve it──▶ Free
//! Starting ──it has its session──▶ Serving
//! Serving ──its session is over──▶ Starting, without one
//! ```
//!
//! Who waits for a permit to IDENTIFY depends on that alone. Where a shard goes next is none
//! of its owner's business: placement gives it to the slave that its slot is to be at.

use std::time::Duration;

use baton_protocol::{
    Epoch, ShardId, SlaveId, Ticket,
    message::{ResumeAfter, Sealed},
};

use crate::{
    deploy::Deploys,
    event::{Durability, Entry, Hold, News},
    fleet::{Fleet, SlotId},
    learnt::Learnt,
    out::Out,
    permits::Permits,
    settings::Settings,
    shard::{Claim, ClaimStage, Free, Phase},
};

/// What became of an IDENTIFY whose shard has no owner any more.
const DIED: &str = "its slave did not live to see answered, or gave up";

/// Shards at their owners: what may be looked at and changed when one speaks of its shard.
///
/// It begins and ends no deploy, and sees neither the work nor the stage of the master.
pub(crate) struct Ownership<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) deploys: &'a mut Deploys,
    pub(crate) permits: &'a mut Permits,
    pub(crate) learnt: &'a mut Learnt,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut Out,
}

impl Ownership<'_> {
    /// M5: the owner's ticket makes the shard free; placement gives it to the
    /// target at the reserved epoch. Whether nobody asked for it: the owner leaves by itself.
    pub(crate) fn sealed(&mut self, from: SlaveId, sealed: Sealed) -> bool {
        let Sealed { epoch, ticket } = sealed;
        let id = ticket.shard;
        let phase = self.fleet.shards[id].phase;
        if !phase.is_claimed_by(from, epoch) {
            let sealed = (epoch, &ticket);
            self.fleet.seals_again(from, id, sealed, self.out);
            return false;
        }
        let drained = self.settings.drained();
        let after = self
            .fleet
            .take_ticket((from, epoch), ticket, drained, self.out);
        self.set_free(id, after);
        self.out.ticket_changed(id);
        !phase.is_sealing()
    }

    /// The claimant of a shard let go of it.
    pub(crate) fn set_free(&mut self, id: ShardId, after: ResumeAfter) {
        let shard = &self.fleet.shards[id];
        debug_assert!(shard.phase.claim().is_some(), "shard {id} has a claimant");
        let carrier = self.deploys.carrier(id, shard.slot);
        if let Some(hand) = self.deploys.hand_mut(carrier) {
            hand.waits_no_more(id);
        }
        let shard = &self.fleet.shards[id];
        if shard.ticket.is_none() {
            self.permits
                .came_to_nothing(id, DIED, self.fleet, self.settings, self.out);
        } else {
            self.permits.ready(id, self.fleet, self.settings, self.out);
        }
        if after == ResumeAfter::Death {
            self.permits
                .owner_died(id, self.fleet, self.settings, self.out);
        }
        self.fleet.set_free(id, after, self.out);
        self.goes_to_its_slot(id);
    }

    /// M6: its owner has the session. The shard serves at its new epoch.
    pub(crate) fn served(&mut self, from: SlaveId, id: ShardId, epoch: Epoch) {
        let shard = &mut self.fleet.shards[id];
        let Some(claim) = shard
            .phase
            .claim()
            .filter(|_| shard.phase.is_claimed_by(from, epoch) && shard.phase.starting().is_some())
        else {
            return;
        };
        let (slot, had_no_session) = (shard.slot, shard.phase.has_no_session());
        let is_known = epoch > Epoch(1) && had_no_session && self.settings.overlaps();
        let alone = shard.alone.filter(|_| is_known);
        shard.begins_to_serve(from, self.out.now);
        debug_assert!(epoch <= shard.epoch, "an epoch that is served is used up");
        // After a restart a later epoch may be reserved in the journal: that row
        // stays, or the epoch would be used again.
        if shard.epoch == epoch {
            let row = Entry::Owner {
                shard: id,
                epoch,
                owner: from,
                hold: Hold::Owned,
                basis: shard.basis,
            };
            self.out.save(vec![row], Durability::Soon);
        }
        self.fleet
            .enter(id, claim.at(ClaimStage::Serving), self.out);
        if let Some(since) = alone {
            self.out.tell(News::WasDeaf {
                shard: id,
                slave: from,
                deaf: self.out.now.since(since),
            });
        }
        if had_no_session {
            self.permits.ready(id, self.fleet, self.settings, self.out);
        }
        if let Some(it) = self.deploys.moves.served(id, claim, self.out) {
            self.move_ends(id, it);
        } else {
            self.deploys
                .tell_served(slot, id, claim, had_no_session, self.out);
        }
        self.fleet.leaves_others_behind(id, self.out);
    }
}

impl Deploys {
    /// A shard of a slot began to serve: the end of its move, or as ever.
    pub(crate) fn tell_served(
        &mut self,
        slot: SlotId,
        id: ShardId,
        claim: Claim,
        had_no_session: bool,
        out: &mut Out,
    ) {
        let deploy = self.of_mut(slot);
        let moved = deploy.is_some_and(|deploy| deploy.served(id, claim, had_no_session, out));
        if !moved {
            out.tell(News::ShardServing {
                shard: id,
                epoch: claim.epoch,
                slave: claim.owner,
            });
        }
    }
}

impl Fleet {
    /// The ticket of a seal is believed and kept, or not. From what the shard goes on.
    fn take_ticket(
        &mut self,
        (from, epoch): (SlaveId, Epoch),
        ticket: Ticket,
        drained: Duration,
        out: &mut Out,
    ) -> ResumeAfter {
        let id = ticket.shard;
        let shard = &mut self.shards[id];
        let lie = shard.may_seal(out.now, &ticket).err();
        let after = match lie.is_none() && shard.believes(&ticket) {
            true => {
                // Its state has everything that it received.
                let stands = ticket.state_at.max(ticket.highest());
                shard.copies.insert(from, stands);
                let in_doubt = ticket.in_doubt.clone();
                shard.keep(ticket, epoch, shard.replays);
                let after = shard.replays;
                self.doubt(id, from, epoch, in_doubt, drained, out);
                after
            }
            // Nothing to rely on: the last checkpoint it is.
            false => ResumeAfter::Death,
        };
        if let Some(lie) = lie {
            self.disbelieve(from, id, &lie, out);
        }
        after
    }

    /// A shard is nobody's.
    fn set_free(&mut self, id: ShardId, after: ResumeAfter, out: &mut Out) {
        let shard = &mut self.shards[id];
        debug_assert!(shard.phase.claim().is_some(), "shard {id} has a claimant");
        // An attempt in which nothing came leaves its session as old as it was.
        let as_old = shard.phase.is_untouched() && !mutant!("failure-makes-young");
        let since = shard.alone.filter(|_| as_old).unwrap_or(out.now);
        shard.alone = Some(since);
        let mut free = Free::new(since, after);
        // The row of the reservation says that the next owner goes on from a seal.
        if after == ResumeAfter::Seal && shard.phase.is_sealing() {
            free.reserved = shard.phase.next_owner();
        }
        if after == ResumeAfter::Death {
            self.in_hand_after_death(id, out);
        }
        self.enter(id, Phase::Free(free), out);
    }
}
