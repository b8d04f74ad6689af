//! What a shard says about itself. Part of [`Core`].

use baton_protocol::ShardId;
use tokio::time::Instant;

use super::{core::Core, keeping::Keeping};
use crate::status::{ClientStatus, GivenUp, ShardStatus, millis};

impl Core {
    pub(super) fn status(&self, shard: ShardId, now: Instant) -> ShardStatus {
        let clients = self.primary.iter().chain(self.mirrors.values());
        let clients = clients.map(|session| ClientStatus {
            library: session.wish.library.clone(),
            mirror: session.wish.mirror.clone(),
            connected: session.attached.is_some(),
            says_handled: session.wish.says_handled,
            greeted: session.greeting.is_some(),
            unsent: self.ring.last().saturating_sub(session.sent),
            unacknowledged: session.sent.saturating_sub(session.heard),
        });
        let (open_bytes, bytes) = self.ring.bytes();
        let ago = |at: Instant| millis(now.saturating_duration_since(at));
        let away = match self.keeping {
            Keeping::Away(since) => Some(ago(since)),
            Keeping::Attached | Keeping::Nobody => None,
        };
        let full = self.full_since.map(ago);
        let timings = &self.timings;
        let left = |of, passed: Option<u64>| passed.map(|it| millis(of).saturating_sub(it));
        let gives_up = [left(timings.hold, full), left(timings.keep, away)];
        let gives_up = gives_up.into_iter().flatten().min();
        ShardStatus {
            shard: shard.get(),
            ready: self.is_ready(),
            clients: clients.collect(),
            open: self.ring.open(),
            open_bytes,
            bytes,
            oldest_ms: self.ring.oldest().map(ago),
            full_ms: full,
            away_ms: away,
            passes_by: self.keeping == Keeping::Nobody,
            gives_up_ms: gives_up.filter(|_| self.ring.open() > 0),
            given_up: self.given_up.map(|(at, given_up)| GivenUp {
                ago_ms: ago(at),
                ..given_up
            }),
            totals: self.counts,
        }
    }
}
