//! What the table tells the master: everything once, what changed since then.

use baton_protocol::message::{Checkpoint, CheckpointEntry, Held, Holding};

use super::{Entry, Table};

/// Shards in one checkpoint frame, at most.
const CHECKPOINT_SHARDS: usize = 256;

impl Table {
    /// Everything that is owned, for a report.
    pub(crate) fn report(&mut self) -> Vec<Held> {
        self.collect();
        let held = |entry: &mut Entry| {
            entry.reported = (entry.holding, entry.untouched);
            Some(Held {
                epoch: entry.epoch,
                holding: entry.holding?,
                ticket: entry.ticket.clone(),
                untouched: entry.untouched,
            })
        };
        self.entries.values_mut().filter_map(held).collect()
    }

    /// A new connection knows nothing: the next checkpoint tells everything.
    pub(crate) fn new_connection(&mut self) {
        for (shard, entry) in &mut self.entries {
            entry.session_told = false;
            if matches!(entry.holding, Some(Holding::Serving)) {
                self.changed.insert(*shard);
            }
        }
    }

    /// Takes in where the shards stand; `false`: nothing changed since the last
    /// call.
    pub(crate) fn collect(&mut self) -> bool {
        let noted = self.context.checkpoints.take();
        for shard in &noted {
            let Some(entry) = self.entries.get_mut(shard) else {
                continue;
            };
            let Some(position) = entry.standing.take(entry.epoch, entry.tickets) else {
                continue;
            };
            entry.samples.note(
                &self.context.lag,
                *shard,
                position.generation,
                position.received,
                position.handled,
            );
            entry.ticket.handled = position.handled;
            entry.ticket.state_at = position.handled;
            entry.ticket.finished_above = position.finished_above;
            self.changed.insert(*shard);
        }
        !noted.is_empty()
    }

    /// Checkpoints of all shards that changed since the last call.
    pub(crate) fn checkpoints(&mut self) -> Vec<Checkpoint> {
        let mut checkpoints = Vec::new();
        let mut shards = Vec::new();
        for shard in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&shard) else {
                continue;
            };
            let has_session = !entry.ticket.session_id.is_empty();
            let tell = has_session && !std::mem::replace(&mut entry.session_told, true);
            shards.push(CheckpointEntry {
                shard,
                epoch: entry.epoch,
                handled: entry.ticket.handled,
                finished_above: entry.ticket.finished_above.clone(),
                session: tell.then(|| entry.ticket.clone()),
            });
            if shards.len() == CHECKPOINT_SHARDS {
                checkpoints.push(Checkpoint {
                    shards: std::mem::take(&mut shards),
                });
            }
        }
        if !shards.is_empty() {
            checkpoints.push(Checkpoint { shards });
        }
        checkpoints
    }
}
