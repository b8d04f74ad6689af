//! The order in which the shards of a deploy move.
//!
//! - The *canary* is the quietest shard that gets an event a second: one that gets
//!   none proves little of a build, and a busy one is the worst to lose. Where no
//!   shard gets so many it is the busiest.
//! - Then *from the quietest to the busiest*. When a busy one's turn comes the
//!   build has served all the others, and what a handover takes is known. And the
//!   state that the old slave keeps of it is the youngest when the soak begins:
//!   should everything go back, the service has the least to replay.
//! - *How many at once*: at most the deploy's width, and no more than their replay
//!   budgets allow (`in_flight.rs`). A shard that no slave serves waits for neither.
//! - *On the way back* the shard comes first that got the most events since the old
//!   slave sealed it, for that one is the next to be out of the service's reach. They
//!   wait for the width alone: one that waits to go back gets further away.
//!
//! Deploys of several slots that run beside each other share all of that (`deploys.rs`).
//!
//! The order is made once for a deploy, so one input costs the same with any number of
//! shards.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use baton_protocol::{ShardId, SlaveId};

use crate::{
    deploy::{Deploy, Load, Pace, Stage},
    event::Time,
    fleet::{Fleet, SlotId},
    out::Out,
    permits::Permits,
    shard::{ClaimStage, How, Phase},
};

/// Events in 1000 s of a shard that tells something about a build.
const LIVELY: u64 = 1000;

impl Deploy {
    /// Every shard of the slot that is not at `goal` is to move.
    pub(crate) fn queue_slot(&mut self, goal: SlaveId, fleet: &Fleet, now: Time) {
        self.queue_behind_canary(goal, 0, fleet, now);
    }

    /// The same, and the first of them are so many canaries.
    pub(crate) fn queue_behind_canary(
        &mut self,
        goal: SlaveId,
        canary: usize,
        fleet: &Fleet,
        now: Time,
    ) {
        let members = &fleet.slots[self.slot].members;
        let rate = |id: ShardId| {
            let shard = &fleet.shards[id];
            let owner = shard.phase.claimant().map(|(owner, _)| owner);
            let moves = shard.slot == self.slot && owner != Some(goal);
            moves.then(|| (shard.events_in_1000_s(now), id))
        };
        let mut shards: Vec<_> = members.iter().filter_map(rate).collect();
        let canary = canary.min(shards.len());
        if canary > 0 {
            shards.sort_unstable_by_key(|&(rate, id)| (rate < LIVELY, rate.abs_diff(LIVELY), id));
        }
        shards[canary..].sort_unstable();
        self.queue = shards.into_iter().map(|(_, id)| id).collect();
    }

    /// What the new slave holds goes back to the old one.
    pub(crate) fn queue_for_the_way_back(&mut self, held: &BTreeSet<ShardId>, fleet: &Fleet) {
        self.in_flight.retain(|id| !held.contains(id));
        let mut queue: Vec<_> = held.iter().copied().collect();
        if let Some(from) = self.from {
            queue.sort_by_cached_key(|id| Reverse(fleet.shards[*id].behind(from)));
        }
        self.queue = queue.into();
    }

    /// A shard that was begun is not in flight any more; its turn comes again.
    pub(crate) fn take_back(&mut self, id: ShardId) {
        if self.in_flight.remove(&id) {
            self.queue.push_back(id);
        }
    }

    /// A shard without a session could not be moved when its turn came.
    pub(crate) fn turn_comes_again(
        &mut self,
        id: ShardId,
        slot: SlotId,
        owner: SlaveId,
        out: &mut Out,
    ) {
        if self.slot == slot && self.goal() != Some(owner) && !self.in_flight.contains(&id) {
            self.queue.push_back(id);
            out.touch(slot);
        }
    }

    /// A shard has no session (any more). Where it is to be, that is all there is to
    /// its move; elsewhere its turn comes, for nothing of it has to be copied.
    pub(crate) fn moves_without_session(
        &mut self,
        id: ShardId,
        slot: SlotId,
        owner: SlaveId,
        out: &mut Out,
    ) {
        if self.slot == slot {
            self.in_flight.remove(&id);
            out.touch(slot);
            self.turn_comes_again(id, slot, owner, out);
        }
    }

    /// How many shards may move at once now, the next one among them.
    pub(crate) fn at_once(
        &self,
        fleet: &Fleet,
        now: Time,
        replay_buffer: u32,
        beside: Load,
    ) -> usize {
        let budget = self.queue.front().map_or(Duration::MAX, |id| {
            fleet.shards[*id].replay_budget(now, replay_buffer)
        });
        let most = self.width().min(self.in_flight.most(budget, beside));
        beside.part_of(most)
    }

    /// Takes the next shard out of the queue that is to be moved and may be now, and to
    /// whom it goes. It is in flight from here on.
    pub(crate) fn next_to_move(
        &mut self,
        fleet: &Fleet,
        permits: &Permits,
        now: Time,
        replay_buffer: u32,
        beside: Load,
    ) -> Option<(ShardId, SlaveId)> {
        let goal = self.goal()?;
        let width = match self.stage {
            Stage::Moving {
                pace: Pace::Canary { shards, .. },
                ..
            } => shards.saturating_sub(fleet.serving(goal)),
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => self.width(),
        };
        let rolling_back = self.goes_back();
        let others = beside.in_flight;
        if self.in_flight.len() >= width
            || !fleet.can_take(goal)
            || ((others > 0 || beside.moving > 0)
                && !rolling_back
                && !beside.has_room(self.in_flight.len(), others, self.width()))
        {
            return None;
        }
        while let Some(&id) = self.queue.front() {
            let shard = &fleet.shards[id];
            let is_out = permits.is_out(id, now);
            let budget = shard.replay_budget(now, replay_buffer);
            let moves = match shard.phase {
                _ if self.in_flight.contains(&id) => false,
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
                        let fits = rolling_back
                            || beside.has_room(
                                self.in_flight.len(),
                                others,
                                self.in_flight.most(budget, beside),
                            );
                        // Its owner is away or dying: its return or its death decides.
                        if !fits || !fleet.can_take(claim.owner) {
                            return None;
                        }
                        true
                    }
                    ClaimStage::Copying { .. }
                    | ClaimStage::Dialling { .. }
                    | ClaimStage::Sealing { .. } => false,
                },
            };
            self.queue.pop_front();
            if moves {
                self.in_flight.take(id, budget);
                return Some((id, goal));
            }
        }
        None
    }
}
