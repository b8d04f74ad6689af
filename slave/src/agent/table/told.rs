//! What the table tells the master: everything once, what changed since then.

use baton_protocol::message::{Checkpoint, Held, Pong, Unfinished};

use super::{Entry, Table};

/// Shards in one checkpoint frame, at most.
const CHECKPOINT_SHARDS: usize = 256;

impl Table {
    /// Everything that is owned, for a report.
    pub(crate) fn report(&mut self) -> Vec<Held> {
        self.collect();
        let entries = self.entries.values_mut();
        entries.filter_map(Entry::report).collect()
    }

    /// A new connection knows nothing: the next checkpoint tells everything.
    pub(crate) fn new_connection(&mut self) {
        for (shard, entry) in &mut self.entries {
            if entry.new_connection() {
                self.changed.insert(*shard);
            }
        }
    }

    /// Takes in where the shards stand; `false`: nothing changed since the last
    /// call.
    pub(crate) fn collect(&mut self) -> bool {
        let noted = self.context.checkpoints.take();
        for shard in &noted {
            let entry = self.entries.get_mut(shard);
            if entry.is_some_and(|entry| entry.collect(&self.context.lag)) {
                self.changed.insert(*shard);
            }
        }
        !noted.is_empty()
    }

    /// Checkpoints of all shards that changed since the last call.
    pub(crate) fn checkpoints(&mut self) -> Vec<Checkpoint> {
        let changed = std::mem::take(&mut self.changed);
        let told = |shard| self.entries.get_mut(&shard)?.checkpoint();
        let shards: Vec<_> = changed.into_iter().filter_map(told).collect();
        let frames = shards.chunks(CHECKPOINT_SHARDS);
        frames
            .map(|shards| Checkpoint {
                shards: shards.to_vec(),
            })
            .collect()
    }

    /// The oldest unfinished events that are worth a look, the one with most behind it
    /// first.
    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let entries = self.entries.values();
        let mut unfinished: Vec<Unfinished> = entries.filter_map(Entry::unfinished).collect();
        unfinished.sort_by_key(|event| std::cmp::Reverse((event.behind, event.age_ms)));
        unfinished.truncate(Pong::MAX_UNFINISHED);
        unfinished
    }
}
