//! The events of a shard that a client may yet need. Pure.
//!
//! ```text
//!   history             open: not acknowledged, or above something that is not
//!  ┌─────────────┬───────────────────────────────────┐
//!  first   acknowledged                            last
//! ```
//!
//! The numbers are the ring's own and contiguous. What is open is never dropped for room:
//! without room nothing more is taken, which holds Discord back. History is.

use std::collections::VecDeque;

use baton_protocol::{Sequence, SequenceRanges};

use super::{
    budget::Budget,
    item::{Body, Item},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ring {
    items: VecDeque<Item>,
    /// Every number up to here is acknowledged.
    acknowledged: u64,
    /// Above it: those that a client says it has handled out of order.
    handled: SequenceRanges,
    last: u64,
    open_bytes: usize,
    bytes: usize,
    limit: usize,
    history: usize,
    budget: Budget,
}

impl Ring {
    /// Empty, with `last` as the number before the first.
    pub(crate) fn new(last: u64, limit: usize, history: usize, budget: Budget) -> Self {
        Self {
            items: VecDeque::new(),
            acknowledged: last,
            handled: SequenceRanges::new(),
            last,
            open_bytes: 0,
            bytes: 0,
            limit,
            history,
            budget,
        }
    }

    /// The last number that was given.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Every number up to here is acknowledged.
    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether a client that has received everything up to `number` misses nothing.
    pub(crate) fn reaches(&self, number: u64) -> bool {
        let first = self.items.front().map_or(self.last + 1, |item| item.number);
        (first.saturating_sub(1)..=self.last).contains(&number)
    }

    /// Bytes of what is open, and of everything.
    pub(crate) const fn bytes(&self) -> (usize, usize) {
        (self.open_bytes, self.bytes)
    }

    /// How many numbers are open.
    pub(crate) fn open(&self) -> u64 {
        self.last - self.acknowledged
    }

    /// Whether one more event is taken. One always is where nothing is open: an event of
    /// any size gets through.
    pub(crate) fn has_room(&self) -> bool {
        self.open_bytes == 0 || (self.open_bytes < self.limit && self.budget.has_room())
    }

    /// Gives the next number to this.
    pub(crate) fn push(&mut self, body: Body) -> u64 {
        self.last += 1;
        let number = self.last;
        let item = Item { number, body };
        let cost = item.cost();
        self.items.push_back(item);
        self.open_bytes += cost;
        self.bytes += cost;
        self.budget.take(cost);
        if mutant!("ring-trimmed-by-count") && self.items.len() > 2 {
            self.items.pop_front();
        }
        number
    }

    /// The items above `number`, ascending.
    pub(crate) fn above(&self, number: u64) -> impl Iterator<Item = &Item> {
        let at = self.items.partition_point(|item| item.number <= number);
        self.items.range(at..)
    }

    /// Whether a client said that it has handled this one, out of order.
    pub(crate) fn is_handled(&self, number: u64) -> bool {
        self.handled.contains(Sequence(number))
    }

    /// Everything up to `through` is acknowledged. Says which numbers were not before.
    pub(crate) fn acknowledge(&mut self, through: u64) -> Vec<(u64, u64)> {
        let through = through.min(self.last);
        if through <= self.acknowledged {
            return Vec::new();
        }
        let new = self.not_handled(self.acknowledged + 1, through);
        self.move_to(through);
        self.fold();
        new
    }

    /// These are handled, in whichever order. Says which were not before.
    pub(crate) fn handle(&mut self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let (first, last) = (first.max(self.acknowledged + 1), last.min(self.last));
        if first > last {
            return Vec::new();
        }
        let new = self.not_handled(first, last);
        self.handled.insert_range(Sequence(first), Sequence(last));
        self.fold();
        new
    }

    /// The numbers of a range that are not in `handled`.
    fn not_handled(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut range = SequenceRanges::new();
        range.insert_range(Sequence(first), Sequence(last));
        let new = range.without(&self.handled);
        new.ranges()
            .map(|(first, last)| (first.get(), last.get()))
            .collect()
    }

    fn fold(&mut self) {
        let first = self.handled.ranges().next();
        if let Some((first, last)) = first
            && first.get() <= self.acknowledged + 1
        {
            self.move_to(last.get());
        }
        self.handled.remove_through(Sequence(self.acknowledged));
    }

    fn move_to(&mut self, through: u64) {
        if through <= self.acknowledged {
            return;
        }
        let from = self.acknowledged;
        let closed = self.above(from).take_while(|item| item.number <= through);
        let closed: usize = closed.map(Item::cost).sum();
        self.acknowledged = through;
        self.open_bytes -= closed;
        self.trim();
    }

    /// Drops what is history and more than is kept.
    fn trim(&mut self) {
        while self.bytes - self.open_bytes > self.history
            && let Some(oldest) = self.items.front()
            && oldest.number <= self.acknowledged
        {
            let cost = oldest.cost();
            self.bytes -= cost;
            self.budget.give_back(cost);
            self.items.pop_front();
        }
    }

    /// Gives up everything, open or not. Says how many events were open, and which numbers.
    pub(crate) fn give_up(&mut self) -> (u64, Vec<(u64, u64)>) {
        let open = self.above(self.acknowledged);
        let lost = open
            .filter(|item| matches!(item.body, Body::Event(_)) && !self.is_handled(item.number));
        let lost = lost.count() as u64;
        let new = self.acknowledge(self.last);
        self.budget.give_back(self.bytes);
        self.bytes = 0;
        self.items.clear();
        (lost, new)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::item::{Event, OfNote},
        *,
    };

    fn event(bytes: usize) -> Body {
        Body::Event(Arc::new(Event {
            kind: "E".into(),
            data: "x".repeat(bytes).into(),
            of_note: OfNote::Nothing,
        }))
    }

    fn fill(ring: &mut Ring, events: usize, bytes: usize) {
        for _ in 0..events {
            ring.push(event(bytes));
        }
    }

    fn ring(limit: usize, history: usize) -> Ring {
        Ring::new(100, limit, history, Budget::new(1 << 20))
    }

    #[test]
    fn what_is_open_is_kept_however_full_the_ring_is() {
        let mut ring = ring(2000, 0);
        let mut pushed = 0;
        while ring.has_room() {
            ring.push(event(500));
            pushed += 1;
        }
        assert_eq!(pushed, 4, "the one that makes it full is still taken");
        assert_eq!(ring.above(100).count(), 4);
        assert_eq!(ring.acknowledge(102), [(101, 102)]);
        assert!(ring.has_room());
        assert_eq!(ring.above(0).next().map(|item| item.number), Some(103));
        assert!(ring.reaches(102) && !ring.reaches(101));
        assert_eq!(ring.acknowledge(102), [], "once");
        assert_eq!(
            ring.acknowledge(1000),
            [(103, 104)],
            "as far as there is something"
        );
        assert_eq!(ring.bytes(), (0, 0));
    }

    #[test]
    fn an_event_above_every_limit_gets_through() {
        let mut ring = ring(10, 0);
        assert!(ring.has_room());
        ring.push(event(5000));
        assert!(!ring.has_room());
        ring.acknowledge(101);
        assert!(ring.has_room());
    }

    #[test]
    fn history_is_kept_as_long_as_there_is_room_for_it() {
        let mut ring = ring(10_000, 1400);
        fill(&mut ring, 6, 500);
        ring.acknowledge(105);
        assert!(ring.reaches(103) && !ring.reaches(102), "two are kept");
        assert!(!ring.reaches(107), "and what was never there is not");
    }

    #[test]
    fn what_is_handled_out_of_order_counts_once_and_moves_the_rest_on() {
        let mut ring = ring(100_000, 0);
        fill(&mut ring, 10, 1);
        assert_eq!(ring.handle(103, 104), [(103, 104)]);
        assert_eq!(ring.handle(102, 105), [(102, 102), (105, 105)]);
        assert_eq!(ring.acknowledged(), 100);
        assert!(ring.is_handled(104));
        assert_eq!(ring.handle(101, 101), [(101, 101)]);
        assert_eq!(ring.acknowledged(), 105);
        assert_eq!(ring.handle(90, 105), []);
        assert_eq!(ring.handle(108, 108), [(108, 108)]);
        assert_eq!(ring.acknowledge(109), [(106, 107), (109, 109)]);
        assert_eq!(ring.open(), 1);
        let (lost, new) = ring.give_up();
        assert_eq!((lost, new), (1, vec![(110, 110)]));
        assert_eq!((ring.acknowledged(), ring.last()), (110, 110));
    }

    #[test]
    fn all_rings_share_one_limit_and_give_back_what_they_had() {
        let budget = Budget::new(1000);
        let mut one = Ring::new(0, 1 << 20, 0, budget.clone());
        let mut two = Ring::new(0, 1 << 20, 0, budget.clone());
        one.push(event(1000));
        assert!(!one.has_room());
        assert!(two.has_room(), "one event of each shard is always taken");
        two.push(event(1));
        assert!(!two.has_room());
        drop(one);
        assert!(two.has_room());
        two.acknowledge(1);
        assert_eq!(budget.used(), 0);
    }
}
