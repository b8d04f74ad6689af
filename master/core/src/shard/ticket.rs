//! The ticket of a shard: what is believed of it, what its next owner goes on from, and
//! how far that is behind.

use std::time::Duration;

use baton_protocol::{Epoch, Sequence, SequenceRanges, SlaveId, Ticket, message::ResumeAfter};

use crate::{
    event::{Basis, Time},
    settings::Settings,
    shard::{Free, How, Kept, Shard, deaths::Care, reach::Replays},
};

impl Shard {
    /// Whether a ticket made at a seal can be: of the session and not below the point
    /// that its owner reported before.
    pub(crate) fn believes(&self, ticket: &Ticket) -> bool {
        self.ticket.as_ref().is_none_or(|kept| {
            kept.ticket.session.is_same(&ticket.session) && kept.ticket.handled <= ticket.handled
        })
    }

    /// The ticket, if its session can still be resumed.
    pub(crate) fn resumable(&self, since: Time, now: Time, window: Duration) -> Option<&Kept> {
        self.ticket.as_ref().filter(|kept| {
            now.since(since).saturating_add(kept.age) <= window || mutant!("stale-session-resumed")
        })
    }

    /// How a slave that gets it now would go on with it, after it came free.
    /// Where the service replays nothing, only a seal can be gone on from.
    pub(crate) fn next_start(&self, free: Free, now: Time, settings: &Settings) -> (How, Basis) {
        if settings.overlaps() && free.after == ResumeAfter::Death && !mutant!("death-resumed") {
            return (How::Full, Basis::Cold);
        }
        match self.resumable(free.since, now, settings.resume_window) {
            Some(kept) => match free.after {
                ResumeAfter::Seal => (How::Resume(free.after), Basis::Seal(kept.epoch)),
                ResumeAfter::Death => (How::Resume(free.after), Basis::Death),
            },
            None => (How::Full, Basis::Cold),
        }
    }

    /// The ticket as `slave` needs it: with the sequence at which the copy of the
    /// state stands that this slave has.
    pub(crate) fn ticket_for(&self, slave: SlaveId, after: ResumeAfter) -> Option<Ticket> {
        let mut ticket = self.ticket.as_ref()?.ticket.clone();
        ticket.state_at = match self.copies.get(&slave) {
            Some(&at) if !mutant!("copy-ignored") => at.min(ticket.handled.max(ticket.replay_from)),
            Some(_) | None => ticket.handled.max(ticket.replay_from),
        };
        if after == ResumeAfter::Death {
            ticket.in_doubt = SequenceRanges::new();
        }
        Some(ticket)
    }

    /// The highest sequence of its session that is known: the service is there, or above.
    pub(crate) fn highest(&self) -> Sequence {
        let kept = self.ticket.as_ref();
        kept.map_or(Sequence(0), |kept| kept.ticket.highest().max(self.received))
    }

    /// Events that came since the copy that `slave` has.
    pub(crate) fn behind(&self, slave: SlaveId) -> u64 {
        let at = self.copies.get(&slave);
        at.map_or(0, |at| self.highest().get().saturating_sub(at.get()))
    }

    /// Whether the state that `slave` has of it is of no use: a RESUME from there would end
    /// the session. One that is to take it over in a deploy is tried anyway, for it was
    /// copied as well as it can be.
    pub(crate) fn is_too_old(&self, slave: SlaveId, replay_buffer: u32) -> bool {
        self.behind(slave) > u64::from(replay_buffer) && !mutant!("old-state-resumed")
    }

    /// Takes what a slave reported or confirmed as its newest ticket. One without
    /// a session says that there is none.
    pub(crate) fn keep(&mut self, ticket: Ticket, epoch: Epoch, after: ResumeAfter) {
        let other_session = self
            .ticket
            .as_ref()
            .is_some_and(|kept| !kept.ticket.session.is_same(&ticket.session));
        if other_session {
            self.forget_session();
        }
        let is_new = other_session || self.ticket.as_ref().is_none_or(|kept| kept.is_new);
        debug_assert!(epoch <= self.epoch, "its owner's epoch is used up");
        self.ticket = ticket.has_session().then_some(Kept {
            ticket,
            epoch,
            after,
            age: Duration::ZERO,
            is_new,
        });
    }

    /// Its session is over: what was said of it says nothing of the next.
    pub(crate) fn forget_session(&mut self) {
        self.ticket = None;
        self.copies.clear();
        self.received = Sequence(0);
        self.began = Sequence(0);
        self.oldest = None;
        self.care = Care::new();
    }

    /// An event in doubt that is known to be finished is finished for the slave that goes on
    /// with the ticket of that seal. Whether that is news.
    pub(crate) fn take_finished(&mut self) -> bool {
        match (&mut self.ticket, &self.doubt) {
            (Some(kept), Some(doubt))
                if (kept.after, kept.epoch) == (ResumeAfter::Seal, doubt.epoch()) =>
            {
                kept.settle(doubt.finished());
                true
            }
            (_, _) => false,
        }
    }

    // ---- how far the service is, and reaches -------------------------------------

    /// How many events it may get in 1000 s; zero where nothing is known.
    pub(crate) fn events_in_1000_s(&self, now: Time) -> u64 {
        // Not by what is finished: one event that never is stops that.
        match self.highest() {
            Sequence(0) => 0,
            _ if !self.is_live() => self.rate.before(),
            highest => self.rate.read(now, highest),
        }
    }

    /// How many events it gets in 1000 s as a rule; zero where too little is known.
    pub(crate) fn usual_in_1000_s(&self, now: Time) -> u64 {
        let received = self.is_live().then(|| self.highest());
        self.rate.usual(now, received)
    }

    /// Whether its owner receives events as they happen, and not in a replay.
    pub(crate) fn is_live(&self) -> bool {
        let is_through = self.away.is_none() && self.phase.start().is_none();
        is_through || mutant!("replays-counted")
    }

    /// Its owner is through with the replay, or has a new session: what it receives from
    /// now on happens now.
    pub(crate) fn is_live_again(&mut self, now: Time) {
        self.away = None;
        if !mutant!("replays-counted") {
            self.rate.live(now, self.highest());
        }
    }

    /// How long it takes until it got as many events as the service replays at least;
    /// [`Duration::MAX`] where none are known.
    pub(crate) fn replay_budget(&self, now: Time, replay_buffer: u32) -> Duration {
        let budget_ms = u64::from(replay_buffer).saturating_mul(1_000_000);
        let budget_ms = budget_ms.checked_div(self.events_in_1000_s(now));
        budget_ms.map_or(Duration::MAX, Duration::from_millis)
    }

    /// How many of its events the service replays, as far as that is known.
    pub(crate) fn replayed(&self, replays: Replays) -> u64 {
        let kept = self.ticket.as_ref();
        kept.map_or(replays.at_most, |kept| replays.of(&kept.ticket.session))
    }
}

impl Kept {
    fn settle(&mut self, finished: &SequenceRanges) {
        let finished = self.ticket.in_doubt.common(finished);
        self.ticket.in_doubt = self.ticket.in_doubt.without(&finished);
        self.ticket.finished_above.insert_all(&finished);
    }
}
