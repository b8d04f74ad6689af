//! The unit `bot`: work that one slave of the whole fleet does (schedules, jobs).
//! It moves last, by the same rules as a shard: one owner, one epoch each.
//!
//! ```text
//! Unknown ─▶ Free ──slot serves──▶ Starting ──answered──▶ Running ──deploy──▶ Stopping
//!              ▲                                                                 │
//!              └───────────────── ticket, or known dead ─────────────────────────┘
//! ```

use std::time::Duration;

use baton_protocol::{Epoch, SlaveId, ToSlave, message::Work};
use bytes::Bytes;

use crate::{
    deploy::Deploys,
    event::{Durability, Entry, JournalState},
    fleet::{Fleet, SlotId},
    out::Out,
    settings::Settings,
    timers::Timer,
};

/// Whose the work is.
#[derive(Clone, Debug)]
pub(crate) struct WorkUnit {
    /// The highest epoch that is known to be used up.
    epoch: Epoch,
    /// For whom that one was used up; `None`: unknown.
    holder: Option<SlaveId>,
    /// Epochs up to this one may be used up: what a lost journal knew.
    floor: Epoch,
    /// What its last owner wrote down.
    ticket: Bytes,
    /// The slot whose slave is to do it; `None`: this fleet has no slot.
    home: Option<SlotId>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// After a restart: whose it was; `None`: the journal that knew it is lost.
    Unknown {
        row: Option<SlaveId>,
    },
    Free,
    Starting {
        owner: SlaveId,
        epoch: Epoch,
    },
    Running {
        owner: SlaveId,
        epoch: Epoch,
    },
    Stopping {
        owner: SlaveId,
        epoch: Epoch,
    },
}

impl WorkUnit {
    pub(crate) fn new(
        row: Option<(Epoch, SlaveId)>,
        journal: JournalState,
        floor: Epoch,
        home: Option<SlotId>,
    ) -> Self {
        let (epoch, state) = match (row, journal) {
            (Some((epoch, row)), _) => (epoch, State::Unknown { row: Some(row) }),
            (None, JournalState::Lost) => (Epoch::default(), State::Unknown { row: None }),
            (None, JournalState::Intact) => (Epoch::default(), State::Free),
        };
        Self {
            epoch,
            holder: row.map(|(_, owner)| owner),
            floor,
            ticket: Bytes::new(),
            home,
            state,
        }
    }

    /// Whether the slave of this slot is to do it.
    pub(crate) fn is_of(&self, slot: SlotId) -> bool {
        self.home == Some(slot)
    }

    /// The settings say of which slot it is: its slave is to do it from now on.
    pub(crate) fn belongs_to(&mut self, home: Option<SlotId>, out: &mut Out) {
        if self.home != home {
            self.home = home;
            self.touch_home(out);
        }
    }

    fn touch_home(&self, out: &mut Out) {
        if let Some(home) = self.home {
            out.touch(home);
        }
    }

    /// The highest epoch that is known to be used up, and for whom.
    pub(crate) const fn used_up(&self) -> (Epoch, Option<SlaveId>) {
        (self.epoch, self.holder)
    }

    /// The only slave that may be running it.
    pub(crate) const fn owner(&self) -> Option<SlaveId> {
        match self.state {
            State::Unknown { .. } | State::Free => None,
            State::Starting { owner, .. }
            | State::Running { owner, .. }
            | State::Stopping { owner, .. } => Some(owner),
        }
    }

    const fn at(&self) -> Option<(SlaveId, Epoch)> {
        match self.state {
            State::Unknown { .. } | State::Free => None,
            State::Starting { owner, epoch }
            | State::Running { owner, epoch }
            | State::Stopping { owner, epoch } => Some((owner, epoch)),
        }
    }
}

/// The slave that did not answer about the work in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It does not start it.
    Start(SlaveId),
    /// It does not stop it, and can be spoken to.
    Stop(SlaveId),
}

impl WorkUnit {
    /// Who is to do it; `None`: the present one goes on. `held_up`: whether shards may wait
    /// long for their permits.
    pub(crate) fn target(
        &self,
        fleet: &Fleet,
        deploys: &Deploys,
        held_up: bool,
    ) -> Option<SlaveId> {
        let home = self.home?;
        if let Some(deploy) = deploys.of(home) {
            return deploy.work_goal();
        }
        let owner = fleet.slots[home].owner?;
        deploys
            .is_all_at(home, owner, fleet, held_up)
            .then_some(owner)
    }

    /// After a restart: nobody does it when its owner is dead, or joined without it.
    /// `missing` have not reported.
    pub(crate) fn resolve(&mut self, missing: &[SlaveId], journal: JournalState) {
        if let State::Unknown { row } = self.state {
            let may_be_run = match row {
                Some(row) if journal == JournalState::Intact => missing.contains(&row),
                Some(_) | None => !missing.is_empty(),
            };
            if !may_be_run {
                self.state = State::Free;
            }
        }
    }

