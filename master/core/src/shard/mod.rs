//! One shard: whose it is, and what is known to hand it on.

mod copy;
pub(crate) mod deaths;
mod handover;
mod in_doubt;
pub(crate) mod late;
pub(crate) mod phase;
mod plausible;
mod progress;
mod rate;
pub(crate) mod reach;
mod restart;
mod resync;

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, SlaveId, Ticket,
    message::{CarriedEvent, ResumeAfter},
};

use crate::event::{Basis, Time};

pub(crate) use self::phase::{Claim, ClaimStage, Free, How, Phase, Reach, Sealing, Start};
use self::{deaths::Care, rate::Rate, reach::Oldest};

/// Everything that the core knows of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    /// Which slot it belongs to.
    pub(crate) slot: usize,
    /// The highest epoch that is known to be used up.
    pub(crate) epoch: Epoch,
    /// For whom that one was used up; `None`: unknown.
    pub(crate) holder: Option<SlaveId>,
    /// Epochs up to this one may be used up: what a lost journal knew.
    pub(crate) floor: Epoch,
    /// Whose it is.
    pub(crate) phase: Phase,
    /// The newest ticket.
    pub(crate) ticket: Option<Kept>,
    /// Who has a copy of its state at rest (frozen at a seal, or imported), and
    /// the lowest sequence at which that copy stands.
    pub(crate) copies: BTreeMap<SlaveId, Sequence>,
    /// Bytes of its state that were passed on and not acknowledged.
    pub(crate) on_its_way: u64,
    /// Copies of this move that were too old once they were whole.
    pub(crate) copied_again: u32,
    /// Seals of its present move that a heartbeat overtook.
    pub(crate) overtaken: u32,
    /// Behind which sequence the connection resumes that its next owner dialled last.
    pub(crate) dialled_from: Option<Sequence>,
    /// What the slave that has the highest epoch goes on from.
    pub(crate) basis: Basis,
    /// What its owner replays until it serves: after a death anything in it may
    /// have been handled before, no matter which slave goes on from there.
    pub(crate) replays: ResumeAfter,
    /// What was in doubt at the last seal.
    pub(crate) doubt: Option<Doubt>,
    /// Times in a row that it failed outside of a deploy.
    pub(crate) failures: u32,
    /// Why it does not serve, and what becomes of it: as the last alarm about it said.
    pub(crate) trouble: Option<String>,
    /// How many events it gets.
    pub(crate) rate: Rate,
    /// Since when its owner, which serves it, has no connection to Discord.
    pub(crate) away: Option<Time>,
    /// Whether it had a session that is over, and has no other yet.
    pub(crate) session_lost: bool,
    /// The highest sequence of its session that its owner said it received.
    pub(crate) received: Sequence,
    /// When its owner said so last; `None`: never to this master.
    pub(crate) heard: Option<Time>,
    /// What is in doubt at or below this one is not replayed to who owns it.
    pub(crate) began: Sequence,
    /// Its oldest unfinished event, where its owner named one.
    pub(crate) oldest: Option<Oldest>,
    /// Since when no slave serves its session, through all attempts in which nothing
    /// came; `None`: not known.
    pub(crate) alone: Option<Time>,
    /// What is known of events that may have killed its owners.
    pub(crate) care: Care,
}

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

/// What was in doubt at the last seal, until its outcome reached the next owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// `None`: unknown.
    pub(crate) sealer: Option<SlaveId>,
    pub(crate) epoch: Epoch,
    pub(crate) in_doubt: SequenceRanges,
    /// The part of it that some slave is known to have finished.
    pub(crate) finished: SequenceRanges,
    /// Whether the seal before was not settled when it was made.
    pub(crate) chained: bool,
    /// Those whose word is waited for, the oldest seal first.
    pub(crate) words: Vec<Word>,
    /// What of it came with its payload.
    pub(crate) events: Vec<CarriedEvent>,
    /// Whether it was judged what of it is given up.
    pub(crate) judged: bool,
}

/// One who had events in hand when it sealed, and has not said what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// `None`: unknown.
    pub(crate) sealer: Option<SlaveId>,
    pub(crate) epoch: Epoch,
    pub(crate) in_doubt: SequenceRanges,
}

impl Shard {
    pub(crate) const fn new(slot: usize, floor: Epoch) -> Self {
        Self {
            slot,
            epoch: Epoch(0),
            holder: None,
            floor,
            phase: Phase::Unknown { row: None },
            ticket: None,
            copies: BTreeMap::new(),
            on_its_way: 0,
            copied_again: 0,
            overtaken: 0,
            dialled_from: None,
            basis: Basis::Death,
            replays: ResumeAfter::Seal,
            doubt: None,
            failures: 0,
            trouble: None,
            rate: Rate::new(),
            away: None,
            session_lost: false,
            received: Sequence(0),
            heard: None,
            began: Sequence(0),
            oldest: None,
            alone: None,
            care: Care::new(),
        }
    }

    /// Uses up an epoch that was never used before, for this slave.
    pub(crate) fn use_epoch(&mut self, holder: SlaveId) -> Epoch {
        self.holder = Some(holder);
        if cfg!(mutant = "epoch-reused") && self.epoch > self.floor {
            return self.epoch;
        }
        let before = self.epoch;
        self.epoch = self.epoch.max(self.floor).next();
        debug_assert!(self.epoch > before, "an epoch is used once");
        self.epoch
    }

    /// A slave reported this epoch, which it was given.
    pub(crate) fn used_up(&mut self, epoch: Epoch, holder: SlaveId) {
        if epoch >= self.epoch {
            self.epoch = epoch;
            self.holder = Some(holder);
        }
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
