//! The unit `bot`: work that one slave of the whole fleet does (schedules, jobs).
//! It moves last, by the same rules as a shard: one owner, one epoch each.
//!
//! ```text
//! Unknown ─▶ Free ──slot serves──▶ Starting ──answered──▶ Running ──deploy──▶ Stopping
//!              ▲                                                                 │
//!              └───────────────── ticket, or known dead ─────────────────────────┘
//! ```

use baton_protocol::{Epoch, SlaveId, ToSlave, message::Work};
use bytes::Bytes;

use crate::{
    Core,
    event::{Durability, Entry, JournalState},
    master_stage::MasterStage,
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
    state: State,
}

/// The work belongs to the first slot: one slave of the fleet does it.
pub(crate) const HOME: usize = 0;

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
    pub(crate) fn new(row: Option<(Epoch, SlaveId)>, journal: JournalState, floor: Epoch) -> Self {
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
            state,
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

impl Core {
    /// Takes the next step towards the slave that is to do the work.
    pub(crate) fn advance_work(&mut self) {
        if self.stage != MasterStage::Running {
            return;
        }
        if let State::Unknown { row } = self.work.state {
            let missing = self.missing(HOME);
            let may_be_run = match row {
                Some(row) if self.journal == JournalState::Intact => missing.contains(&row),
                Some(_) | None => !missing.is_empty(),
            };
            if !may_be_run {
                // Its owner is dead, or joined without it.
                self.work.state = State::Free;
            }
        }
        let Some(target) = self.work_target() else {
            return;
        };
        match self.work.state {
            State::Free if self.fleet.can_take(target) && !self.out.saves.fail() => {
                self.start_work(target);
            }
            State::Running { owner, epoch } if owner != target && self.fleet.is_joined(owner) => {
                self.work.state = State::Stopping { owner, epoch };
                self.out.start(Timer::Work, self.settings.drained());
                self.send_stop_work(owner, epoch);
            }
            State::Unknown { .. }
            | State::Free
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// Who is to do the work; `None`: the present one goes on.
    fn work_target(&self) -> Option<SlaveId> {
        if let Some(deploy) = self.deploy_in(HOME) {
            return deploy.work_goal();
        }
        let slot = self.fleet.slots.get(HOME)?;
        let owner = slot.owner?;
        self.is_all_at(HOME, owner).then_some(owner)
    }

    /// Whether the work is where a deploy wants it.
    pub(crate) fn work_is_at(&self, slave: SlaveId) -> bool {
        matches!(self.work.state, State::Running { owner, .. } if owner == slave)
    }

    /// The epoch is reserved durably, then the work is given.
    fn start_work(&mut self, owner: SlaveId) {
        debug_assert_eq!(self.work.state, State::Free, "nobody does it");
        let epoch = self.work.epoch.max(self.work.floor).next();
        debug_assert!(epoch > self.work.epoch, "an epoch is used once");
        self.work.epoch = epoch;
        self.work.holder = Some(owner);
        self.work.state = State::Starting { owner, epoch };
        self.out
            .save(vec![Entry::Work { epoch, owner }], Durability::Now);
        self.out.start(Timer::Work, self.settings.seal);
        self.send_start_work(owner, epoch);
    }

    pub(crate) fn work_started(&mut self, from: SlaveId, answer: &Work) {
        if let State::Starting { owner, epoch } = self.work.state
            && (owner, epoch) == (from, answer.epoch)
        {
            self.work.state = State::Running { owner, epoch };
            self.out.stop(Timer::Work);
            self.out.touch(HOME);
        }
    }

    /// It stands still. Unasked too: its owner is leaving.
    pub(crate) fn work_stopped(&mut self, from: SlaveId, answer: Work) {
        if self.work.at() != Some((from, answer.epoch)) {
            return;
        }
        if answer.ticket.len() > Work::MAX_TICKET {
            self.out.alarm(format!(
                "slave {from} handed over once-per-bot work with a ticket of {} bytes; it starts \
                 without one",
                answer.ticket.len()
            ));
            self.work.ticket = Bytes::new();
        } else {
            self.work.ticket = answer.ticket;
        }
        self.free_work();
    }

    pub(crate) fn work_owner_gone(&mut self, id: SlaveId) {
        if self.work.owner() == Some(id) {
            self.free_work();
        }
    }

    fn free_work(&mut self) {
        self.work.state = State::Free;
        self.out.stop(Timer::Work);
        self.out.touch(HOME);
    }

    /// What a slave reports when it joins: the epoch at which it runs the work.
    pub(crate) fn work_reported(&mut self, slave: SlaveId, said: Epoch) {
        let runs = said != Epoch::default();
        match self.work.state {
            State::Starting { owner, epoch } if owner == slave => {
                if said == epoch {
                    self.work.state = State::Running { owner, epoch };
                    self.out.stop(Timer::Work);
                    self.out.touch(HOME);
                } else {
                    self.send_start_work(owner, epoch);
                }
            }
            State::Stopping { owner, epoch } if owner == slave => {
                self.send_stop_work(owner, epoch);
            }
            State::Running { owner, .. } if owner == slave && !runs => self.free_work(),
            State::Running { owner, epoch } if (owner, epoch) == (slave, said) => {}
            State::Unknown { .. } | State::Free if runs && said >= self.work.epoch => {
                self.work.epoch = said;
                self.work.holder = Some(slave);
                self.work.state = State::Running {
                    owner: slave,
                    epoch: said,
                };
                self.out.touch(HOME);
            }
            State::Unknown { .. }
            | State::Free
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. } => {
                if runs {
                    self.send_stop_work(slave, said);
                }
            }
        }
    }

    /// No answer. A slave that does not stop the work is killed, as one that does
    /// not seal; one that does not start it fails its deploy.
    pub(crate) fn work_due(&mut self) {
        match self.work.state {
            State::Stopping { owner, .. } => {
                self.out.start(Timer::Work, self.settings.drained());
                if self.fleet.is_joined(owner) {
                    self.condemn(owner);
                    self.deploy_lost_soon(owner, "it did not stop the once-per-bot work");
                } else {
                    self.out.alarm(format!(
                        "the once-per-bot work waits: slave {owner} is to stop it and is not \
                         connected"
                    ));
                }
            }
            State::Starting { owner, epoch } => {
                self.out.start(Timer::Work, self.settings.seal);
                self.send_start_work(owner, epoch);
                self.deploy_lost_soon(owner, "it did not start the once-per-bot work");
            }
            State::Unknown { .. } | State::Free | State::Running { .. } => {}
        }
    }

    fn send_start_work(&mut self, to: SlaveId, epoch: Epoch) {
        if self.out.saves.owe_work() || !self.fleet.is_joined(to) {
            return;
        }
        let ticket = self.work.ticket.clone();
        self.out
            .send(to, ToSlave::StartWork(Work { epoch, ticket }));
    }

    pub(crate) fn send_stop_work(&mut self, to: SlaveId, epoch: Epoch) {
        let ticket = Bytes::new();
        self.out.send(to, ToSlave::StopWork(Work { epoch, ticket }));
    }
}
