//! A late seal: the owner handles what comes on its connection until the service takes
//! the session from it, so that no shard is silent for a round trip.
//!
//! ```text
//! Sealing ──SealLate──▶ owner: seals when its connection ends, for any reason
//!  Late   ◀─SealLate──  owner
//!         ──Overtake──▶ next owner: sends RESUME, hands nothing out
//!                       the service closes the owner's connection, or serves both
//!         ◀──Sealed───── owner: its ticket
//!         ◀─Overtaken── next owner: RESUMED; an owner that has not sealed must seal now
//! ```
//!
//! The ticket is that of any seal, exact, and nothing is handed out at the next
//! owner before it has it. So whose the shard is, and what follows from any death,
//! is as in a strict seal: the claimant is the owner until its ticket is here.
//! Anything unusual turns a late seal into a strict one: a lost link, a
//! deadline, a deploy that goes back, a service that refuses.

use baton_protocol::{
    Sequence, ShardId, SlaveId, ToSlave, Version,
    message::{Overtaken, Seal, Unit},
};

use crate::{
    fleet::{Fleet, SlotId},
    learnt::Late,
    out::Out,
    shard::{Claim, ClaimStage, Handover, Sealing},
};

impl Handover<'_> {
    /// Whether a shard that is to be sealed is sealed late: the deploy wants it, no
    /// service refused it, and the next owner holds a connection.
    pub(crate) fn may_seal_late(&self, id: ShardId, owner: SlaveId, to: SlaveId) -> bool {
        let slot = self.fleet.shards[id].slot;
        let deploy = self.deploys.of(slot);
        let wanted = match self.deploys.moves.has(id) {
            true => self.settings.late_seal,
            false => deploy.is_some_and(|deploy| deploy.order.late_seal),
        };
        let claim = self.fleet.shards[id].phase.claim();
        let dialled = claim.is_some_and(|claim| matches!(claim.stage, ClaimStage::Dialling { .. }));
        let both_know = [owner, to].iter().all(|slave| {
            let slave = self.fleet.slaves.get(slave);
            slave.is_some_and(|slave| slave.speaks(Version::LATE_SEAL))
        });
        let known = match self.learnt.late() {
            Late::Works => true,
            // Until one was resumed like that, no two of them are tried at once.
            Late::Untried => self
                .deploys
                .in_flight()
                .into_iter()
                .all(|other| self.fleet.sealing_late(other).is_none()),
            Late::Refused => mutant!("refusal-unheeded"),
        };
        let replays = !self.settings.overlaps();
        wanted && dialled && both_know && known && replays && !self.goes_back(id)
    }

    pub(crate) fn send_seal_late(&mut self, id: ShardId, claim: Claim, begins: Option<Sequence>) {
        let late = Seal {
            shard: id,
            epoch: claim.epoch,
            drain: self.settings.drain,
            begins,
        };
        self.out.send(claim.owner, ToSlave::SealLate(late));
    }

    /// The service serves the next owner, or refused. An owner that the service has closed
    /// by then sealed by itself.
    pub(crate) fn overtaken(&mut self, from: SlaveId, overtaken: &Overtaken) {
        let id = overtaken.shard;
        let Some((claim, to)) = self.fleet.sealing_late(id) else {
            return;
        };
        if (to, claim.epoch) != (from, overtaken.epoch) {
            return;
        }
        if !overtaken.failed.is_empty() {
            if let Some(deploy) = self.deploys.of_mut(self.fleet.shards[id].slot) {
                deploy.order.late_seal = mutant!("refusal-unheeded");
            }
            self.learnt
                .refused_late(id, &overtaken.failed, self.settings, self.out);
        } else {
            self.learnt.took_late();
        }
        self.ask_to_seal(id, claim);
    }

    /// Shards that would be sealed late are sealed at once.
    pub(crate) fn late_seals_end(&mut self, slot: SlotId) {
        for id in self.deploys.in_flight_of(slot) {
            if let Some((claim, _)) = self.fleet.sealing_late(id) {
                self.ask_to_seal(id, claim);
            }
        }
    }
}

impl Fleet {
    /// The owner will not reconnect: the next one may take the session.
    pub(crate) fn seals_late(&self, from: SlaveId, unit: Unit, out: &mut Out) {
        if let Some((claim, to)) = self.sealing_late(unit.shard)
            && (claim.owner, claim.epoch) == (from, unit.epoch)
        {
            out.send(to, ToSlave::Overtake(unit));
        }
    }

    /// Whose a shard is that is sealed late, and its next owner.
    fn sealing_late(&self, id: ShardId) -> Option<(Claim, SlaveId)> {
        let claim = self.shards[id].phase.claim()?;
        let ClaimStage::Sealing {
            to,
            order: Sealing::Late,
            ..
        } = claim.stage
        else {
            return None;
        };
        Some((claim, to))
    }
}
