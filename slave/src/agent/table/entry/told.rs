//! What of a shard is told to the master.

use baton_protocol::{
    Sequence,
    message::{CheckpointEntry, Held, Holding, Unfinished},
};

use super::Entry;
use crate::telemetry::{Lag, millis};

impl Entry {
    /// For a report; `None`: it is not owned.
    pub(in crate::agent::table) fn report(&mut self) -> Option<Held> {
        self.reported = (self.holding, self.untouched);
        Some(Held {
            epoch: self.epoch,
            holding: self.holding?,
            ticket: self.ticket.clone(),
            untouched: self.untouched,
        })
    }

    /// What became of it since the report, which was not reported.
    pub(crate) fn since_report(&self) -> Option<Holding> {
        self.holding.filter(|_| self.holding != self.reported.0)
    }

    /// Whether something came since the report that said that nothing had.
    pub(crate) const fn touched_since_report(&self) -> bool {
        self.reported.1 && !self.untouched
    }

    /// A new connection knows nothing. Whether a checkpoint is due.
    pub(in crate::agent::table) fn new_connection(&mut self) -> bool {
        self.session_told = false;
        self.is(Holding::Serving)
    }

    /// Takes in where it stands; `false`: where it stood.
    pub(in crate::agent::table) fn collect(&mut self, lag: &Lag) -> bool {
        let Some(position) = self.task.position(self.epoch) else {
            return false;
        };
        self.samples.note(
            lag,
            self.shard,
            position.generation,
            position.received,
            position.handled,
        );
        self.ticket.handled = position.handled;
        self.ticket.state_at = position.handled;
        self.ticket.finished_above = position.finished_above;
        self.received = position.received;
        self.oldest = position.oldest;
        true
    }

    /// Its checkpoint; `None`: its session ended meanwhile, it stands nowhere.
    pub(in crate::agent::table) fn checkpoint(&mut self) -> Option<CheckpointEntry> {
        if !self.ticket.has_session() {
            return None;
        }
        debug_assert!(self.is_owned(), "{} is owned", self.shard);
        let tell = !std::mem::replace(&mut self.session_told, true);
        Some(CheckpointEntry {
            shard: self.shard,
            epoch: self.epoch,
            handled: self.ticket.handled,
            finished_above: self.ticket.finished_above.clone(),
            // Said only where it says something.
            received: if self.received > self.ticket.highest() {
                self.received
            } else {
                Sequence(0)
            },
            session: tell.then(|| self.ticket.clone()),
        })
    }

    /// Its oldest unfinished event, if it serves and that is worth a look.
    pub(in crate::agent::table) fn unfinished(&self) -> Option<Unfinished> {
        let serves = self.is(Holding::Serving);
        let oldest = self.oldest.as_ref().filter(|_| serves)?;
        Some(Unfinished {
            shard: self.shard,
            epoch: self.epoch,
            sequence: oldest.sequence,
            kind: oldest.kind.clone(),
            guild: oldest.guild,
            age_ms: millis(oldest.since.elapsed()),
            behind: self.received.get().saturating_sub(oldest.sequence.get()),
        })
    }
}
