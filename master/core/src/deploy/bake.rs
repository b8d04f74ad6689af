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

use baton_protocol::{SlaveId, ToSlave, message::Ping};

use crate::{
    deploy::{Bake, Deploy, Pace, Stage, gate::OF_CANARY},
    event::Time,
    fleet::Fleet,
    out::Out,
    settings::Settings,
    timers::Timer,
};

/// So often the slave of a canary is asked.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// A doubtful canary is watched for so many times as long.
const DOUBTFUL: u32 = 5;

/// A canary that was handed an event this long ago could have finished it.
const MOMENT: Duration = Duration::from_millis(500);

impl Deploy {
    /// Whether the canary, which serves, has been looked at; else that begins.
    pub(crate) fn is_baked(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) -> bool {
        let wanted = !settings.canary_time.is_zero() && !mutant!("canary-raw");
        let size = self.size(fleet);
        let Stage::Moving {
            pace: Pace::Canary { shards, bake },
            ..
        } = &mut self.stage
        else {
            return true;
        };
        if !wanted || *shards >= size || self.from.is_none() {
            return true;
        }
        match bake {
            Bake::Done => true,
            Bake::Since(_) => false,
            Bake::Raw => {
                *bake = Bake::Since(out.now);
                self.look_at_canary(out);
                false
            }
        }
    }

    /// It is time to ask how the canary's slave fares, if it is looked at.
    pub(crate) fn look_at_canary(&self, out: &mut Out) {
        if let Some((to, _)) = self.baking() {
            out.send(
                to,
                ToSlave::Ping(Ping {
                    number: OF_CANARY,
                    heard: 0,
                }),
            );
            out.start(Timer::Deploy(self.slot), ASKED_EVERY);
        }
    }

    /// The canary's slave, while it is looked at, and since when.
    const fn baking(&self) -> Option<(SlaveId, Time)> {
        match self.stage {
            Stage::Moving {
                to,
                pace:
                    Pace::Canary {
                        bake: Bake::Since(since),
                        ..
                    },
            } => Some((to, since)),
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => None,
        }
    }

    /// The answer, which the gate for failures has judged already. The rest moves on
    /// once enough is seen; why not at all, if that is seen.
    pub(crate) fn canary_said(
        &mut self,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) -> Result<(), String> {
        let Some((to, since)) = self.baking() else {
            return Ok(());
        };
        let (time, events) = (settings.canary_time, settings.canary_events);
        let looked = out.now.since(since);
        let new = fleet.slaves.get(&to);
        let finished = new.map_or(0, |new| new.record.finished);
        let enough = events > 0 && finished >= u64::from(events);
        let over = looked >= time && !self.is_doubtful(fleet, settings);
        if let Some(why) = self.finishes_nothing(fleet, settings) {
            return Err(why);
        }
        if enough || over || looked >= time.saturating_mul(DOUBTFUL) {
            if let Stage::Moving {
                pace: Pace::Canary { bake, .. },
                ..
            } = &mut self.stage
            {
                *bake = Bake::Done;
            }
            out.stop(Timer::Deploy(self.slot));
            out.touch(self.slot);
        }
        Ok(())
    }

    /// What could be bad, and is too little to be judged.
    fn is_doubtful(&self, fleet: &Fleet, settings: &Settings) -> bool {
        let slave = |id: Option<SlaveId>| fleet.slaves.get(&id?);
        let (Some(new), Some(old)) = (slave(self.to()), slave(self.from)) else {
            return false;
        };
        let (record, gate) = (new.record, settings.error_gate);
        let fails = record.finished < u64::from(settings.error_gate_events)
            && record.is_worse(old.record, gate);
        let before = self.before.lag.unwrap_or(Duration::MAX);
        let unheard_of = before.saturating_add(MOMENT);
        let hangs = !settings.lag_gate.is_zero()
            && record.finished == 0
            && record.handed > 0
            && new.lag.is_some_and(|lag| lag > unheard_of);
        fails || hangs
    }
}