    /// Takes the next step towards the slave that is to do the work.
    pub(crate) fn advance(
        &mut self,
        target: SlaveId,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        match self.state {
            State::Free if fleet.can_take(target) && !out.saves.fail() => {
                self.start(target, fleet, settings.seal, out);
            }
            State::Running { owner, epoch } if owner != target && fleet.is_joined(owner) => {
                self.state = State::Stopping { owner, epoch };
                out.start(Timer::Work, settings.drained());
                send_stop(owner, epoch, out);
            }
            State::Unknown { .. }
            | State::Free
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// What holds between two inputs.
    pub(crate) fn check_invariants(&self, fleet: &Fleet, out: &Out) {
        if let Some((owner, epoch)) = self.at() {
            assert!(
                fleet.is_known(owner),
                "slave {owner} does the work and lives"
            );
            assert!(epoch <= self.epoch, "the epoch of the work is used up");
        }
        let waits = matches!(self.state, State::Starting { .. } | State::Stopping { .. });
        assert_eq!(
            waits,
            out.runs(Timer::Work),
            "an answer is not waited for for ever"
        );
    }

    /// Whether this slave does it.
    pub(crate) fn is_at(&self, slave: SlaveId) -> bool {
        matches!(self.state, State::Running { owner, .. } if owner == slave)
    }

    /// The epoch is reserved durably, then the work is given.
    fn start(&mut self, owner: SlaveId, fleet: &Fleet, patience: Duration, out: &mut Out) {
        debug_assert_eq!(self.state, State::Free, "nobody does it");
        let epoch = self.epoch.max(self.floor).next();
        debug_assert!(epoch > self.epoch, "an epoch is used once");
        self.epoch = epoch;
        self.holder = Some(owner);
        self.state = State::Starting { owner, epoch };
        out.save(vec![Entry::Work { epoch, owner }], Durability::Now);
        out.start(Timer::Work, patience);
        self.send_start(owner, epoch, fleet, out);
    }

    /// Its owner says that it runs.
    pub(crate) fn started(&mut self, from: SlaveId, answer: &Work, out: &mut Out) {
        if let State::Starting { owner, epoch } = self.state
            && (owner, epoch) == (from, answer.epoch)
        {
            self.runs(owner, epoch, out);
        }
    }

    fn runs(&mut self, owner: SlaveId, epoch: Epoch, out: &mut Out) {
        debug_assert!(
            matches!(self.state, State::Starting { .. }),
            "it was given: {:?}",
            self.state
        );
        self.state = State::Running { owner, epoch };
        out.stop(Timer::Work);
        self.touch_home(out);
    }

    /// It stands still. Unasked too: its owner is leaving.
    pub(crate) fn stopped(&mut self, from: SlaveId, answer: Work, out: &mut Out) {
        if self.at() != Some((from, answer.epoch)) {
            return;
        }
        if answer.ticket.len() > Work::MAX_TICKET {
            out.alarm(format!(
                "slave {from} handed over once-per-bot work with a ticket of {} bytes; it starts \
                 without one",
                answer.ticket.len()
            ));
            self.ticket = Bytes::new();
        } else {
            self.ticket = answer.ticket;
        }
        self.free(out);
    }

    /// A slave is dead.
    pub(crate) fn slave_gone(&mut self, id: SlaveId, out: &mut Out) {
        if self.owner() == Some(id) {
            self.free(out);
        }
    }

    fn free(&mut self, out: &mut Out) {
        self.state = State::Free;
        out.stop(Timer::Work);
        self.touch_home(out);
    }

    /// What a slave reports when it joins: the epoch at which it runs the work.
    pub(crate) fn reported(&mut self, slave: SlaveId, said: Epoch, fleet: &Fleet, out: &mut Out) {
        let runs = said != Epoch::default();
        match self.state {
            State::Starting { owner, epoch } if owner == slave => {
                if said == epoch {
                    self.runs(owner, epoch, out);
                } else {
                    self.send_start(owner, epoch, fleet, out);
                }
            }
            State::Stopping { owner, epoch } if owner == slave => send_stop(owner, epoch, out),
            State::Running { owner, .. } if owner == slave && !runs => self.free(out),
            State::Running { owner, epoch } if (owner, epoch) == (slave, said) => {}
            State::Unknown { .. } | State::Free if runs && said >= self.epoch => {
                self.epoch = said;
                self.holder = Some(slave);
                self.state = State::Running {
                    owner: slave,
                    epoch: said,
                };
                self.touch_home(out);
            }
            State::Unknown { .. }
            | State::Free
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. } => {
                if runs {
                    send_stop(slave, said, out);
                }
            }
        }
    }

    /// No answer came. Who is to be dealt with for it, if somebody is.
    pub(crate) fn due(
        &mut self,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) -> Option<Overdue> {
        match self.state {
            State::Stopping { owner, .. } => {
                out.start(Timer::Work, settings.drained());
                if fleet.is_joined(owner) {
                    return Some(Overdue::Stop(owner));
                }
                out.alarm(format!(
                    "the once-per-bot work waits: slave {owner} is to stop it and is not connected"
                ));
                None
            }
            State::Starting { owner, epoch } => {
                out.start(Timer::Work, settings.seal);
                self.send_start(owner, epoch, fleet, out);
                Some(Overdue::Start(owner))
            }
            State::Unknown { .. } | State::Free | State::Running { .. } => None,
        }
    }

    fn send_start(&self, to: SlaveId, epoch: Epoch, fleet: &Fleet, out: &mut Out) {
        if out.saves.owe_work() || !fleet.is_joined(to) {
            return;
        }
        let ticket = self.ticket.clone();
        out.send(to, ToSlave::StartWork(Work { epoch, ticket }));
    }
}

/// A slave is to stop the work that it does at this epoch.
pub(crate) fn send_stop(to: SlaveId, epoch: Epoch, out: &mut Out) {
    let ticket = Bytes::new();
    out.send(to, ToSlave::StopWork(Work { epoch, ticket }));
}
