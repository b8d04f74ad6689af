//! What was in doubt at a seal: handed out by the old owner and not finished.
//!
//! ```text
//! sealed ─▶ waits ──the sealer says Settled──────────────▶ known ─▶ told to the next owner
//!             └────the sealer dies, or does not say it ───▶ known: nothing is finished
//! ```
//!
//! The next owner holds these events back until it is told.

use baton_protocol::{Epoch, SequenceRanges, ShardId, SlaveId, ToSlave, message::Settled};

use super::{Core, shard::Doubt, timers::Timer};

impl Core {
    pub(super) fn doubt(
        &mut self,
        id: ShardId,
        sealer: SlaveId,
        epoch: Epoch,
        in_doubt: SequenceRanges,
    ) {
        self.drop_doubt(id);
        if let Some(shard) = self.fleet.shards.get_mut(&id) {
            shard.doubt = Some(Doubt {
                sealer,
                epoch,
                in_doubt,
                unfinished: None,
            });
        }
        if let Some(slave) = self.fleet.slaves.get_mut(&sealer) {
            slave.unsettled.insert(id);
        }
        // The sealer settles at the drain deadline; its word needs time to come.
        let span = self.settings.drain.saturating_add(self.settings.seal);
        self.start_timer(Timer::Settle(id), span);
    }

    /// The sealer says what it could not finish: the next owner is told.
    pub(super) fn settled(&mut self, from: SlaveId, settled: &Settled) {
        let Some(shard) = self.fleet.shards.get_mut(&settled.shard) else {
            return;
        };
        if let Some(doubt) = &mut shard.doubt
            && (doubt.sealer, doubt.epoch) == (from, settled.epoch)
            && doubt.unfinished.is_none()
        {
            doubt.unfinished = Some(settled.unfinished.clone());
            self.undo_waiting_for_settled(settled.shard, from);
            self.tell_settled(settled.shard);
        }
    }

    /// The sealer died, or its word did not come in time: nothing is known to be
    /// finished.
    pub(super) fn sealer_gone(&mut self, sealer: SlaveId, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && let Some(doubt) = &mut shard.doubt
            && doubt.sealer == sealer
            && doubt.unfinished.is_none()
        {
            doubt.unfinished = Some(doubt.in_doubt.clone());
            self.undo_waiting_for_settled(id, sealer);
            self.tell_settled(id);
        }
    }

    pub(super) fn settle_due(&mut self, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get(&id)
            && let Some(doubt) = &shard.doubt
        {
            self.sealer_gone(doubt.sealer, id);
        }
    }

    fn undo_waiting_for_settled(&mut self, id: ShardId, sealer: SlaveId) {
        self.timers.stop(Timer::Settle(id));
        if let Some(slave) = self.fleet.slaves.get_mut(&sealer) {
            slave.unsettled.remove(&id);
        }
    }

    pub(super) fn drop_doubt(&mut self, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && let Some(doubt) = shard.doubt.take()
        {
            self.undo_waiting_for_settled(id, doubt.sealer);
        }
    }

    /// Tells the owner that resumed after a seal how it was settled, if that is
    /// known. Said again when it joins again.
    pub(super) fn tell_settled(&mut self, id: ShardId) {
        let Some(shard) = self.fleet.shards.get(&id) else {
            return;
        };
        if let Some(doubt) = &shard.doubt
            && let Some(unfinished) = &doubt.unfinished
            && let Some((owner, epoch)) = shard.phase.claimant()
            && epoch > doubt.epoch
        {
            let settled = Settled {
                shard: id,
                epoch: doubt.epoch,
                unfinished: unfinished.clone(),
            };
            self.send(owner, ToSlave::Settled(settled));
        }
    }
}
