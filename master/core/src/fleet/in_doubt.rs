//! What becomes of events that were in doubt at a seal: who is waited for, and who is told.
//! The rules are those of `shard/in_doubt.rs`.

use std::time::Duration;

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, SlaveId, Ticket, ToSlave,
    message::{Held, Holding, Settled},
};

use crate::{
    fleet::{Fleet, SlotId},
    out::Out,
    shard::{Doubt, InHand, reach::Replays},
    timers::Timer,
};

impl Fleet {
    /// A shard was sealed with these events in doubt. Its sealer has said what became of
    /// them after `drained`, or never does.
    pub(crate) fn doubt(
        &mut self,
        id: ShardId,
        sealer: SlaveId,
        epoch: Epoch,
        in_doubt: SequenceRanges,
        drained: Duration,
        out: &mut Out,
    ) {
        let shard = &mut self.shards[id];
        let before = shard.doubt.take();
        let (doubt, given_up) = Doubt::of_seal(before, sealer, epoch, in_doubt);
        shard.doubt = Some(doubt);
        shard.began = Sequence(0);
        shard.take_finished();
        for given_up in given_up {
            self.waits_no_more(id, given_up, out);
        }
        if let Some(slave) = self.slaves.get_mut(&sealer) {
            slave.unsettled.insert(id);
        }
        out.start(Timer::Settle(id), drained);
        let is_over = self.shards[id].doubt.as_ref().is_none_or(Doubt::is_over);
        debug_assert!(!is_over, "the word of {sealer} is waited for");
    }

    /// An owner that resumed may hold events back until it hears how a seal was
    /// settled, and no process remembers the seal: the master that knew is no more, or
    /// its word was lost with a connection. The slave that sealed it says so in time, or
    /// nothing of it is known to be finished.
    pub(crate) fn may_wait_for_settled(&mut self, held: &Held, drained: Duration, out: &mut Out) {
        let id = held.ticket.shard;
        let resumed = matches!(held.holding, Holding::Resuming | Holding::Serving);
        if !resumed || held.ticket.in_doubt.is_empty() {
            return;
        }
        let shard = &mut self.shards[id];
        if shard.doubt.is_none() {
            let epoch = Epoch(held.epoch.get().saturating_sub(1));
            shard.doubt = Some(Doubt::of_nobody(epoch, &held.ticket.in_doubt));
            shard.began = held.ticket.replay_from;
            out.start(Timer::Settle(id), drained);
        }
    }

    /// The ticket of a seal that only the journal remembers: what it has in doubt
    /// is not settled by any slave.
    pub(crate) fn doubt_of_ticket(&mut self, id: ShardId, drained: Duration, out: &mut Out) {
        let shard = &mut self.shards[id];
        if shard.doubt.is_none()
            && let Some(kept) = &shard.ticket
            && !kept.ticket.in_doubt.is_empty()
        {
            shard.doubt = Some(Doubt::of_nobody(kept.epoch, &kept.ticket.in_doubt));
            out.start(Timer::Settle(id), drained);
        }
    }

    /// A sealer says what it could not finish. Once every sealer has, the next owner is
    /// told.
    pub(crate) fn settled(
        &mut self,
        from: SlaveId,
        settled: Settled,
        replays: Replays,
        out: &mut Out,
    ) {
        let id = settled.shard;
        let shard = &mut self.shards[id];
        let replays = shard.replayed(replays);
        let near = Sequence(shard.highest().get().saturating_sub(replays / 8));
        let doubt = shard.doubt.as_mut();
        if !doubt.is_some_and(|doubt| doubt.hears(from, settled, near)) {
            return;
        }
        if shard.take_finished() {
            out.ticket_changed(id);
        }
        self.word_is_in(id, Some(from), out);
    }

    /// A slave says where it stands with a shard that is not its own. If it sealed the shard
    /// before, it says what it has finished of that.
    pub(crate) fn seals_again(
        &mut self,
        from: SlaveId,
        id: ShardId,
        (epoch, ticket): (Epoch, &Ticket),
        out: &mut Out,
    ) {
        let shard = &mut self.shards[id];
        let kept = shard.ticket.as_ref();
        let same = kept.is_some_and(|kept| kept.ticket.session.is_same(&ticket.session));
        if same
            && !mutant!("later-seal-unheard")
            && let Some(doubt) = &mut shard.doubt
            && doubt.seals_again(from, epoch, ticket)
            && shard.take_finished()
        {
            out.ticket_changed(id);
        }
    }

