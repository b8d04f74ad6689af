//! The master watches the canary before the rest of a deploy moves.
//!
//! ```text
//! Canary serves ─▶ asked every quarter of a second how it fares
//!                    │  `canary_events` are finished, or `canary_time` is over: the rest moves
//!                    │  doubtful: looked at on, for five times as long at most
//!                    ▼  a gate shuts (`gate.rs`): it goes back, and nothing else ever moved
//! ```
//!
//! A canary is doubtful if the gates cannot judge it yet: events failed, but too few of
//! them; or it was handed some and has finished none, though those of the old slave were not
//! as old. So a quiet shard with a good build holds a deploy up for `canary_time` and no
//! longer, a busy one for a moment. A deploy that is all canary, or that has no way back, is
//! not held up: its soak judges the same.

use std::time::Duration;

use baton_protocol::SlaveId;

use crate::{
    Core,
    deploy::{Pace, Stage},
    event::Time,
    timers::Timer,
};

/// So often the slave of a canary is asked.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// A doubtful canary is watched for so many times as long.
const DOUBTFUL: u32 = 5;

/// A canary that was handed an event this long ago could have finished it.
const MOMENT: Duration = Duration::from_millis(500);

/// How far the look at a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bake {
    /// It does not serve yet.
    Raw,
    /// Since then.
    Since(Time),
    /// The rest may move.
    Done,
}

impl Core {
    /// Whether the canary, which serves, has been looked at; else that begins.
    pub(crate) fn is_baked(&mut self, to: SlaveId, canary: usize) -> bool {
        let (now, size) = (self.out.now, self.deploy_size());
        let wanted = !self.settings.canary_time.is_zero() && !cfg!(mutant = "canary-raw");
        let Some(deploy) = &mut self.deploy else {
            return true;
        };
        if !wanted || canary >= size || deploy.from.is_none() {
            return true;
        }
        match deploy.bake {
            Bake::Done => true,
            Bake::Since(_) => false,
            Bake::Raw => {
                deploy.bake = Bake::Since(now);
                self.look_at_canary(to);
                false
            }
        }
    }

    /// It is time to ask how it fares.
    pub(crate) fn look_at_canary(&mut self, to: SlaveId) {
        let baking = |deploy: &crate::deploy::Deploy| matches!(deploy.bake, Bake::Since(_));
        if self.deploy.as_ref().is_some_and(baking) {
            self.ask_of_canary(to);
            self.out.start(Timer::Deploy, ASKED_EVERY);
        }
    }

    /// The answer, which the gate for failures has judged already.
    pub(crate) fn canary_said(&mut self, to: SlaveId) {
        let (time, events) = (self.settings.canary_time, self.settings.canary_events);
        let Some(deploy) = &self.deploy else {
            return;
        };
        let is_canary = |stage: &Stage| {
            let pace = |pace: &Pace| matches!(pace, Pace::Canary(_));
            matches!(stage, Stage::Moving { to: at, pace: at_pace } if *at == to && pace(at_pace))
        };
        let (Bake::Since(since), true) = (deploy.bake, is_canary(&deploy.stage)) else {
            return;
        };
        let (slot, looked) = (deploy.slot, self.out.now.since(since));
        let finished = self
            .fleet
            .slaves
            .get(&to)
            .map_or(0, |new| new.record.finished);
        let enough = events > 0 && finished >= u64::from(events);
        let over = looked >= time && !self.is_doubtful(to);
        if self.finishes_nothing(to) || (!enough && !over && looked < time.saturating_mul(DOUBTFUL))
        {
            return;
        }
        if let Some(deploy) = &mut self.deploy {
            deploy.bake = Bake::Done;
        }
        self.out.stop(Timer::Deploy);
        self.out.touch(slot);
    }

    /// What could be bad, and is too little to be judged.
    fn is_doubtful(&self, to: SlaveId) -> bool {
        let Some(deploy) = &self.deploy else {
            return false;
        };
        let slave = |id| self.fleet.slaves.get(&id);
        let (Some(new), Some(old)) = (slave(to), deploy.from.and_then(slave)) else {
            return false;
        };
        let (record, gate) = (new.record, self.settings.error_gate);
        let fails = record.finished < u64::from(self.settings.error_gate_events)
            && record.is_worse(old.record, gate);
        let before = deploy.lag_before.unwrap_or(Duration::MAX);
        let unheard_of = before.saturating_add(MOMENT);
        let hangs = !self.settings.lag_gate.is_zero()
            && record.finished == 0
            && record.handed > 0
            && new.lag.is_some_and(|lag| lag > unheard_of);
        fails || hangs
    }
}
