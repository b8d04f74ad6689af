//! What is written from time to time: tickets that changed, and that this master runs.

use crate::{
    Core,
    event::{Durability, Entry},
    timers::Timer,
};

impl Core {
    /// Checkpoints that are not in the journal go there, together. A power cut may
    /// take the last of them, but no session: without it a shard would need an
    /// IDENTIFY.
    pub(crate) fn write_tickets(&mut self) {
        let mut durability = Durability::Soon;
        let mut entries = Vec::new();
        for id in std::mem::take(&mut self.out.saves.unwritten) {
            let Some(kept) = &mut self.fleet.shards[id].ticket else {
                continue;
            };
            if std::mem::take(&mut kept.is_new) && !mutant!("session-soon") {
                durability = Durability::Now;
            }
            entries.push(Entry::Ticket {
                epoch: kept.epoch,
                after: kept.after,
                ticket: Box::new(kept.ticket.clone()),
            });
        }
        self.out.save(entries, durability);
    }

    /// Notes that this master runs: how old a session is after its end is counted
    /// from here, however long ago its last checkpoint was.
    pub(crate) fn note_seen(&mut self) {
        self.out.start(Timer::Seen, self.settings.seen);
        if !self.out.saves.fail() {
            self.out.save(vec![Entry::Seen], Durability::Soon);
        }
    }

    /// Sees to it that tickets which changed are written.
    pub(crate) fn write_tickets_soon(&mut self) {
        if !self.out.saves.unwritten.is_empty() && !self.out.runs(Timer::Tickets) {
            self.out
                .start(Timer::Tickets, self.settings.checkpoint_to_disk);
        }
    }
}
