//! The thread that writes: orders first, checkpoints when there are none, and what the
//! store does at rest when there are no checkpoints either.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

use baton_core::event::{Durability, Entry};
use baton_protocol::{ShardId, Term};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::{
    ledger::{Draft, Ledger},
    roster::Roster,
    rows::{SHARD_COUNT, ShardCount, encode},
};
use crate::{
    clock::unix_ms,
    store::{ApplyError, Batch, Revision, SaveError, Store, StoreError, TERM},
    test_hooks::crash,
};

/// Checkpoints of one batch: a save that comes meanwhile waits for no more.
const CHUNK: usize = 64;

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Order {
    Save {
        entries: Vec<Entry>,
        durability: Durability,
        done: oneshot::Sender<Result<(), SaveError>>,
    },
    Tickets(Vec<Entry>),
    Roster,
    /// A later term than this master's, which the store has forgotten.
    Saw(Term),
    PinShardCount {
        shard_count: u32,
        done: oneshot::Sender<Result<(), SaveError>>,
    },
}

/// Why no save of this master succeeds any more; set once.
pub(super) type Deposed = Arc<OnceLock<String>>;

/// Writes for one master, for as long as it has the term.
#[derive(Debug)]
pub(super) struct Writer {
    store: Box<dyn Store>,
    term: Term,
    /// At which the store has this master's term.
    revision: Revision,
    ledger: Ledger,
    /// Who may be alive, outside of the store.
    roster: Roster,
    deposed: Deposed,
}

impl Writer {
    /// For the master that took this term at this revision.
    pub(super) fn new(
        store: Box<dyn Store>,
        (term, revision): (Term, Revision),
        ledger: Ledger,
        roster: Roster,
        deposed: Deposed,
    ) -> Self {
        Self {
            store,
            term,
            revision,
            ledger,
            roster,
            deposed,
        }
    }

    /// One batch: all entries or none.
    fn save(&mut self, entries: &[Entry], durability: Durability) -> Result<(), SaveError> {
        crash::before(entries);
        let saved = self.try_save(entries, durability);
        if saved.is_ok() {
            self.roster.remove(entries);
            crash::after(entries);
        }
        saved.map_err(|error| self.refused(error))
    }

    fn try_save(&mut self, entries: &[Entry], durability: Durability) -> Result<(), ApplyError> {
        let draft = self.ledger.draft(entries, unix_ms())?;
        if let Some(next) = self.roster.with(entries) {
            // Of another master that has the term by now this file is, too.
            self.still_has_the_term()?;
            self.roster.become_known(next).map_err(StoreError::Io)?;
        }
        self.apply(draft, durability)
    }

    fn pin_shard_count(&mut self, shard_count: u32) -> Result<(), SaveError> {
        crash::before("shard-count");
        let pinned = self.try_pin(shard_count);
        if pinned.is_ok() {
            crash::after("shard-count");
        }
        pinned.map_err(|error| self.refused(error))
    }

    fn try_pin(&mut self, shard_count: u32) -> Result<(), ApplyError> {
        self.still_has_the_term()?;
        let pinned = self.roster.pin_shard_count(shard_count);
        pinned.map_err(StoreError::Io)?;
        let mut draft = Draft::default();
        let row = encode(&ShardCount { shard_count })?;
        draft.changes.insert(SHARD_COUNT.to_owned(), Some(row));
        self.apply(draft, Durability::Now)
    }

    /// The file of the roster was removed. It is another master's file, too, that has the
    /// term by now.
    fn write_roster_again(&mut self) {
        if self.still_has_the_term().is_ok() {
            self.roster.write_again();
        }
    }

    fn still_has_the_term(&mut self) -> Result<(), ApplyError> {
        match self.store.revision(TERM)? {
            Some(revision) if revision == self.revision => Ok(()),
            Some(_) | None => Err(ApplyError::Deposed),
        }
    }

    fn apply(&mut self, mut draft: Draft, durability: Durability) -> Result<(), ApplyError> {
        if self.deposed.get().is_some() {
            return Err(ApplyError::Deposed);
        }
        let batch = Batch {
            term: Some(self.revision),
            changes: std::mem::take(&mut draft.changes),
        };
        self.store.apply(&batch, durability)?;
        self.ledger.accept(draft);
        Ok(())
    }

    /// For a person; a master that was deposed stays it.
    fn refused(&self, error: ApplyError) -> SaveError {
        match error {
            ApplyError::Deposed => {
                let reason = self.deposed.get_or_init(|| deposed(self.term));
                SaveError::Deposed(reason.clone())
            }
            ApplyError::Refused(error) => SaveError::Refused(error.to_string()),
        }
    }
}

/// Why a master must end, and what to do.
pub(super) fn deposed(term: Term) -> String {
    format!(
        "another master has taken over from start {} of this fleet's master: this one decides \
         nothing any more. Run one master for each data_dir; start this one again only when the \
         other is to end",
        term.counter
    )
}

/// The thread.
pub(super) fn serve(mut writer: Writer, mut queue: mpsc::Receiver<Order>) {
    let mut tickets = Tickets::default();
    loop {
        let order = match queue.try_recv() {
            Ok(order) => Some(order),
            Err(mpsc::error::TryRecvError::Empty) if tickets.wait() => {
                writer.store.rest(Instant::now());
                queue.blocking_recv()
            }
            Err(mpsc::error::TryRecvError::Empty) => {
                tickets.write(&mut writer);
                continue;
            }
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        };
        let Some(order) = order else { break };
        match order {
            Order::Save {
                entries,
                durability,
                done,
            } => {
                tickets.replaced_by(&entries);
                // The waiting task may be gone.
                let _ = done.send(writer.save(&entries, durability));
            }
            Order::Tickets(entries) => tickets.take(entries),
            Order::Roster => writer.write_roster_again(),
            Order::Saw(term) => writer.roster.saw(term),
            Order::PinShardCount { shard_count, done } => {
                let _ = done.send(writer.pin_shard_count(shard_count));
            }
        }
    }
    tickets.flush(&mut writer);
}

/// Checkpoints on their way to the disk, the newest of each shard.
#[derive(Debug, Default)]
struct Tickets {
    waiting: BTreeMap<ShardId, Entry>,
    /// The last attempt failed: the next one waits for the next order.
    failed: bool,
}

impl Tickets {
    fn take(&mut self, entries: Vec<Entry>) {
        self.failed = false;
        for entry in entries {
            if let Entry::Ticket { ticket, .. } = &entry {
                self.waiting.insert(ticket.shard, entry);
            }
        }
    }

    /// A save brings newer ones.
    fn replaced_by(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Entry::Ticket { ticket, .. } = entry {
                self.waiting.remove(&ticket.shard);
            }
        }
    }

    fn wait(&self) -> bool {
        self.waiting.is_empty() || self.failed
    }

    fn write(&mut self, writer: &mut Writer) {
        let shards: Vec<ShardId> = self.waiting.keys().take(CHUNK).copied().collect();
        let entries: Vec<Entry> = shards
            .iter()
            .filter_map(|shard| self.waiting.remove(shard))
            .collect();
        match writer.save(&entries, Durability::Soon) {
            Ok(()) => {}
            Err(SaveError::Refused(error)) => {
                warn!(
                    error,
                    "checkpoints could not be written; the next ones will be tried"
                );
                self.take(entries);
                self.failed = true;
            }
            // They are the other master's to write.
            Err(SaveError::Deposed(reason)) => {
                error!(reason);
                self.waiting.clear();
            }
        }
    }

    fn flush(&mut self, writer: &mut Writer) {
        while !self.wait() {
            self.write(writer);
        }
    }
}
