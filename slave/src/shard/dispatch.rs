//! The in-flight window of one session: what was received, what is finished,
//! what runs, what is in doubt. Pure: no clock, no I/O.
//!
//! ```text
//! received ──▶ Running ──▶ finished          the way of nearly every event
//!     │           └─────▶ Due ──▶ Running    given back; or not finished by the former owner
//!     ├──▶ Held ──▶ finished | Due           in doubt at the former owner, until it settles
//!     └──▶ Unseen                            no handler had it when the shard was sealed
//! ```
//!
//! *Handled* is the last dispatch, in order of receipt, such that it and every
//! dispatch received before it are finished. Sequences order dispatches but need
//! not be contiguous: a number that never comes holds nothing up.

use std::collections::BTreeMap;

use baton_protocol::{Sequence, SequenceRanges, Ticket};

use crate::bot::Mark;

/// Where an event that is not finished is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Handed out, its guard lives.
    Running,
    /// In doubt at the former owner, which may yet finish it.
    Held,
    /// To be handed out when it is at hand (again).
    Due(Mark),
    /// No handler had it, here or elsewhere: for the next owner it is as if it had not been
    /// received.
    Unseen,
}

/// What to do with a dispatch that was just received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Bring the state up to it, then hand it out. It counts as running now.
    HandOut(Mark),
    /// Bring the state up to it and keep it: its former owner may yet finish it.
    Hold,
    /// Bring the state up to it only: it is finished, or runs here already.
    StateOnly,
    /// Received before by this owner: drop it.
    Duplicate,
}

/// The window of one session at one owner.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    handled: Sequence,
    finished_above: SequenceRanges,
    /// The highest sequence that this owner received, or need not receive.
    received: Sequence,
    /// Where the replay of its session began here.
    began: Sequence,
    open: BTreeMap<Sequence, Open>,
    /// How many of them run, and how many are held: both are asked for each event.
    running: usize,
    held: usize,
}

enum Standing {
    Open(Open),
    Finished,
    Unknown,
}

impl Window {
    /// Of a new session.
    pub(crate) const fn new() -> Self {
        Self {
            handled: Sequence(0),
            finished_above: SequenceRanges::new(),
            received: Sequence(0),
            began: Sequence(0),
            open: BTreeMap::new(),
            running: 0,
            held: 0,
        }
    }

    /// Of a session taken over with `ticket`. `state_at`: the sequence at which
    /// this process' state stands; the replay begins there, or at `handled` if
    /// that is lower (or where the ticket says, if Discord does not replay so
    /// much). `own`: what this process knows of the same session from the
    /// time when it sealed it.
    /// `left`: what a task before this one had in hand, and is to be handed out again.
    pub(crate) fn resumed(
        ticket: &Ticket,
        state_at: Sequence,
        own: Option<&Self>,
        left: impl IntoIterator<Item = Sequence>,
    ) -> Self {
        // Finished by either process, the event is finished.
        let handled = own.map_or(ticket.handled, |own| own.handled.max(ticket.handled));
        let mut finished_above = ticket.finished_above.clone();
        if let Some(own) = own {
            finished_above.insert_all(&own.finished_above);
        }
        let began = handled.max(ticket.replay_from).min(state_at);
        let mut window = Self {
            handled,
            finished_above,
            received: began,
            began,
            open: BTreeMap::new(),
            running: 0,
            held: 0,
        };
        window.finished_above.remove_through(handled);
        if mutant!("finished-above-ignored") {
            window.finished_above = SequenceRanges::new();
        }
        // After a death the ticket names nothing in doubt; what still runs here
        // from before goes on anyway.
        for (&sequence, &open) in own.into_iter().flat_map(|own| &own.open) {
            let stays = match open {
                Open::Running => true,
                Open::Held | Open::Due(_) => ticket.in_doubt.contains(sequence),
                // As if it had not been received: an owner since may have it in hand.
                Open::Unseen => false,
            };
            if stays && !window.is_finished(sequence) {
                window.put(sequence, Some(open));
            }
        }
        for sequence in ticket.in_doubt.iter() {
            if !window.is_finished(sequence) && !window.open.contains_key(&sequence) {
                window.put(sequence, Some(Open::Held));
            }
        }
        for sequence in ticket.may_repeat.iter().chain(left) {
            if !window.is_finished(sequence) && !window.open.contains_key(&sequence) {
                window.put(sequence, Some(Open::Due(Mark::MayRepeat)));
            }
        }
        window.fold();
        window
    }

    /// The state of this process stands at `state_at`: the replay begins there if
    /// that is lower. Before anything was received.
    pub(crate) fn replay_from(&mut self, state_at: Sequence) {
        self.received = self.received.min(state_at);
        self.began = self.received;
    }

    /// RESUMED came with this sequence: what Discord sent before it is below. A ticket
    /// that says more is disproved, and what it calls finished above is not; `true`: it
    /// was.
    pub(crate) fn disprove(&mut self, resumed: Sequence) -> bool {
        let above = self.finished_above.last();
        if self.handled <= resumed && above.is_none_or(|above| above <= resumed) {
            return false;
        }
        self.handled = self.handled.min(resumed);
        self.finished_above = self.finished_above.through(resumed);
        true
    }

    fn is_finished(&self, sequence: Sequence) -> bool {
        sequence <= self.handled || self.finished_above.contains(sequence)
    }

    fn standing(&self, sequence: Sequence) -> Standing {
        if let Some(open) = self.open.get(&sequence) {
            Standing::Open(*open)
        } else if self.is_finished(sequence) {
            Standing::Finished
        } else {
            Standing::Unknown
        }
    }

