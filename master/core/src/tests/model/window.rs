//! What a slave of the model knows of the events of the one session: sets of
//! events, one bit each. READY is the sequence 1; event `n` has `n + 2`.

use super::*;

/// A set of events.
pub(super) type Events = u8;

pub(super) const fn event(number: u8) -> Events {
    1 << number
}

/// The numbers in a set.
pub(super) fn numbers(events: Events) -> impl Iterator<Item = u8> {
    (0..8).filter(move |&number| events & event(number) != 0)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Window {
    /// Every event below this number is finished.
    pub(super) handled: u8,
    /// Finished, above.
    pub(super) above: Events,
    /// Every event below this number was received.
    pub(super) received: u8,
    pub(super) running: Events,
    /// In doubt at the former owner.
    pub(super) held: Events,
    /// Held, and its payload is here.
    came: Events,
    /// To be handed out, marked, when it comes.
    due: Events,
}

/// What is to be done with an event that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    HandOut { number: u8, marked: bool },
    Nothing,
}

impl Window {
    /// A slave goes on from a ticket, and from what it has itself if it had the
    /// shard before.
    pub(super) fn resumed(ticket: &Ticket, own: Option<&Self>) -> Self {
        let own = own.copied().unwrap_or_default();
        let handled = own.handled.max(number_of(ticket.handled));
        let mut window = Self {
            handled,
            above: (own.above | set(&ticket.finished_above)) & !below(handled),
            received: handled,
            ..Self::default()
        };
        let in_doubt = set(&ticket.in_doubt);
        let open = !window.finished();
        window.running = own.running & open;
        window.due = own.due & in_doubt & open;
        window.held = (own.held | in_doubt) & in_doubt & open & !window.running & !window.due;
        window.fold();
        window
    }

    pub(super) const fn finished(&self) -> Events {
        below(self.handled) | self.above
    }

    const fn open(&self) -> Events {
        self.running | self.held | self.due
    }

    pub(super) fn receive(&mut self, after_death: bool) -> Receipt {
        let number = self.received;
        self.received += 1;
        let one = event(number);
        let receipt = if self.due & one != 0 {
            self.due &= !one;
            self.running |= one;
            let marked = true;
            Receipt::HandOut { number, marked }
        } else if self.held & one != 0 {
            self.came |= one;
            Receipt::Nothing
        } else if (self.running | self.finished()) & one != 0 {
            Receipt::Nothing
        } else {
            self.running |= one;
            let marked = after_death;
            Receipt::HandOut { number, marked }
        };
        self.fold();
        receipt
    }

    pub(super) fn finish(&mut self, number: u8) {
        self.running &= !event(number);
        self.above |= event(number);
        self.fold();
    }

    /// What is held is finished, but for this; gives what is handed out now.
    pub(super) fn settle(&mut self, unfinished: &SequenceRanges) -> Events {
        let unfinished = set(unfinished) & self.held;
        let now = unfinished & self.came;
        self.above |= self.held & !unfinished;
        self.running |= now;
        self.due |= unfinished & !now;
        (self.held, self.came) = (0, 0);
        self.fold();
        now
    }

    fn fold(&mut self) {
        while self.handled < self.received && self.above & event(self.handled) != 0 {
            self.above &= !event(self.handled);
            self.handled += 1;
        }
    }

    /// Whether nothing is open that this slave, or the one before, works on.
    pub(super) const fn is_settled(&self) -> bool {
        self.running | self.held == 0
    }

    pub(super) fn in_doubt(&self) -> SequenceRanges {
        sequences(self.open())
    }

    pub(super) fn ticket(&self) -> Ticket {
        let handled = Sequence(u64::from(self.handled) + 1);
        Ticket {
            session: session("the session"),
            handled,
            finished_above: sequences(self.above),
            in_doubt: self.in_doubt(),
            state_at: handled,
            ..Ticket::default()
        }
    }
}

/// What a ticket calls finished.
pub(super) fn finished_of(ticket: &Ticket) -> Events {
    below(number_of(ticket.handled)) | set(&ticket.finished_above)
}

pub(super) fn set(ranges: &SequenceRanges) -> Events {
    ranges
        .iter()
        .map(|sequence| event(u8::try_from(sequence.get() - 2).unwrap()))
        .fold(0, |all, one| all | one)
}

fn sequences(events: Events) -> SequenceRanges {
    numbers(events)
        .map(|number| Sequence(u64::from(number) + 2))
        .collect()
}

/// How many events there are up to a sequence.
fn number_of(sequence: Sequence) -> u8 {
    u8::try_from(sequence.get().saturating_sub(1)).unwrap()
}

const fn below(number: u8) -> Events {
    event(number) - 1
}
