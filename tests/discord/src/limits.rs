//! Discord's budget of IDENTIFYs: per window and per day.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{config::DiscordConfig, error::Error};

/// The IDENTIFY budget of the application: all shards, all tokens together.
#[derive(Debug)]
pub(crate) struct Identifies {
    max_concurrency: u32,
    window: Duration,
    limit: u32,
    reset: Duration,
    used: u32,
    since: Instant,
    /// When each bucket was last taken.
    buckets: BTreeMap<u32, Instant>,
}

/// The answer to an IDENTIFY that asks for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Granted,
    /// The bucket of the shard is still taken.
    Concurrency,
    /// The session start limit is used up.
    Exhausted,
}

/// `session_start_limit` of `GET /gateway/bot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartLimit {
    pub(crate) total: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_after: Duration,
    pub(crate) max_concurrency: u32,
}

impl Identifies {
    pub(crate) fn new(config: &DiscordConfig) -> Self {
        Self {
            max_concurrency: config.max_concurrency,
            window: config.identify_window,
            limit: config.session_start_limit,
            reset: config.session_start_reset,
            used: 0,
            since: Instant::now(),
            buckets: BTreeMap::new(),
        }
    }

    /// Asks for one IDENTIFY of `shard`. Only a granted one takes its bucket.
    /// `refused_counts`: whether one that is refused for its bucket counts off the
    /// session start limit.
    pub(crate) fn ask(&mut self, shard: u32, refused_counts: bool) -> Permit {
        self.renew();
        let bucket = shard % self.max_concurrency;
        let taken = self
            .buckets
            .get(&bucket)
            .is_some_and(|at| at.elapsed() < self.window);
        if taken && !refused_counts {
            return Permit::Concurrency;
        }
        if self.used >= self.limit {
            return Permit::Exhausted;
        }
        if taken {
            self.used += 1;
            return Permit::Concurrency;
        }
        self.used += 1;
        self.buckets.insert(bucket, Instant::now());
        Permit::Granted
    }

    /// Counts one IDENTIFY that was refused for another reason.
    pub(crate) fn count_refused(&mut self) -> Permit {
        self.renew();
        if self.used >= self.limit {
            return Permit::Exhausted;
        }
        self.used += 1;
        Permit::Granted
    }

    /// Sets how many IDENTIFYs are left.
    pub(crate) fn leave(&mut self, left: u32) -> Result<(), Error> {
        if left > self.limit {
            return Err(Error::invalid(format!(
                "identifies_left is {left}: the session start limit is {}",
                self.limit
            )));
        }
        self.renew();
        self.used = self.limit - left;
        Ok(())
    }

    pub(crate) fn start_limit(&mut self) -> StartLimit {
        self.renew();
        StartLimit {
            total: self.limit,
            remaining: self.limit - self.used.min(self.limit),
            reset_after: self.reset.saturating_sub(self.since.elapsed()),
            max_concurrency: self.max_concurrency,
        }
    }

    fn renew(&mut self) {
        if self.since.elapsed() >= self.reset {
            self.used = 0;
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Identifies, Permit};
    use crate::config::DiscordConfig;

    #[tokio::test(start_paused = true)]
    async fn the_legal_pace_is_one_identify_per_bucket_and_five_seconds() {
        let mut identifies = Identifies::new(&DiscordConfig {
            max_concurrency: 2,
            ..DiscordConfig::default()
        });
        assert_eq!(identifies.ask(0, false), Permit::Granted);
        assert_eq!(identifies.ask(1, false), Permit::Granted, "another bucket");
        assert_eq!(
            identifies.ask(2, false),
            Permit::Concurrency,
            "2 % 2 is bucket 0"
        );
        advance(Duration::from_millis(4999)).await;
        assert_eq!(identifies.ask(2, false), Permit::Concurrency);
        advance(Duration::from_millis(1)).await;
        assert_eq!(identifies.ask(2, false), Permit::Granted);
        assert_eq!(
            identifies.start_limit().remaining,
            997,
            "a refused one is free"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refused_identifies_count_only_where_that_is_switched_on() {
        let mut identifies = Identifies::new(&DiscordConfig::default());
        assert_eq!(identifies.ask(0, true), Permit::Granted);
        assert_eq!(identifies.ask(0, true), Permit::Concurrency);
        assert_eq!(identifies.start_limit().remaining, 998);
        identifies.leave(1).unwrap();
        assert_eq!(identifies.ask(0, true), Permit::Concurrency);
        assert_eq!(identifies.ask(0, true), Permit::Exhausted);
        assert_eq!(identifies.ask(0, false), Permit::Concurrency);
        assert!(identifies.leave(1001).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_session_start_limit_is_counted_down_and_renewed_after_a_day() {
        let mut identifies = Identifies::new(&DiscordConfig {
            session_start_limit: 2,
            identify_window: Duration::ZERO,
            ..DiscordConfig::default()
        });
        assert_eq!(identifies.ask(0, false), Permit::Granted);
        assert_eq!(identifies.ask(0, false), Permit::Granted);
        assert_eq!(identifies.ask(0, false), Permit::Exhausted);
        advance(Duration::from_secs(24 * 3600 - 1)).await;
        assert_eq!(identifies.start_limit().remaining, 0);
        advance(Duration::from_secs(1)).await;
        assert_eq!(identifies.start_limit().remaining, 2);
    }
}
