//! Events that kill the process that has them.
//!
//! What a dead slave had not finished is replayed to the next one. Where one of these
//! events killed it, the next one dies of it too, and so on. Which of them it is no master
//! can tell from a death; so after a few deaths it is found out:
//!
//! ```text
//! died, nothing finished since the death before ──3 times──▶ alone: what is replayed is
//!     handed out one at a time, each after the slave said here which one it is (Trying)
//! died with the same event tried ──twice──▶ deadly: set aside by the next owner, kept in
//!     a file, and said; handed out once more only where the bot wants it so
//! ```
//!
//! All of it is of one session and of this master: the next one starts to count from zero.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{Sequence, SequenceRanges, message::ResumeAfter};

use crate::event::Time;

/// After so many deaths over the same events they are handed out alone.
pub(crate) const SUSPECT: u32 = 3;

/// An event that was alone in hand at so many deaths is the cause.
pub(crate) const DEADLY: u32 = 2;

/// Deaths that are further apart have nothing to do with each other.
const IN_A_ROW: Duration = Duration::from_secs(600);

/// Events that are found out about at once; no more are in hand alone.
const MOST: usize = 64;

/// What is known of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Care {
    /// Everything up to here was finished at the last death.
    at: Sequence,
    /// Deaths in a row at which nothing more was.
    deaths: u32,
    last: Option<Time>,
    /// What is in hand alone.
    tried: Option<Tried>,
    /// Deaths of those that had an event alone.
    strikes: BTreeMap<Sequence, u32>,
    deadly: SequenceRanges,
    /// Deadly ones that killed once more when the bot still wanted them.
    skipped: SequenceRanges,
    /// Deadly ones that are in the file.
    kept: SequenceRanges,
}

/// What the master tells an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) alone: bool,
    pub(crate) deadly: SequenceRanges,
    pub(crate) skipped: SequenceRanges,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) sequence: Sequence,
    pub(crate) kind: String,
    pub(crate) guild: u64,
}

impl Care {
    pub(crate) const fn new() -> Self {
        Self {
            at: Sequence(0),
            deaths: 0,
            last: None,
            tried: None,
            strikes: BTreeMap::new(),
            deadly: SequenceRanges::new(),
            skipped: SequenceRanges::new(),
            kept: SequenceRanges::new(),
        }
    }

    /// What the master tells the next owner, which goes on after a seal or a death.
    pub(crate) fn orders(&self, after: ResumeAfter) -> Orders {
        Orders {
            alone: after == ResumeAfter::Death && self.deaths >= SUSPECT,
            deadly: self.deadly.clone(),
            skipped: self.skipped.clone(),
        }
    }

    /// Its owner died. `handled` and `finished` are of its last checkpoint. Gives back
    /// the event that is now known to be deadly.
    pub(crate) fn owner_died(
        &mut self,
        now: Time,
        handled: Sequence,
        finished: impl Fn(Sequence) -> bool,
    ) -> Option<Tried> {
        let in_a_row = self.last.is_some_and(|last| now.since(last) < IN_A_ROW);
        self.deaths = if in_a_row && handled == self.at {
            self.deaths.saturating_add(1)
        } else {
            1
        };
        (self.at, self.last) = (handled, Some(now));
        self.strikes.retain(|sequence, _| *sequence > handled);
        for known in [&mut self.deadly, &mut self.skipped, &mut self.kept] {
            known.remove_through(handled);
        }
        let tried = self
            .tried
            .take()
            .filter(|tried| !finished(tried.sequence))?;
        if self.deadly.contains(tried.sequence) {
            self.skipped.insert(tried.sequence);
            return None;
        }
        if self.strikes.len() >= MOST {
            self.strikes.pop_first();
        }
        let strikes = self.strikes.entry(tried.sequence).or_default();
        *strikes += 1;
        if *strikes < DEADLY {
            return None;
        }
        self.deadly.insert(tried.sequence);
        Some(tried)
    }

    /// Whether it has just come to so many deaths that its events are handed out alone.
    pub(crate) const fn is_suspected(&self) -> bool {
        self.deaths == SUSPECT
    }

    /// An event is in hand alone.
    pub(crate) fn tries(&mut self, tried: Tried) {
        self.tried = Some(tried);
    }

    pub(crate) fn is_deadly(&self, sequence: Sequence) -> bool {
        self.deadly.contains(sequence)
    }

    /// A deadly event is set aside. Whether that is news.
    pub(crate) fn keep(&mut self, sequence: Sequence) -> bool {
        let is_new = !self.kept.contains(sequence);
        if is_new {
            self.kept.insert(sequence);
        }
        is_new
    }
}
