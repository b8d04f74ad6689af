//! What a task leaves behind that panicked: the way of its orders, and the events that are
//! not finished, with their payloads. Nothing else of it is trusted.

use std::collections::BTreeMap;

use baton_protocol::{
    Sequence, SequenceRanges,
    message::{CarriedEvent, Settled},
};
use tokio::sync::mpsc;

use super::order::Order;
use crate::bot::Event;

/// See the module.
#[derive(Debug)]
pub(crate) struct Left {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) unfinished: BTreeMap<Sequence, Event>,
}

impl Left {
    /// There was no task before.
    pub(crate) const fn nothing(orders: mpsc::Receiver<Order>) -> Self {
        Self {
            orders,
            unfinished: BTreeMap::new(),
        }
    }

    /// A task had these orders before it, and these events in hand.
    pub(crate) const fn of(
        orders: mpsc::Receiver<Order>,
        unfinished: BTreeMap<Sequence, Event>,
    ) -> Self {
        Self { orders, unfinished }
    }

    /// For the next task.
    pub(crate) fn into_orders(self) -> mpsc::Receiver<Order> {
        self.orders
    }

    /// Such a task had these in hand.
    #[cfg(test)]
    pub(crate) fn with(mut self, events: Vec<Event>) -> Self {
        let event = |event: Event| (event.sequence(), event);
        self.unfinished.extend(events.into_iter().map(event));
        self
    }

    /// The payloads of these, for the next owner.
    pub(crate) fn carried(&self, of: &SequenceRanges) -> Vec<CarriedEvent> {
        let events = self.unfinished.values();
        carried(events.filter(|event| of.contains(event.sequence())))
    }
}

/// Of these events as many as go into one message, for the next owner, the oldest first.
pub(super) fn carried<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<CarriedEvent> {
    let mut room = Settled::MAX_BYTES;
    let fits = |event: &&Event| {
        let left = room.checked_sub(event.json().len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    events
        .take_while(fits)
        .take(Settled::MAX_EVENTS)
        .map(Event::carried)
        .collect()
}
