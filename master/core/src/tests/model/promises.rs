//! The promises, checked at the moment at which they could be broken, and what is
//! good: a state in which nothing is missing.

use super::{slave::Conn, *};

impl World {
    /// P1: an event that a ticket calls finished is finished.
    pub(super) fn judge_ticket(&mut self, ticket: &Ticket) {
        self.judge_finished(window::finished_of(ticket));
    }

    pub(super) fn judge_finished(&mut self, said: Events) {
        let lost = said & !self.finished;
        if lost != 0 {
            let lost: Vec<_> = window::numbers(lost).collect();
            self.breaks(|| format!("P1: events {lost:?} are called finished, and are not"));
        }
    }

    /// P2 and P3 for one event.
    pub(super) fn hand_out(&mut self, id: SlaveId, number: u8, marked: bool) {
        let epoch = self.row(id).unwrap().epoch;
        let (highest, owner) = self.handing;
        if epoch < highest || (epoch == highest && owner != id) {
            self.breaks(|| {
                format!(
                    "P3: {id:?} hands event {number} out at {epoch}, {owner:?} did at {highest}"
                )
            });
        }
        self.handing = (epoch, id);
        let event = window::event(number);
        if self.handed & event != 0 && !marked {
            self.breaks(|| format!("P2: {id:?} handles event {number} again, unmarked"));
        }
        if marked && !self.troubled && self.given_up & event == 0 {
            self.breaks(|| format!("P2: {id:?} marks event {number}, and nothing went wrong"));
        }
        self.handed |= event;
    }

    /// P3: one owner. A slave acts from now on.
    pub(super) fn judge_start(&mut self, id: SlaveId) {
        let acts = |slave: &Slave| slave.row.as_ref().is_some_and(slave::Row::acts);
        let other = self
            .slaves
            .iter()
            .find(|(other, slave)| **other != id && acts(slave))
            .map(|(other, _)| *other);
        if let Some(other) = other {
            self.breaks(|| {
                format!("P3: {id:?} is told to serve the shard, and {other:?} acts on it")
            });
        }
    }

    pub(super) fn judge_work(&mut self, id: SlaveId) {
        let mut others = self.slaves.iter().filter(|(other, _)| **other != id);
        if others.any(|(_, slave)| slave.work > Epoch(0)) {
            self.breaks(|| format!("the once-per-bot work runs at {id:?} and somewhere else"));
        }
    }

    /// What was reserved is on the disk before any process relies on it.
    pub(super) fn judge_order(&mut self, message: &ToSlave) {
        let (needed, synced) = match message {
            ToSlave::Seal(seal) => {
                let epoch = seal.epoch;
                let sealed = |slave: &Slave| {
                    let row = slave.row.as_ref();
                    row.is_some_and(|row| row.epoch == epoch && row.holding == Holding::Sealed)
                };
                // Asked for the same words again, nothing new is begun.
                if self.slaves.values().any(sealed) {
                    return;
                }
                (epoch.next(), self.journal.synced)
            }
            ToSlave::SealLate(late) => (late.epoch.next(), self.journal.synced),
            ToSlave::Resume(resume) => (resume.epoch, self.journal.synced),
            ToSlave::FullStart(start) => (start.shards[0].epoch, self.journal.synced),
            ToSlave::StartWork(work) => (work.epoch, self.journal.work_synced),
            _ => return,
        };
        if synced < needed {
            self.breaks(|| format!("{message:?} is sent, and {needed} is not on the disk"));
        }
    }

    /// Whether the once-per-bot work is done: where the shard is, unless that moved to a slot
    /// that does not have the work.
    fn works(&self, owner: Option<SlaveId>, serves: SlaveId) -> bool {
        let owner = owner.filter(|owner| self.moves || *owner == serves);
        let owner = owner.and_then(|owner| self.slaves.get(&owner));
        owner.is_some_and(|owner| owner.work > Epoch(0))
    }

    /// One living slave serves, the master knows it, everything that happened was
    /// handled, and nothing is under way.
    pub(super) fn is_good(&self) -> bool {
        if self.is_at_its_end() {
            // What comes then is not gone through.
            return true;
        }
        let happened = window::event(self.happened) - 1;
        let Some(master) = &self.master else {
            return false;
        };
        let core = &master.core;
        let mut serving = self.slaves.iter().filter(|(_, slave)| {
            let row = slave.row.as_ref();
            row.is_some_and(|row| row.holding == Holding::Serving && row.conn == Conn::Up)
        });
        let (Some((&id, slave)), None) = (serving.next(), serving.next()) else {
            return false;
        };
        let epoch = slave.row.as_ref().map(|row| row.epoch);
        let phase = &core.fleet.shards[SHARD].phase;
        core.stage == crate::master_stage::MasterStage::Running
            && core.deploys.is_empty()
            && core.deploys.moves.ids().next().is_none()
            && phase.serves()
            && phase.claimant() == epoch.map(|epoch| (id, epoch))
            && self.works(core.work.owner(), id)
            && happened & !self.finished == 0
    }
}
