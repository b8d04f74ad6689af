//! Whether the new build of a deploy is good: does it live at the end of the soak, do its
//! handlers fail, does it keep up?
//!
//! A slave reports in each pong how many events its handlers finished, and how many of these
//! failed. The new build is bad if its share of failed events is more than `error_gate`
//! percentage points above the old slave's, of at least `error_gate_events` events: a bot
//! that always failed is not blamed on its new build.
//!
//! It reports for how long its shards took nothing from the service because too many events were
//! running. A shard in that state falls ever further behind, and only the service's replay
//! buffer holds the events that it did not take. The new build is bad if that time was a
//! larger part of the soak than of the old slave's time before the deploy, by more than
//! `behind_gate` percentage points, averaged over its shards: of many shards some are always
//! full for a moment, and all of them catch up after their move.
//!
//! It reports how many events its bot was handed, and the age of the oldest unfinished one.
//! The new build is bad if it has not finished half of the events that it was handed, and
//! the oldest is older by `lag_gate` than the old slave's was as a rule: slow handlers are no
//! fault of a build whose predecessor had them too.
//!
//! The gates judge the canary ([`bake`](super::bake)) and the soak.

use std::time::Duration;

use baton_protocol::{SlaveId, ToSlave, Version, message::Ping, text};

use crate::{
    deploy::{Deploy, Stage, Succession},
    fleet::{Fleet, Part},
    out::Out,
    settings::Settings,
    timers::Timer,
};

/// Number of the ping at the end of a soak; the peers count theirs from 1.
const END_OF_SOAK: u64 = 0;

/// Number of the ping at its beginning, which no peer gets to.
const START_OF_SOAK: u64 = u64::MAX;

/// Number of the pings while the master watches a canary.
pub(super) const OF_CANARY: u64 = u64::MAX - 1;

/// At this age of its oldest unfinished event a build is not judged in the shortest
/// soak.
const LEAST_LAG: Duration = Duration::from_secs(1);

impl Succession<'_> {
    /// The new slave of a deploy has just said how it fares: goes on, or takes everything
    /// back.
    pub(crate) fn judge(&mut self, id: SlaveId, number: u64) {
        let deploy = self.deploys.with_mut(id);
        let Some(deploy) = deploy.filter(|deploy| deploy.to() == Some(id)) else {
            return;
        };
        let slot = deploy.slot;
        let (fleet, settings, out) = (&*self.fleet, self.settings, &mut *self.out);
        let judged = match deploy.fails_events(fleet, settings) {
            Some(why) => Err(why),
            None if number == OF_CANARY => deploy.canary_said(fleet, settings, out),
            None if number == START_OF_SOAK => {
                deploy.soak_begins(id, fleet);
                Ok(())
            }
            None if number == END_OF_SOAK => match deploy.soak_ends(id, fleet, settings, out) {
                Ok(true) => return self.soaked(slot, id),
                Ok(false) => Ok(()),
                Err(why) => Err(why),
            },
            None => Ok(()),
        };
        if let Err(why) = judged {
            self.fail_deploy(slot, None, why);
        }
    }
}

impl Deploy {
    /// Whether the handlers of the new slave fail; why it is thought so.
    fn fails_events(&self, fleet: &Fleet, settings: &Settings) -> Option<String> {
        match self.stage {
            Stage::Moving { .. } | Stage::Work { .. } | Stage::Soaking { .. } => {}
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => return None,
        }
        // Without an old slave there is no way back.
        let old = fleet.slaves.get(&self.from?)?.record;
        let new = fleet.slaves.get(&self.to()?)?.record;
        if mutant!("gate-open")
            || new.finished < u64::from(settings.error_gate_events)
            || !new.is_worse(old, settings.error_gate)
        {
            return None;
        }
        let (failed, finished) = (new.failed, new.finished);
        Some(format!(
            "the new build failed {failed} of {finished} events"
        ))
    }

    /// The soak begins: what the new slave says now is what its end is compared with.
    pub(crate) fn ask_how_it_fares(&self, to: SlaveId, out: &mut Out) {
        let number = START_OF_SOAK;
        out.send(to, ToSlave::Ping(Ping { number, heard: 0 }));
    }

