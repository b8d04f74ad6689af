//! What is written from time to time: tickets that changed, and that this master runs.

use std::time::Duration;

use crate::{
    event::{Durability, Entry},
    fleet::Fleet,
    out::Out,
    timers::Timer,
};

impl Fleet {
    /// Checkpoints that are not in the journal go there, together. A power cut may
    /// take the last of them, but no session: without it a shard would need an
    /// IDENTIFY.
    pub(crate) fn write_tickets(&mut self, out: &mut Out) {
        let mut durability = Durability::Soon;
        let mut entries = Vec::new();
        for id in std::mem::take(&mut out.saves.unwritten) {
            let Some(kept) = &mut self.shards[id].ticket else {
                continue;
            };
            if std::mem::take(&mut kept.is_new) && !mutant!("session-soon") {
                durability = Durability::Now;
            }
            let mut ticket = kept.ticket.clone();
            // Large, and of a seal: who sealed says it again to the next master.
            ticket.seen.clear();
            entries.push(Entry::Ticket {
                epoch: kept.epoch,
                after: kept.after,
                ticket: Box::new(ticket),
            });
        }
        out.save(entries, durability);
    }
}

impl Out {
    /// Notes that this master runs: how old a session is after its end is counted
    /// from here, however long ago its last checkpoint was. Whether it is saved now.
    pub(crate) fn note_seen(&mut self, seen: Duration) -> bool {
        self.start(Timer::Seen, seen);
        let may = !self.saves.fail();
        if may {
            self.save(vec![Entry::Seen], Durability::Soon);
        }
        may
    }

    /// Sees to it that tickets which changed are written.
    pub(crate) fn write_tickets_soon(&mut self, soon: Duration) {
        if !self.saves.unwritten.is_empty() && !self.runs(Timer::Tickets) {
            self.start(Timer::Tickets, soon);
        }
    }
}
