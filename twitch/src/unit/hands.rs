//! The numbers of a unit's events: what was handed out, what of it is finished, and what the
//! owner before has still in hand.
//!
//! Twitch numbers nothing, so the unit does: 1, 2, 3 in the order in which its events are handed
//! out. The numbers go on where the unit moves, so that a ticket says exactly what is finished.

use std::{collections::BTreeMap, sync::Arc};

use baton_protocol::{Epoch, Sequence, SequenceRanges, ShardId, Ticket, message::CarriedEvent};

use crate::{
    bot::{Ack, Bot, Delivery, Finished, Finishing},
    event::Event,
};

/// See the module.
pub(super) struct Hands {
    unit: ShardId,
    bot: Arc<dyn Bot>,
    most: usize,
    /// Changes where the unit is taken over: what was handed out before is no concern of the
    /// numbers after.
    generation: u64,
    /// The last number.
    last: Sequence,
    handled: Sequence,
    above: SequenceRanges,
    running: BTreeMap<Sequence, Event>,
    /// The owner before has these in hand: it says what becomes of them.
    held: SequenceRanges,
    /// Events that came on the old connection behind the seal, and run.
    strays: usize,
    strayed: Sequence,
    /// Of which owner, of how many units, and what the numbers belong to.
    of: Of,
    finishing: Arc<Finishing>,
}

/// To its unit a stray has no number.
const STRAY: Sequence = Sequence(0);

/// What is the same for all events of an owner.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) units: u32,
    pub(super) epoch: Epoch,
    pub(super) session: Arc<str>,
}

impl Hands {
    pub(super) fn new(unit: ShardId, bot: Arc<dyn Bot>, most: usize) -> Self {
        Self {
            unit,
            bot,
            most: most.clamp(1, 64),
            generation: 0,
            last: Sequence(0),
            handled: Sequence(0),
            above: SequenceRanges::new(),
            running: BTreeMap::new(),
            held: SequenceRanges::new(),
            strays: 0,
            strayed: Sequence(0),
            of: Of {
                units: 0,
                epoch: Epoch(0),
                session: Arc::from(""),
            },
            finishing: Arc::default(),
        }
    }

    /// The unit begins anew, or where another one stopped.
    pub(super) fn begin(&mut self, of: Of, ticket: Option<&Ticket>) {
        self.of = of;
        self.strayed = Sequence(0);
        self.generation += 1;
        self.running.clear();
        self.above = SequenceRanges::new();
        self.held = SequenceRanges::new();
        (self.last, self.handled) = (Sequence(0), Sequence(0));
        if let Some(ticket) = ticket {
            self.last = ticket.highest();
            self.handled = ticket.handled;
            self.above = ticket.finished_above.clone();
            self.held = ticket.in_doubt.clone();
        }
        self.advance();
    }

    /// Whether one more event may be handed out.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() + self.strays < self.most
    }

    /// Hands an event out.
    pub(super) fn hand(&mut self, event: Event) {
        self.last = self.last.next();
        self.hand_as(self.last, event, false);
    }

    fn hand_as(&mut self, sequence: Sequence, event: Event, may_repeat: bool) {
        self.running.insert(sequence, event.clone());
        self.give(sequence, event, may_repeat);
    }

    /// Hands an event out that came on the old connection behind the seal. It is of no ticket,
    /// and so are its numbers.
    pub(super) fn hand_stray(&mut self, event: Event) {
        self.strays += 1;
        self.strayed = self.strayed.next();
        let session = format!("{}/{}/behind", self.of.session, self.of.epoch).into();
        let delivery = self.delivery(self.strayed, session, event, false);
        self.bot.handle(delivery, self.ack(STRAY));
    }

    fn give(&self, sequence: Sequence, event: Event, may_repeat: bool) {
        let delivery = self.delivery(sequence, self.of.session.clone(), event, may_repeat);
        self.bot.handle(delivery, self.ack(sequence));
    }

    fn ack(&self, sequence: Sequence) -> Ack {
        Ack {
            sequence,
            generation: self.generation,
            finishing: self.finishing.clone(),
        }
    }

    fn delivery(
        &self,
        sequence: Sequence,
        session: Arc<str>,
        event: Event,
        may_repeat: bool,
    ) -> Delivery {
        Delivery {
            unit: self.unit,
            units: self.of.units,
            epoch: self.of.epoch,
            session,
            sequence,
            event,
            may_repeat,
        }
    }

    /// The events that are finished since the last call, noted. Survives being cancelled.
    pub(super) async fn finished(&mut self) -> Vec<Finished> {
        let all = self.finishing.next().await;
        for finished in &all {
            self.is_finished(*finished);
        }
        self.advance();
        all
    }

    fn is_finished(&mut self, finished: Finished) {
        if finished.sequence == STRAY {
            self.strays = self.strays.saturating_sub(1);
        } else if finished.generation == self.generation
            && self.running.remove(&finished.sequence).is_some()
        {
            self.above.insert(finished.sequence);
        }
    }

    fn advance(&mut self) {
        let lowest = self.above.ranges().next();
        if let Some((first, last)) = lowest
            && first <= self.handled.next()
        {
            self.handled = self.handled.max(last);
            self.above.remove_through(self.handled);
        }
    }

    /// The owner before has settled what it had in hand: what it did not finish is handed out
    /// here, marked, as far as it came along. The rest is over.
    pub(super) fn settled(&mut self, unfinished: &SequenceRanges, events: Vec<CarriedEvent>) {
        let held = std::mem::take(&mut self.held);
        let mut over = held.clone();
        for carried in events {
            let sequence = carried.sequence;
            let is_due = held.contains(sequence) && unfinished.contains(sequence);
            let event = serde_json::from_str(&carried.json).ok();
            if let Some(event) = event.filter(|_| is_due) {
                over.remove(sequence);
                self.hand_as(sequence, event, true);
            }
        }
        self.above.insert_all(&over);
        self.advance();
    }

    /// Whether nothing runs here.
    pub(super) fn rest(&self) -> bool {
        self.running.is_empty() && self.strays == 0
    }

    pub(super) const fn last(&self) -> Sequence {
        self.last
    }

    pub(super) const fn handled(&self) -> Sequence {
        self.handled
    }

    pub(super) const fn above(&self) -> &SequenceRanges {
        &self.above
    }

    /// Handed out and not finished, here or at the owner before.
    pub(super) fn in_doubt(&self) -> SequenceRanges {
        let mut all: SequenceRanges = self.running.keys().copied().collect();
        all.insert_all(&self.held);
        all
    }

    /// Of these events those that are here, for the next owner.
    pub(super) fn carried(&self, of: &SequenceRanges) -> Vec<CarriedEvent> {
        let here = self.running.iter();
        let here = here.filter(|(sequence, _)| of.contains(**sequence));
        here.filter_map(|(sequence, event)| {
            Some(CarriedEvent {
                sequence: *sequence,
                kind: event.kind.to_string(),
                json: serde_json::to_string(event).ok()?,
            })
        })
        .collect()
    }
}
