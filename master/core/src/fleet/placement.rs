//! A free shard goes to the slave that its slot is to be at: by RESUME where its session
//! is younger than the resume window, else with a new session.

use baton_protocol::{
    ShardId, SlaveId, ToSlave, Version,
    message::{FullStart, Resume, Unit},
};

use crate::{
    Core,
    event::{Durability, Entry, Hold},
    fleet::{Fleet, SlotId},
    master_stage::MasterStage,
    shard::{Claim, ClaimStage, Free, How, Phase, Reach, Start, deaths::Orders},
};

/// A start order names at most so many shards; more go into another one.
const MAX_START: usize = 4096;

impl Core {
    /// The slave that the shards of a slot are to be at.
    pub(crate) fn target(&self, slot: SlotId) -> Option<SlaveId> {
        match self.deploys.of(slot) {
            Some(deploy) => deploy.goal(),
            None => self.fleet.slots[slot].owner,
        }
    }

    /// Gives every free shard of a slot to its target: the epochs are reserved in
    /// one save, then the orders go out.
    pub(crate) fn place_free(&mut self, slot: SlotId) {
        let Some(target) = self.target(slot) else {
            return;
        };
        if self.stage == MasterStage::Left || !self.fleet.can_take(target) {
            return;
        }
        let (now, window) = (self.out.now, self.settings.resume_window);
        let mut placed = Vec::new();
        let mut rows = Vec::new();
        let free: Vec<_> = self.fleet.slots[slot].free.iter().copied().collect();
        for id in free {
            let shard = &mut self.fleet.shards[id];
            let Some(free) = shard.phase.free() else {
                continue;
            };
            if free.reserved != Some(target) {
                if self.out.saves.fail() {
                    continue;
                }
                rows.push(Entry::Owner {
                    shard: id,
                    epoch: shard.use_epoch(target),
                    owner: target,
                    hold: Hold::Reserved,
                    basis: shard.next_start(free, now, window).1,
                });
            }
            placed.push((id, free));
        }
        let durability = if mutant!("reserved-soon") {
            Durability::Soon
        } else {
            Durability::Now
        };
        self.out.save(rows, durability);

        let mut cold = Vec::new();
        for (id, free) in placed {
            let how = self.start(id, free, target);
            match how {
                How::Full => cold.extend(self.fleet.unit(id)),
                How::Resume(_) => self.send_resume(id),
            }
        }
        for shards in cold.chunks(MAX_START) {
            self.send_full_start(target, shards.to_vec());
        }
    }

    /// Makes `target` the claimant of a free shard whose epoch is reserved.
    fn start(&mut self, id: ShardId, free: Free, target: SlaveId) -> How {
        let (now, window) = (self.out.now, self.settings.resume_window);
        let shard = &mut self.fleet.shards[id];
        let (how, basis) = shard.next_start(free, now, window);
        debug_assert_eq!(shard.phase, Phase::Free(free), "shard {id} is free");
        debug_assert_eq!(
            shard.holder,
            Some(target),
            "its epoch is reserved for {target}"
        );
        shard.basis = basis;
        let claim = Claim {
            owner: target,
            epoch: shard.epoch,
            stage: ClaimStage::Starting(Start {
                how,
                reach: Reach::Nothing,
            }),
        };
        match how {
            How::Full => self.fleet.starts_cold(id, target, &mut self.out),
            How::Resume(after) => {
                let replays = self.replays();
                self.fleet
                    .bound_replay(id, after, target, replays, &mut self.out);
                self.fleet.shards[id].replays = after;
            }
        }
        self.enter(id, Phase::Claimed(claim));
        self.fleet.give_up_unfinished(id, &mut self.out);
        let paces = (self.settings.replay_buffer, self.settings.no_progress);
        let shard = &self.fleet.shards[id];
        if let Some(deploy) = self.deploys.of_mut(shard.slot) {
            deploy.started(id, shard, target, paces, &mut self.out);
        }
        how
    }

    /// Repeats the last order to a starting shard's owner.
    pub(crate) fn order_again(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        let (Some(claim), Some(start)) = (shard.phase.claim(), shard.phase.starting()) else {
            return;
        };
        if self.out.saves.owe(id) {
            return;
        }
        match start.how {
            How::Full => {
                let units = self.fleet.unit(id).into_iter().collect();
                self.send_full_start(claim.owner, units);
            }
            How::Resume(_) => self.send_resume(id),
        }
    }

    fn send_full_start(&mut self, to: SlaveId, shards: Vec<Unit>) {
        let start = FullStart {
            shards,
            shard_count: self.settings.shard_count,
        };
        self.out.send(to, ToSlave::FullStart(start));
    }

    fn send_resume(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        let Some(Claim {
            owner,
            epoch,
            stage:
                ClaimStage::Starting(Start {
                    how: How::Resume(after),
                    ..
                }),
        }) = shard.phase.claim()
        else {
            return;
        };
        let Some(mut ticket) = shard.ticket_for(owner, after) else {
            return;
        };
        debug_assert_eq!(ticket.shard, id, "a kept ticket is of its shard");
        let state_too_old = self.is_too_old(shard, owner);
        if state_too_old {
            ticket.state_at = ticket.handled.max(ticket.replay_from);
        }
        let takes_care = self.fleet.slaves.get(&owner);
        let takes_care = takes_care.is_some_and(|slave| slave.speaks(Version::TRIAL));
        let care = if takes_care {
            shard.care.orders(after)
        } else {
            Orders::default()
        };
        let resume = Resume {
            epoch,
            after,
            state_too_old,
            alone: care.alone,
            deadly: care.deadly,
            skipped: care.skipped,
            ticket,
        };
        self.out.send(owner, ToSlave::Resume(Box::new(resume)));
        self.fleet.tell_settled(id, &mut self.out);
    }
}

impl Fleet {
    fn unit(&self, id: ShardId) -> Option<Unit> {
        let (_, epoch) = self.shards[id].phase.claimant()?;
        Some(Unit { shard: id, epoch })
    }
}
