//! Reports of slaves about shards that they serve or start: how far they are.

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, SlaveId,
    message::{
        Checkpoint, CheckpointEntry, IdentifyCause, IdentifyRequest, Progress, ResumeAfter, Step,
    },
};

use crate::{
    event::{News, Time},
    fleet::Fleet,
    out::Out,
    shard::{ClaimStage, How, Ownership, Reach, Shard, Start},
    timers::Timer,
};

/// What became of an IDENTIFY whose shard asks for another one.
const REFUSED: &str = "was refused, or whose connection ended";

impl Ownership<'_> {
    pub(crate) fn progress(&mut self, from: SlaveId, progress: &Progress) {
        let (id, now) = (progress.shard, self.out.now);
        let shard = &mut self.fleet.shards[id];
        if !shard.phase.is_claimed_by(from, progress.epoch) {
            return;
        }
        if progress.replayed > 0 {
            shard.phase.dispatched();
        }
        shard.hears_of_refusal(progress);
        match progress.step {
            Step::Dialling => self.gets_further(id, 0, 1),
            Step::Hello => {
                shard.kept = now;
                // An answer is waited for; where it has a permit, to its IDENTIFY.
                self.permits.sent(id, self.fleet, self.settings, self.out);
                self.gets_further(id, 0, 1);
            }
            Step::Replaying => {
                shard.phase.dispatched();
                self.gets_further(id, progress.replayed, 1);
            }
            // The queue of permits is ours; its length is not the slave's fault.
            Step::Waiting => self.fleet.waits_for_permit(id, self.out),
            Step::Serving => {
                self.fleet.replay_ended(id, now);
                self.served(from, id, progress.epoch);
            }
            Step::Reconnecting => {
                shard.away.get_or_insert(now);
                shard.kept = now;
                // It pauses before it dials again.
                self.gets_further(id, 0, 2);
            }
            Step::SessionLost => {
                self.learnt
                    .refused_resume(id, self.fleet, self.settings, self.out);
                self.needs_session(id);
                self.fleet.session_lost(id, from, self.out);
            }
        }
    }

    /// Its session is over, or it never had one. Until the next is there it gets
    /// no events, no matter which slave has it: it does not serve. A deploy has nothing to copy or
    /// to resume of it, and takes it as it is.
    pub(crate) fn needs_session(&mut self, id: ShardId) {
        let shard = &mut self.fleet.shards[id];
        let is_new = !shard.phase.has_no_session();
        shard.session_lost |= is_new;
        self.fleet.session_is_over(id, self.out);
        if is_new {
            self.permits
                .session_ended(id, self.fleet, self.settings, self.out);
        }
        let shard = &self.fleet.shards[id];
        if is_new
            && !mutant!("no-session-serves")
            && !shard.phase.is_sealing()
            && let Some(claim) = shard.phase.claim()
        {
            let start = Start {
                how: How::Full,
                reach: Reach::Nothing,
            };
            self.fleet
                .enter(id, claim.at(ClaimStage::Starting(start)), self.out);
            let slot = self.fleet.shards[id].slot;
            if self.deploys.moves.has(id) {
                // Nothing of it has to be copied: its turn comes as it is.
                self.deploys.moves.ends(id, self.out);
                self.fleet.look_for(id);
            } else if let Some(deploy) = self.deploys.of_mut(slot) {
                deploy.moves_without_session(id, slot, claim.owner, self.out);
            }
        }
    }

    /// A shard needs a new session, and asks whether it may IDENTIFY.
    pub(crate) fn identify_asked(&mut self, from: SlaveId, request: IdentifyRequest) {
        let id = request.shard;
        let unit = (from, request.epoch);
        if !self.fleet.shards[id]
            .phase
            .is_claimed_by(from, request.epoch)
        {
            return;
        }
        self.permits
            .came_to_nothing(id, REFUSED, self.fleet, self.settings, self.out);
        // A ticket that was there belongs to a session that is over.
        self.needs_session(id);
        if request.cause == IdentifyCause::StateLost && !self.permits.waits(id) {
            self.out.tell(News::StateLost {
                shard: id,
                slave: from,
            });
        }
        self.fleet.waits_for_permit(id, self.out);
        self.permits
            .ask(id, unit, self.fleet, self.settings, self.out);
        // What could not be moved while its permit was out.
        let slot = self.fleet.shards[id].slot;
        if let Some(deploy) = self.deploys.of_mut(slot) {
            deploy.turn_comes_again(id, slot, from, self.out);
        }
    }

    /// A start that makes progress has not failed: so many spans are its own again.
    fn gets_further(&mut self, id: ShardId, replayed: u64, spans: u32) {
        let (span, window) = (self.settings.no_progress, self.settings.resume_window);
        let now = self.out.now;
        let carrier = self.deploys.carrier(id, self.fleet.shards[id].slot);
        let hand = self.deploys.hand_mut(carrier);
        let gets_on = hand.is_none_or(|hand| hand.gets_on(id, replayed, now, span, window));
        if gets_on
            && self.fleet.shards[id].phase.starting().is_some()
            && self.out.runs(Timer::Shard(id))
        {
            self.out.start(Timer::Shard(id), span.saturating_mul(spans));
        }
    }
}

impl Shard {
    /// A refused dial is known until the next connection is there.
    fn hears_of_refusal(&mut self, progress: &Progress) {
        if !progress.refused.is_empty() {
            self.refused = Some(progress.refused.clone());
        } else if progress.step != Step::Dialling {
            self.refused = None;
        }
    }

