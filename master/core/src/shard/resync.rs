//! What is said again to a slave that is back, and what is done again.
//!
//! An owner that loses its connection between the order to seal and the seal
//! serves on, for as long as it may be. The copy at the next owner ages meanwhile,
//! until Discord does not replay what is behind it: that shard would need an
//! IDENTIFY. So an owner that is back and serves is copied from once more.
//!
//! It may seal all the same: the order may have reached the shard just before the
//! connection ended. A shard carries its orders out one after the other, so its
//! first word tells:
//!
//! ```text
//!           ┌─ a piece of its state: nothing of the order is left ─▶ Copying
//! Sealing ──┼─ the seal ──────────────────────────────────────────▶ as ever
//! CopyAnew  └─ nothing: it may have sealed, and nobody heard it ──▶ Sealing, asked again
//! ```
//!
//! So is one that says that a heartbeat overtook its copy. A heartbeat names what was
//! received, and a server might forget everything up to there: nobody could resume
//! from where the copy stands. That owner has not sealed, and is copied from at once.
//!
//! Until then it counts as being sealed, so that a seal is never taken for a slave
//! that leaves by itself, and the copy before stands. With a seal it is good
//! enough: once the order is with the shard nothing more is received, so the copy
//! is as old as in a migration that nothing disturbs.

use baton_protocol::{
    Epoch, Sequence, ShardId, SlaveId, Version,
    message::{ResumeAfter, Unit},
};

use crate::{
    Core,
    shard::{Claim, ClaimStage, Phase, Sealing},
    timers::Timer,
};

/// Copies of one move that are made because a heartbeat overtook the seal. A bot whose
/// handlers are never through with what a heartbeat names is moved as well as it can
/// be.
const MOST_OVERTAKEN: u32 = 8;

impl Core {
    /// The owner is back and still owns the shard in the phase that we know.
    pub(crate) fn said_again(&mut self, id: ShardId) {
        let Some(shard) = self.fleet.shards.get(&id) else {
            return;
        };
        let Some(claim) = shard.phase.claim() else {
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
            ClaimStage::Starting(_) | ClaimStage::Serving => self.tell_settled(id),
        }
    }

    /// An owner that is back serves a shard. If it was to seal it, its state is
    /// copied anew first. Not on the way back, where the next owner has its own
    /// state, as old as its seal.
    pub(crate) fn serves_again(&mut self, id: ShardId) {
        let shard = self.fleet.shards.get(&id);
        match shard.and_then(|shard| shard.phase.claim()) {
            Some(
                claim @ Claim {
                    stage: ClaimStage::Sealing { to, .. },
                    ..
                },
            ) if self.wants_copy(claim.owner, to)
                && self.fleet.is_healthy(claim.owner)
                && !cfg!(mutant = "stale-copy-kept") =>
            {
                self.told_while_sealing(id, Sealing::CopyAnew);
                self.send_copy(id, claim);
            }
            Some(_) | None => self.said_again(id),
        }
    }

    /// Whoever takes a shard back, or begins it anew (`restart.rs`), has its state.
    fn wants_copy(&self, owner: SlaveId, to: SlaveId) -> bool {
        self.takes_over(to) && to != owner
    }

    pub(crate) fn ask_to_seal(&mut self, id: ShardId, claim: Claim) {
        self.told_while_sealing(id, Sealing::Seal);
        self.send_stop(id, claim.owner, claim.epoch);
    }

    fn told_while_sealing(&mut self, id: ShardId, what: Sealing) {
        self.out.start(Timer::Shard(id), self.settings.seal);
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && let Phase::Claimed(claim) = &mut shard.phase
            && let ClaimStage::Sealing { order, .. } = &mut claim.stage
        {
            *order = what;
        }
    }

    /// The first piece of a new copy: the owner serves, and no order to seal is on
    /// its way. What the next owner had is dropped there.
    pub(crate) fn copies_anew(&mut self, from: SlaveId, id: ShardId, at: Epoch) {
        if let Some(shard) = self.fleet.shards.get(&id)
            && shard.phase.is_claimed_by(from, at)
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
        self.copy_is_gone(id, to);
        if let Some(deploy) = &mut self.deploy {
            deploy.in_flight.unsealed(id);
        }
        if self.wants_copy(claim.owner, to) {
            self.copy_begins(id, claim, to);
        } else {
            // Its deploy went back meanwhile.
            self.enter(id, claim.at(ClaimStage::Copying { to }));
            self.cancel_copy(id);
        }
    }

    /// Behind which sequence the next owner would resume, for an owner that may still
    /// answer that a heartbeat named more.
    pub(crate) fn begins(&self, id: ShardId, owner: SlaveId, to: SlaveId) -> Option<Sequence> {
        let shard = self.fleet.shards.get(&id)?;
        let speaks = |slave| {
            self.fleet
                .slaves
                .get(&slave)?
                .speaks(Version::COPY_ANEW)
                .then_some(())
        };
        speaks(owner)?;
        if !self.wants_copy(owner, to) || shard.overtaken >= MOST_OVERTAKEN {
            return None;
        }
        let mut ticket = shard.ticket_for(to, ResumeAfter::Seal)?;
        self.bound_dial(id, to, &mut ticket);
        let now = ticket.resume_from();
        Some(shard.dialled_from.map_or(now, |dialled| dialled.min(now)))
    }

    /// A heartbeat overtook the seal: the owner serves on, and is copied from anew.
    pub(crate) fn copy_asked_anew(&mut self, from: SlaveId, unit: Unit) {
        let id = unit.shard;
        let Some(shard) = self.fleet.shards.get_mut(&id) else {
            return;
        };
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
            if self.copying(id, claim.epoch).is_some() {
                self.send_copy(id, claim);
            }
        }
    }

    pub(crate) fn copy_is_gone(&mut self, id: ShardId, at: SlaveId) {
        if let Some(shard) = self.fleet.shards.get_mut(&id) {
            shard.copies.remove(&at);
        }
    }

    /// Neither a piece nor a seal. It may have sealed, and its word was lost on the
    /// way: that one is asked for again.
    pub(crate) fn copy_anew_unanswered(&mut self, id: ShardId, claim: Claim) {
        if self.fleet.is_joined(claim.owner) {
            self.ask_to_seal(id, claim);
        } else {
            self.seal_unanswered(id, claim.owner);
        }
    }
}
