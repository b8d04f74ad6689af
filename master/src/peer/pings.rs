//! Whether a peer still answers, judged only by time in which this task ran.

use std::time::Duration;

use tokio::time::Instant;

/// Counts pings and answers. A tick that comes late means that the master was
/// paused: what was unanswered until then is forgiven.
#[derive(Debug)]
pub(super) struct Pings {
    interval: Duration,
    /// So many pings in a row without any answer are silence.
    limit: u64,
    sent: u64,
    answered: u64,
    /// Sent since the last answer, to whichever ping that was.
    unanswered: u64,
    last_tick: Instant,
    told: bool,
}

/// What a tick asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Send a ping with this number.
    pub(super) number: u64,
    /// The peer is silent.
    pub(super) silent: bool,
    /// It has just become so.
    pub(super) newly: bool,
}

impl Pings {
    /// Silence is `hang`, rounded up to whole intervals.
    pub(super) fn new(interval: Duration, hang: Duration, now: Instant) -> Self {
        let limit = hang.as_nanos().div_ceil(interval.as_nanos().max(1));
        Self {
            interval,
            limit: u64::try_from(limit).unwrap_or(u64::MAX).max(1),
            sent: 0,
            answered: 0,
            unanswered: 0,
            last_tick: now,
            told: false,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Tick {
        if now.duration_since(self.last_tick) > self.interval * 2 + SLACK {
            self.unanswered = 0;
        }
        self.last_tick = now;
        let silent = self.unanswered >= self.limit;
        let newly = silent && !self.told;
        self.told |= silent;
        self.sent += 1;
        self.unanswered += 1;
        Tick {
            number: self.sent,
            silent,
            newly,
        }
    }

    /// An answer to any ping that was sent says that the peer lives now. How long
    /// the last one took to be answered, if this is its answer.
    pub(super) fn pong(&mut self, number: u64, now: Instant) -> Option<Duration> {
        if number <= self.answered || number > self.sent {
            return None;
        }
        self.answered = number;
        self.unanswered = 0;
        self.told = false;
        (number == self.sent).then(|| now.duration_since(self.last_tick))
    }
}

/// A loaded host runs this task late without having been paused.
const SLACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn silent_after(pings: &mut Pings, now: &mut Instant, ticks: u32) -> Option<u32> {
        (1..=ticks).find(|_| {
            *now += 5 * SECOND;
            pings.tick(*now).newly
        })
    }

    #[test]
    fn a_peer_is_silent_once_after_the_hang_time_without_an_answer() {
        let mut now = Instant::now();
        let mut pings = Pings::new(5 * SECOND, 30 * SECOND, now);
        // The first ping leaves at 5 s, unanswered for 30 s at 35 s.
        assert_eq!(silent_after(&mut pings, &mut now, 100), Some(7));
        assert_eq!(silent_after(&mut pings, &mut now, 100), None, "told once");
        now += 5 * SECOND;
        assert!(pings.tick(now).silent, "it still is");
        assert_eq!(pings.pong(50, now), None, "too late to be timed");
        assert_eq!(silent_after(&mut pings, &mut now, 100), Some(7));
        pings.pong(50, now);
        assert_eq!(silent_after(&mut pings, &mut now, 100), None, "nothing new");
    }

    #[test]
    fn answers_keep_silence_away_and_invented_ones_do_not() {
        let mut now = Instant::now();
        let mut pings = Pings::new(5 * SECOND, 10 * SECOND, now);
        for _ in 0..50 {
            now += 5 * SECOND;
            let tick = pings.tick(now);
            assert!(!tick.silent);
            let answered = pings.pong(tick.number, now + SECOND);
            assert_eq!(answered, Some(SECOND));
        }
        assert_eq!(pings.pong(u64::MAX, now), None);
        assert_eq!(silent_after(&mut pings, &mut now, 10), Some(3));
    }

    #[test]
    fn a_paused_master_holds_nobody_silent() {
        let mut now = Instant::now();
        let mut pings = Pings::new(5 * SECOND, 30 * SECOND, now);
        assert_eq!(silent_after(&mut pings, &mut now, 5), None);
        now += 3600 * SECOND;
        assert!(!pings.tick(now).silent);
        assert_eq!(silent_after(&mut pings, &mut now, 5), None);
        assert_eq!(silent_after(&mut pings, &mut now, 5), Some(1));
    }
}
