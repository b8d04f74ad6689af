//! Empty slots get a process.
//!
//! ```text
//! empty slot:  a standby at once, else after `contact`,
//!              known dead: after `backoff` ──────────▶ Launch ──joined──▶ filled
//!                                                ▲             │
//!                                                └─ backoff ◀──┘ failed
//! ```

use baton_protocol::{LaunchId, SlaveId, message::Role, text};

use crate::{
    event::{Action, News},
    fleet::{Fleet, Launch, Presence, SlotId, Standing},
    out::Out,
    settings::Settings,
    timers::Timer,
};

impl Fleet {
    /// Makes `slave` the one that fills a slot.
    pub(crate) fn fill(&mut self, at: SlotId, slave: SlaveId, out: &mut Out) {
        self.stand(slave, Standing::Active);
        if let Launch::Started(launch) = self.slots[at].launch {
            let filler = self.slaves.get(&slave);
            if !filler.is_some_and(|slave| slave.is_of(launch, Role::Relaunch)) {
                self.give_up(at, out);
            }
        }
        let slot = &mut self.slots[at];
        slot.owner = Some(slave);
        slot.filled = out.now;
        slot.launch = Launch::Idle;
        slot.failed_launches = 0;
        out.stop(Timer::Slot(at));
        self.unpark(at, slave, out);
        out.touch(at);
    }

    /// Shards that failed at another slave get their chance at this one.
    fn unpark(&mut self, slot: SlotId, slave: SlaveId, out: &mut Out) {
        let members = self.slots[slot].members.clone();
        for id in members.iter() {
            let shard = &self.shards[id];
            if shard.slot == slot
                && let Some(free) = shard.phase.free()
                && free.parked.is_some_and(|parked| parked != slave)
            {
                self.enter(id, free.unparked(), out);
            }
        }
    }

    /// Sees to it that an empty slot, which is not deployed, gets a slave.
    pub(crate) fn fill_slot(&mut self, at: SlotId, settings: &Settings, out: &mut Out) {
        let slot = &self.slots[at];
        if slot.owner.is_some() {
            return;
        }
        let ready = |built: bool| {
            self.of_slot(at)
                .find(|(_, slave)| {
                    slave.presence == Presence::Joined
                        && slave.standing == Standing::Standby
                        && slave.built == built
                })
                .map(|(id, _)| id)
        };
        let rests = slot.rests_until.since(out.now);
        if let Some(standby) = ready(true).or_else(|| ready(false)) {
            if rests.is_zero() || mutant!("death-after-death") {
                self.fill(at, standby, out);
            } else if !out.runs(Timer::Slot(at)) {
                out.start(Timer::Slot(at), rests);
            }
        } else if slot.launches && !slot.agent_away && !out.runs(Timer::Slot(at)) {
            let wait = slot.contact(settings);
            out.start(Timer::Slot(at), wait);
        }
    }

    /// The contact time, the backoff or the patience with a launch is over, of a slot that is
    /// not deployed.
    pub(crate) fn slot_due(&mut self, at: SlotId, settings: &Settings, out: &mut Out) {
        if self.slots[at].owner.is_some() || self.standby_fills(at, settings, out) {
            return;
        }
        let slot = &mut self.slots[at];
        if slot.agent_away && !mutant!("launched-without-agent") {
            // Its return touches the slot. What was ordered before may join yet.
            return;
        }
        if slot.launch != Launch::Idle {
            slot.failed_launches = slot.failed_launches.saturating_add(1);
        }
        let launch = self.next_launch();
        let slot = &mut self.slots[at];
        slot.launch = Launch::Started(launch);
        let attempt = slot.failed_launches;
        let name = slot.name.clone();
        let backoff = slot.backoff(settings);
        self.standby_gives_way(at, out);
        out.order(Action::Launch {
            slot: name.clone(),
            role: Role::Relaunch,
            command: None,
            deploy: None,
            launch,
        });
        out.tell(News::Launching {
            slot: name,
            attempt,
            backoff,
        });
        out.start(Timer::Slot(at), settings.ready);
    }

    /// A slot whose slaves kept dying has rested: whether a standby fills it now.
    fn standby_fills(&mut self, at: SlotId, settings: &Settings, out: &mut Out) -> bool {
        let is_there = self.of_slot(at).any(|(_, slave)| {
            slave.presence == Presence::Joined && slave.standing == Standing::Standby
        });
        if is_there {
            self.fill_slot(at, settings, out);
        }
        is_there && self.slots[at].owner.is_some()
    }

    /// A launch came to nothing. One that nobody waits for any more is of no interest.
    pub(crate) fn launch_failed(
        &mut self,
        launch: LaunchId,
        reason: &str,
        settings: &Settings,
        out: &mut Out,
    ) {
        let Some((at, role)) = self.waits_for(launch) else {
            return;
        };
        if role == Role::Standby {
            self.standby_launch_failed(at, reason, settings, out);
            return;
        }
        let slot = &mut self.slots[at];
        let name = slot.name.clone();
        slot.launch = Launch::Idle;
        slot.failed_launches = slot.failed_launches.saturating_add(1);
        let (failed, wait) = (slot.failed_launches, slot.backoff(settings));
        out.alarm(format!(
            "slot {name:?} could not be filled: a slave {reason}. Start {failed} in a row; the next in \
             {wait}",
            wait = text::span(wait)
        ));
        out.start(Timer::Slot(at), wait);
    }
}

impl Fleet {
    /// A launch was not carried out, and is none: what touches its slot next decides anew.
    pub(crate) fn not_started(&mut self, launch: LaunchId, out: &mut Out) {
        match self.waits_for(launch) {
            Some((at, Role::Standby)) => {
                self.slots[at].reserve.launch = Launch::Idle;
                out.stop(Timer::Standby(at));
            }
            Some((at, _)) => {
                self.slots[at].launch = Launch::Idle;
                out.stop(Timer::Slot(at));
            }
            None => {}
        }
    }

    /// Which slot waits for this launch, and as what.
    fn waits_for(&self, launch: LaunchId) -> Option<(SlotId, Role)> {
        let started = Launch::Started(launch);
        self.slots.iter().find_map(|(at, slot)| {
            if slot.launch == started {
                return Some((at, Role::Relaunch));
            }
            (slot.reserve.launch == started).then_some((at, Role::Standby))
        })
    }

    /// A process that was launched into a slot and has not joined is no longer wanted.
    pub(crate) fn give_up(&self, at: SlotId, out: &mut Out) {
        let slot = self.slots[at].name.clone();
        out.order(Action::GiveUp { slot });
    }
}
