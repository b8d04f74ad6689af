//! The state of a shard is copied to its next owner while the present one serves.
//!
//! Frames pass through here undecoded, at the pace at which they are acknowledged.

use baton_protocol::{
    Epoch, ShardId, SlaveId, ToSlave, Version,
    message::{CopyState, StateAck, StateReady},
    state::{MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BETWEEN_HOSTS, StateFrame},
};

use crate::{
    event::MovePhase,
    fleet::{Fleet, SlotId},
    out::Out,
    shard::{Claim, ClaimStage, Handover, Stuck},
    timers::Timer,
};

impl Handover<'_> {
    pub(crate) fn copy(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        self.copy_begins(id, claim, to);
        self.send_copy(id, claim);
    }

    /// A copy begins, or begins again.
    pub(crate) fn send_copy(&mut self, id: ShardId, claim: Claim) {
        self.fleet
            .send_copy(id, claim, &self.settings.host, self.out);
    }

    pub(crate) fn copy_begins(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        debug_assert!(self.fleet.is_known(to), "shard {id} is copied to a slave");
        debug_assert!(claim.owner != to, "shard {id} is copied to another one");
        self.fleet
            .enter(id, claim.at(ClaimStage::Copying { to }), self.out);
        self.out.start(Timer::Shard(id), self.settings.copy);
        self.tell_move(id, claim, to, MovePhase::Copying);
    }

    /// State on its way from the owner to the slave that the copy is for. An owner
    /// that does not wait for acknowledgements would fill that one's outbox.
    pub(crate) fn state_frame(&mut self, from: SlaveId, frame: StateFrame) -> Result<(), Stuck> {
        let header = frame.header();
        self.copies_anew(from, header.shard, header.epoch);
        if let Some((claim, to)) = self.fleet.copying(header.shard, header.epoch)
            && claim.owner == from
        {
            let most = self.fleet.most_on_its_way(from);
            let shard = &mut self.fleet.shards[header.shard];
            shard.on_its_way = shard.on_its_way.saturating_add(frame.body().len() as u64);
            if shard.on_its_way > most {
                let why = "the old slave sends state without waiting for it to be taken in";
                return Err(self.stuck(header.shard, why.to_owned()));
            }
            self.out.restart(Timer::Shard(header.shard));
            self.out.send(to, ToSlave::State(frame));
        }
        Ok(())
    }

    /// The copy is imported.
    pub(crate) fn state_ready(&mut self, from: SlaveId, ready: StateReady) {
        let Some((claim, to)) = self.fleet.copying(ready.shard, ready.epoch) else {
            return;
        };
        if to != from {
            return;
        }
        // A bot without state imports nothing and stands nowhere.
        let nothing = ready.pieces == 0 && ready.state_at.get() == 0;
        let shard = &mut self.fleet.shards[ready.shard];
        let at = if nothing {
            baton_protocol::Sequence(u64::MAX)
        } else {
            ready.state_at
        };
        shard.copies.insert(to, at);
        self.dial(ready.shard, claim, to);
    }

    /// The slave that a copy is for cannot take it in. As with a copy that makes no
    /// progress: on the way back it is made again, when its deadline is over.
    pub(crate) fn copy_refused(&mut self, id: ShardId, detail: &str) -> Result<(), Stuck> {
        let why = format!("the copy of its state cannot be taken in: {detail}");
        if self.goes_back(id) {
            self.out.alarm(format!("shard {id} goes back, and {why}"));
            Ok(())
        } else {
            Err(self.stuck(id, why))
        }
    }

    /// Copies and dials that run are of no use; their shards were served all the
    /// time.
    pub(crate) fn cancel_copies(&mut self, slot: SlotId) {
        for id in self.deploys.in_flight_of(slot) {
            self.cancel_copy(id);
        }
    }

    pub(crate) fn cancel_copy(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        if let Some((claim, _)) = shard.phase.moving() {
            self.fleet
                .enter(id, claim.at(ClaimStage::Serving), self.out);
            self.move_taken_back(id);
        }
    }

    /// The copies and dials that run at this slave: in flight, so never many.
    pub(crate) fn copies_to(&self, slave: SlaveId) -> Vec<ShardId> {
        self.deploys
            .in_flight()
            .into_iter()
            .filter(|id| {
                let moving = self.fleet.shards[*id].phase.moving();
                moving.is_some_and(|(_, to)| to == slave)
            })
            .collect()
    }

    /// A shard that was begun is not in hand any more; its turn comes again.
    pub(crate) fn move_taken_back(&mut self, id: ShardId) {
        if self.deploys.moves.has(id) {
            self.move_ends_unmoved(id);
        } else if let Some(deploy) = self.deploys.of_mut(self.fleet.shards[id].slot) {
            deploy.take_back(id);
        }
    }
}

impl Fleet {
    fn send_copy(&mut self, id: ShardId, claim: Claim, own_host: &str, out: &mut Out) {
        let shard = &mut self.shards[id];
        debug_assert!(shard.phase.next_owner().is_some(), "a copy is for somebody");
        shard.on_its_way = 0;
        let to = shard.phase.next_owner();
        let mut ends = [Some(claim.owner), to].into_iter().flatten();
        let crosses = ends.any(|end| self.elsewhere(end, own_host).is_some());
        let unacknowledged = match crosses {
            true => MAX_UNACKNOWLEDGED_BETWEEN_HOSTS,
            false => 0,
        };
        if let Some(owner) = self.slaves.get_mut(&claim.owner) {
            owner.unacknowledged = owner.unacknowledged.max(unacknowledged);
        }
        let copy = CopyState {
            shard: id,
            epoch: claim.epoch,
            reader: self.reader(id),
            unacknowledged,
        };
        out.send(claim.owner, ToSlave::CopyState(copy));
    }

    /// State bytes of one shard that its owner may have on their way.
    fn most_on_its_way(&self, owner: SlaveId) -> u64 {
        let owner = self.slaves.get(&owner);
        owner.map_or(MAX_UNACKNOWLEDGED, |owner| owner.unacknowledged)
    }

    /// The version that was agreed on with the slave that a shard's copy is for.
    fn reader(&self, id: ShardId) -> Version {
        let Some(to) = self.shards[id].phase.next_owner() else {
            return Version(0);
        };
        let to = self.slaves.get(&to);
        to.map_or(Version(0), |slave| slave.hello.version.min(Version::NEWEST))
    }

    pub(crate) fn state_ack(&mut self, from: SlaveId, ack: StateAck, out: &mut Out) {
        if let Some((claim, to)) = self.copying(ack.shard, ack.epoch)
            && to == from
        {
            let shard = &mut self.shards[ack.shard];
            shard.on_its_way = shard.on_its_way.saturating_sub(ack.bytes);
            out.restart(Timer::Shard(ack.shard));
            out.send(claim.owner, ToSlave::StateAck(ack));
        }
    }

    /// From whom and to whom a shard is copied.
    pub(crate) fn copying(&self, id: ShardId, at: Epoch) -> Option<(Claim, SlaveId)> {
        let claim = self.shards[id].phase.claim()?;
        let ClaimStage::Copying { to } = claim.stage else {
            return None;
        };
        (claim.epoch == at).then_some((claim, to))
    }
}
