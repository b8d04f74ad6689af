//! While IDENTIFYs fail (`refusals.rs`) one shard tries for all. Whose turn
//! it is is found out when something changed that makes it another's: thousands may
//! wait, and each of them asks.

use baton_protocol::{ShardId, text};

use crate::{
    event::Time,
    fleet::Fleet,
    out::Out,
    permits::{Asker, Permits, pauses},
    settings::Settings,
    timers::Timer,
};

impl Permits {
    /// A shard has to ask again, or its owner is no more: in words, of its IDENTIFY.
    pub(crate) fn came_to_nothing(
        &mut self,
        id: ShardId,
        how: &'static str,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let over = self.is_over(id, false, settings, out.now);
        let failed = self.refusals.came_to_nothing(id, out.now);
        if self.breaker.came_to_nothing(id, out.now) {
            self.tripped(fleet, settings, out);
        }
        let Some(times) = failed else {
            if let Some(permit) = over {
                self.due(permit, fleet, settings, out);
            }
            return;
        };
        self.write_down(out);
        // Waiting shards are as far as they can be: deploys need not wait for them.
        out.touch_all(&fleet.slots.ids());
        self.probe_due(fleet, settings, out);
        if times < 2 || !times.is_power_of_two() {
            return;
        }
        let pause = self.refusals.pause(out.now, pauses(settings));
        let since = self.refusals.since(out.now);
        out.alarm(format!(
            "{times} times in a row an IDENTIFY failed, for {} now, shard {id}'s last, \
             which {how}. No shard tries for {}, then one for all. If sessions are given again: \
             baton-master identify",
            text::span(since),
            text::span(pause.unwrap_or_default())
        ));
    }

    /// The one that tried the fewest times tries next.
    pub(crate) fn probe_due(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        if self.closed {
            return;
        }
        if !self.is_shut(settings, out) {
            self.again(fleet, settings, out);
            return;
        }
        #[cfg(test)]
        {
            self.looked_at += self.waiting.len() as u64;
        }
        let askers = self.waiting.iter().map(|(&key, &unit)| {
            let asker = (key.0, key.1, unit.0, unit.1);
            (self.may_try(asker, fleet, settings, out.now), asker)
        });
        let next = askers
            .filter_map(|(turn, asker)| Some((turn?, asker)))
            .min();
        match next {
            Some(((opens, _), asker)) if opens <= out.now => {
                self.permit(asker, fleet, settings, out)
            }
            Some(((opens, _), _)) => out.start(Timer::Probe, opens.since(out.now)),
            None => out.stop(Timer::Probe),
        }
    }

    /// One more waits while one shard tries for all: it may be due before those who
    /// wait already. Nobody else is looked at: there may be thousands.
    pub(crate) fn may_try_for_all(
        &mut self,
        asker: Asker,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        let Some((opens, _)) = self.may_try(asker, fleet, settings, out.now) else {
            return;
        };
        if out.at(Timer::Probe).is_none_or(|at| opens < at) {
            out.start(Timer::Probe, opens.since(out.now));
        }
    }

    /// When this one may try while IDENTIFYs come to nothing, and how often it did.
    fn may_try(
        &self,
        asker: Asker,
        fleet: &Fleet,
        settings: &Settings,
        now: Time,
    ) -> Option<(Time, u32)> {
        if !Self::may_be_told(asker, fleet) {
            return None;
        }
        let (permit, id, ..) = asker;
        let opens = self.refusals.opens(id, now, pauses(settings));
        let window = settings.identify_window;
        let scarce = self.is_scarce(settings, now);
        let held = self.breaker.opens(scarce, pauses(settings));
        let opens = opens
            .max(self.opens(permit, now, window))
            .max(held)
            .max(now);
        Some((opens, self.refusals.tries(id, now)))
    }
}
