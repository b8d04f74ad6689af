//! A free shard goes to the slave that its slot is to be at: by RESUME where its session
//! is younger than the resume window, else with a new session.

use baton_protocol::{
    ShardId, SlaveId, ToSlave, Version,
    message::{FullStart, Resume, Unit},
};

use crate::{
    deploy::Deploys,
    event::{Durability, Entry, Hold},
    fleet::{Fleet, SlotId},
    out::Out,
    settings::Settings,
    shard::{
        Claim, ClaimStage, Free, Handover, How, Phase, Reach, Start, deaths::Orders, reach::Replays,
    },
};

/// A start order names at most so many shards; more go into another one.
const MAX_START: usize = 4096;

impl Deploys {
    /// The slave that the shards of a slot are to be at.
    pub(crate) fn target(&self, slot: SlotId, fleet: &Fleet) -> Option<SlaveId> {
        match self.of(slot) {
            Some(deploy) => deploy.goal(),
            None => fleet.slots[slot].owner,
        }
    }
}

impl Handover<'_> {
    /// Gives every free shard of a slot to its target.
    pub(crate) fn place_free(&mut self, slot: SlotId) {
        let Some(target) = self.deploys.target(slot, self.fleet) else {
            return;
        };
        if !self.fleet.can_take(target) {
            return;
        }
        let to = To {
            target,
            takes_over: self.deploys.takes_over(target),
            replays: self.learnt.replays(self.settings),
        };
        self.fleet
            .place_free(slot, to, self.deploys, self.settings, self.out);
    }

    /// Repeats the last order to a starting shard's owner.
    pub(crate) fn order_again(&mut self, id: ShardId) {
        let claimant = self.fleet.shards[id].phase.claimant();
        let takes_over = claimant.is_some_and(|(owner, _)| self.deploys.takes_over(owner))
            || self.deploys.moves.takes_over(id);
        self.fleet
            .order_again(id, takes_over, self.settings, self.out);
    }
}

/// Where free shards are to go.
#[derive(Clone, Copy, Debug)]
struct To {
    target: SlaveId,
    /// Whether a deploy moves its shards there, and not back.
    takes_over: bool,
    replays: Replays,
}

impl Fleet {
    /// Gives every free shard of a slot to its target: the epochs are reserved in
    /// one save, then the orders go out.
    fn place_free(
        &mut self,
        slot: SlotId,
        to: To,
        deploys: &mut Deploys,
        settings: &Settings,
        out: &mut Out,
    ) {
        let target = to.target;
        let now = out.now;
        let mut placed = Vec::new();
        let mut rows = Vec::new();
        let free: Vec<_> = self.slots[slot].free.iter().copied().collect();
        for id in free {
            let shard = &mut self.shards[id];
            let is_free = shard.phase.free();
            debug_assert!(is_free.is_some(), "shard {id} of the index is free");
            let Some(free) = is_free else {
                continue;
            };
            debug_assert!(free.parked.is_none(), "shard {id} waits for a slave alone");
            if free.reserved != Some(target) {
                if out.saves.fail() {
                    continue;
                }
                rows.push(Entry::Owner {
                    shard: id,
                    epoch: shard.use_epoch(target),
                    owner: target,
                    hold: Hold::Reserved,
                    basis: shard.next_start(free, now, settings).1,
                });
            }
            placed.push((id, free));
        }
        let durability = if mutant!("reserved-soon") {
            Durability::Soon
        } else {
            Durability::Now
        };
        out.save(rows, durability);

        let mut cold = Vec::new();
        for (id, free) in placed {
            let takes_over = to.takes_over || deploys.moves.takes_over(id);
            let how = self.start(id, free, to, deploys, settings, out);
            match how {
                How::Full => cold.extend(self.unit(id)),
                How::Resume(_) => self.send_resume(id, takes_over, settings, out),
            }
        }
        for shards in cold.chunks(MAX_START) {
            send_full_start(target, shards.to_vec(), settings, out);
        }
    }

    /// Makes `target` the claimant of a free shard whose epoch is reserved.
    fn start(
        &mut self,
        id: ShardId,
        free: Free,
        to: To,
        deploys: &mut Deploys,
        settings: &Settings,
        out: &mut Out,
    ) -> How {
        let target = to.target;
        let now = out.now;
        let shard = &mut self.shards[id];
        let (how, basis) = shard.next_start(free, now, settings);
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
            How::Full => self.starts_cold(id, target, out),
            How::Resume(after) => {
                self.bound_replay(id, after, target, to.replays, out);
                self.shards[id].replays = after;
            }
        }
        self.enter(id, Phase::Claimed(claim), out);
        self.give_up_unfinished(id, out);
        let paces = (settings.replay_buffer, settings.no_progress);
        let shard = &self.shards[id];
        if deploys.moves.has(id) {
            let no_progress = settings.no_progress;
            deploys.moves.started(id, shard, target, no_progress, out);
        } else if let Some(deploy) = deploys.of_mut(shard.slot) {
            deploy.started(id, shard, target, paces, out);
        }
        how
    }

    fn order_again(&mut self, id: ShardId, takes_over: bool, settings: &Settings, out: &mut Out) {
        let shard = &self.shards[id];
        let (claim, starting) = (shard.phase.claim(), shard.phase.starting());
        debug_assert!(starting.is_some(), "shard {id} was ordered to start");
        let (Some(claim), Some(start)) = (claim, starting) else {
            return;
        };
        if out.saves.owe(id) {
            return;
        }
        match start.how {
            How::Full => {
                let units = self.unit(id).into_iter().collect();
                send_full_start(claim.owner, units, settings, out);
            }
            How::Resume(_) => self.send_resume(id, takes_over, settings, out),
        }
    }

    fn send_resume(&self, id: ShardId, takes_over: bool, settings: &Settings, out: &mut Out) {
        let shard = &self.shards[id];
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
            debug_assert!(false, "shard {id} is to be resumed: {:?}", shard.phase);
            return;
        };
        let ticket = shard.ticket_for(owner, after);
        debug_assert!(ticket.is_some(), "shard {id} is resumed with a ticket");
        let Some(mut ticket) = ticket else {
            return;
        };
        debug_assert_eq!(ticket.shard, id, "a kept ticket is of its shard");
        let state_too_old = !takes_over && shard.is_too_old(owner, settings.replay_buffer);
        if state_too_old {
            ticket.state_at = ticket.handled.max(ticket.replay_from);
        }
        let takes_care = self.slaves.get(&owner);
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
        out.send(owner, ToSlave::Resume(Box::new(resume)));
        self.tell_settled(id, out);
    }

    fn unit(&self, id: ShardId) -> Option<Unit> {
        let claimant = self.shards[id].phase.claimant();
        debug_assert!(claimant.is_some(), "shard {id} was placed");
        let (_, epoch) = claimant?;
        Some(Unit { shard: id, epoch })
    }
}

fn send_full_start(to: SlaveId, shards: Vec<Unit>, settings: &Settings, out: &mut Out) {
    let start = FullStart {
        shards,
        shard_count: settings.shard_count,
    };
    out.send(to, ToSlave::FullStart(start));
}
