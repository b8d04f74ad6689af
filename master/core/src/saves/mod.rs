//! What reaches the disk, and what happens when it does not.
//!
//! ```text
//! Fine ──SaveFailed──▶ Failed ──backoff──▶ Trying ──any other input──▶ Fine
//!                        ▲                    │
//!                        └────SaveFailed──────┘
//! ```
//!
//! Until saves work again nothing begins that needs one. A shard that had been
//! reserved durably before goes on: its orders need no further save.

mod failed;
mod tickets;

use std::collections::{BTreeMap, BTreeSet};

use baton_protocol::ShardId;

use crate::event::{Action, Durability, Entry, Input, Key, Time};

/// Entries that did not reach the disk, and the actions since the last input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saves {
    trouble: Trouble,
    /// Since when they fail.
    since: Option<Time>,
    /// Whether operators were told that they do.
    alarmed: bool,
    /// Why the last save failed that did.
    why: String,
    /// Saved again before anything else, one for each key of the journal.
    unsaved: BTreeMap<Key, Entry>,
    /// Shards that wait for an order because its reservation was not saved.
    owed: BTreeSet<ShardId>,
    /// Shards whose newest ticket is not in the journal.
    unwritten: BTreeSet<ShardId>,
    /// Actions handed out since the first save after the last input.
    batch: Vec<Action>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    Fine,
    Failed,
    Trying,
}

impl Saves {
    /// An input begins. Whether saves work again that failed: none of the last ones did.
    pub(crate) fn begin_batch(&mut self, input: &Input) -> bool {
        if matches!(input, Input::SaveFailed { .. }) {
            return false;
        }
        self.batch.clear();
        let works_again = self.trouble == Trouble::Trying;
        if works_again {
            self.trouble = Trouble::Fine;
            self.since = None;
            self.alarmed = false;
        }
        works_again
    }

    /// Notes an action that is being carried out, from the first save on.
    pub(crate) fn remember(&mut self, action: &Action) {
        if !self.batch.is_empty() || matches!(action, Action::Save(..)) {
            self.batch.push(action.clone());
        }
    }

    /// The actions that were handed out from the save on that failed.
    pub(crate) fn take_batch(&mut self) -> Vec<Action> {
        let mut lost = std::mem::take(&mut self.batch);
        let first = lost.first();
        debug_assert!(first.is_none_or(|first| matches!(first, Action::Save(..))));
        // A driver that polls no further leaves the failed save as the last one.
        if matches!(lost.last(), Some(Action::Save(..))) {
            lost.drain(..lost.len() - 1);
        }
        lost
    }

    /// What did not reach the disk goes first, and a reservation among it does not
    /// wait.
    pub(crate) fn with_unsaved(
        &mut self,
        entries: Vec<Entry>,
        durability: Durability,
    ) -> (Vec<Entry>, Durability) {
        if self.unsaved.is_empty() {
            return (entries, durability);
        }
        let mut all: Vec<_> = std::mem::take(&mut self.unsaved).into_values().collect();
        all.extend(entries);
        (all, Durability::Now)
    }

    pub(crate) fn ticket_changed(&mut self, shard: ShardId) {
        self.unwritten.insert(shard);
    }

    #[cfg(test)]
    pub(crate) const fn unwritten(&self) -> &BTreeSet<ShardId> {
        &self.unwritten
    }

    /// To be saved with what is saved next.
    pub(crate) fn keep(&mut self, entry: Entry) {
        self.unsaved.insert(entry.key(), entry);
    }

    /// Whether saves fail at the moment.
    pub(crate) fn fail(&self) -> bool {
        self.trouble != Trouble::Fine
    }

    /// Why they do, or did last.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// Whether the order of a shard waits for its reservation.
    pub(crate) fn owe(&self, shard: ShardId) -> bool {
        self.owed.contains(&shard)
    }

    /// Whether the reservation of the work is not saved.
    pub(crate) fn owe_work(&self) -> bool {
        self.unsaved.contains_key(&Key::Work)
    }
}
