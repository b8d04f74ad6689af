//! What the table tells the master: everything once, what changed since then.

use baton_protocol::{
    Sequence, ShardId,
    message::{Checkpoint, CheckpointEntry, Held, Holding, Pong, Unfinished},
};

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
            debug_assert_eq!(position.epoch, entry.epoch, "of its present owner");
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
            entry.received = position.received;
            entry.oldest = position.oldest;
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
            // Its session ended meanwhile: it stands nowhere.
            if entry.ticket.session_id.is_empty() {
                continue;
            }
            debug_assert!(entry.holding.is_some(), "{shard} is owned");
            let tell = !std::mem::replace(&mut entry.session_told, true);
            shards.push(CheckpointEntry {
                shard,
                epoch: entry.epoch,
                handled: entry.ticket.handled,
                finished_above: entry.ticket.finished_above.clone(),
                // Said only where it says something.
                received: if entry.received > entry.ticket.highest() {
                    entry.received
                } else {
                    Sequence(0)
                },
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

    /// The oldest unfinished events that are worth a look, the one with most behind it
    /// first.
    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let of_shard = |(shard, entry): (ShardId, &Entry)| {
            let serves = entry.holding == Some(Holding::Serving);
            let oldest = entry.oldest.as_ref().filter(|_| serves)?;
            Some(Unfinished {
                shard,
                epoch: entry.epoch,
                sequence: oldest.sequence,
                kind: oldest.kind.clone(),
                guild: oldest.guild,
                age_ms: u64::try_from(oldest.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                behind: entry.received.get().saturating_sub(oldest.sequence.get()),
            })
        };
        let mut unfinished: Vec<Unfinished> = self.entries().filter_map(of_shard).collect();
        unfinished.sort_by_key(|event| std::cmp::Reverse((event.behind, event.age_ms)));
        unfinished.truncate(Pong::MAX_UNFINISHED);
        unfinished
    }
}
