//! When a lost connection is dialled again, and at which address.
//!
//! twilight has no pause of its own after connections that are accepted and then
//! closed; so the pauses are ours: the first reconnect at once, then 1 s doubling
//! up to 60 s, each with jitter. RESUMEs are bounded by the same pace.

use std::time::Duration;

use tokio::time::Instant;

use super::gateway::{End, Url};
use crate::config::Timings;

/// The memory of one shard's dialling.
#[derive(Debug)]
pub(crate) struct Redial {
    failures: u32,
    url: Url,
    /// Since when the connection serves.
    serving: Option<Instant>,
}

impl Redial {
    pub(crate) const fn new() -> Self {
        Self {
            failures: 0,
            url: Url::OfSession,
            serving: None,
        }
    }

    /// Where the next dial goes.
    pub(crate) const fn url(&self) -> Url {
        self.url
    }

    /// READY or RESUMED came.
    pub(crate) fn serving(&mut self) {
        self.serving = Some(Instant::now());
    }

    /// A replay was cut short, and was on its way: trying once more is no failure.
    pub(crate) fn advanced(&mut self) {
        self.failures = 0;
    }

    /// A connection ended; how long to wait before the next dial.
    pub(crate) fn ended(&mut self, end: &End, timings: &Timings) -> Duration {
        let served = self.serving.take();
        if served.is_some_and(|since| since.elapsed() >= timings.stable) {
            self.failures = 0;
            self.url = Url::OfSession;
        }
        let pause = self.pause(timings);
        self.failures = self.failures.saturating_add(1);
        match end {
            End::InvalidSession { .. } => {
                // Discord's own rule: a random wait of 1 to 5 s.
                timings.invalid_session.mul_f64(1.0 + 4.0 * random())
            }
            // An address that does not answer is not tried twice in a row.
            End::Dial(_) | End::Closed { .. } | End::Garbled(_) if served.is_none() => {
                self.url = match self.url {
                    Url::OfSession => Url::Default,
                    Url::Default => Url::OfSession,
                };
                pause
            }
            End::Dial(_) | End::Closed { .. } | End::Garbled(_) | End::Reconnect => pause,
        }
    }

    /// Nothing before the first reconnect, then doubling, between half and the
    /// whole of it.
    fn pause(&self, timings: &Timings) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let whole = timings
            .redial_first
            .saturating_mul(2_u32.saturating_pow(doublings.min(16)))
            .min(timings.redial_max);
        whole.mul_f64(0.5 + 0.5 * random())
    }
}

/// Evenly between 0 and 1. Without randomness from the operating system: 0.5.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> End {
        End::Closed {
            code: 1006,
            reason: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_reconnect_is_at_once_and_the_pauses_grow_to_a_minute() {
        let timings = Timings::default();
        let mut redial = Redial::new();
        assert_eq!(redial.ended(&closed(), &timings), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let pause = redial.ended(&closed(), &timings);
            assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(60));
            last = pause;
        }
        assert!(last >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_served_for_a_while_clears_the_memory() {
        let timings = Timings::default();
        let mut redial = Redial::new();
        for _ in 0..5 {
            redial.ended(&closed(), &timings);
        }
        redial.serving();
        tokio::time::advance(timings.stable).await;
        assert_eq!(redial.ended(&closed(), &timings), Duration::ZERO);
        redial.serving();
        assert!(redial.ended(&closed(), &timings) > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resume_url_that_does_not_answer_gives_way_to_the_default_one() {
        let mut redial = Redial::new();
        assert_eq!(redial.url(), Url::OfSession);
        redial.ended(&End::Dial("refused".to_owned()), &Timings::default());
        assert_eq!(redial.url(), Url::Default);
        redial.ended(&End::Dial("refused".to_owned()), &Timings::default());
        assert_eq!(redial.url(), Url::OfSession);
    }

    #[tokio::test(start_paused = true)]
    async fn op_9_that_may_resume_waits_one_to_five_seconds() {
        let mut redial = Redial::new();
        for _ in 0..10 {
            let end = End::InvalidSession { resumable: true };
            let pause = redial.ended(&end, &Timings::default());
            assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(5));
        }
    }
}
