//! How many events a shard gets, and so how long a RESUME can still reach back: Discord
//! replays a bounded number of events.

use std::time::Duration;

use baton_protocol::Sequence;

use crate::event::Time;

/// It is measured over at least this time.
const SPAN: Duration = Duration::from_secs(5);

/// A rate younger than [`SPAN`] counts from here on.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the checkpoints of one shard say about its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    since: Time,
    at: Sequence,
    /// Events in 1000 s, over the last whole span.
    last: u64,
}

impl Rate {
    pub(crate) const fn new() -> Self {
        Self {
            since: Time(Duration::ZERO),
            at: Sequence(0),
            last: 0,
        }
    }

    /// Its owner has received everything up to here.
    pub(crate) fn note(&mut self, now: Time, received: Sequence) {
        if self.at == Sequence(0) || received < self.at {
            // The first word, or another session.
            *self = Self {
                since: now,
                at: received,
                last: 0,
            };
        } else if now.since(self.since) >= SPAN {
            *self = Self {
                since: now,
                at: received,
                last: self.running(now, received),
            };
        }
    }

    /// Events in 1000 s; zero where nothing is known.
    pub(super) fn read(&self, now: Time, received: Sequence) -> u64 {
        if self.at == Sequence(0) {
            return 0;
        }
        let span = now.since(self.since);
        let running = if span >= SHORTEST {
            self.running(now, received)
        } else {
            0
        };
        if span >= 2 * SPAN {
            running
        } else {
            running.max(self.last)
        }
    }

    fn running(&self, now: Time, received: Sequence) -> u64 {
        let ms = now.since(self.since).as_millis().max(1);
        let events = u128::from(received.get().saturating_sub(self.at.get()));
        u64::try_from(events * 1_000_000 / ms).unwrap_or(u64::MAX)
    }
}
