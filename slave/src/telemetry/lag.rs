//! For how long the oldest event that is not finished has been here: what an
//! operator sees first when a handler hangs.
//!
//! Each shard samples what it received when it makes a checkpoint, so it costs
//! nothing for each event, and is right to a checkpoint's interval.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_protocol::{Sequence, ShardId};
use tokio::time::Instant;

/// Samples of one shard: where a handler hangs, later ones add nothing.
const MOST: usize = 64;

/// Since when each shard's oldest unfinished event has been here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lag(Arc<Mutex<BTreeMap<ShardId, Instant>>>);

/// What one shard received, and when.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    generation: u64,
    seen: VecDeque<(Sequence, Instant)>,
}

impl Lag {
    /// The longest, over those shards that count.
    pub(crate) fn read(&self, counts: impl Fn(ShardId) -> bool) -> Duration {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = since.iter().filter(|(shard, _)| counts(**shard));
        let oldest = since.map(|(_, since)| *since).min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set(&self, shard: ShardId, oldest: Option<Instant>) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match oldest {
            Some(oldest) => since.insert(shard, oldest),
            None => since.remove(&shard),
        };
    }
}

impl Samples {
    /// A shard received everything up to one sequence of its session, and finished
    /// everything up to another.
    pub(crate) fn note(
        &mut self,
        lag: &Lag,
        shard: ShardId,
        generation: u64,
        received: Sequence,
        handled: Sequence,
    ) {
        if generation != self.generation {
            *self = Self {
                generation,
                seen: VecDeque::new(),
            };
        }
        let mut since = Instant::now();
        while let Some((sequence, at)) = self.seen.front().copied()
            && sequence <= handled
        {
            self.seen.pop_front();
            // What came after it and before the next one is younger.
            since = at;
        }
        let newest = self.seen.back().map_or(handled, |(sequence, _)| *sequence);
        if received > newest && self.seen.len() < MOST {
            let now = Instant::now();
            let at = if self.seen.is_empty() { since } else { now };
            self.seen.push_back((received, at));
        }
        lag.set(shard, self.seen.front().map(|(_, at)| *at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);

    #[tokio::test(start_paused = true)]
    async fn the_oldest_event_that_is_not_finished_counts_and_grows_older_by_itself() {
        let (lag, mut samples) = (Lag::default(), Samples::default());
        let mut note = |received, handled| {
            samples.note(&lag, SHARD, 1, Sequence(received), Sequence(handled));
        };
        note(10, 10);
        assert_eq!(lag.read(|_| true), Duration::ZERO);
        note(12, 10);
        second().await;
        note(20, 10);
        second().await;
        assert_eq!(lag.read(|_| true), Duration::from_secs(2));
        assert_eq!(lag.read(|_| false), Duration::ZERO, "it is not served here");
        note(20, 12);
        assert_eq!(lag.read(|_| true), Duration::from_secs(1));
        note(20, 20);
        assert_eq!(lag.read(|_| true), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn another_session_begins_anew() {
        let (lag, mut samples) = (Lag::default(), Samples::default());
        samples.note(&lag, SHARD, 1, Sequence(900), Sequence(800));
        second().await;
        samples.note(&lag, SHARD, 2, Sequence(1), Sequence(1));
        assert_eq!(lag.read(|_| true), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_hangs_costs_no_memory() {
        let (lag, mut samples) = (Lag::default(), Samples::default());
        for received in 2..10_000 {
            samples.note(&lag, SHARD, 1, Sequence(received), Sequence(1));
        }
        assert_eq!(samples.seen.len(), MOST);
    }

    async fn second() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}
