//! What was in doubt at a seal: handed out by the old owner and not finished.
//!
//! ```text
//! sealed ─▶ waits ──the sealer says Settled──────────────▶ known ─▶ told to the next owner
//!             └────the sealer dies, or does not say it ───▶ known: nothing is finished
//! ```
//!
//! The next owner holds these events back until it is told.

use baton_protocol::{
    Epoch, SequenceRanges, ShardId, SlaveId, ToSlave,
    message::{Held, Holding, ResumeAfter, Settled},
};

use super::{
    Core,
    shard::{Doubt, Kept},
    timers::Timer,
};

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
                sealer: Some(sealer),
                epoch,
                in_doubt,
                unfinished: None,
            });
        }
        if let Some(slave) = self.fleet.slaves.get_mut(&sealer) {
            slave.unsettled.insert(id);
        }
        self.wait_for_settled(id);
    }

    /// An owner that resumed may hold events back until it hears how a seal was
    /// settled, and nobody remembers the seal: the master that knew is no more, or
    /// its word was lost with a connection. Whoever sealed it says so in time, or
    /// nothing of it is known to be finished.
    pub(super) fn may_wait_for_settled(&mut self, held: &Held) {
        let id = held.ticket.shard;
        let resumed = matches!(held.holding, Holding::Resuming | Holding::Serving);
        if !resumed || held.ticket.in_doubt.is_empty() {
            return;
        }
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && shard.doubt.is_none()
        {
            shard.doubt = Some(Doubt {
                sealer: None,
                epoch: Epoch(held.epoch.get().saturating_sub(1)),
                in_doubt: held.ticket.in_doubt.clone(),
                unfinished: None,
            });
            self.wait_for_settled(id);
        }
    }

    /// The ticket of a seal that only the journal remembers: what it has in doubt
    /// is settled by nobody any more.
    pub(super) fn doubt_of_ticket(&mut self, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && shard.doubt.is_none()
            && let Some(kept) = &shard.ticket
            && !kept.ticket.in_doubt.is_empty()
        {
            shard.doubt = Some(Doubt {
                sealer: None,
                epoch: kept.epoch,
                in_doubt: kept.ticket.in_doubt.clone(),
                unfinished: None,
            });
            self.wait_for_settled(id);
        }
    }

    /// The sealer settles at the drain deadline; its word needs time to come.
    fn wait_for_settled(&mut self, id: ShardId) {
        let span = self.settings.drained();
        self.start_timer(Timer::Settle(id), span);
    }

    /// The sealer says what it could not finish: the next owner is told.
    pub(super) fn settled(&mut self, from: SlaveId, settled: &Settled) {
        let Some(shard) = self.fleet.shards.get_mut(&settled.shard) else {
            return;
        };
        if let Some(doubt) = &mut shard.doubt
            && (doubt.sealer, doubt.epoch) == (Some(from), settled.epoch)
            && doubt.unfinished.is_none()
        {
            doubt.unfinished = Some(settled.unfinished.clone());
            if let Some(kept) = &mut shard.ticket
                && (kept.after, kept.epoch) == (ResumeAfter::Seal, settled.epoch)
            {
                kept.settle(&settled.unfinished);
                self.ticket_changed(settled.shard);
            }
            self.undo_waiting_for_settled(settled.shard, Some(from));
            self.tell_settled(settled.shard);
        }
    }

    /// The sealer died, or its word did not come in time: nothing is known to be
    /// finished.
    pub(super) fn sealer_gone(&mut self, sealer: Option<SlaveId>, id: ShardId) {
        if let Some(shard) = self.fleet.shards.get_mut(&id)
            && let Some(doubt) = &mut shard.doubt
            && doubt.sealer == sealer
            && doubt.unfinished.is_none()
            && !cfg!(mutant = "doubt-unsettled")
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
            let sealer = doubt.sealer;
            self.sealer_gone(sealer, id);
        }
    }

    fn undo_waiting_for_settled(&mut self, id: ShardId, sealer: Option<SlaveId>) {
        self.timers.stop(Timer::Settle(id));
        if let Some(slave) = sealer.and_then(|sealer| self.fleet.slaves.get_mut(&sealer)) {
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

impl Kept {
    /// What its owner finished after it had sealed is finished for whoever goes
    /// on with this ticket.
    fn settle(&mut self, unfinished: &SequenceRanges) {
        let in_doubt = std::mem::take(&mut self.ticket.in_doubt);
        for sequence in in_doubt.iter() {
            if unfinished.contains(sequence) {
                self.ticket.in_doubt.insert(sequence);
            } else {
                self.ticket.finished_above.insert(sequence);
            }
        }
    }
}
