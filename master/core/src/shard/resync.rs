//! What the master repeats to a slave that is back, and what is done again.
//!
//! If an owner loses its link between the order to seal and the seal, it keeps serving, for
//! any time. The copy at the next owner ages meanwhile, until the service no longer replays what
//! came after it: the shard would then need an IDENTIFY. So when the owner returns and still
//! serves, its state is copied once more.
//!
//! It may still seal: the order may have reached the shard just before the
//! connection ended. A shard carries its orders out one after the other, so its
//! first word tells:
//!
//! ```text
//!           ┌─ a piece of its state: nothing of the order is left ─▶ Copying
//! Sealing ──┼─ the seal ──────────────────────────────────────────▶ as ever
//! CopyAnew  └─ nothing: it may have sealed, unheard ──▶ Sealing, asked again
//! ```
//!
//! The same happens to an owner that reports that a heartbeat overtook its copy. A heartbeat
//! names the last received event, and a server might forget everything up to there: no slave
//! could resume from the copy. That owner has not sealed, so its state is copied at once.
//!
//! Until then the shard counts as being sealed, so that a seal is never taken for a slave
//! that leaves by itself, and the copy before stays valid. If it was a seal, that copy is
//! good enough: once the order is with the shard it receives nothing more, so the copy is as
//! old as in an undisturbed migration.

use baton_protocol::{
    Epoch, Sequence, ShardId, SlaveId, Version,
    message::{ResumeAfter, Unit},
};

use crate::{
    fleet::Fleet,
    shard::{Claim, ClaimStage, Handover, Phase, Sealing},
    timers::Timer,
};

/// Copies of one move that are made because a heartbeat overtook the seal. A bot whose
/// handlers are never through with what a heartbeat names is moved as well as it can
/// be.
const MOST_OVERTAKEN: u32 = 8;

impl Handover<'_> {
    /// The owner is back and still owns the shard in the phase that we know.
    pub(crate) fn said_again(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        let claim = shard.phase.claim();
        debug_assert!(claim.is_some(), "the owner of shard {id} is back");
        let Some(claim) = claim else {
            return;
        };
        match claim.stage {
            ClaimStage::Copying { .. } => {
                self.out.restart(Timer::Shard(id));
                self.send_copy(id, claim);
            }
            ClaimStage::Dialling { to } => {
                if let Some(ticket) = shard.ticket_for(to, ResumeAfter::Seal) {
                    self.send_dial(id, claim.epoch, to, ticket);
                }
            }
            ClaimStage::Sealing { .. } => self.ask_to_seal(id, claim),
            ClaimStage::Starting(_) | ClaimStage::Serving => self.fleet.tell_settled(id, self.out),
        }
    }

    /// An owner that is back serves a shard. If it was to seal it, its state is
    /// copied again first. Not on the way back, where the next owner has its own
    /// state, as old as its seal.
    pub(crate) fn serves_again(&mut self, id: ShardId) {
        match self.fleet.shards[id].phase.claim() {
            Some(
                claim @ Claim {
                    stage: ClaimStage::Sealing { to, .. },
                    ..
                },
            ) if self.wants_copy(id, claim.owner, to)
                && self.fleet.is_healthy(claim.owner)
                && !mutant!("stale-copy-kept") =>
            {
                self.told_while_sealing(id, Sealing::CopyAnew);
                self.send_copy(id, claim);
            }
            Some(_) | None => self.said_again(id),
        }
    }

    /// A slave that takes a shard back, or restarts it (`restart.rs`), has its state.
    fn wants_copy(&self, id: ShardId, owner: SlaveId, to: SlaveId) -> bool {
        let takes_over = match self.deploys.moves.has(id) {
            true => self.deploys.moves.takes_over(id),
            false => self.deploys.takes_over(to),
        };
        // Where nothing is replayed, no state is copied ahead of the seal.
        takes_over && to != owner && !self.settings.overlaps()
    }

    pub(crate) fn ask_to_seal(&mut self, id: ShardId, claim: Claim) {
        self.told_while_sealing(id, Sealing::Seal);
        self.send_stop(id, claim.owner, claim.epoch);
    }

    fn told_while_sealing(&mut self, id: ShardId, what: Sealing) {
        self.out.start(Timer::Shard(id), self.settings.seal);
        let shard = &mut self.fleet.shards[id];
        if let Phase::Claimed(claim) = &mut shard.phase
            && let ClaimStage::Sealing { order, .. } = &mut claim.stage
        {
            *order = what;
        } else {
            debug_assert!(false, "shard {id} is to be sealed: {:?}", shard.phase);
        }
    }

    /// The first piece of a new copy: the owner serves, and no order to seal is on
    /// its way. What the next owner had is dropped there.
    pub(crate) fn copies_anew(&mut self, from: SlaveId, id: ShardId, at: Epoch) {
        let shard = &self.fleet.shards[id];
        if shard.phase.is_claimed_by(from, at)
            && let Some(claim) = shard.phase.claim()
            && let ClaimStage::Sealing {
                to,
                order: Sealing::CopyAnew,
                ..
            } = claim.stage
        {
            self.copies_once_more(id, claim, to);
        }
    }

    /// The owner did not seal, and serves.
    fn copies_once_more(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        self.fleet.copy_is_gone(id, to);
        let carrier = self.carrier(id);
        if let Some(hand) = self.deploys.hand_mut(carrier) {
            hand.unsealed(id);
        }
        if self.wants_copy(id, claim.owner, to) {
            self.copy_begins(id, claim, to);
        } else {
            // Its deploy went back meanwhile.
            self.fleet
                .enter(id, claim.at(ClaimStage::Copying { to }), self.out);
            self.cancel_copy(id);
        }
    }

    /// Behind which sequence the next owner would resume, for an owner that may still
    /// answer that a heartbeat named more.
    pub(crate) fn begins(&self, id: ShardId, owner: SlaveId, to: SlaveId) -> Option<Sequence> {
        let shard = &self.fleet.shards[id];
        let speaks = |slave| {
            self.fleet
                .slaves
                .get(&slave)?
                .speaks(Version::COPY_ANEW)
                .then_some(())
        };
        speaks(owner)?;
        if !self.wants_copy(id, owner, to) || shard.overtaken >= MOST_OVERTAKEN {
            return None;
        }
        let mut ticket = shard.ticket_for(to, ResumeAfter::Seal)?;
        self.fleet
            .bound_dial(id, to, &mut ticket, self.learnt.replays(self.settings));
        let now = ticket.resume_from();
        Some(shard.dialled_from.map_or(now, |dialled| dialled.min(now)))
    }

    /// A heartbeat overtook the seal: the owner keeps serving, and its state is copied again.
    pub(crate) fn copy_asked_anew(&mut self, from: SlaveId, unit: Unit) {
        let id = unit.shard;
        let shard = &mut self.fleet.shards[id];
        if !shard.phase.is_claimed_by(from, unit.epoch) {
            return;
        }
        if let Some(claim) = shard.phase.claim()
            && let ClaimStage::Sealing {
                to,
                started: None,
                order: Sealing::Seal | Sealing::Late,
            } = claim.stage
        {
            shard.overtaken = shard.overtaken.saturating_add(1);
            self.copies_once_more(id, claim, to);
            if self.fleet.copying(id, claim.epoch).is_some() {
                self.send_copy(id, claim);
            }
        }
    }
}

impl Fleet {
    pub(crate) fn copy_is_gone(&mut self, id: ShardId, at: SlaveId) {
        let shard = &mut self.shards[id];
        shard.copies.remove(&at);
    }
}
