//! How much later events were handled because of a migration.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::records::{Handled, Sent};

/// Median, 99th percentile and maximum, in milliseconds; null without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile (nearest rank).
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl Spread {
    /// Of values in microseconds.
    #[must_use]
    pub fn of_us(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.max(1) - 1).map(|us| *us as f64 / 1000.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// From the seal request to RESUMED, in microseconds of the host's monotonic
/// clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The seal was asked for.
    pub sealed_us: u64,
    /// Discord said RESUMED.
    pub resumed_us: u64,
}

/// When each event of one shard was created and finished, by creation.
#[derive(Debug, Default)]
pub struct Timeline {
    events: Vec<(u64, u64)>,
}

/// The median before a seal is taken over this long.
const BEFORE_US: u64 = 2_000_000;

impl Timeline {
    /// One for each shard.
    #[must_use]
    pub fn of(sent: &[Sent], handled: &[Handled]) -> BTreeMap<u32, Self> {
        let mut finished: BTreeMap<(Arc<str>, u64), u64> = BTreeMap::new();
        for event in handled {
            let first = finished.entry(event.key()).or_insert(event.finished_us);
            *first = (*first).min(event.finished_us);
        }
        let mut shards: BTreeMap<u32, Self> = BTreeMap::new();
        for dispatch in sent {
            if let Some(finished) = finished.get(&dispatch.key()) {
                let shard = shards.entry(dispatch.shard).or_default();
                shard.events.push((dispatch.created_us, *finished));
            }
        }
        for shard in shards.values_mut() {
            shard.events.sort_unstable();
        }
        shards
    }

    /// Of one shard: when each event was created and finished.
    #[must_use]
    pub fn of_pairs(mut events: Vec<(u64, u64)>) -> Self {
        events.sort_unstable();
        Self { events }
    }

    /// The gap, in microseconds: the largest delay of an event created in the
    /// interval, less the usual one. `None` if no event was created in the interval,
    /// or none was finished before it.
    #[must_use]
    pub fn gap_us(&self, interval: Interval) -> Option<i64> {
        let largest = self
            .created(interval.sealed_us, interval.resumed_us + 1)
            .iter()
            .map(delay)
            .max()?;
        Some(largest - self.usual_us(interval.sealed_us)?)
    }

    /// The median delay of what was created in the two seconds before and finished by
    /// then; where nothing was, that of the last event before.
    fn usual_us(&self, before_us: u64) -> Option<i64> {
        let finished = |(_, finished): &&(u64, u64)| *finished < before_us;
        let last = self.created(before_us.saturating_sub(BEFORE_US), before_us);
        let mut delays: Vec<i64> = last.iter().filter(finished).map(delay).collect();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied().or_else(|| {
            let all = self.created(0, before_us).iter();
            all.rev().find(finished).map(delay)
        })
    }

    /// The longest time between two handled events around the interval, in
    /// microseconds.
    #[must_use]
    pub fn silence_us(&self, interval: Interval, margin_us: u64) -> Option<i64> {
        let from = interval.sealed_us.saturating_sub(margin_us);
        let to = interval.resumed_us.saturating_add(margin_us);
        let mut finished: Vec<u64> = self
            .events
            .iter()
            .map(|(_, finished)| *finished)
            .filter(|finished| (from..=to).contains(finished))
            .collect();
        finished.sort_unstable();
        finished
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as i64)
            .max()
    }

    /// The gap of intervals in which nothing moved: what the measurement itself
    /// and the machine add.
    pub fn noise_us(
        &self,
        quiet: Interval,
        length_us: u64,
        count: usize,
        random: &mut impl Rng,
    ) -> Vec<i64> {
        let Some(room) = quiet
            .resumed_us
            .checked_sub(length_us)
            .filter(|end| *end > quiet.sealed_us)
        else {
            return Vec::new();
        };
        (0..count)
            .filter_map(|_| {
                let sealed_us = random.random_range(quiet.sealed_us..room);
                self.gap_us(Interval {
                    sealed_us,
                    resumed_us: sealed_us + length_us,
                })
            })
            .collect()
    }

    fn created(&self, from: u64, to: u64) -> &[(u64, u64)] {
        let first = self.events.partition_point(|(created, _)| *created < from);
        let last = self.events.partition_point(|(created, _)| *created < to);
        &self.events[first..last.max(first)]
    }
}

fn delay((created, finished): &(u64, u64)) -> i64 {
    finished.cast_signed() - created.cast_signed()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const MOVE: Interval = Interval {
        sealed_us: 3_000_000,
        resumed_us: 3_050_000,
    };

    #[test]
    fn the_gap_is_the_largest_delay_less_the_usual_one() {
        let line = every_millisecond(0..6000, |created| {
            if (3_000_000..3_050_000).contains(&created) {
                3_060_000
            } else {
                created + 200
            }
        });
        assert_eq!(line.gap_us(MOVE), Some(60_000 - 200));
    }

    #[test]
    fn a_shard_without_an_event_in_the_interval_is_not_measured() {
        let line = every_millisecond(0..2000, |created| created + 200);
        assert_eq!(line.gap_us(MOVE), None);
    }

    #[test]
    fn slow_handlers_are_no_gap() {
        let line = every_millisecond(0..6000, |created| created + 200_000);
        assert_eq!(line.gap_us(MOVE), Some(0));
    }

    #[test]
    fn what_is_usual_of_a_quiet_shard_is_what_its_last_event_took() {
        let of = |events: &[(u64, u64)]| Timeline::of_pairs(events.to_vec()).gap_us(MOVE);
        let moved = (3_010_000, 3_260_000);
        // One that was on its way at the seal is late itself.
        let caught = (2_990_000, 3_260_000);
        assert_eq!(of(&[(500_000, 725_000), caught, moved]), Some(25_000));
        assert_eq!(of(&[caught, moved]), None, "nothing is known of it");
    }

    #[test]
    fn silence_is_the_longest_pause_between_two_handled_events() {
        let line = every_millisecond(0..6000, |created| {
            created.max(3_060_000).min(created + 61_000)
        });
        assert!(line.silence_us(MOVE, 200_000) >= Some(1_000));
        let paused = every_millisecond(0..6000, |created| {
            if (3_000_000..3_050_000).contains(&created) {
                3_060_000
            } else {
                created
            }
        });
        assert_eq!(paused.silence_us(MOVE, 200_000), Some(51_000));
    }

    #[test]
    fn quiet_intervals_show_the_noise_only() {
        let line = every_millisecond(0..6000, |created| {
            created + 200 + created % 3000 / 1000 * 50
        });
        let quiet = Interval {
            sealed_us: 0,
            resumed_us: 5_000_000,
        };
        let noise = line.noise_us(quiet, 50_000, 20, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(noise.len(), 20);
        assert!(noise.iter().all(|us| (0..=100).contains(us)), "{noise:?}");
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let spread = Spread::of_us((1..=200).map(|ms| ms * 1000).collect());
        assert_eq!(
            (spread.p50, spread.p99, spread.max),
            (Some(100.0), Some(198.0), Some(200.0))
        );
        assert_eq!(Spread::of_us(Vec::new()), Spread::default());
    }

    fn every_millisecond(span: std::ops::Range<u64>, finished: impl Fn(u64) -> u64) -> Timeline {
        Timeline {
            events: span
                .map(|ms| ms * 1000)
                .map(|created| (created, finished(created)))
                .collect(),
        }
    }
}
