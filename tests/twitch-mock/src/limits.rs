//! Limits on how often something may be done: a window that slides, and a bucket that
//! fills up again.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// How many; 0 means that there is no limit.
    pub count: u32,
    /// In how long.
    #[serde(with = "humantime_serde")]
    pub per: Duration,
}

impl Limit {
    /// `count` in `seconds` seconds.
    pub const fn new(count: u32, seconds: u64) -> Self {
        Self {
            count,
            per: Duration::from_secs(seconds),
        }
    }

    /// No limit.
    pub const NONE: Self = Self::new(0, 1);
}

/// What was done lately. It slides: at no time are there more than the limit allows
/// within the period that ends then.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Instant>);

impl Window {
    /// Whether one more is allowed now; it is counted only then.
    pub(crate) fn take(&mut self, now: Instant, limit: Limit) -> bool {
        if limit.count == 0 {
            return true;
        }
        while self
            .0
            .front()
            .is_some_and(|&first| now.duration_since(first) >= limit.per)
        {
            self.0.pop_front();
        }
        if self.0.len() >= limit.count as usize {
            return false;
        }
        self.0.push_back(now);
        true
    }
}

/// Points that come back evenly, as Helix counts them.
#[derive(Debug)]
pub(crate) struct Bucket {
    points: f64,
    at: Instant,
}

/// What a bucket says of itself, in the headers `Ratelimit-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Points {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until it is full.
    pub(crate) full_in: Duration,
    pub(crate) granted: bool,
}

impl Bucket {
    pub(crate) fn full(limit: Limit, now: Instant) -> Self {
        Self {
            points: f64::from(limit.count),
            at: now,
        }
    }

    /// Takes a point if there is one.
    pub(crate) fn take(&mut self, now: Instant, limit: Limit) -> Points {
        let most = f64::from(limit.count);
        let a_second = most / limit.per.as_secs_f64().max(0.001);
        let back = now.duration_since(self.at).as_secs_f64() * a_second;
        self.points = (self.points + back).min(most);
        self.at = now;
        let granted = limit.count == 0 || self.points >= 1.0;
        if granted && limit.count > 0 {
            self.points -= 1.0;
        }
        Points {
            limit: limit.count,
            // Never negative, and at most a u32: see `most`.
            remaining: self.points.floor() as u32,
            full_in: Duration::from_secs_f64((most - self.points) / a_second.max(0.001)),
            granted,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_slides_instead_of_starting_anew() {
        let limit = Limit::new(2, 10);
        let mut window = Window::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(window.take(at(0), limit));
        assert!(window.take(at(9), limit));
        assert!(!window.take(at(9), limit), "the third in ten seconds");
        assert!(window.take(at(10), limit), "the first has left the window");
        assert!(!window.take(at(18), limit), "that of second 9 has not");
        assert!(window.take(at(19), limit));
    }

    #[tokio::test(start_paused = true)]
    async fn points_come_back_evenly() {
        let limit = Limit::new(60, 60);
        let start = Instant::now();
        let mut bucket = Bucket::full(limit, start);
        for left in (0..60).rev() {
            assert_eq!(bucket.take(start, limit).remaining, left);
        }
        assert!(!bucket.take(start, limit).granted);
        let later = bucket.take(start + Duration::from_secs(2), limit);
        assert!(later.granted);
        assert_eq!(later.remaining, 1);
        assert_eq!(later.full_in, Duration::from_secs(59));
    }
}