    /// An event is there from now on; `None`: it is finished. Gives where it was.
    fn put(&mut self, sequence: Sequence, open: Option<Open>) -> Option<Open> {
        let before = match open {
            Some(open) => self.open.insert(sequence, open),
            None => self.open.remove(&sequence),
        };
        let counts = [
            (&mut self.running, Open::Running),
            (&mut self.held, Open::Held),
        ];
        for (count, of) in counts {
            *count += usize::from(open == Some(of));
            *count -= usize::from(before == Some(of));
        }
        before
    }

    /// Whether it is not finished: it runs, is held or is due.
    pub(crate) fn is_open(&self, sequence: Sequence) -> bool {
        self.open.contains_key(&sequence)
    }

    /// Whether its former owner may yet finish it.
    pub(crate) fn is_held(&self, sequence: Sequence) -> bool {
        self.open.get(&sequence) == Some(&Open::Held)
    }

    /// Whether it is to be handed out when it is at hand.
    pub(crate) fn is_due(&self, sequence: Sequence) -> bool {
        matches!(self.open.get(&sequence), Some(Open::Due(_)))
    }

    /// Whether it counts as handed out.
    pub(crate) fn runs(&self, sequence: Sequence) -> bool {
        self.open.get(&sequence) == Some(&Open::Running)
    }

    /// Takes a dispatch in.
    pub(crate) fn receive(&mut self, sequence: Sequence) -> Receipt {
        if sequence <= self.received {
            return Receipt::Duplicate;
        }
        self.received = sequence;
        match self.standing(sequence) {
            Standing::Unknown | Standing::Open(Open::Unseen) => {
                self.put(sequence, Some(Open::Running));
                Receipt::HandOut(Mark::None)
            }
            Standing::Open(Open::Due(mark)) => {
                self.put(sequence, Some(Open::Running));
                Receipt::HandOut(mark)
            }
            Standing::Open(Open::Held) if mutant!("doubt-not-held") => Receipt::HandOut(Mark::None),
            Standing::Open(Open::Held) => Receipt::Hold,
            Standing::Open(Open::Running) => Receipt::StateOnly,
            Standing::Finished => {
                self.fold();
                Receipt::StateOnly
            }
        }
    }

    /// An event is finished, here or at its former owner. One that is not open
    /// changes nothing.
    pub(crate) fn finish(&mut self, sequence: Sequence) {
        if self.put(sequence, None).is_none() {
            return;
        }
        self.finished_above.insert(sequence);
        self.fold();
    }

    /// An event was given back, or was not finished by its former owner: it is
    /// to be handed out. `false`: it is not open here.
    pub(crate) fn give_back(&mut self, sequence: Sequence, mark: Mark) -> bool {
        let is_open = self.is_open(sequence);
        if is_open {
            self.put(sequence, Some(Open::Due(mark)));
        }
        is_open
    }

    /// An event that is due is handed out (again). `false`: it is not due.
    pub(crate) fn run_again(&mut self, sequence: Sequence) -> bool {
        let is_due = self.is_due(sequence);
        if is_due {
            self.put(sequence, Some(Open::Running));
        }
        is_due
    }

    /// An event was received, and never handed out. It is not in doubt.
    pub(crate) fn put_back(&mut self, sequence: Sequence) {
        if self.is_open(sequence) {
            self.put(sequence, Some(Open::Unseen));
        }
    }

    /// Moves `handled` up over everything that is finished and received.
    fn fold(&mut self) {
        let first_open = self.open.keys().next().copied();
        let bound = match first_open {
            Some(open) if open <= self.received => Sequence(open.get().saturating_sub(1)),
            Some(_) | None => self.received,
        };
        let mut highest = None;
        for (first, last) in self.finished_above.ranges() {
            if first > bound {
                break;
            }
            highest = Some(last.min(bound));
        }
        if let Some(highest) = highest {
            self.handled = self.handled.max(highest);
            self.finished_above.remove_through(self.handled);
        }
        debug_assert!(
            first_open.is_none_or(|open| open > self.handled),
            "what is open is not handled"
        );
        debug_assert!(
            self.running + self.held <= self.open.len(),
            "what runs or is held is open"
        );
    }

    /// See the module.
    pub(crate) fn handled(&self) -> Sequence {
        if mutant!("checkpoint-of-received") {
            return self.received;
        }
        self.handled
    }

    /// Finished above `handled`.
    pub(crate) const fn finished_above(&self) -> &SequenceRanges {
        &self.finished_above
    }

    /// The highest sequence that was received: a reconnect of the same owner
    /// resumes here, everything below is in this process.
    pub(crate) const fn received(&self) -> Sequence {
        self.received
    }

    /// Whether Discord does not replay it here any more: it was sent before the replay
    /// begins.
    pub(crate) fn is_before_replay(&self, sequence: Sequence) -> bool {
        sequence <= self.began
    }

    /// Handed out and not finished.
    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    /// Everything that a handler may have had and that is not finished: running, held and
    /// due.
    pub(crate) fn in_doubt(&self) -> SequenceRanges {
        let open = self.open.iter();
        let seen = open.filter(|(_, open)| **open != Open::Unseen);
        seen.map(|(sequence, _)| *sequence).collect()
    }

    /// What was received, and no process has: only a replay brings it.
    pub(crate) fn unseen(&self) -> SequenceRanges {
        let open = self.open.iter();
        let unseen = open.filter(|(_, open)| **open == Open::Unseen);
        unseen.map(|(sequence, _)| *sequence).collect()
    }

    /// Whether the former owner has to settle something yet.
    pub(crate) const fn holds(&self) -> bool {
        self.held > 0
    }

    /// What waits for the former owner's word.
    pub(crate) fn held(&self) -> Vec<Sequence> {
        let held =
            |(&sequence, open): (&Sequence, &Open)| (*open == Open::Held).then_some(sequence);
        self.open.iter().filter_map(held).collect()
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