    fn is_new_session(&self, entry: &CheckpointEntry) -> bool {
        match (&self.ticket, &entry.session) {
            (Some(kept), Some(ticket)) => !kept.ticket.session.is_same(&ticket.session),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// The owner gives this along; whether that is news.
    fn has_luggage(&mut self, luggage: Option<String>) -> bool {
        match (&mut self.ticket, luggage) {
            (Some(kept), Some(luggage)) if kept.ticket.luggage != luggage => {
                kept.ticket.luggage = luggage;
                true
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Takes one entry of a checkpoint of the claimant; whether it said anything
    /// new. One that goes back within a session is not believed.
    fn advance(&mut self, entry: CheckpointEntry) -> bool {
        let (epoch, handled, received) = (entry.epoch, entry.handled, entry.received);
        let same_session = match (&self.ticket, &entry.session) {
            (Some(kept), Some(ticket)) => kept.ticket.session.is_same(&ticket.session),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return false,
        };
        if same_session && let Some(kept) = &self.ticket {
            if handled < kept.ticket.handled {
                return false;
            }
            let is_exact = kept.after == ResumeAfter::Seal && self.phase.is_untouched();
            if is_exact && kept.says_the_same(handled, &entry.finished_above) {
                // And what is in doubt. What the bot gives along may have changed.
                let luggage = entry.session.map(|ticket| ticket.luggage);
                return self.has_luggage(luggage);
            }
            if kept.ticket.handled != handled || kept.ticket.finished_above != entry.finished_above
            {
                self.phase.dispatched();
            }
        }
        match entry.session {
            Some(ticket) if ticket.shard != entry.shard => return false,
            Some(ticket) => self.keep(ticket, epoch, ResumeAfter::Death),
            None => {}
        }
        if let Some(kept) = &mut self.ticket {
            kept.take(epoch, handled, entry.finished_above);
        }
        self.received = self.received.max(received);
        true
    }
}

/// What is finished, written in one way only: 8 and 9-10 above it are 10.
fn finished(handled: Sequence, above: &SequenceRanges) -> (Sequence, Vec<(Sequence, Sequence)>) {
    let mut handled = handled;
    let mut rest = Vec::new();
    for (first, last) in above.ranges() {
        if first.get() <= handled.get().saturating_add(1) {
            handled = handled.max(last);
        } else {
            rest.push((first, last));
        }
    }
    (handled, rest)
}

impl crate::shard::Kept {
    /// Whether the same events are finished there.
    fn says_the_same(&self, handled: Sequence, above: &SequenceRanges) -> bool {
        finished(self.ticket.handled, &self.ticket.finished_above) == finished(handled, above)
    }

    fn take(&mut self, epoch: Epoch, handled: Sequence, finished_above: SequenceRanges) {
        self.epoch = epoch;
        self.after = ResumeAfter::Death;
        self.ticket.handled = handled;
        self.ticket.finished_above = finished_above;
        self.ticket.in_doubt = SequenceRanges::new();
        self.ticket.may_repeat = SequenceRanges::new();
        self.ticket.given_back = SequenceRanges::new();
        self.ticket.replay_from = Sequence(0);
        self.ticket.state_at = handled;
    }
}

impl Fleet {
    pub(crate) fn checkpoint(&mut self, from: SlaveId, checkpoint: Checkpoint, out: &mut Out) {
        let now = out.now;
        for entry in checkpoint.shards {
            let id = entry.shard;
            if let Some(shard) = self.shards.get_mut(id)
                && shard.phase.is_claimed_by(from, entry.epoch)
            {
                let is_new_session = shard.is_new_session(&entry);
                if let Err(lie) = shard.may_be(now, &entry) {
                    self.disbelieve(from, id, &lie, out);
                    continue;
                }
                shard.heard = Some(now);
                if shard.advance(entry) {
                    if shard.is_live() {
                        shard.rate.note(now, shard.highest());
                    }
                    out.ticket_changed(id);
                }
                if is_new_session {
                    self.drop_doubt(id, out);
                }
            }
        }
    }

    /// Everything known about its session is useless from now on.
    fn session_is_over(&mut self, id: ShardId, out: &mut Out) {
        let shard = &mut self.shards[id];
        shard.forget_session();
        shard.alone = None;
        // Nothing of it is replayed any more, no matter which slave had it before.
        shard.replays = ResumeAfter::Seal;
        self.drop_doubt(id, out);
    }

    /// No deadline while a shard waits for its permit. One whose session is there
    /// needs none.
    pub(crate) fn waits_for_permit(&mut self, id: ShardId, out: &mut Out) {
        let shard = &self.shards[id];
        if shard.phase.starting().is_some() && shard.ticket.is_none() {
            out.stop(Timer::Shard(id));
        }
    }

    /// A served shard is through with its replay: what comes now came never before.
    fn replay_ended(&mut self, id: ShardId, now: Time) {
        let shard = &mut self.shards[id];
        shard.is_live_again(now);
        if shard.phase.is_at_rest() {
            shard.replays = ResumeAfter::Seal;
        }
    }

    /// RESUMED came for a shard that was taken for served before.
    pub(crate) fn resumed_late(&mut self, from: SlaveId, id: ShardId, epoch: Epoch, now: Time) {
        if self.shards[id].phase.is_claimed_by(from, epoch) {
            self.replay_ended(id, now);
        }
    }
}
