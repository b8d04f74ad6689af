//! The windows: when a permit may be given again. See `permits/mod.rs`.

use std::time::Duration;

use baton_protocol::ShardId;

use crate::{
    event::Time,
    fleet::Fleet,
    out::Out,
    permits::{Given, Permits},
    service::Permit,
    settings::Settings,
};

impl Given {
    /// When the next one may be given. `careful`: the service has counted only
    /// when the session was there.
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
    /// When a permit may be given again.
    pub(crate) fn opens(&self, permit: Permit, now: Time, window: Duration) -> Time {
        let careful = self.refusals.is_recent(now);
        self.given
            .get(&permit)
            .filter(|_| !mutant!("permits-without-window"))
            .map_or(self.not_before, |given| {
                given.opens(window, careful).max(self.not_before)
            })
    }

    /// When this shard's permit was given, if nobody had it since.
    #[cfg(test)]
    pub(crate) fn given_at(&self, shard: ShardId, settings: &Settings) -> Option<Time> {
        let given = self
            .given
            .get(&settings.service.permit(shard, self.at_once))?;
        (given.shard == shard).then_some(given.at)
    }

    /// What came of this shard's permit, if nobody had it since.
    fn last_of(&mut self, shard: ShardId, settings: &Settings) -> Option<(Permit, &mut Given)> {
        let permit = settings.service.permit(shard, self.at_once);
        let given = self.given.get_mut(&permit)?;
        (given.shard == shard).then_some((permit, given))
    }

    /// An IDENTIFY is on its way: a shard says so that has a permit.
    pub(crate) fn sent(&mut self, id: ShardId, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        let now = out.now;
        let Some((permit, given)) = self.last_of(id, settings) else {
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
        self.due(permit, fleet, settings, out);
    }

    /// What became of an IDENTIFY is known, so it arrived before now, if ever. Its
    /// permit, if that waited for it.
    pub(crate) fn is_over(
        &mut self,
        id: ShardId,
        is_ready: bool,
        settings: &Settings,
        now: Time,
    ) -> Option<Permit> {
        let (permit, given) = self.last_of(id, settings)?;
        if given.over.is_some() {
            given.is_ready |= is_ready;
            return None;
        }
        given.sent.get_or_insert(now);
        (given.over, given.is_ready) = (Some(now), is_ready);
        Some(permit)
    }
}
