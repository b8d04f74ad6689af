//! How many bytes of state may be on their way without an acknowledgement: as many as the
//! round trip asks for.
//!
//! On one host it is always the same. Between hosts the master says how many it may be at
//! most, and it begins with what it is on one host. A fixed number would bound a copy by the
//! round trip: 256 KiB in 40 ms are 6.5 MB/s, however fast the network is.
//!
//! So the copies are watched in *rounds*: one is over when as many bytes were acknowledged as
//! may be on their way. If the copies had used up what they may all the time, and the round
//! was faster by a quarter than the best one before the last growth, it is twice as many from
//! then on. Where more of them on their way do not make a copy faster, the network or a process
//! is what bounds it, and more would only wait in queues, before every other word.

use baton_protocol::state::{MAX_STATE_BODY, MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BETWEEN_HOSTS};
use tokio::time::Instant;

/// A round that is not faster by this factor than before is no reason for more.
const FASTER: f64 = 1.25;

/// See the module.
#[derive(Debug)]
pub(crate) struct Allowance {
    size: u64,
    most: u64,
    round: Option<Round>,
    /// Bytes a second before it grew last.
    best: f64,
}

#[derive(Debug)]
struct Round {
    /// Bytes until it begins: what was on its way when the allowance grew.
    before: u64,
    began: Instant,
    taken_in: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            size: MAX_UNACKNOWLEDGED,
            most: MAX_UNACKNOWLEDGED,
            round: None,
            best: 0.0,
        }
    }
}

impl Allowance {
    /// Bytes that may be on their way, all shards together.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The master allows so many.
    pub(crate) fn may_be(&mut self, most: u64) {
        let most = most.min(MAX_UNACKNOWLEDGED_BETWEEN_HOSTS);
        self.most = self.most.max(most);
    }

    /// So many bytes were taken in; before that, `left` of what may be on its way were free.
    pub(crate) fn acknowledged(&mut self, bytes: u64, left: u64, now: Instant) {
        // A frame had room: the copies are bounded by something else.
        if left >= MAX_STATE_BODY as u64 || self.size >= self.most {
            self.round = None;
            return;
        }
        let Some(round) = &mut self.round else {
            self.round = Some(Round::begins(0, now));
            return;
        };
        if round.before > 0 {
            round.before = round.before.saturating_sub(bytes);
            round.began = now;
            return;
        }
        round.taken_in = round.taken_in.saturating_add(bytes);
        if round.taken_in < self.size {
            return;
        }
        let seconds = now.saturating_duration_since(round.began).as_secs_f64();
        // No clock is finer than this.
        let rate = round.taken_in as f64 / seconds.max(1e-6);
        let mut before = 0;
        if rate > self.best * FASTER && !mutant!("allowance-fixed") {
            self.best = rate;
            before = self.size;
            self.size = self.most.min(self.size * 2);
        }
        self.round = Some(Round::begins(before, now));
    }
}

impl Round {
    const fn begins(before: u64, now: Instant) -> Self {
        Self {
            before,
            began: now,
            taken_in: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use super::*;

    const FRAME: u64 = MAX_STATE_BODY as u64;
    const MOST: u64 = MAX_UNACKNOWLEDGED_BETWEEN_HOSTS;

    /// Copies `frames` frames over a path that delivers a frame each `gap` and answers after
    /// `round_trip`. Gives the allowance afterwards, and the time that it took.
    fn over(most: u64, round_trip: Duration, gap: Duration, frames: u32) -> (u64, Duration) {
        let mut allowance = Allowance::default();
        allowance.may_be(most);
        let began = Instant::now();
        let (mut now, mut free) = (began, allowance.size());
        let mut delivered = now;
        let mut answers = VecDeque::new();
        let mut sent = 0;
        loop {
            while free >= FRAME && sent < frames {
                free -= FRAME;
                sent += 1;
                delivered = delivered.max(now) + gap;
                answers.push_back(delivered + round_trip);
            }
            let Some(answer) = answers.pop_front() else {
                return (allowance.size(), now - began);
            };
            now = answer;
            let before = allowance.size();
            allowance.acknowledged(FRAME, free, now);
            free += FRAME + allowance.size() - before;
        }
    }

    #[test]
    fn it_follows_the_round_trip_until_the_path_is_full_and_no_further() {
        // 250 MB/s at 40 ms: ten megabytes.
        let gap = Duration::from_micros(262);
        let (far, took) = over(MOST, Duration::from_millis(40), gap, 3200);
        assert_eq!(far, MOST);
        // 210 MB: 32 s with what is on its way on one host.
        assert!(took < Duration::from_millis(1700), "{took:?}");
        // The same path, near: half a megabyte holds it.
        let (near, _) = over(MOST, Duration::from_millis(1), gap, 3200);
        assert!(near <= 1 << 20, "{near}");
        // A slow path far away: 2.5 MB/s at 40 ms are 100 KB.
        let (slow, _) = over(
            MOST,
            Duration::from_millis(40),
            Duration::from_millis(26),
            400,
        );
        assert!(slow <= 2 * MAX_UNACKNOWLEDGED, "{slow}");
    }

    #[test]
    fn it_is_what_it_was_where_nobody_says_that_it_may_be_more() {
        for most in [0, MAX_UNACKNOWLEDGED] {
            let (size, _) = over(most, Duration::from_millis(40), Duration::ZERO, 3200);
            assert_eq!(size, MAX_UNACKNOWLEDGED);
        }
        let mut allowance = Allowance::default();
        allowance.may_be(u64::MAX);
        assert_eq!(allowance.most, MOST, "whatever a master says");
    }

    #[test]
    fn copies_that_do_not_use_it_up_do_not_make_it_grow() {
        let mut allowance = Allowance::default();
        allowance.may_be(MOST);
        let mut now = Instant::now();
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            allowance.acknowledged(FRAME, FRAME, now);
        }
        assert_eq!(allowance.size(), MAX_UNACKNOWLEDGED);
    }
}
