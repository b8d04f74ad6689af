//! What the running deploy learns from its shards, and what it tells the observers.

use baton_protocol::{Epoch, ShardId, SlaveId};

use crate::{
    Core,
    deploy::Stage,
    event::{DeployStep, MovePhase, News},
    shard::How,
    timers::Timer,
};

/// A new slave may lose its connection so often between two shards that move.
const MOST_RETURNS: u32 = 10;

impl Core {
    /// A shard of the slot was given to `target`.
    pub(crate) fn move_started(&mut self, id: ShardId, target: SlaveId) {
        let Some(shard) = self.fleet.shards.get(&id) else {
            return;
        };
        let (Some(claim), Some(start)) = (shard.phase.claim(), shard.phase.starting()) else {
            return;
        };
        let (epoch, how) = (claim.epoch, start.how);
        let slot = shard.slot;
        let budget = shard.replay_budget(self.out.now, self.settings.replay_buffer);
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        if deploy.slot != slot || deploy.goal() != Some(target) {
            return;
        }
        let (from, told) = match deploy.stage {
            Stage::RollingBack { to, .. } => (Some(to), MovePhase::TakingBack),
            Stage::Moving { .. } | Stage::Work { .. } | Stage::Soaking { .. } => {
                (deploy.from, MovePhase::Resuming)
            }
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Retiring { .. } => return,
        };
        deploy.given.get_or_insert(self.out.now);
        if how == How::Full {
            // No RESUME is waited for, and READY may be a day away.
            deploy.in_flight.remove(&id);
            return;
        }
        deploy.in_flight.take(id, budget);
        deploy.in_flight.given(id, self.out.now);
        self.out.start(Timer::Shard(id), self.settings.no_progress);
        if let Some(from) = from {
            self.tell_move(id, from, target, epoch, told);
        }
    }

    pub(crate) fn seal_told(&mut self, id: ShardId, owner: SlaveId, to: SlaveId, epoch: Epoch) {
        let now = self.out.now;
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        deploy.first_stop.get_or_insert(now);
        deploy.in_flight.sealed(id, now);
        let told = match deploy.stage {
            Stage::RollingBack { .. } => MovePhase::TakingBack,
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. } => MovePhase::Sealing,
        };
        let shard = self.fleet.shards.get(&id);
        let had_session = shard.is_some_and(|shard| !shard.phase.is_sealed_without_session());
        if had_session {
            self.tell_move(id, owner, to, epoch, told);
        }
    }

    /// A shard began to serve.
    pub(crate) fn move_served(
        &mut self,
        id: ShardId,
        at: SlaveId,
        epoch: Epoch,
        had_no_session: bool,
    ) {
        let now = self.out.now;
        let slot = self.fleet.shards.get(&id).map(|shard| shard.slot);
        if let Some(deploy) = &mut self.deploy
            && slot == Some(deploy.slot)
        {
            let goal = deploy.goal();
            let in_flight = deploy.in_flight.served(id, now);
            // Given without a session, and here it is.
            let anew = deploy.given.is_some() && had_no_session;
            if (in_flight || anew) && goal == Some(at) {
                deploy.last_served = Some(now);
                deploy.returns = 0;
                let (from, told) = match deploy.stage {
                    Stage::RollingBack { to, .. } => (Some(to), MovePhase::Back),
                    Stage::Starting { .. }
                    | Stage::Preparing { .. }
                    | Stage::Moving { .. }
                    | Stage::Work { .. }
                    | Stage::Soaking { .. }
                    | Stage::Retiring { .. } => (deploy.from, MovePhase::Moved),
                };
                if let Some(from) = from {
                    self.tell_move(id, from, at, epoch, told);
                    return;
                }
            } else if goal != Some(at) {
                // It had not served when its turn came.
                deploy.queue.push_back(id);
            }
        }
        self.tell_serving(id, epoch, at);
    }

    pub(crate) fn tell_serving(&mut self, shard: ShardId, epoch: Epoch, slave: SlaveId) {
        self.out.tell(News::ShardServing {
            shard,
            epoch,
            slave,
        });
    }

    pub(crate) fn tell_move(
        &mut self,
        id: ShardId,
        from: SlaveId,
        to: SlaveId,
        epoch: Epoch,
        phase: MovePhase,
    ) {
        if let Some(deploy) = self.deploy.as_ref().map(|deploy| deploy.id) {
            self.out.tell(News::Migration {
                deploy,
                shard: id,
                from,
                to,
                epoch,
                phase,
            });
        }
    }

    /// Shards that were begun and do not serve at their next owner yet.
    pub(crate) fn shards_in_flight(&self) -> Vec<ShardId> {
        let in_flight = self.deploy.iter().flat_map(|deploy| &deploy.in_flight);
        in_flight.copied().collect()
    }

    /// The copies and dials that run at this slave: in hand, so never many.
    pub(crate) fn copies_to(&self, slave: SlaveId) -> Vec<ShardId> {
        self.shards_in_flight()
            .into_iter()
            .filter(|id| {
                let shard = self.fleet.shards.get(id);
                let moving = shard.and_then(|shard| shard.phase.moving());
                moving.is_some_and(|(_, to)| to == slave)
            })
            .collect()
    }

    /// A slave of the deploy is back. A new one that is again and again, and gets no
    /// further, ends its connection over a message of the master.
    pub(crate) fn deploy_rejoined(&mut self, id: SlaveId) {
        if !self.deploy_needs(id) {
            return;
        }
        if let Some(deploy) = &mut self.deploy
            && deploy.to() == Some(id)
        {
            deploy.returns += 1;
            if deploy.returns > MOST_RETURNS {
                let why = format!(
                    "the new slave was connected again {MOST_RETURNS} times and no shard moved"
                );
                self.fail_deploy(None, why);
                return;
            }
        }
        self.ask_prepared();
    }

    pub(crate) fn go_to(&mut self, stage: Stage) {
        if let Some(deploy) = &mut self.deploy {
            let before = deploy.step();
            let first = before == DeployStep::Preparing;
            deploy.stage = stage;
            if deploy.step() != before || first {
                self.deploy_step();
            }
        }
    }

    pub(crate) fn deploy_step(&mut self) {
        if let Some(deploy) = &self.deploy {
            let news = News::DeployStep {
                deploy: deploy.id,
                step: deploy.step(),
            };
            let slot = deploy.slot;
            self.out.tell(news);
            self.out.touch(slot);
        }
    }

    pub(crate) fn nothing_in_flight(&self) -> bool {
        self.deploy
            .as_ref()
            .is_some_and(|deploy| deploy.in_flight.is_empty())
    }

    pub(crate) fn deploy_size(&self) -> usize {
        self.deploy
            .as_ref()
            .map_or(0, |deploy| self.fleet.slots[deploy.slot].size)
    }
}
