//! The order in which the shards of a deploy move.
//!
//! - The *canary* is the quietest shard that gets an event a second: one that gets
//!   none proves little of a build, and a busy one is the worst to lose. Where no
//!   shard gets so many it is the busiest.
//! - Then *from the quietest to the busiest*. When a busy one's turn comes the
//!   build has served all the others, and what a handover takes is known. And the
//!   state that the old slave keeps of it is the youngest when the soak begins:
//!   should everything go back, Discord has the least to replay.
//! - *How many at once*: at most the deploy's width, and no more than their replay
//!   budgets allow (`in_flight.rs`). A shard that no slave serves waits for neither.
//! - *On the way back* the shard comes first that got the most events since the old
//!   slave sealed it, for that one is the next to be out of Discord's reach. They
//!   wait for the width alone: one that waits to go back gets further away.
//!
//! The order is made once for a deploy, so one input costs the same with any number of
//! shards.

use std::{cmp::Reverse, time::Duration};

use baton_protocol::{ShardId, SlaveId};

use crate::{
    Core,
    deploy::{Pace, Stage},
    master_stage::MasterStage,
    shard::{ClaimStage, How, Phase},
};

/// Events in 1000 s of a shard that tells something about a build.
const LIVELY: u64 = 1000;

impl Core {
    /// Every shard of the slot that is not at `goal` is to move.
    pub(crate) fn queue_slot(&mut self, goal: SlaveId) {
        self.queue_behind_canary(goal, 0);
    }

    /// The same, and the first of them are so many canaries.
    pub(crate) fn queue_behind_canary(&mut self, goal: SlaveId, canary: usize) {
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        let members = self.fleet.slots[deploy.slot].members;
        let rate = |id: ShardId| {
            let shard = self.fleet.shards.get(&id)?;
            let owner = shard.phase.claimant().map(|(owner, _)| owner);
            let moves = shard.slot == deploy.slot && owner != Some(goal);
            moves.then(|| (shard.events_in_1000_s(self.out.now), id))
        };
        let mut shards: Vec<_> = members.iter().filter_map(rate).collect();
        let canary = canary.min(shards.len());
        if canary > 0 {
            shards.sort_unstable_by_key(|&(rate, id)| (rate < LIVELY, rate.abs_diff(LIVELY), id));
        }
        shards[canary..].sort_unstable();
        deploy.queue = shards.into_iter().map(|(_, id)| id).collect();
    }

    /// Everything that is queued goes back to the old slave.
    pub(crate) fn queue_for_the_way_back(&mut self) {
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        let Some(from) = deploy.from else {
            return;
        };
        let behind = |id: &ShardId| {
            let shard = self.fleet.shards.get(id);
            Reverse(shard.map_or(0, |shard| shard.behind(from)))
        };
        let queue = deploy.queue.make_contiguous();
        queue.sort_by_cached_key(behind);
    }

    /// Begins as many shards as may move at once.
    pub(crate) fn begin_moves(&mut self) {
        self.seal_next();
        while let Some((id, to, budget)) = self.next_to_move() {
            if let Some(deploy) = &mut self.deploy {
                deploy.in_flight.take(id, budget);
            }
            self.begin_move(id, to);
        }
    }

    fn next_to_move(&mut self) -> Option<(ShardId, SlaveId, Duration)> {
        if self.stage != MasterStage::Running || self.out.saves.fail() || self.is_paused() {
            return None;
        }
        let deploy = self.deploy.as_mut()?;
        let goal = deploy.goal()?;
        let width = match deploy.stage {
            Stage::Moving {
                pace: Pace::Canary(canary),
                ..
            } => canary.saturating_sub(self.fleet.serving(goal)),
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => deploy.width(),
        };
        if deploy.in_flight.len() >= width || !self.fleet.can_take(goal) {
            return None;
        }
        let rolling_back = matches!(deploy.stage, Stage::RollingBack { .. });
        while let Some(&id) = deploy.queue.front() {
            let shard = self.fleet.shards.get(&id)?;
            let is_out = self.permits.is_out(id, self.out.now);
            let budget = shard.replay_budget(self.out.now, self.settings.replay_buffer);
            let moves = match shard.phase {
                _ if deploy.in_flight.contains(&id) => false,
                Phase::Free(_) => true,
                Phase::Unknown { .. } => false,
                Phase::Claimed(claim) => match claim.stage {
                    ClaimStage::Serving | ClaimStage::Starting(_) if claim.owner == goal => false,
                    // It is resumed, or it has just been permitted its IDENTIFY: its turn
                    // comes when it serves, or has to ask again.
                    ClaimStage::Starting(start)
                        if !rolling_back && (start.how != How::Full || is_out) =>
                    {
                        false
                    }
                    ClaimStage::Serving | ClaimStage::Starting(_) => {
                        let fits =
                            rolling_back || deploy.in_flight.len() < deploy.in_flight.most(budget);
                        // Its owner is away or dying: its return or its death decides.
                        if !fits || !self.fleet.can_take(claim.owner) {
                            return None;
                        }
                        true
                    }
                    ClaimStage::Copying { .. }
                    | ClaimStage::Dialling { .. }
                    | ClaimStage::Sealing { .. } => false,
                },
            };
            deploy.queue.pop_front();
            if moves {
                return Some((id, goal, budget));
            }
        }
        None
    }

    /// A shard without a session could not be moved when its turn came.
    pub(crate) fn turn_comes_again(&mut self, id: ShardId, slot: usize, owner: SlaveId) {
        if let Some(deploy) = &mut self.deploy
            && deploy.slot == slot
            && deploy.goal() != Some(owner)
            && !deploy.in_flight.contains(&id)
        {
            deploy.queue.push_back(id);
            self.out.touch(slot);
        }
    }

    /// A shard has no session (any more). Where it is to be, that is all there is to
    /// its move; elsewhere its turn comes, for nothing of it has to be copied.
    pub(crate) fn moves_without_session(&mut self, id: ShardId, owner: SlaveId) {
        let Some(slot) = self.fleet.shards.get(&id).map(|shard| shard.slot) else {
            return;
        };
        if let Some(deploy) = &mut self.deploy
            && slot == deploy.slot
        {
            deploy.in_flight.remove(&id);
            self.out.touch(deploy.slot);
            self.turn_comes_again(id, slot, owner);
        }
    }

    /// How many shards of the running deploy may move at once now, the next one
    /// among them.
    pub(crate) fn at_once(&self) -> usize {
        let Some(deploy) = &self.deploy else {
            return 0;
        };
        let next = deploy
            .queue
            .front()
            .and_then(|id| self.fleet.shards.get(id));
        let budget = next.map_or(Duration::MAX, |shard| {
            shard.replay_budget(self.out.now, self.settings.replay_buffer)
        });
        deploy.width().min(deploy.in_flight.most(budget))
    }
}
