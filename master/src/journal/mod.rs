//! What a master must know after it was killed: entries of the core in a
//! [`Store`](crate::store), written by one thread, so that no disk ever blocks the
//! runtime.
//!
//! ```text
//! driver ──save──▶ Journal ──order──▶ Writer (a thread) ──batch──▶ Store
//!    ▲                                  │ Ledger: what is there
//!    └────────── done, refused, ────────┘ Roster: who may be alive
//!                or deposed
//! ```
//!
//! A save is answered when it is as durable as was asked; until then the driver
//! carries out nothing that follows it. Nothing follows a checkpoint:
//! checkpoints are taken at once, and written when the thread has nothing else to
//! do.

mod age;
mod contents;
pub mod inspect;
mod ledger;
mod open;
mod roster;
mod rows;
mod rules;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, path::Path, thread};

use baton_core::event::{Durability, Entry, Recovered};
use baton_protocol::{SlaveId, Term};
use tokio::sync::{mpsc, oneshot};

pub use self::roster::Home;
use self::{
    open::{open, unusable},
    writer::{Deposed, Order},
};
use crate::error::Error;
pub use crate::store::SaveError;

/// Saves that wait for the thread; the driver sends one at a time.
const QUEUE: usize = 16;

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
    /// The boot that the master before ran on, if there was one.
    pub boot: Option<String>,
    /// The count that was pinned at the first start.
    pub shard_count: Option<u32>,
    /// Commands that deploys brought into slots, where the configured one is
    /// still the same as then.
    pub commands: BTreeMap<String, Vec<String>>,
    /// The command that each slot had before the present one, if it had another.
    pub before: BTreeMap<String, Vec<String>>,
}

/// A handle to the journal's thread. The thread ends with the last handle, after
/// the saves that it was given.
#[derive(Debug)]
pub struct Journal {
    orders: mpsc::Sender<Order>,
    thread: Option<thread::JoinHandle<()>>,
    deposed: Deposed,
}

impl Journal {
    /// Opens or makes the journal in `data_dir` and begins a term. Blocks: call
    /// it before anything is served.
    ///
    /// `configured` is the configured command of each slot that has one.
    ///
    /// A journal that is damaged, or of a newer master that does not let this one
    /// use it, is set aside, and a new one takes its place. The
    /// fleet and the slaves that may be alive are then known from `home`, the
    /// term is above every earlier one, and the journal is [`JournalState::Lost`]; so
    /// it is whenever the journal knows less than `home` does.
    ///
    /// # Errors
    /// [`Error::Configuration`]: the file is of another fleet. [`Error::Journal`]: the
    /// disk refused. [`Error::Deposed`]: another master took the term at the same moment.
    pub fn open(
        data_dir: &Path,
        configured: BTreeMap<String, Vec<String>>,
        home: &Home,
    ) -> Result<Opened, Error> {
        let path = data_dir.join(FILE);
        open(&path, configured, home).map_err(|error| unusable(path, error))
    }

    /// Makes entries durable, all or none. Checkpoints that are wanted soon are
    /// only taken: they are written in the background, and again if that fails.
    ///
    /// # Errors
    /// Nothing was saved: it was refused, and may be tried again, or another master has
    /// taken the term.
    pub async fn save(&self, entries: Vec<Entry>, durability: Durability) -> Result<(), SaveError> {
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
    /// As [`save`](Self::save).
    pub async fn pin_shard_count(&self, shard_count: u32) -> Result<(), SaveError> {
        let (done, answer) = oneshot::channel();
        self.order(Order::PinShardCount { shard_count, done }, answer)
            .await
    }

    /// Why another master has the term, if it was found out: no save of this one succeeds
    /// any more, and it must decide nothing.
    #[must_use]
    pub fn deposed(&self) -> Option<&str> {
        self.deposed.get().map(String::as_str)
    }

    /// Whether its thread has ended, which it does before its time only by a panic.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Has the fleet's file written again, where it was removed. The asker sees
    /// whether it is there, and asks again.
    pub fn write_roster(&self) {
        // A full queue is asked again later.
        let _ = self.orders.try_send(Order::Roster);
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
        answer: oneshot::Receiver<Result<(), SaveError>>,
    ) -> Result<(), SaveError> {
        self.orders.send(order).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// A journal whose disk is given by a test: it answers each save.
    #[cfg(test)]
    pub(crate) fn played(
        mut disk: impl FnMut(Vec<Entry>, Durability) -> Result<(), SaveError> + Send + 'static,
    ) -> Self {
        let (orders, mut queue) = mpsc::channel(QUEUE);
        let deposed = Deposed::default();
        let found_out = std::sync::Arc::clone(&deposed);
        let mut disk = move |entries, durability| {
            disk(entries, durability).inspect_err(|error| {
                if let SaveError::Deposed(reason) = error {
                    let _ = found_out.set(reason.clone());
                }
            })
        };
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                // The waiting task may be gone.
                let _ = match order {
                    Order::Save {
                        entries,
                        durability,
                        done,
                    } => done.send(disk(entries, durability)),
                    Order::Tickets(entries) => disk(entries, Durability::Soon).map_err(Err),
                    Order::Roster => Ok(()),
                    Order::PinShardCount { done, .. } => done.send(Ok(())),
                };
            }
        });
        Self {
            orders,
            thread: None,
            deposed,
        }
    }
}

/// The entries that remove slaves which died while no master ran.
#[must_use]
pub fn forget(dead: &[SlaveId]) -> Vec<Entry> {
    dead.iter().copied().map(Entry::Gone).collect()
}

fn is_ticket(entry: &Entry) -> bool {
    matches!(entry, Entry::Ticket { .. })
}

fn gone() -> SaveError {
    SaveError::Refused("the journal's thread has ended".to_owned())
}
