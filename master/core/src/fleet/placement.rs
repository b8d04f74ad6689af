//! Free shards get a slave, empty slots get a process.
//!
//! ```text
//! free shard:  session younger than the resume window ─▶ Resume, else FullStart
//! empty slot:  a standby at once, else after `contact`,
//!              known dead: after `backoff` ──────────▶ Launch ──joined──▶ filled
//!                                                ▲             │
//!                                                └─ backoff ◀──┘ failed
//! ```

use baton_protocol::{
    ShardId, SlaveId, ToSlave, Version,
    message::{FullStart, Resume, ResumeExtra, Role, StartExtra, Unit},
};

use crate::{
    Core,
    event::{Action, Durability, Entry, Hold, News},
    fleet::{Fleet, Launch, Presence, Slave, Standing},
    master_stage::MasterStage,
    out::Out,
    shard::{Claim, ClaimStage, Free, How, Phase, Reach, Start, deaths::Orders},
    timers::Timer,
};

/// A start order names at most so many shards; more go into another one.
const MAX_START: usize = 4096;

impl Core {
    /// The slave that the shards of a slot are to be at.
    pub(crate) fn target(&self, slot: usize) -> Option<SlaveId> {
        match self.deploy_in(slot) {
            Some(deploy) => deploy.goal(),
            None => self.fleet.slots[slot].owner,
        }
    }

