//! What a model slave knows of the events of one session.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Where an event that is not finished is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Open {
    /// Handed out.
    Running,
    /// In doubt at the former owner; whether its payload came.
    Held(bool),
    /// To be handed out, marked, when it comes.
    Due,
}

/// What is to be done with an event that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    HandOut { marked: bool },
    Nothing,
}

/// Every sequence from 1 on comes, so a window is a line of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Window {
    pub(super) handled: u64,
    pub(super) above: BTreeSet<u64>,
    pub(super) received: u64,
    pub(super) open: BTreeMap<u64, Open>,
}

impl Window {
    /// After READY, which is the first dispatch.
    pub(super) fn fresh() -> Self {
        Self {
            handled: 1,
            received: 1,
            ..Self::default()
        }
    }

    pub(super) fn resumed(ticket: &Ticket, state_at: u64, own: Option<&Self>) -> Self {
        let handled = own.map_or(0, |own| own.handled).max(ticket.handled.get());
        let mut above: BTreeSet<_> = ticket.finished_above.iter().map(|s| s.get()).collect();
        above.extend(own.iter().flat_map(|own| &own.above));
        above.retain(|&sequence| sequence > handled);
        let mut window = Self {
            handled,
            above,
            received: handled.min(state_at),
            open: BTreeMap::new(),
        };
        for (&sequence, &open) in own.iter().flat_map(|own| &own.open) {
            let in_doubt = open == Open::Running || ticket.in_doubt.contains(Sequence(sequence));
            if in_doubt && !window.is_finished(sequence) {
                window.open.insert(sequence, open);
            }
        }
        for sequence in ticket.in_doubt.iter().map(|s| s.get()) {
            if !window.is_finished(sequence) {
                window.open.entry(sequence).or_insert(Open::Held(false));
            }
        }
        // A replay brings the payloads again.
        for open in window.open.values_mut() {
            if *open == Open::Held(true) {
                *open = Open::Held(false);
            }
        }
        window.fold();
        window
    }

    fn is_finished(&self, sequence: u64) -> bool {
        sequence <= self.handled || self.above.contains(&sequence)
    }

    /// Whether it handed this out itself, or knows that it is finished.
    pub(super) fn knows(&self, sequence: u64) -> bool {
        self.is_finished(sequence) || self.open.get(&sequence) == Some(&Open::Running)
    }

    pub(super) fn receive(&mut self, marked: bool) -> (u64, Receipt) {
        self.received += 1;
        let sequence = self.received;
        let finished = self.is_finished(sequence);
        let receipt = match self.open.get_mut(&sequence) {
            Some(Open::Running) => Receipt::Nothing,
            Some(Open::Held(came)) => {
                *came = true;
                Receipt::Nothing
            }
            Some(open @ Open::Due) => {
                *open = Open::Running;
                Receipt::HandOut { marked: true }
            }
            None if finished => Receipt::Nothing,
            None => {
                self.open.insert(sequence, Open::Running);
                Receipt::HandOut { marked }
            }
        };
        self.fold();
        (sequence, receipt)
    }

    pub(super) fn finish(&mut self, sequence: u64) {
        if self.open.remove(&sequence).is_some() {
            self.above.insert(sequence);
            self.fold();
        }
    }

    /// What the former owner did not finish and is at hand: handed out now.
    pub(super) fn settle(&mut self, unfinished: &SequenceRanges) -> Vec<u64> {
        let held: Vec<_> = self
            .open
            .iter()
            .filter_map(|(&sequence, open)| match open {
                Open::Held(came) => Some((sequence, *came)),
                Open::Running | Open::Due => None,
            })
            .collect();
        let mut at_hand = Vec::new();
        for (sequence, came) in held {
            if !unfinished.contains(Sequence(sequence)) {
                self.finish(sequence);
            } else if came {
                self.open.insert(sequence, Open::Running);
                at_hand.push(sequence);
            } else {
                self.open.insert(sequence, Open::Due);
            }
        }
        at_hand
    }

    fn fold(&mut self) {
        while self.handled < self.received && self.above.remove(&(self.handled + 1)) {
            self.handled += 1;
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = u64> + '_ {
        let running =
            |(&sequence, open): (&u64, &Open)| (*open == Open::Running).then_some(sequence);
        self.open.iter().filter_map(running)
    }

    /// Whether anything is open that this slave, or the one before, works on.
    pub(super) fn is_settled(&self) -> bool {
        self.open.values().all(|open| *open == Open::Due)
    }

    pub(super) fn in_doubt(&self) -> SequenceRanges {
        self.open.keys().copied().map(Sequence).collect()
    }

    pub(super) fn finished_above(&self) -> SequenceRanges {
        self.above.iter().copied().map(Sequence).collect()
    }
}
