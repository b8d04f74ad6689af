//! The journal as a disk has it: what was synced stays, what was not may be lost
//! from some point on, and what waits for its thread is lost with the process.

use std::collections::BTreeMap;

use super::*;
use crate::event::JournalState;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// On the disk for certain.
    pub(super) synced: Journal,
    /// Written, not synced, in their order.
    soon: Vec<(Real, Vec<Entry>)>,
    /// Checkpoints that the journal's thread has not written.
    tickets: BTreeMap<ShardId, Entry>,
    pub(super) full: bool,
    /// Outside of the journal: which slaves may be alive.
    roll: BTreeMap<SlaveId, Hello>,
    /// How many masters started.
    pub(super) starts: u64,
}

/// Rows, and when each ticket was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    pub(super) rows: Recovered,
    written: BTreeMap<ShardId, Real>,
    seen: Real,
}

impl Disk {
    pub(super) fn save(
        &mut self,
        now: Real,
        entries: Vec<Entry>,
        durability: Durability,
    ) -> Result<(), String> {
        if durability.is_only_taken(&entries) {
            for entry in entries {
                if let Entry::Ticket { ticket, .. } = &entry {
                    self.tickets.insert(ticket.shard, entry);
                }
            }
            return Ok(());
        }
        if self.full {
            return Err("disk full".to_owned());
        }
        for entry in &entries {
            match entry {
                Entry::Ticket { ticket, .. } => {
                    self.tickets.remove(&ticket.shard);
                }
                Entry::Slave(hello) => {
                    self.roll.insert(hello.slave, (**hello).clone());
                }
                Entry::Gone(slave) | Entry::Fenced(slave) => {
                    self.roll.remove(slave);
                }
                _ => {}
            }
        }
        self.soon.push((now, entries));
        if durability == Durability::Now {
            self.sync();
        }
        Ok(())
    }

    fn sync(&mut self) {
        for (at, entries) in std::mem::take(&mut self.soon) {
            self.synced.apply(at, entries);
        }
    }

    /// The thread has nothing else to do.
    pub(super) fn write_tickets(&mut self, now: Real) {
        if !self.full && !self.tickets.is_empty() {
            let tickets = std::mem::take(&mut self.tickets).into_values().collect();
            self.soon.push((now, tickets));
        }
    }

    /// The process ends, or the host. Whether anything that was written is lost.
    pub(super) fn crash(&mut self, dice: &mut Dice) -> bool {
        self.tickets.clear();
        let written = self.soon.len();
        self.soon.truncate(dice.below(written + 1));
        let lost = self.soon.len() < written;
        self.sync();
        lost
    }

    /// The process ended by itself.
    pub(super) fn close(&mut self, now: Real) {
        self.write_tickets(now);
        self.tickets.clear();
        self.sync();
    }

    /// What a master finds that starts now.
    pub(super) fn recover(&self, now: Real, is_alive: impl Fn(SlaveId) -> bool) -> Recovered {
        let mut rows = self.synced.rows.clone();
        for (shard, ticket) in &mut rows.tickets {
            let written = self.synced.written[shard].max(self.synced.seen);
            ticket.age = now - written;
        }
        if rows.journal == JournalState::Lost {
            rows.slaves = self.roll.clone();
        }
        rows.slaves.retain(|&id, _| is_alive(id));
        rows
    }

    pub(super) fn epoch(&self, shard: ShardId) -> Epoch {
        let row = self.synced.rows.shards.get(&shard);
        row.map_or(Epoch(0), |row| row.epoch)
    }
}

impl Journal {
    pub(super) fn torn(floor: Epoch) -> Self {
        let mut torn = Self::default();
        torn.rows.floor = floor;
        torn.rows.journal = JournalState::Lost;
        torn
    }

    fn apply(&mut self, at: Real, entries: Vec<Entry>) {
        for entry in entries {
            self.write(at, entry);
        }
    }

    fn write(&mut self, at: Real, entry: Entry) {
        let ticket_of = match &entry {
            Entry::Ticket { ticket, .. } => Some(ticket.shard),
            Entry::Seen => {
                self.seen = at;
                None
            }
            _ => None,
        };
        if rows::write(&mut self.rows, entry) {
            self.written.extend(ticket_of.map(|shard| (shard, at)));
        }
    }
}
