//! When this process may IDENTIFY: the Go master grants nothing, so the
//! pace is kept here. Pure: time is given.
//!
//! One IDENTIFY a bucket and window, a bucket being `shard % max_concurrency`,
//! lowest shard first; and a bound for a day, because a token that exceeds
//! Discord's limit loses every session and is reset.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use baton_protocol::ShardId;
use tokio::time::Instant;

/// Discord allows 1000 a day; bots of more than 450 shards are allowed more than
/// two for each.
const A_DAY: usize = 900;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a shard has to do with permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It waits for a permit.
    Permit,
    /// It was ordered to start, and has not asked yet.
    Soon,
    /// It has a session, or cannot get one.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This shard may IDENTIFY now; it counts as done.
    Permit(ShardId),
    /// Ask again then.
    At(Instant),
    /// Nobody waits.
    Nothing,
}

pub(super) struct Pace {
    max_concurrency: u32,
    window: Duration,
    budget: usize,
    /// When each bucket was used last.
    used: BTreeMap<u32, Instant>,
    /// The permits of the last 24 hours.
    day: VecDeque<Instant>,
    /// Until then no shard passes a lower one that has not asked yet.
    in_order: Option<Instant>,
}

impl Pace {
    pub(super) fn new(max_concurrency: u32, window: Duration, shards: u32) -> Self {
        Self {
            max_concurrency: max_concurrency.max(1),
            window,
            budget: A_DAY.max(2 * shards as usize),
            used: BTreeMap::new(),
            day: VecDeque::new(),
            in_order: None,
        }
    }

    /// Many shards were told to start: strictly in order until then. A shard that
    /// cannot reach Discord holds the others up no longer.
    pub(super) fn in_order(&mut self, until: Instant) {
        self.in_order = Some(until);
    }

    /// Whether the bound of a day is reached.
    pub(super) fn is_exhausted(&self) -> bool {
        self.day.len() >= self.budget
    }

    /// `shards` in their order.
    pub(super) fn next(
        &mut self,
        now: Instant,
        shards: impl IntoIterator<Item = (ShardId, Want)>,
    ) -> Next {
        while self.day.front().is_some_and(|used| now >= *used + DAY) {
            self.day.pop_front();
        }
        self.in_order = self.in_order.filter(|until| now < *until);
        let mut soonest: Option<Instant> = None;
        let mut wait = |until: Instant| {
            soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
        };
        for (shard, want) in shards {
            match (want, self.in_order) {
                (Want::Nothing, _) | (Want::Soon, None) => {}
                (Want::Soon, Some(until)) => {
                    wait(until);
                    break;
                }
                (Want::Permit, _) => {
                    let bucket = shard.get() % self.max_concurrency;
                    let free = self.used.get(&bucket).map(|used| *used + self.window);
                    let first = self.day.front().filter(|_| self.is_exhausted());
                    let until = [free, first.map(|used| *used + DAY)].into_iter().flatten();
                    match until.max().filter(|until| now < *until) {
                        Some(until) => wait(until),
                        None => {
                            self.used.insert(bucket, now);
                            self.day.push_back(now);
                            return Next::Permit(shard);
                        }
                    }
                }
            }
        }
        soonest.map_or(Next::Nothing, Next::At)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(5250);

    fn asking(shards: &[u32]) -> Vec<(ShardId, Want)> {
        shards
            .iter()
            .map(|shard| (ShardId(*shard), Want::Permit))
            .collect()
    }

    #[test]
    fn one_a_bucket_and_window_lowest_shard_first() {
        let mut pace = Pace::new(2, WINDOW, 5);
        let start = Instant::now();
        let mut waiting = asking(&[0, 1, 2, 3, 4]);
        let (mut now, mut granted) = (start, Vec::new());
        loop {
            match pace.next(now, waiting.clone()) {
                Next::Permit(shard) => {
                    waiting.retain(|(waits, _)| *waits != shard);
                    granted.push((shard.get(), now - start));
                }
                Next::At(then) => now = then,
                Next::Nothing => break,
            }
        }
        let zero = Duration::ZERO;
        let expected = [
            (0, zero),
            (1, zero),
            (2, WINDOW),
            (3, WINDOW),
            (4, WINDOW * 2),
        ];
        assert_eq!(granted, expected);
    }

    #[test]
    fn a_start_goes_in_order_and_is_held_up_for_a_while_only() {
        let mut pace = Pace::new(1, WINDOW, 2);
        let now = Instant::now();
        let until = now + Duration::from_secs(10);
        pace.in_order(until);
        let shards = [(ShardId(0), Want::Soon), (ShardId(1), Want::Permit)];
        assert_eq!(pace.next(now, shards), Next::At(until));
        assert_eq!(pace.next(until, shards), Next::Permit(ShardId(1)));
        assert_eq!(pace.next(until, [(ShardId(0), Want::Soon)]), Next::Nothing);
    }

    #[test]
    fn a_day_has_a_bound_and_a_new_day_begins() {
        let mut pace = Pace::new(1, Duration::ZERO, 1);
        let start = Instant::now();
        for _ in 0..A_DAY {
            assert!(!pace.is_exhausted());
            assert_eq!(pace.next(start, asking(&[0])), Next::Permit(ShardId(0)));
        }
        assert!(pace.is_exhausted());
        assert_eq!(pace.next(start, asking(&[0])), Next::At(start + DAY));
        let next = pace.next(start + DAY, asking(&[0]));
        assert_eq!(next, Next::Permit(ShardId(0)));
        assert_eq!(Pace::new(1, WINDOW, 600).budget, 1200);
    }
}
