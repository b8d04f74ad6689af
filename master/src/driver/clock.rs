//! The core's time: monotonic, and standing still while the driver did not run.

use std::time::Duration;

use tokio::time::Instant;

use baton_core::event::Time;

/// The driver looks at the clock at least this often.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);

/// Two looks further apart than this: the process was paused, the machine
/// suspended, or the disk held the driver up.
pub(super) const GAP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// Time in which the driver did not run.
    lost: Duration,
    last: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            lost: Duration::ZERO,
            last: now,
        }
    }

    /// The time, and how long the driver did not run since the last look, if
    /// that is a gap. A gap is no time for the core.
    pub(super) fn look(&mut self) -> (Time, Option<Duration>) {
        let now = Instant::now();
        let since = now.duration_since(self.last);
        self.last = now;
        let gap = (since > GAP).then_some(since);
        self.lost += gap.unwrap_or_default();
        (self.time_of(now), gap)
    }

    /// The time of the last look.
    pub(super) fn now(&self) -> Time {
        self.time_of(self.last)
    }

    /// When the core's `time` comes, if the driver runs on without a gap.
    pub(super) fn instant(&self, time: Time) -> Instant {
        let span = self.lost.saturating_add(time.0);
        self.started
            .checked_add(span)
            .unwrap_or_else(|| self.last + HEARTBEAT)
    }

    fn time_of(&self, instant: Instant) -> Time {
        Time(
            instant
                .duration_since(self.started)
                .saturating_sub(self.lost),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_no_time_for_the_core() {
        let mut clock = Clock::start();
        advance(Duration::from_secs(1)).await;
        assert_eq!(clock.look(), (Time(Duration::from_secs(1)), None));
        advance(Duration::from_secs(3600)).await;
        let gap = Some(Duration::from_secs(3600));
        assert_eq!(clock.look(), (Time(Duration::from_secs(1)), gap));
        assert_eq!(clock.instant(clock.now()), Instant::now());
        advance(GAP).await;
        assert_eq!(clock.look(), (Time(Duration::from_secs(3)), None));
    }
}
