//! Empty slots get a process.
//!
//! ```text
//! empty slot:  a standby at once, else after `contact`,
//!              known dead: after `backoff` ──────────▶ Launch ──joined──▶ filled
//!                                                ▲             │
//!                                                └─ backoff ◀──┘ failed
//! ```

use baton_protocol::{SlaveId, message::Role, text};

use crate::{
    Core,
    event::{Action, News},
    fleet::{Fleet, Launch, Presence, Standing},
    master_stage::MasterStage,
    out::Out,
    timers::Timer,
};

impl Core {
    /// Makes `slave` the one that fills a slot.
    pub(crate) fn fill(&mut self, index: usize, slave: SlaveId) {
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
             {wait}",
            wait = text::span(wait)
        ));
        self.out.start(Timer::Slot(index), wait);
    }
}

impl Fleet {
    /// A process that was launched into a slot and has not joined is no longer wanted.
    pub(crate) fn give_up(&self, index: usize, out: &mut Out) {
        let slot = self.slots[index].name.clone();
        out.order(Action::GiveUp { slot });
    }
}