    /// A sealer died, or its word did not come in time: nothing that it had in hand
    /// is known to be finished by it.
    pub(crate) fn sealer_gone(&mut self, sealer: Option<SlaveId>, id: ShardId, out: &mut Out) {
        if let Some(doubt) = &mut self.shards[id].doubt
            && !mutant!("doubt-unsettled")
            && doubt.waits_no_more_for(sealer)
        {
            self.word_is_in(id, sealer, out);
        }
    }

    /// No more words come.
    pub(crate) fn settle_due(&mut self, id: ShardId, out: &mut Out) {
        let doubt = self.shards[id].doubt.iter();
        let awaited: Vec<_> = doubt.flat_map(Doubt::awaited).collect();
        for sealer in awaited {
            self.sealer_gone(sealer, id, out);
        }
    }

    fn word_is_in(&mut self, id: ShardId, sealer: Option<SlaveId>, out: &mut Out) {
        self.waits_no_more(id, sealer, out);
        self.give_up_unfinished(id, out);
        self.tell_settled(id, out);
    }

    /// The word of this sealer came, or is given up.
    fn waits_no_more(&mut self, id: ShardId, sealer: Option<SlaveId>, out: &mut Out) {
        let doubt = self.shards[id].doubt.as_ref();
        if doubt.is_none_or(Doubt::is_over) {
            out.stop(Timer::Settle(id));
        }
        let Some(sealer) = sealer else {
            return;
        };
        if let Some(slave) = self.slaves.get_mut(&sealer) {
            slave.unsettled.remove(&id);
        }
        self.may_forget(id, sealer, out);
    }

    /// The owner died. Those who sealed the shard for it go on with what they had in hand:
    /// they do not lose it if the shard comes back to them.
    pub(crate) fn in_hand_after_death(&mut self, id: ShardId, out: &mut Out) {
        let shard = &mut self.shards[id];
        if let (Some(doubt), Some(kept)) = (&shard.doubt, &shard.ticket) {
            shard.in_hand = InHand {
                session: kept.ticket.session.clone(),
                hands: doubt.in_hands(),
            };
        }
        self.drop_doubt(id, out);
    }

    /// What was in doubt is of no interest any more.
    pub(crate) fn drop_doubt(&mut self, id: ShardId, out: &mut Out) {
        if let Some(doubt) = self.shards[id].doubt.take() {
            out.stop(Timer::Settle(id));
            for sealer in doubt.awaited() {
                self.waits_no_more(id, sealer, out);
            }
        }
    }

    /// Tells the owner that resumed after a seal how it was settled, if that is
    /// known. Said again when it joins again.
    pub(crate) fn tell_settled(&self, id: ShardId, out: &mut Out) {
        let shard = &self.shards[id];
        if let Some(doubt) = &shard.doubt
            && let Some((owner, epoch)) = shard.phase.claimant()
            && let Some(settled) = doubt.word_for(id, owner, epoch)
        {
            out.send(owner, ToSlave::Settled(settled));
        }
    }

    /// An event that its sealer did not finish, that no slave carries and that is not
    /// replayed is given up: said once it is known to be so.
    pub(crate) fn give_up_unfinished(&mut self, id: ShardId, out: &mut Out) {
        let Some((owner, epoch)) = self.shards[id].phase.claimant() else {
            return;
        };
        let newer = self.is_newer(Some(owner));
        let shard = &mut self.shards[id];
        let doubt = shard.doubt.as_mut();
        let gone = doubt.and_then(|doubt| doubt.judge(owner, epoch, shard.began, newer));
        if let Some(gone) = gone {
            self.events_given_up(id, &gone, out);
        }
    }

    /// What was settled in a deploy needs not be said again.
    pub(crate) fn forget_settled(&mut self, slot: SlotId) {
        let Self { slots, shards, .. } = self;
        for id in slots[slot].members.iter() {
            let shard = &mut shards[id];
            if shard.phase.serves() {
                shard.doubt.take_if(|doubt| doubt.is_over());
            }
        }
    }
}
