//! The state of a shard is copied to its next owner while the present one serves.
//!
//! Frames pass through here undecoded, at the pace at which they are acknowledged.

use baton_protocol::{
    Epoch, ShardId, SlaveId, ToSlave, Version,
    message::{CopyState, StateAck, StateReady},
    state::{MAX_UNACKNOWLEDGED, StateFrame},
};

use crate::{
    Core,
    event::MovePhase,
    fleet::Fleet,
    out::Out,
    shard::{Claim, ClaimStage},
    timers::Timer,
};

impl Core {
    pub(crate) fn copy(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        self.copy_begins(id, claim, to);
        self.fleet.send_copy(id, claim, &mut self.out);
    }

    pub(crate) fn copy_begins(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        debug_assert!(self.fleet.is_known(to), "shard {id} is copied to a slave");
        debug_assert!(claim.owner != to, "shard {id} is copied to another one");
        self.enter(id, claim.at(ClaimStage::Copying { to }));
        self.out.start(Timer::Shard(id), self.settings.copy);
        self.tell_move(id, claim, to, MovePhase::Copying);
    }

    /// State on its way from the owner to the slave that the copy is for. An owner
    /// that does not wait for acknowledgements would fill that one's outbox.
    pub(crate) fn state_frame(&mut self, from: SlaveId, frame: StateFrame) {
        let header = frame.header();
        self.copies_anew(from, header.shard, header.epoch);
        if let Some((claim, to)) = self.fleet.copying(header.shard, header.epoch)
            && claim.owner == from
        {
            let shard = &mut self.fleet.shards[header.shard];
            shard.on_its_way = shard.on_its_way.saturating_add(frame.body().len() as u64);
            if shard.on_its_way > MAX_UNACKNOWLEDGED {
                let why = "the old slave sends state without waiting for it to be taken in";
                let slot = shard.slot;
                self.fail_deploy(slot, Some(header.shard), why.to_owned());
                return;
            }
            self.out.restart(Timer::Shard(header.shard));
            self.out.send(to, ToSlave::State(frame));
        }
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
    pub(crate) fn copy_refused(&mut self, id: ShardId, detail: &str) {
        let why = format!("the copy of its state cannot be taken in: {detail}");
        if self.shard_goes_back(id) {
            self.out.alarm(format!("shard {id} goes back, and {why}"));
        } else {
            self.fail_deploy(self.fleet.shards[id].slot, Some(id), why);
        }
    }
}

impl Fleet {
    /// A copy begins, or begins again.
    pub(crate) fn send_copy(&mut self, id: ShardId, claim: Claim, out: &mut Out) {
        let shard = &mut self.shards[id];
        shard.on_its_way = 0;
        let copy = CopyState {
            shard: id,
            epoch: claim.epoch,
            reader: self.reader(id),
        };
        out.send(claim.owner, ToSlave::CopyState(copy));
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
