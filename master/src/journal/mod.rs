//! What a master must know after it was killed: an SQLite file, written by one
//! thread, so that no disk ever blocks the runtime.
//!
//! A save is answered when it is as durable as was asked; until then the driver
//! carries out nothing that stands behind it. Nothing stands behind a checkpoint:
//! checkpoints are taken at once, and written when the thread has nothing else to
//! do.

mod rows;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
};

use baton_protocol::{ShardId, SlaveId, Term};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use self::store::{Store, StoreError};
use crate::{
    core::event::{Durability, Entry, Recovered},
    error::Error,
};

/// Saves that wait for the thread; the driver sends one at a time.
const QUEUE: usize = 16;

/// Checkpoints of one transaction: a save that comes meanwhile waits for no more.
const CHUNK: usize = 64;

/// Name of the file in the data directory.
pub const FILE: &str = "journal.sqlite3";

/// A journal, and what it gave back.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// Everything that it knew. Its slaves are not yet checked for life.
    pub recovered: Recovered,
    /// This start of the master; on the disk already.
    pub term: Term,
    /// The count that was pinned at the first start.
    pub shard_count: Option<u32>,
    /// Commands that deploys brought into slots, where the configured one is
    /// still the same as then.
    pub commands: BTreeMap<String, Vec<String>>,
}

/// A handle to the journal's thread. The thread ends with the last handle, after
/// the saves that it was given.
#[derive(Debug)]
pub struct Journal {
    orders: mpsc::Sender<Order>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Save {
        entries: Vec<Entry>,
        durability: Durability,
        done: oneshot::Sender<Result<(), String>>,
    },
    Tickets(Vec<Entry>),
    PinShardCount {
        shard_count: u32,
        done: oneshot::Sender<Result<(), String>>,
    },
}

impl Journal {
    /// Opens or makes the journal in `data_dir` and begins a term. Blocks: call
    /// it before anything is served.
    ///
    /// `configured` is the configured command of each slot that has one.
    ///
    /// # Errors
    /// [`Error::Journal`]: the file is damaged, of a newer master, or the disk
    /// refused.
    pub fn open(
        data_dir: &Path,
        configured: BTreeMap<String, Vec<String>>,
    ) -> Result<Opened, Error> {
        let path = data_dir.join(FILE);
        open(&path, configured).map_err(|error| unusable(path, &error))
    }

    /// Makes entries durable, all or none. Checkpoints that are wanted soon are
    /// only taken: they are written in the background, and again if that fails.
    ///
    /// # Errors
    /// Why nothing was saved, for a person.
    pub async fn save(&self, entries: Vec<Entry>, durability: Durability) -> Result<(), String> {
        if durability == Durability::Soon && entries.iter().all(is_ticket) {
            let order = Order::Tickets(entries);
            return self.orders.send(order).await.map_err(|_| gone());
        }
        let (done, answer) = oneshot::channel();
        self.order(
            Order::Save {
                entries,
                durability,
                done,
            },
            answer,
        )
        .await
    }

    /// Pins the shard count; on the disk when it returns.
    ///
    /// # Errors
    /// Why nothing was saved, for a person.
    pub async fn pin_shard_count(&self, shard_count: u32) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        self.order(Order::PinShardCount { shard_count, done }, answer)
            .await
    }

    /// Waits until the thread has ended and the file is closed.
    pub async fn close(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            // The thread has nothing to return; a panic of it was printed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn order(
        &self,
        order: Order,
        answer: oneshot::Receiver<Result<(), String>>,
    ) -> Result<(), String> {
        self.orders.send(order).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// A journal whose disk is given by a test: it answers each save.
    #[cfg(test)]
    pub(crate) fn played(
        mut disk: impl FnMut(Vec<Entry>, Durability) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let (orders, mut queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                // Whoever waited may be gone.
                let _ = match order {
                    Order::Save {
                        entries,
                        durability,
                        done,
                    } => done.send(disk(entries, durability)),
                    Order::Tickets(entries) => disk(entries, Durability::Soon).map_err(Err),
                    Order::PinShardCount { done, .. } => done.send(Ok(())),
                };
            }
        });
        Self {
            orders,
            thread: None,
        }
    }
}

fn open(path: &Path, configured: BTreeMap<String, Vec<String>>) -> Result<Opened, StoreError> {
    let mut store = Store::open(path, configured)?;
    let term = store.begin_term()?;
    let recovered = store.recover()?;
    let shard_count = store.shard_count()?;
    let commands = store.commands()?;
    let (orders, queue) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || serve(store, queue))
        .map_err(|error| StoreError::Damaged(format!("no thread for it: {error}")))?;
    Ok(Opened {
        journal: Journal {
            orders,
            thread: Some(thread),
        },
        recovered,
        term,
        shard_count,
        commands,
    })
}

/// The thread: orders first, checkpoints when there are none.
fn serve(mut store: Store, mut queue: mpsc::Receiver<Order>) {
    let mut tickets = Tickets::default();
    loop {
        let order = if tickets.wait() {
            queue.blocking_recv()
        } else {
            match queue.try_recv() {
                Ok(order) => Some(order),
                Err(mpsc::error::TryRecvError::Empty) => {
                    tickets.write(&mut store);
                    continue;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            }
        };
        let Some(order) = order else { break };
        match order {
            Order::Save {
                entries,
                durability,
                done,
            } => {
                tickets.replaced_by(&entries);
                let saved = store.save(&entries, durability);
                // Whoever waited may be gone.
                let _ = done.send(saved.map_err(|error| error.to_string()));
            }
            Order::Tickets(entries) => tickets.take(entries),
            Order::PinShardCount { shard_count, done } => {
                let saved = store.pin_shard_count(shard_count);
                let _ = done.send(saved.map_err(|error| error.to_string()));
            }
        }
    }
    tickets.flush(&mut store);
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

    fn write(&mut self, store: &mut Store) {
        let shards: Vec<ShardId> = self.waiting.keys().take(CHUNK).copied().collect();
        let entries: Vec<Entry> = shards
            .iter()
            .filter_map(|shard| self.waiting.remove(shard))
            .collect();
        if let Err(error) = store.save(&entries, Durability::Soon) {
            warn!(%error, "checkpoints could not be written; the next ones will be tried");
            self.take(entries);
            self.failed = true;
        }
    }

    fn flush(&mut self, store: &mut Store) {
        while !self.wait() {
            self.write(store);
        }
    }
}

fn is_ticket(entry: &Entry) -> bool {
    matches!(entry, Entry::Ticket { .. })
}

fn gone() -> String {
    "the journal's thread has ended".to_owned()
}

/// Says what to do, by what is wrong.
fn unusable(path: PathBuf, error: &StoreError) -> Error {
    let reason = match error {
        StoreError::Newer { .. } => error.to_string(),
        StoreError::Io(_) => format!("{error}; choose another data_dir"),
        StoreError::Row { .. } | StoreError::Damaged(_) | StoreError::TooLarge(_) => {
            format!("{error}; {AWAY}")
        }
        StoreError::Sqlite(cause) => match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                format!("{error}; {AWAY}")
            }
            _ => format!("{error}; free the disk or choose another data_dir"),
        },
    };
    Error::Journal { path, reason }
}

const AWAY: &str = "move the file away when no slave runs, the next start begins a new fleet";

/// The entries that remove slaves which died while no master ran.
#[must_use]
pub fn forget(dead: &[SlaveId]) -> Vec<Entry> {
    dead.iter().copied().map(Entry::Gone).collect()
}
