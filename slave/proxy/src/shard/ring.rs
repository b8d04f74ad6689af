//! The events of a shard that a client may yet need. Pure.
//!
//! ```text
//!   history             open: not acknowledged, or above something that is not
//!  ┌─────────────┬───────────────────────────────────┐
//!  first   acknowledged                            last
//! ```
//!
//! The numbers are the ring's own and contiguous. What is open is never dropped for room:
//! without room nothing more is taken, which holds Discord back. History is, for room of
//! anybody's.

use std::collections::VecDeque;

use baton_protocol::{Sequence, SequenceRanges};
use tokio::time::Instant;

use super::{
    budget::{Budget, Part},
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
    part: Part,
}

impl Ring {
    /// Empty, with `last` as the number before the first.
    pub(crate) fn new(last: u64, limit: usize, history: usize, budget: &Budget) -> Self {
        Self {
            items: VecDeque::new(),
            acknowledged: last,
            handled: SequenceRanges::new(),
            last,
            open_bytes: 0,
            bytes: 0,
            limit,
            history,
            part: budget.part(),
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

    /// When the oldest event came that is not acknowledged.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.above(self.acknowledged).next().map(|item| item.came)
    }

    /// Whether one more event is taken. One always is where nothing is open: an event of
    /// any size gets through.
    pub(crate) fn has_room(&self) -> bool {
        self.open_bytes == 0 || (self.open_bytes < self.limit && self.part.has_room())
    }

    /// Gives the next number to this.
    pub(crate) fn push(&mut self, body: Body, came: Instant) -> u64 {
        self.last += 1;
        let number = self.last;
        let item = Item { number, came, body };
        let cost = item.cost();
        self.items.push_back(item);
        self.open_bytes += cost;
        self.bytes += cost;
        self.trim();
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

    /// Something came with a number that was left out. `false`: it was not, or nothing is known
    /// of it any more.
    pub(crate) fn fills_hole(&mut self, number: u64) -> bool {
        let at = self.items.partition_point(|item| item.number < number);
        let item = self.items.get_mut(at);
        let Some(item) = item.filter(|item| item.number == number) else {
            return false;
        };
        let was_hole = matches!(item.body, Body::Hole);
        if was_hole {
            item.body = Body::Filler;
        }
        was_hole
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

    /// Drops what is history and more than is kept, or than the others leave room for.
    pub(crate) fn trim(&mut self) {
        let most = self.history.min(self.part.history());
        while self.bytes - self.open_bytes > most
            && let Some(oldest) = self.items.front()
            && oldest.number <= self.acknowledged
        {
            self.bytes -= oldest.cost();
            self.items.pop_front();
        }
        let history = self.bytes - self.open_bytes;
        self.part.has(self.open_bytes, history);
    }

    /// Gives up everything, open or not. Says how many events were open, and which numbers.
    pub(crate) fn give_up(&mut self) -> (u64, Vec<(u64, u64)>) {
        let open = self.above(self.acknowledged);
        let lost = open
            .filter(|item| matches!(item.body, Body::Event(_)) && !self.is_handled(item.number));
        let lost = lost.count() as u64;
        let new = self.acknowledge(self.last);
        self.bytes = 0;
        self.items.clear();
        self.part.has(0, 0);
        (lost, new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::item::Event, *};
    use crate::upstream::Dispatch;

    /// Of a payload of so many bytes.
    fn event(bytes: usize) -> Body {
        let text = "x".repeat(bytes.saturating_sub(8));
        let event = Event::read(&Dispatch {
            sequence: Sequence(0),
            kind: "E".to_owned(),
            json: format!(r#"{{"d":"{text}"}}"#).into(),
        });
        Body::Event(Arc::new(event.expect("a payload")))
    }

    fn fill(ring: &mut Ring, events: usize, bytes: usize) {
        for _ in 0..events {
            ring.push(event(bytes), Instant::now());
        }
    }

    fn ring(limit: usize, history: usize) -> Ring {
        Ring::new(100, limit, history, &Budget::new(1 << 20))
    }

    #[test]
    fn what_is_open_is_kept_however_full_the_ring_is() {
        let mut ring = ring(4000, 0);
        let mut pushed = 0;
        while ring.has_room() {
            ring.push(event(500), Instant::now());
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
        ring.push(event(5000), Instant::now());
        assert!(!ring.has_room());
        ring.acknowledge(101);
        assert!(ring.has_room());
    }

    #[test]
    fn history_is_kept_as_long_as_there_is_room_for_it() {
        let mut ring = ring(10_000, 2100);
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
        let budget = Budget::new(4000);
        budget.is_for(2);
        let mut one = Ring::new(0, 1 << 20, 0, &budget);
        let mut two = Ring::new(0, 1 << 20, 0, &budget);
        fill(&mut one, 1, 4000);
        assert!(!one.has_room());
        fill(&mut two, 1, 100);
        assert!(two.has_room(), "half of it is divided equally");
        fill(&mut two, 1, 400);
        assert!(!two.has_room());
        drop(one);
        assert!(two.has_room());
        two.acknowledge(2);
        assert_eq!(budget.used(), (0, 0));
    }

    /// 1,024 shards with as much history as is kept, at the limit of all.
    #[test]
    fn history_holds_nobody_back() {
        let budget = Budget::new(1 << 20);
        budget.is_for(1024);
        let mut rings: Vec<Ring> = (0..1024)
            .map(|_| Ring::new(0, 1 << 14, 1 << 10, &budget))
            .collect();
        for ring in &mut rings {
            fill(ring, 8, 400);
            ring.acknowledge(8);
        }
        let (open, history) = budget.used();
        assert!(open == 0 && history > 800 << 10, "{history}");
        for ring in &mut rings[..32] {
            while ring.has_room() {
                fill(ring, 1, 64);
            }
            assert!(ring.bytes().0 >= 1 << 14, "{:?}", ring.bytes());
        }
        rings.iter_mut().for_each(Ring::trim);
        let (open, history) = budget.used();
        assert!(open + history <= 1 << 20, "{open} {history}");
    }

    /// Whatever rings come, go, take in and acknowledge: all is within the limit, but for the
    /// event that reaches it, and a ring below its part has room.
    #[test]
    fn no_ring_takes_what_is_another_s() {
        for seed in 1..=200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut below = |bound: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random >> 16).unwrap_or(0) % bound
            };
            let (limit, largest) = (200_000, 1500);
            let budget = Budget::new(limit);
            budget.is_for(40);
            let mut rings: Vec<Ring> = Vec::new();
            for _ in 0..3000 {
                // Some never acknowledge.
                let count = rings.len();
                let at = below(count + 1);
                match (below(8), rings.get_mut(at)) {
                    (0, None) if count < 40 => {
                        rings.push(Ring::new(0, 40_000, 5000, &budget));
                    }
                    (1, Some(_)) if count > 20 => drop(rings.swap_remove(at)),
                    (2, Some(ring)) if !at.is_multiple_of(3) => {
                        ring.acknowledge(ring.last() - ring.open() / 2);
                    }
                    (3..8, Some(ring)) if ring.has_room() => {
                        fill(ring, 1, below(largest - 600));
                    }
                    _ => {}
                }
                // As each shard does now and then.
                rings.iter_mut().for_each(Ring::trim);
                let part = limit / 2 / 40;
                for ring in &rings {
                    let open = ring.bytes().0;
                    let has_room = ring.has_room();
                    assert!(open >= part || has_room, "seed {seed}: {open} of {part}");
                }
                let (open, history) = budget.used();
                let most = limit + rings.len() * largest;
                assert!(open <= most, "seed {seed}: {open}");
                assert!(open + history <= most, "seed {seed}: {history}");
            }
            let sums = rings.iter().map(Ring::bytes);
            let sums = sums.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1 - of.0));
            assert_eq!(budget.used(), sums, "seed {seed}");
        }
    }
}
