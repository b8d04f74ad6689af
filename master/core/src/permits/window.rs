//! The windows of the buckets: when the next permit may be given. See `permits/mod.rs`.

use std::time::Duration;

use baton_protocol::ShardId;

use crate::{
    event::Time,
    fleet::Fleet,
    out::Out,
    permits::{Given, Permits},
    settings::Settings,
};

impl Given {
    /// When the next one may be given. `careful`: the service has counted by READY only.
    pub(super) fn opens(self, window: Duration, careful: bool) -> Time {
        if mutant!("permits-by-their-own-time") {
            return self.at.after(window);
        }
        let sent = self.sent.unwrap_or(self.at);
        match self.over {
            Some(over) if careful => over.after(window),
            Some(_) => sent.after(window),
            None => sent.after(window.saturating_mul(2)),
        }
    }
}

impl Permits {
    /// When the next permit of a bucket may be given.
    pub(crate) fn opens(&self, bucket: u32, now: Time, window: Duration) -> Time {
        let careful = self.refusals.is_recent(now);
        self.given
            .get(&bucket)
            .filter(|_| !mutant!("permits-without-window"))
            .map_or(self.not_before, |given| {
                given.opens(window, careful).max(self.not_before)
            })
    }

    /// When the last permit of its bucket was given, if it was this shard's.
    #[cfg(test)]
    pub(crate) fn given_at(&self, shard: ShardId) -> Option<Time> {
        let given = self.given.get(&(shard.get() % self.buckets))?;
        (given.shard == shard).then_some(given.at)
    }

    /// The last permit of its bucket, if it was this shard's.
    pub(super) fn last_of(&mut self, shard: ShardId) -> Option<(u32, &mut Given)> {
        let bucket = shard.get() % self.buckets;
        let given = self.given.get_mut(&bucket)?;
        (given.shard == shard).then_some((bucket, given))
    }

    /// An IDENTIFY is on its way: a shard says so that has a permit.
    pub(crate) fn sent(&mut self, id: ShardId, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        let now = out.now;
        let Some((bucket, given)) = self.last_of(id) else {
            return;
        };
        match given.over {
            None => {
                given.sent.get_or_insert(now);
            }
            // It had asked once more before it was permitted: that crossed the permit.
            Some(_) if !given.is_ready => (given.sent, given.over) = (Some(now), None),
            // A RESUME of what serves.
            Some(_) => return,
        }
        self.due(bucket, fleet, settings, out);
    }

    /// What became of an IDENTIFY is known, so it arrived before now, if ever. Its
    /// bucket, if that waited for it.
    pub(crate) fn is_over(&mut self, id: ShardId, is_ready: bool, now: Time) -> Option<u32> {
        let (bucket, given) = self.last_of(id)?;
        if given.over.is_some() {
            given.is_ready |= is_ready;
            return None;
        }
        given.sent.get_or_insert(now);
        (given.over, given.is_ready) = (Some(now), is_ready);
        Some(bucket)
    }
}
