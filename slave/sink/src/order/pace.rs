//! When what a broker did not take is tried again.

use std::time::{Duration, Instant};

/// After the first refusal.
const FIRST: Duration = Duration::from_millis(100);
/// After many.
const LAST: Duration = Duration::from_secs(5);

/// Grows while a broker takes nothing, and begins anew when it takes something.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Rounds of refusals behind the first one.
    rounds: u32,
    /// When this round began.
    began: Option<Instant>,
}

impl Pace {
    /// How long after its refusal a message is tried again.
    pub(crate) fn delay(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.rounds).unwrap_or(u32::MAX);
        FIRST.saturating_mul(factor).min(LAST)
    }

    /// A message was refused. All that are refused within one delay are one round.
    pub(crate) fn refused(&mut self, now: Instant) {
        match self.began {
            None => self.began = Some(now),
            Some(began) if now.duration_since(began) >= self.delay() => {
                self.rounds = (self.rounds + 1).min(16);
                self.began = Some(now);
            }
            Some(_) => {}
        }
    }

    /// The broker takes messages.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_from_100_ms_to_5_s_and_begins_anew_after_a_confirm() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..8 {
            // Many at once are one round.
            for _ in 0..200 {
                pace.refused(now);
            }
            delays.push(pace.delay().as_millis());
            now += pace.delay();
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..100 {
            pace.refused(now);
            now += pace.delay();
        }
        assert_eq!(pace.delay(), LAST);
        pace.begin();
        assert_eq!(pace.delay(), FIRST);
    }
}
