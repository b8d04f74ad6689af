//! The ticket of a shard: what is believed of it, what its next owner goes on from, and
//! how far that is behind.

use std::time::Duration;

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, SlaveId, Ticket, message::ResumeAfter,
};

use crate::{
    event::{Basis, Time},
    shard::{Free, How, Shard, deaths::Care},
};

/// A ticket and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) ticket: Ticket,
    /// Of which owner.
    pub(crate) epoch: Epoch,
    /// `Seal`: exact.
    pub(crate) after: ResumeAfter,
    /// How old it was when the master started, else zero.
    pub(crate) age: Duration,
    /// Whether its session is not yet in the journal.
    pub(crate) is_new: bool,
}

impl Shard {
    /// Whether a ticket made at a seal can be: of this shard, and of the session
    /// and not below the point that its owner reported before.
    pub(crate) fn believes(&self, id: ShardId, ticket: &Ticket) -> bool {
        ticket.shard == id
            && self.ticket.as_ref().is_none_or(|kept| {
                kept.ticket.session_id == ticket.session_id && kept.ticket.handled <= ticket.handled
            })
    }

    /// The ticket, if its session can still be resumed.
    pub(crate) fn resumable(&self, since: Time, now: Time, window: Duration) -> Option<&Kept> {
        self.ticket.as_ref().filter(|kept| {
            now.since(since).saturating_add(kept.age) <= window
                || cfg!(mutant = "stale-session-resumed")
        })
    }

    /// How a slave that gets it now would go on with it, after it came free.
    pub(crate) fn next_start(&self, free: Free, now: Time, window: Duration) -> (How, Basis) {
        match self.resumable(free.since, now, window) {
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
            Some(&at) if !cfg!(mutant = "copy-ignored") => {
                at.min(ticket.handled.max(ticket.replay_from))
            }
            Some(_) | None => ticket.handled.max(ticket.replay_from),
        };
        if after == ResumeAfter::Death {
            ticket.in_doubt = SequenceRanges::new();
        }
        Some(ticket)
    }

    /// The highest sequence of its session that is known: Discord is there, or above.
    pub(crate) fn highest(&self) -> Sequence {
        let kept = self.ticket.as_ref();
        kept.map_or(Sequence(0), |kept| kept.ticket.highest().max(self.received))
    }

    /// Events that came since the copy that `slave` has.
    pub(crate) fn behind(&self, slave: SlaveId) -> u64 {
        let at = self.copies.get(&slave);
        at.map_or(0, |at| self.highest().get().saturating_sub(at.get()))
    }

    /// Takes what a slave reported or confirmed as its newest ticket. One without
    /// a session says that there is none.
    pub(crate) fn keep(&mut self, ticket: Ticket, epoch: Epoch, after: ResumeAfter) {
        let other_session = self
            .ticket
            .as_ref()
            .is_some_and(|kept| kept.ticket.session_id != ticket.session_id);
        if other_session {
            self.forget_session();
        }
        let is_new = other_session || self.ticket.as_ref().is_none_or(|kept| kept.is_new);
        debug_assert!(epoch <= self.epoch, "its owner's epoch is used up");
        self.ticket = (!ticket.session_id.is_empty()).then_some(Kept {
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
}
