//! What a master must know after it was killed: an SQLite file, written by one
//! thread, so that no disk ever blocks the runtime.
//!
//! A save is answered when it is as durable as was asked; until then the driver
//! carries out nothing that follows it. Nothing follows a checkpoint:
//! checkpoints are taken at once, and written when the thread has nothing else to
//! do.

mod age;
mod contents;
mod error;
mod fold;
pub mod look;
mod roll;
mod rows;
mod rules;
mod schema;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use baton_core::event::{Durability, Entry, JournalState, Recovered};
use baton_protocol::{ShardId, SlaveId, Term};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

pub use self::roll::Home;
use self::{
    age::Clocks,
    error::StoreError,
    fold::Fold,
    roll::{Known, Roll},
    store::{Before, Store},
};
use crate::error::Error;

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
}

#[derive(Debug)]
enum Order {
    Save {
        entries: Vec<Entry>,
        durability: Durability,
        done: oneshot::Sender<Result<(), String>>,
    },
    Tickets(Vec<Entry>),
    Roll,
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
    /// A journal that is damaged, or of a newer master that does not let this one
    /// use it, is set aside, and a new one takes its place. The
    /// fleet and the slaves that may be alive are then known from `home`, the
    /// term is above every earlier one, and the journal is [`JournalState::Lost`]; so
    /// it is whenever the journal knows less than `home` does.
    ///
    /// # Errors
    /// [`Error::Configuration`]: the file is of another fleet. [`Error::Journal`]: the
    /// disk refused.
    pub fn open(
        data_dir: &Path,
        configured: BTreeMap<String, Vec<String>>,
        home: &Home,
    ) -> Result<Opened, Error> {
        let path = data_dir.join(FILE);
        open(&path, configured, home).map_err(|error| unusable(path, &error))
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

    /// Whether its thread has ended, which it does before its time only by a panic.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Has the fleet's file written again, where it was removed. The asker sees
    /// whether it is there, and asks again.
    pub fn write_roll(&self) {
        // A full queue is asked again later.
        let _ = self.orders.try_send(Order::Roll);
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
                // The waiting task may be gone.
                let _ = match order {
                    Order::Save {
                        entries,
                        durability,
                        done,
                    } => done.send(disk(entries, durability)),
                    Order::Tickets(entries) => disk(entries, Durability::Soon).map_err(Err),
                    Order::Roll => Ok(()),
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

fn open(
    path: &Path,
    configured: BTreeMap<String, Vec<String>>,
    home: &Home,
) -> Result<Opened, StoreError> {
    let (mut store, aside) = match store::readable(path, configured.clone()) {
        Err(error) if error.is_damage() => {
            let aside = store::set_aside(path)?;
            error!(%error, journal = %path.display(), aside = %aside.display(),
                "the journal is no good and set aside; what slaves report takes its place");
            (store::readable(path, configured)?, true)
        }
        opened => (opened?, false),
    };
    let roll = Roll::read(&home.file)?;
    let before = store.before()?;
    let boot = store.boot()?.or_else(|| {
        let boot = roll.as_ref().map(|roll| roll.boot.clone());
        boot.filter(|boot| !boot.is_empty())
    });
    let impossible = store.take_out_impossible()?;
    if impossible > 0 {
        error!(rows = impossible, journal = %path.display(),
            "rows name epochs that no master gave; they are forgotten, and slaves are asked");
    }
    let mut recovered = store.recover()?;
    let mut shard_count = store.shard_count()?;
    let lost = aside || impossible > 0 || has_lost(&before, &recovered, roll.as_ref(), home);
    let term = next_term(&before, roll.as_ref(), home)?;
    if lost {
        warn!(%term, "the journal does not know everything: slaves are asked what they hold");
        let roll = roll.unwrap_or_default();
        for (slave, hello) in roll.slaves {
            recovered.slaves.entry(slave).or_insert(hello);
        }
        recovered.pinned = recovered.pinned.or(roll.pinned);
        shard_count = shard_count.or(roll.shard_count);
    }
    store.begin_term(term, lost)?;
    if lost {
        let slaves = recovered.slaves.values().cloned();
        let slaves = slaves.map(|hello| Entry::Slave(Box::new(hello)));
        let pinned = recovered.pinned.clone().map(Entry::Pinned);
        let entries: Vec<_> = slaves.chain(pinned).collect();
        store.save(&entries, Durability::Now)?;
        if let Some(shard_count) = shard_count {
            store.pin_shard_count(shard_count)?;
        }
    }
    let known = Known {
        term,
        shard_count,
        pinned: recovered.pinned.clone(),
        slaves: recovered.slaves.clone(),
        boot: Clocks::now().boot,
    };
    store.keep(Roll::begin(&home.file, known)?);
    let found = store.recover()?;
    (recovered.journal, recovered.floor) = (found.journal, found.floor);
    let commands = store.commands()?;
    let before = store.commands_before(&commands)?;
    let fold = Fold::new(path, Instant::now());
    let (orders, queue) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || serve(store, queue, fold))
        .map_err(StoreError::Io)?;
    Ok(Opened {
        journal: Journal {
            orders,
            thread: Some(thread),
        },
        recovered,
        term,
        boot,
        shard_count,
        commands,
        before,
    })
}

/// Whether slaves may serve what this journal does not know.
fn has_lost(before: &Before, recovered: &Recovered, roll: Option<&Known>, home: &Home) -> bool {
    let Some(known) = before.term else {
        return roll.is_some() || home.ran_before;
    };
    let behind = roll.is_some_and(|roll| {
        let mut slaves = roll.slaves.keys();
        roll.term.counter > known.counter
            || slaves.any(|slave| !recovered.slaves.contains_key(slave))
    });
    behind || recovered.shards.is_empty() || recovered.journal == JournalState::Lost
}

/// Above every term that a slave of this fleet may have seen.
fn next_term(before: &Before, roll: Option<&Known>, home: &Home) -> Result<Term, StoreError> {
    let (fleet, last) = match (before.term, roll.map(|roll| roll.term)) {
        (Some(known), Some(roll)) if known.fleet != roll.fleet => {
            return Err(StoreError::OtherFleet {
                journal: known.fleet,
                roll: roll.fleet,
                file: home.file.clone(),
            });
        }
        (Some(known), Some(roll)) => (known.fleet, known.counter.max(roll.counter)),
        (Some(known), None) | (None, Some(known)) => (known.fleet, known.counter),
        // Nothing counted them, and none is a second long.
        (None, None) if home.ran_before => (home.fleet, store::seconds()),
        (None, None) => (home.fleet, 0),
    };
    let counter = last.saturating_add(1);
    Ok(Term { fleet, counter })
}

/// The thread: orders first, checkpoints when there are none, and the write-ahead
/// log when there are no checkpoints either.
fn serve(mut store: Store, mut queue: mpsc::Receiver<Order>, mut fold: Fold) {
    let mut tickets = Tickets::default();
    loop {
        let order = match queue.try_recv() {
            Ok(order) => Some(order),
            Err(mpsc::error::TryRecvError::Empty) if tickets.wait() => {
                fold.when_idle(&mut store, Instant::now());
                queue.blocking_recv()
            }
            Err(mpsc::error::TryRecvError::Empty) => {
                tickets.write(&mut store);
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
                if durability == Durability::Now {
                    fold.put_off(Instant::now());
                }
                let saved = store.save(&entries, durability);
                // The waiting task may be gone.
                let _ = done.send(saved.map_err(|error| error.to_string()));
            }
            Order::Tickets(entries) => tickets.take(entries),
            Order::Roll => store.write_roll(),
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
        // Nothing heals that by itself.
        StoreError::OtherFleet { .. } => {
            return Error::Configuration(format!("journal {}: {error}", path.display()));
        }
        StoreError::Io(_) => format!("{error}; choose another data_dir"),
        // What is no good was set aside: this is the one that took its place.
        StoreError::Row { .. }
        | StoreError::Newer { .. }
        | StoreError::Damaged(_)
        | StoreError::TooLarge(_)
        | StoreError::Sqlite(_) => format!("{error}; free the disk or choose another data_dir"),
    };
    Error::Journal { path, reason }
}

/// The entries that remove slaves which died while no master ran.
#[must_use]
pub fn forget(dead: &[SlaveId]) -> Vec<Entry> {
    dead.iter().copied().map(Entry::Gone).collect()
}
