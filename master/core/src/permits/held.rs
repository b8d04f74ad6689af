//! What the circuit breaker means for permits: who is held up, what is kept back of the day,
//! and what the next master has to know of both.

use baton_protocol::{ShardId, text};

use crate::{
    event::{Entry, Identifies, Time},
    fleet::Fleet,
    out::Out,
    permits::{Permits, pauses},
    settings::Settings,
    timers::Timer,
};

impl Permits {
    /// A shard that had a session has none any more.
    pub(crate) fn session_ended(
        &mut self,
        id: ShardId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let bounds = self.bounds(settings);
        if self.breaker.session_ended(id, out.now, &bounds) {
            self.tripped(fleet, settings, out);
        }
    }

    /// The owner of a shard died: if its session is there, it did not last all the same.
    pub(crate) fn owner_died(
        &mut self,
        id: ShardId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        if self.breaker.came_to_nothing(id, out.now) {
            self.tripped(fleet, settings, out);
        }
    }

    /// The breaker opened, or its trial failed.
    pub(super) fn tripped(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        // Waiting shards are as far as they can be: deploys need not wait for them.
        out.touch_all(&fleet.slots.ids());
        if let Some((since, why, pause)) = self.breaker.news(out.now, pauses(settings)) {
            let pause = text::span(pause);
            out.alarm(format!(
                "IDENTIFYs are held up{since}: {why}. One shard tries in {pause}, and the others \
                 wait until its session lasted {pause}. If sessions last again: baton-master identify"
            ));
        }
        self.write_down(out);
        out.stop(Timer::Probe);
        self.probe_due(fleet, settings, out);
    }

    /// Whether what is left of the day is kept back: there was a storm or a loop of late, and
    /// it may come again.
    pub(super) fn is_scarce(&self, settings: &Settings, now: Time) -> bool {
        let released = self.released.is_some_and(|until| now < until);
        self.breaker.remembers()
            && !released
            && !mutant!("storm-spends-the-day")
            && self.budget.is_some_and(|budget| {
                let kept = u64::from(budget.total) * u64::from(settings.identify_storm_reserve);
                now < budget.resets && u64::from(budget.remaining) * 100 <= kept
            })
    }

    /// An operator hears of it once.
    pub(super) fn says_scarce(&mut self, settings: &Settings, out: &mut Out) {
        let scarce = self.is_scarce(settings, out.now);
        if scarce
            && !std::mem::replace(&mut self.said_scarce, scarce)
            && let Some((left, total, _)) = self.left(out.now)
        {
            out.alarm(format!(
                "IDENTIFYs are held up: {left} of {total} are left of the day, and sessions ended \
                 again and again. One shard after the other tries, each {} s after the last. If \
                 sessions last again: baton-master identify",
                settings.identify_pause.as_secs()
            ));
        }
        self.said_scarce = scarce;
    }

    /// For the next master, on its way to the disk before the permit that it counts is sent.
    /// Where nothing can be written, permits are given all the same: a shard without a
    /// session is down.
    pub(super) fn write_down(&self, out: &mut Out) {
        let mut known = Identifies {
            refused: self.refusals.in_row(),
            ..Identifies::default()
        };
        if let Some((remaining, total, resets_in)) = self.left(out.now) {
            (known.total, known.remaining, known.resets_in) = (total, remaining, resets_in);
        }
        self.breaker.note(&mut known, out.now);
        out.save_or_keep(Entry::Identifies(known));
    }
}
