//! The panics of a shard's tasks, one after the other.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timings;

/// The panics of one shard.
#[derive(Debug, Default)]
pub(super) struct Panics {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Panics {
    /// One more; how long it rests.
    pub(super) fn pause(&mut self, timings: &Timings) -> Duration {
        let longest = timings.redial_max;
        let now = Instant::now();
        let is_old = |last: Instant| now - last > longest.saturating_mul(2);
        if self.last.replace(now).is_none_or(is_old) {
            self.in_a_row = 0;
        }
        let doublings = self.in_a_row.min(16);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let whole = timings.redial_first.saturating_mul(2_u32.pow(doublings));
        whole.min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panics_in_a_row_have_growing_pauses_and_one_after_a_long_life_has_a_short_one() {
        let timings = Timings::default();
        let mut panics = Panics::default();
        let pauses: Vec<_> = (0..9).map(|_| panics.pause(&timings)).collect();
        assert_eq!(pauses[0], timings.redial_first);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[8], timings.redial_max);
        tokio::time::advance(timings.redial_max * 3).await;
        assert_eq!(panics.pause(&timings), timings.redial_first);
    }
}
