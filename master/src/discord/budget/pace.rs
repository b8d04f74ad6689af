//! When Discord is asked again. An address that asks too often is banned for an hour
//! (10,000 answers like 429 and 401 in ten minutes), and the fleet's slaves with it.

use std::time::Duration;

use tokio::time::Instant;

use super::ask::Trouble;

/// After an answer it is asked again this late: other programs may spend the budget
/// too.
pub(super) const AGAIN: Duration = Duration::from_secs(600);

/// First and longest pause after a request that failed.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The same after a 429 that names no wait.
const LIMITED: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(900));

/// The same after a token that was refused.
const REFUSED: (Duration, Duration) = (AGAIN, Duration::from_secs(3600));

/// The recent answers, for the next asker.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// When the next request may be made; `None`: now.
    pub(super) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// There is an answer.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// There is none; how long the next request waits. `random` is between 0 and 1.
    pub(super) fn failed(&mut self, trouble: &Trouble, now: Instant, random: f64) -> Duration {
        let ((first, longest), named) = match trouble {
            Trouble::Token => (REFUSED, None),
            Trouble::Limited { wait, .. } => (LIMITED, *wait),
            Trouble::Passing(_) => (FAILED, None),
        };
        let doubled = first
            .saturating_mul(1 << self.failures.min(20))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        // Many masters that were refused together do not come back together.
        let pause = match named {
            // A wait that is named and kept, and is answered by the next, grows too.
            Some(named) if self.failures > 1 => named.max(doubled.mul_f64(0.5)),
            Some(named) => named,
            None => doubled.mul_f64(0.5),
        };
        let pause = pause + doubled.mul_f64(0.5 * random.clamp(0.0, 1.0));
        self.not_before = now.checked_add(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(wait: Option<u64>) -> Trouble {
        Trouble::Limited {
            wait: wait.map(Duration::from_secs),
            reason: String::new(),
        }
    }

    /// Requests in a day that are all answered like that.
    fn in_a_day(trouble: &Trouble) -> u32 {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let (mut past, mut asked) = (Duration::ZERO, 0);
        while past < Duration::from_secs(86_400) {
            past += pace.failed(trouble, now, f64::from(asked % 3) / 2.0);
            asked += 1;
        }
        asked
    }

    #[test]
    fn who_is_asked_too_often_is_left_alone_for_as_long_as_it_says() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for seconds in [65, 65, 3600] {
            let pause = pace.failed(&limited(Some(seconds)), now, 0.0);
            assert!(pause >= Duration::from_secs(seconds));
            assert_eq!(pace.not_before(), Some(now + pause));
        }
        pace.answered();
        assert_eq!(pace.not_before(), None);
    }

    #[test]
    fn pauses_grow_and_differ() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let pauses: Vec<_> = (0..8)
            .map(|_| pace.failed(&limited(None), now, 1.0).as_secs())
            .collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 900, 900]);
        let mut other = Pace::default();
        assert!(other.failed(&limited(None), now, 0.2).as_secs() < 15);
    }

    #[test]
    fn in_a_day_of_nothing_but_trouble_no_address_is_banned() {
        assert!(in_a_day(&limited(None)) < 200);
        assert!(in_a_day(&limited(Some(1))) < 200);
        assert!(in_a_day(&Trouble::Token) < 50);
        assert!(in_a_day(&Trouble::Passing(String::new())) < 3000);
    }
}
