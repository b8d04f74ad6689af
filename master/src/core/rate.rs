//! How many events a shard gets, and so for how long its session can be gone back
//! to: Discord replays a bounded number of them.

use std::time::Duration;

use baton_protocol::{DeployId, Sequence, ShardId};

use super::{
    Core,
    event::{News, Time},
};

/// It is measured over at least this time.
const SPAN: Duration = Duration::from_secs(5);

/// A rate younger than [`SPAN`] counts from here on.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the checkpoints of one shard say about its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    since: Time,
    at: Sequence,
    /// Events in 1000 s, over the last whole span.
    last: u64,
}

impl Rate {
    pub(super) const fn new() -> Self {
        Self {
            since: Time(Duration::ZERO),
            at: Sequence(0),
            last: 0,
        }
    }

    /// Its owner has handled everything up to here.
    pub(super) fn note(&mut self, now: Time, handled: Sequence) {
        if self.at == Sequence(0) || handled < self.at {
            // The first word, or another session.
            *self = Self {
                since: now,
                at: handled,
                last: 0,
            };
        } else if now.since(self.since) >= SPAN {
            *self = Self {
                since: now,
                at: handled,
                last: self.running(now, handled),
            };
        }
    }

    /// Events in 1000 s; zero where nothing is known.
    fn read(&self, now: Time, handled: Sequence) -> u64 {
        let span = now.since(self.since);
        let running = if span >= SHORTEST {
            self.running(now, handled)
        } else {
            0
        };
        if span >= 2 * SPAN {
            running
        } else {
            running.max(self.last)
        }
    }

    fn running(&self, now: Time, handled: Sequence) -> u64 {
        let ms = now.since(self.since).as_millis().max(1);
        let events = u128::from(handled.get().saturating_sub(self.at.get()));
        u64::try_from(events * 1_000_000 / ms).unwrap_or(u64::MAX)
    }
}

impl Core {
    /// The soak that was asked for, at most half the time in which the busiest
    /// shard of the slot fills Discord's replay buffer. Walks over the slot's
    /// shards, once a deploy.
    pub(super) fn soak_within_budget(
        &mut self,
        deploy: DeployId,
        slot: usize,
        asked: Duration,
    ) -> Duration {
        let rate = |id: ShardId| {
            let shard = self.fleet.shards.get(&id)?;
            let handled = shard.ticket.as_ref()?.ticket.handled;
            Some((shard.rate.read(self.now, handled), id))
        };
        let members = self.fleet.slots[slot].members;
        let Some((per_1000_s, shard)) = members.iter().filter_map(rate).max() else {
            return asked;
        };
        if per_1000_s == 0 || cfg!(mutant = "soak-unbounded") {
            return asked;
        }
        let budget_ms = u64::from(self.settings.replay_buffer).saturating_mul(1_000_000);
        let soak = Duration::from_millis(budget_ms / per_1000_s / 2);
        if soak >= asked {
            return asked;
        }
        self.tell(News::SoakShortened {
            deploy,
            shard,
            per_second: per_1000_s.div_ceil(1000),
            asked,
            soak,
        });
        soak
    }
}
