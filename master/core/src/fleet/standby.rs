//! Standbys: slaves whose bot is built and that own nothing, so that a dead
//! slave's shards go on at once.
//!
//! ```text
//! too few, slot filled, no deploy ──backoff──▶ Launch ──joined──▶ SoftStart ─▶ built
//!                                    ▲            │                              │
//!                                    └────────────┴── ended, died ◀──────────────┘
//! too many, or of a build that was replaced ─▶ told to end
//! ```
//!
//! Serving goes first: nothing is launched here while a deploy runs, while a
//! shard waits for a slave, or while the slot is empty; and the standbys' failures
//! are counted apart from those of the slot.

use baton_protocol::{SlaveId, message::Role, text};

use crate::{
    event::Action,
    fleet::{Fleet, Launch, Origin, Presence, Slave, SlotId, Standing},
    out::Out,
    settings::Settings,
    timers::Timer,
};

impl Fleet {
    /// Sees to it that a slot with a command, which is not deployed, has its standbys, and
    /// no more.
    pub(crate) fn keep_standbys(&mut self, at: SlotId, settings: &Settings, out: &mut Out) {
        let slot = &self.slots[at];
        if settings.standbys == 0 || !slot.launches || slot.agent_away {
            return;
        }
        let Some(owner) = slot.owner else {
            return;
        };
        let wanted = usize::try_from(settings.standbys).unwrap_or(usize::MAX);
        let mut standbys = self.standbys(at);
        standbys.sort_unstable_by_key(|&(id, built)| (!built, id));
        let is_old = |&(id, _): &(SlaveId, bool)| self.is_replaced(id, owner);
        let (replaced, mut kept): (Vec<_>, Vec<_>) = standbys.into_iter().partition(is_old);
        let surplus = kept.split_off(wanted.min(kept.len()));
        for (id, _) in replaced.into_iter().chain(surplus) {
            self.dismiss(id, settings.retire, out);
        }
        let slot = &self.slots[at];
        let missing = kept.len() + self.awaited_standbys(at) < wanted;
        let timer = Timer::Standby(at);
        if !missing {
            if slot.reserve.launch == Launch::Idle {
                out.stop(timer);
            }
        } else if slot.free.is_empty() && !out.runs(timer) {
            let wait = slot.reserve.backoff(settings);
            out.start(timer, wait);
        }
    }

    /// The backoff before a launch is over, or the patience with one. `idle`: the slot is
    /// not deployed.
    pub(crate) fn standby_due(
        &mut self,
        at: SlotId,
        idle: bool,
        settings: &Settings,
        out: &mut Out,
    ) {
        let slot = &mut self.slots[at];
        if slot.reserve.launch != Launch::Idle {
            slot.reserve.launch = Launch::Idle;
            self.give_up(at, out);
            self.standby_failed(at, "it did not join in time", settings, out);
            return;
        }
        let busy = slot.owner.is_none() || !slot.free.is_empty() || slot.launch != Launch::Idle;
        if busy || slot.agent_away || !idle || out.saves.fail() {
            // What ends this touches the slot.
            return;
        }
        let launch = self.next_launch();
        let slot = &mut self.slots[at];
        slot.reserve.launch = Launch::Started(launch);
        slot.reserve.launched = out.now;
        out.order(Action::Launch {
            slot: slot.name.clone(),
            role: Role::Standby,
            command: None,
            deploy: None,
            launch,
        });
        out.start(Timer::Standby(at), settings.ready);
    }

    /// A launched standby ended before it joined, or could not be launched.
    pub(crate) fn standby_launch_failed(
        &mut self,
        at: SlotId,
        reason: &str,
        settings: &Settings,
        out: &mut Out,
    ) {
        self.slots[at].reserve.launch = Launch::Idle;
        self.standby_failed(at, reason, settings, out);
    }

    /// A standby died. One that lived for long is no sign of a bad build.
    pub(crate) fn standby_died(&mut self, at: SlotId, settings: &Settings, out: &mut Out) {
        if settings.standbys == 0 {
            return;
        }
        let longest = settings.backoff_max;
        let reserve = &mut self.slots[at].reserve;
        if out.now.since(reserve.launched) > longest {
            reserve.failed = 0;
        }
        self.standby_failed(at, "it died", settings, out);
    }

    fn standby_failed(&mut self, at: SlotId, reason: &str, settings: &Settings, out: &mut Out) {
        let slot = &mut self.slots[at];
        slot.reserve.failed = slot.reserve.failed.saturating_add(1);
        let (failed, wait) = (slot.reserve.failed, slot.reserve.backoff(settings));
        let name = slot.name.clone();
        out.start(Timer::Standby(at), wait);
        if failed < 2 {
            return;
        }
        out.alarm(format!(
            "slot {name:?} has a standby too few: {reason}. Start {failed} in a row; the next in \
             {wait}. The slaves that serve are not touched",
            wait = text::span(wait)
        ));
    }

    /// A deploy was committed: what stands by is of the build before.
    pub(crate) fn dismiss_standbys(&mut self, at: SlotId, settings: &Settings, out: &mut Out) {
        if settings.standbys > 0 && self.slots[at].launches {
            self.slots[at].reserve.failed = 0;
            for (id, _) in self.standbys(at) {
                self.dismiss(id, settings.retire, out);
            }
        }
    }
}

impl Fleet {
    /// A standby joined.
    pub(crate) fn standby_came(&mut self, at: SlotId, id: SlaveId, out: &mut Out) {
        let slave = self.slaves.get(&id);
        let reserve = &mut self.slots[at].reserve;
        if let Launch::Started(launch) = reserve.launch
            && slave.is_some_and(|slave| slave.is_of(launch, Role::Standby))
        {
            reserve.launch = Launch::Idle;
            out.stop(Timer::Standby(at));
        }
    }

    /// Another process is launched into the slot, which goes before its standby.
    pub(crate) fn standby_gives_way(&mut self, at: SlotId, out: &mut Out) {
        self.slots[at].reserve.launch = Launch::Idle;
        out.stop(Timer::Standby(at));
    }

    /// The standbys of a slot, and whether each is built.
    pub(crate) fn standbys(&self, at: SlotId) -> Vec<(SlaveId, bool)> {
        let slaves = self.of_slot(at);
        slaves
            .filter(|(_, slave)| slave.standing == Standing::Standby)
            .map(|(id, slave)| (id, slave.built))
            .collect()
    }

    /// Standbys that the journal names and that may still join.
    fn awaited_standbys(&self, at: SlotId) -> usize {
        let owner = self.slots[at].owner;
        let awaited = |slave: &Slave| {
            slave.presence == Presence::Expected && slave.hello.role == Role::Standby
        };
        let slaves = self.of_slot(at);
        slaves
            .filter(|&(id, slave)| Some(id) != owner && awaited(slave))
            .count()
    }

    /// Whether a standby is left over from a build that another replaced, and the
    /// master that told it to end is no more.
    fn is_replaced(&self, id: SlaveId, owner: SlaveId) -> bool {
        let build = |id| self.slaves.get(&id).map(|slave| &slave.hello.build);
        let slave = self.slaves.get(&id);
        slave.is_some_and(|slave| slave.origin == Origin::Journal) && build(id) != build(owner)
    }
}
