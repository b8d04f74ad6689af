//! What the running deploy learns from its shards, and what it tells the observers.

use std::time::Duration;

use baton_protocol::{Epoch, ShardId, SlaveId, text};

use crate::{
    deploy::{Deploy, Stage},
    event::{DeployStep, MovePhase, News, Time},
    fleet::Fleet,
    out::Out,
    settings::Settings,
    shard::{Claim, Shard},
    timers::Timer,
};

/// A new slave may lose its connection so often between two shards that move.
const MOST_RETURNS: u32 = 10;

impl Deploy {
    /// Which of its two slaves is connected and silent: then what did not come to
    /// pass is no fault of the other. Begins with a comma, or is empty.
    pub(crate) fn who_is_silent(&self, fleet: &Fleet, settings: &Settings, now: Time) -> String {
        let silent = |(which, id): (&str, Option<SlaveId>)| {
            let id = id.filter(|&id| fleet.is_joined(id))?;
            let slave = fleet.slaves.get(&id)?;
            // Two pings are answered within `answers`, and one within two thirds of it.
            let quiet = now.since(slave.heard);
            (quiet > settings.answers / 3 * 2).then(|| {
                format!(
                    ", because the {which} slave {id:.8} (build {build}) hangs: it has said nothing \
                     for {quiet}. The master kills it after limits.hang",
                    build = slave.hello.build,
                    quiet = text::span(quiet)
                )
            })
        };
        let both = [("old", self.from), ("new", self.to())];
        both.into_iter().find_map(silent).unwrap_or_default()
    }

    /// Its owner was told to seal a shard, whose next epoch is reserved.
    pub(crate) fn seal_told(
        &mut self,
        id: ShardId,
        shard: &Shard,
        claim: Claim,
        to: SlaveId,
        out: &mut Out,
    ) {
        self.first_stop.get_or_insert(out.now);
        self.in_flight.sealed(id, out.now);
        let phase = if self.goes_back() {
            MovePhase::TakingBack
        } else {
            MovePhase::Sealing
        };
        if !shard.phase.is_sealed_without_session() {
            self.tell_move(id, (claim.owner, to), shard.epoch, phase, out);
        }
    }

    /// A shard starts at `target`. One that is to be resumed gets further within
    /// `no_progress`.
    pub(crate) fn started(
        &mut self,
        id: ShardId,
        shard: &Shard,
        target: SlaveId,
        (replay_buffer, no_progress): (u32, Duration),
        out: &mut Out,
    ) {
        if self.slot != shard.slot || self.goal() != Some(target) {
            return;
        }
        let (from, phase) = match self.stage {
            Stage::RollingBack { to, .. } => (Some(to), MovePhase::TakingBack),
            Stage::Moving { .. } | Stage::Work { .. } | Stage::Soaking { .. } => {
                (self.from, MovePhase::Resuming)
            }
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Retiring { .. } => return,
        };
        self.given.get_or_insert(out.now);
        if shard.phase.has_no_session() {
            // No RESUME is waited for, and its new session may be a day away.
            self.in_flight.remove(&id);
            return;
        }
        let budget = shard.replay_budget(out.now, replay_buffer);
        self.in_flight.take(id, budget);
        self.in_flight.given(id, out.now);
        out.start(Timer::Shard(id), no_progress);
        if let Some(from) = from {
            self.tell_move(id, (from, target), shard.epoch, phase, out);
        }
    }

    /// A shard of the slot began to serve at a slave. Whether that was the end of its
    /// move, and is told.
    pub(crate) fn served(
        &mut self,
        id: ShardId,
        claim: Claim,
        had_no_session: bool,
        out: &mut Out,
    ) -> bool {
        let at = claim.owner;
        let goal = self.goal();
        let in_flight = self.in_flight.served(id, out.now);
        // Given without a session, and here it is.
        let anew = self.given.is_some() && had_no_session;
        if (in_flight || anew) && goal == Some(at) {
            self.last_served = Some(out.now);
            self.returns = 0;
            let (from, phase) = match self.stage {
                Stage::RollingBack { to, .. } => (Some(to), MovePhase::Back),
                Stage::Starting { .. }
                | Stage::Preparing { .. }
                | Stage::Moving { .. }
                | Stage::Work { .. }
                | Stage::Soaking { .. }
                | Stage::Retiring { .. } => (self.from, MovePhase::Moved),
            };
            if let Some(from) = from {
                self.tell_move(id, (from, at), claim.epoch, phase, out);
            }
            return from.is_some();
        }
        if goal != Some(at) {
            // It had not served when its turn came.
            self.queue.push_back(id);
        }
        false
    }

    /// A slave of it is back. Why it fails, where that is a new one that is again and
    /// again and gets no further: it ends its connection over a message of the master.
    pub(crate) fn rejoined(&mut self, id: SlaveId) -> Result<(), String> {
        if self.to() == Some(id) {
            self.returns += 1;
            if self.returns > MOST_RETURNS {
                return Err(format!(
                    "the new slave was connected again {MOST_RETURNS} times and no shard moved"
                ));
            }
        }
        Ok(())
    }

    /// Takes the next step, and tells it where it has another name.
    pub(crate) fn go_to(&mut self, stage: Stage, out: &mut Out) {
        let is_committed = matches!(self.stage, Stage::Retiring { .. });
        debug_assert!(!is_committed, "from here there is no way: {stage:?}");
        let before = self.step();
        let first = before == DeployStep::Preparing;
        self.stage = stage;
        if self.step() != before || first {
            self.tell_step(out);
        }
    }

    pub(crate) fn tell_step(&self, out: &mut Out) {
        out.tell(News::DeployStep {
            deploy: self.id,
            step: self.step(),
        });
        out.touch(self.slot);
    }

    /// One shard got further on its way to the next owner, at `epoch`.
    pub(crate) fn tell_move(
        &self,
        shard: ShardId,
        (from, to): (SlaveId, SlaveId),
        epoch: Epoch,
        phase: MovePhase,
        out: &mut Out,
    ) {
        out.tell(News::Migration {
            deploy: Some(self.id),
            shard,
            from,
            to,
            epoch,
            phase,
        });
    }
}