    /// The answer to that.
    fn soak_begins(&mut self, id: SlaveId, fleet: &Fleet) {
        let backpressure = fleet.slaves.get(&id).map(|slave| slave.backpressure);
        if let Some(soak) = self.soak_of(id).filter(|soak| !soak.asked) {
            soak.backpressure = soak.backpressure.or(backpressure);
        }
    }

    /// The soak is over: the new slave is asked whether it lives. What it said
    /// before says nothing about now.
    pub(crate) fn ask_if_alive(&mut self, to: SlaveId, patience: Duration, out: &mut Out) {
        if let Some(soak) = self.soak_of(to) {
            soak.asked = true;
        }
        let number = END_OF_SOAK;
        out.send(to, ToSlave::Ping(Ping { number, heard: 0 }));
        out.start(Timer::Deploy(self.slot), patience);
    }

    /// The answer to that. Whether the soak is over; why everything goes back, if it
    /// does.
    fn soak_ends(
        &mut self,
        id: SlaveId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) -> Result<bool, String> {
        if self.soak_of(id).is_none_or(|soak| !soak.asked) {
            return Ok(false);
        }
        let is_bad = self
            .falls_behind(fleet, settings)
            .or_else(|| self.finishes_nothing(fleet, settings));
        if let Some(why) = is_bad {
            return Err(why);
        }
        let (darkness, length) = (self.darkness(fleet, out.now), self.soak);
        let timer = Timer::Deploy(self.slot);
        let Some(soak) = self.soak_of(id) else {
            return Ok(false);
        };
        match darkness {
            None => {
                soak.asked = false;
                Ok(true)
            }
            Some(why) => match length.filter(|_| soak.lengthen()) {
                Some(length) => {
                    out.start(timer, length);
                    Ok(false)
                }
                None => Err(why),
            },
        }
    }

    /// Whether the new slave fell behind in the soak; why it is thought so.
    fn falls_behind(&self, fleet: &Fleet, settings: &Settings) -> Option<String> {
        let Stage::Soaking { to, soak } = &self.stage else {
            return None;
        };
        let gate = u64::from(settings.behind_gate);
        let old = fleet.slaves.get(&self.from?)?;
        let new = fleet.slaves.get(to)?;
        // One that cannot say it is not known to have kept up.
        let comparable = old.speaks(Version::FULLNESS);
        let new = new.backpressure.since(soak.backpressure?, new.holds.len());
        let old = self.before.backpressure;
        let Part { percent, because } = new;
        let fine = gate == 0 || !comparable || percent <= old.saturating_add(gate);
        if fine || mutant!("behind-kept") {
            return None;
        }
        Some(format!(
            "the new build falls behind: its shards took nothing for {percent} % of the soak on \
             average (before: {old} %), because of {because}"
        ))
    }

    /// Whether the new slave does not finish what it is handed; why it is thought so.
    pub(crate) fn finishes_nothing(&self, fleet: &Fleet, settings: &Settings) -> Option<String> {
        let gate = settings.lag_gate;
        self.from?;
        // Without it nothing is known to be worse than before.
        let before = self.before.lag?;
        let new = fleet.slaves.get(&self.to()?)?;
        let record = new.record;
        // A soak that is shortened lets nothing grow as old as that.
        let longest = self.soak.map_or(gate, |soak| (soak / 2).max(LEAST_LAG));
        let most = before.saturating_add(gate.min(longest));
        let unfinished = record.handed.saturating_sub(record.finished);
        let few = record.handed < u64::from(settings.error_gate_events.max(1));
        let half = unfinished.saturating_mul(2) > record.handed;
        let lag = new.lag.filter(|&lag| lag > most)?;
        if gate.is_zero() || few || !half || mutant!("unfinished-kept") {
            return None;
        }
        Some(format!(
            "the new build does not finish its events: {unfinished} of {} run, the oldest for \
             {lag} (before the deploy: {before})",
            record.handed,
            lag = text::span(lag),
            before = text::span(before)
        ))
    }
}
