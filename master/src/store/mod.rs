//! Where the journal is kept: a key-value store with revisions, compare-and-set and
//! batches. [`Sqlite`] is a file of this host; [`nats`] is a bucket of NATS JetStream, which
//! several masters share; [`Memory`] is for tests.
//!
//! # What it promises
//!
//! - A batch is there as a whole, or nothing of it is. A store over a network may take a batch
//!   and have its answer lost: the master is told that it was refused, and goes on as if
//!   nothing of it were there; the next one may read it, as after a crash between a save and
//!   the order that relies on it.
//! - A batch that expects a key at a revision changes nothing if the key is at another
//!   one. Revisions of a store only grow, and none is used twice.
//! - [`Durability::Now`]: it outlives the host before the call returns.
//!   [`Durability::Soon`]: it outlives the process, and the host in a while.
//! - Everything that was written before is read, or an error is.
//!
//! # The term
//!
//! A master takes its term by a batch that expects [`TERM`] at the revision at which it
//! read it. So of two masters that begin at one store, one has the term, and the other
//! one is told. Every later batch of a master expects the term at the revision of its own:
//! from the moment at which another one has taken it, no save of this one succeeds, and
//! it learns that with its next save ([`ApplyError::Deposed`]). It ends then; slaves
//! refuse what it ordered meanwhile, because they have heard of the higher term.
//!
//! # What a slow store holds up
//!
//! Saves are applied one after the other. The driver waits for each save of
//! [`Durability::Now`], and for each other save that is not only of checkpoints. Such a
//! save stands before the order that relies on it: the reservation of a shard before its
//! seal, the row of a slave before its first order. While the driver waits, no message of
//! any slave is handled and no order leaves; after a second, whoever looks at the fleet is
//! shown it. What comes meanwhile is one round, and a round has one save for all its
//! shards, with one before it where something came first that may be lost. So an order
//! waits for the saves of the round that is being written and for those of its own, however
//! many shards move at once. A file takes 0.3 ms for one. A store that takes 5 ms adds 10 ms
//! to the gap of a shard, and 20 ms at most. One that takes 2 s makes the master think that it was
//! paused, and its deadlines start again. Checkpoints hold nothing up: they are applied when
//! nothing else is to be.
//!
//! No order overtakes a save, although few rely on a save for another shard. When a save
//! fails, the core takes back what it decided since; that works because nothing of it has
//! left, and because nothing was decided on top of it. An order that overtakes would need
//! a core that knows for each of its decisions which saves it stands on. That is worth it
//! for a store that takes longer than the way to Discord and back, and for no file.

#[cfg(test)]
mod conform;
mod error;
#[cfg(test)]
mod memory;
#[cfg(feature = "nats")]
pub(crate) mod nats;
mod sqlite;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use baton_core::event::Durability;

pub use self::error::SaveError;
#[cfg(test)]
pub(crate) use self::memory::Memory;
pub(crate) use self::{
    error::{ApplyError, StoreError},
    sqlite::{Sqlite, schema, set_aside},
};

/// The key of the term.
pub(crate) const TERM: &str = "term";

/// How often a store had been written to when a key was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(pub(crate) u64);

/// A value, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What was written.
    pub(crate) value: Vec<u8>,
    /// In which batch.
    pub(crate) revision: Revision,
    /// How long ago by the store's own clock; `None`: it has none but that of this host.
    pub(crate) age: Option<Duration>,
}

/// Everything in a store at one moment, by key.
pub(crate) type Snapshot = BTreeMap<String, Kept>;

/// What is written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// At which revision the term must be; `None`: there must be none.
    pub(crate) term: Option<Revision>,
    /// What is put, and what is deleted (`None`), by key. A key that is to be deleted need
    /// not be there.
    pub(crate) changes: BTreeMap<String, Option<Vec<u8>>>,
}

/// A key-value store, used by one thread. See the [module](self).
pub(crate) trait Store: fmt::Debug + Send {
    /// Everything, at one moment.
    ///
    /// # Errors
    /// It cannot be read, or it is damaged.
    fn read(&mut self) -> Result<Snapshot, StoreError>;

    /// The revision of a key; `None`: it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    fn revision(&mut self, key: &str) -> Result<Option<Revision>, StoreError>;

    /// Writes a batch, all of it or nothing; gives its revision.
    ///
    /// # Errors
    /// [`ApplyError::Deposed`]: the term is not at the revision that the batch expects.
    /// [`ApplyError::Refused`]: it cannot be written now. In either case nothing of it counts.
    fn apply(&mut self, batch: &Batch, durability: Durability) -> Result<Revision, ApplyError>;

    /// The newest revision of a store that was [read](Self::read); `None`: it does not say,
    /// as one that no other host has.
    fn newest(&self) -> Option<Revision> {
        None
    }

    /// Nothing is to be written at this moment: what can be tidied up is.
    fn rest(&mut self, now: Instant) {
        let _ = now;
    }
}