    /// Gives every free shard of a slot to its target: the epochs are reserved in
    /// one save, then the orders go out.
    pub(crate) fn place_free(&mut self, slot: usize) {
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
        let durability = if cfg!(mutant = "reserved-soon") {
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
                let at_most = self.replayed_at_most();
                self.fleet
                    .bound_replay(id, after, target, at_most, &mut self.out);
                self.fleet.shards[id].replays = after;
            }
        }
        self.enter(id, Phase::Claimed(claim));
        self.fleet.give_up_unfinished(id, &mut self.out);
        let paces = (self.settings.replay_buffer, self.settings.no_progress);
        if let Some(deploy) = &mut self.deploy {
            let shard = &self.fleet.shards[id];
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
        let start = StartExtra {
            shards,
            shard_count: self.settings.shard_count,
        };
        self.out
            .send(to, ToSlave::FullStart(FullStart { start: Some(start) }));
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
            shard: id.get(),
            session_id: ticket.session_id.clone(),
            sequence: ticket.resume_from().get(),
            extra: Some(Box::new(ResumeExtra {
                epoch,
                after,
                state_too_old,
                alone: care.alone,
                deadly: care.deadly,
                skipped: care.skipped,
                ticket: Some(ticket),
            })),
        };
        self.out.send(owner, ToSlave::Resume(resume));
        self.fleet.tell_settled(id, &mut self.out);
    }

    /// Makes `slave` the one that fills a slot.
    pub(crate) fn fill(&mut self, index: usize, slave: SlaveId) {
        let is_here = |known: &Slave| known.slot == index;
        debug_assert!(self.fleet.slaves.get(&slave).is_some_and(is_here));
        self.fleet.stand(slave, Standing::Active);
        let launched = self
            .fleet
            .slaves
            .get(&slave)
            .is_some_and(|slave| slave.hello.role == Role::Relaunch);
        if self.fleet.slots[index].launch == Launch::Started && !launched {
            self.fleet.give_up(index, &mut self.out);
        }
        let slot = &mut self.fleet.slots[index];
        slot.owner = Some(slave);
        slot.filled = self.out.now;
        slot.launch = Launch::Idle;
        slot.failed_launches = 0;
        self.out.stop(Timer::Slot(index));
        self.unpark(index, slave);
        self.out.touch(index);
    }

    /// Shards that failed at another slave get their chance at this one.
    fn unpark(&mut self, slot: usize, slave: SlaveId) {
        let members = self.fleet.slots[slot].members;
        for id in members.iter() {
            let shard = &self.fleet.shards[id];
            if shard.slot == slot
                && let Some(free) = shard.phase.free()
                && free.parked.is_some_and(|parked| parked != slave)
            {
                self.enter(id, free.unparked());
            }
        }
    }

    /// Sees to it that an empty slot gets a slave.
    pub(crate) fn fill_slot(&mut self, index: usize) {
        let slot = &self.fleet.slots[index];
        if slot.owner.is_some()
            || self.deploy_in(index).is_some()
            || self.stage != MasterStage::Running
        {
            return;
        }
        let ready = |built: bool| {
            self.fleet
                .of_slot(index)
                .find(|(_, slave)| {
                    slave.presence == Presence::Joined
                        && slave.standing == Standing::Standby
                        && slave.built == built
                })
                .map(|(id, _)| id)
        };
        let rests = slot.rests_until.since(self.out.now);
        if let Some(standby) = ready(true).or_else(|| ready(false)) {
            if rests.is_zero() || cfg!(mutant = "death-after-death") {
                self.fill(index, standby);
            } else if !self.out.runs(Timer::Slot(index)) {
                self.out.start(Timer::Slot(index), rests);
            }
        } else if slot.launches && !self.out.runs(Timer::Slot(index)) {
            let wait = slot.contact(&self.settings);
            self.out.start(Timer::Slot(index), wait);
        }
    }

    /// The contact time, the backoff or the patience with a launch is over.
    pub(crate) fn slot_due(&mut self, index: usize) {
        let slot = &mut self.fleet.slots[index];
        if slot.owner.is_some()
            || self.stage != MasterStage::Running
            || self
                .deploy
                .as_ref()
                .is_some_and(|deploy| deploy.slot == index)
        {
            return;
        }
        if self.standby_fills(index) {
            return;
        }
        let slot = &mut self.fleet.slots[index];
        if slot.launch == Launch::Started {
            slot.failed_launches = slot.failed_launches.saturating_add(1);
        }
        slot.launch = Launch::Started;
        let attempt = slot.failed_launches;
        let name = slot.name.clone();
        let backoff = slot.backoff(&self.settings);
        self.fleet.standby_gives_way(index, &mut self.out);
        self.out.order(Action::Launch {
            slot: name.clone(),
            role: Role::Relaunch,
            command: None,
            deploy: None,
        });
        self.out.tell(News::Launching {
            slot: name,
            attempt,
            backoff,
        });
        self.out.start(Timer::Slot(index), self.settings.ready);
    }

    /// A slot whose slaves kept dying has rested: whether a standby fills it now.
    fn standby_fills(&mut self, index: usize) -> bool {
        let is_there = self.fleet.of_slot(index).any(|(_, slave)| {
            slave.presence == Presence::Joined && slave.standing == Standing::Standby
        });
        if is_there {
            self.fill_slot(index);
        }
        is_there && self.fleet.slots[index].owner.is_some()
    }

    pub(crate) fn launched(&mut self, slot: &str, role: Role, pid: u32) {
        if role == Role::Candidate
            && let Some(index) = self.fleet.slot_named(slot)
        {
            self.candidate_launched(index, pid);
        }
    }

    pub(crate) fn launch_failed(&mut self, name: &str, role: Role, reason: &str) {
        let Some(index) = self.fleet.slot_named(name) else {
            return;
        };
        if role == Role::Standby {
            self.standby_launch_failed(index, reason);
            return;
        }
        if self.candidate_launch_failed(index, reason) {
            return;
        }
        let slot = &mut self.fleet.slots[index];
        if slot.launch == Launch::Idle {
            return;
        }
        slot.launch = Launch::Idle;
        slot.failed_launches = slot.failed_launches.saturating_add(1);
        let (failed, wait) = (slot.failed_launches, slot.backoff(&self.settings));
        self.out.alarm(format!(
            "slot {name:?} could not be filled: a slave {reason}. Start {failed} in a row; the next in \
             {wait:?}"
        ));
        self.out.start(Timer::Slot(index), wait);
    }
}

impl Fleet {
    fn unit(&self, id: ShardId) -> Option<Unit> {
        let (_, epoch) = self.shards[id].phase.claimant()?;
        Some(Unit { shard: id, epoch })
    }

    /// A process that was launched into a slot and has not joined is no longer wanted.
    pub(crate) fn give_up(&self, index: usize, out: &mut Out) {
        let slot = self.slots[index].name.clone();
        out.order(Action::GiveUp { slot });
    }
}
