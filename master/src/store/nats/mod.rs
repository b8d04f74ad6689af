//! A store that several masters share: a bucket of NATS JetStream.
//!
//! # How the promises of a store are kept
//!
//! - *A batch is whole or not at all*: an atomic batch of JetStream (nats-server 2.12), up to
//!   1,000 rows. One with more is several batches, one behind the other.
//! - *The term*: the first message of a batch expects the message of the term at its sequence.
//! - *Nothing comes late*: it also expects the last sequence of the whole stream. So a batch
//!   that was sent, not answered and held up somewhere is refused when anything was written
//!   since; and a master that takes the term has read everything that was written before, also
//!   where a server answered its reads that did not know yet that it leads no more.
//! - *A revision* is the sequence of the first message of a batch.
//!
//! # What is not known
//!
//! A batch without an answer may be there or not. The caller is told that it was refused; the
//! next batch finds another last sequence, looks whether the term is still its own, and goes on
//! behind what it finds. What was written and not confirmed is there as after a crash between a
//! save and the order that relies on it: each row that a master saves may be there although
//! nobody acted on it, and is overwritten by the next of its key.
//!
//! While nobody answers, nothing is tried: who keeps the leadership (`lead`) asks again and
//! again, and with the first answer the store is back.

mod bucket;
mod client;
mod declare;
mod read;
mod seal;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::time::Duration;

use baton_core::event::Durability;
use baton_protocol::auth::Secret;
use tokio::runtime::Handle;

pub(crate) use self::{
    bucket::{Bucket, Found},
    client::{Client, Trouble, code},
};
use self::{declare::of, seal::Sealer, write::Batches};
#[cfg(test)]
use super::TERM;
use super::{ApplyError, Batch, Kept, Revision, Snapshot, Store, StoreError};
use crate::config::SharedStore;

/// Who leads, if nobody renews it, leads no more after this time.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// The buckets of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    /// The journal.
    pub(crate) journal: Bucket,
    /// Who leads, and who would.
    pub(crate) leader: Bucket,
    replicas: usize,
}

impl Buckets {
    /// Of the fleet that the configuration names.
    pub(crate) fn new(client: &Client, config: &SharedStore) -> Self {
        Self {
            journal: Bucket::new(client.clone(), &format!("{}-journal", config.name)),
            leader: Bucket::new(client.clone(), &format!("{}-leader", config.name)),
            replicas: config.replicas,
        }
    }

    /// Declares what is not there.
    ///
    /// # Errors
    /// [`StoreError::Unlike`]: it is there, and otherwise. [`StoreError::Away`]: not now.
    pub(crate) async fn declare(&self) -> Result<(), StoreError> {
        let journal = declare::journal(&self.journal, self.replicas);
        declare::declare(&self.journal, &journal).await?;
        let leader = declare::leader(&self.leader, self.replicas, LEASE);
        declare::declare(&self.leader, &leader).await
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Nats {
    bucket: Bucket,
    runtime: Handle,
    sealer: Sealer,
    batches: Batches,
    /// The last sequence of the stream, where it is known.
    last: Option<u64>,
    /// Whether that is how far everything was read, and nothing was written since.
    is_read: bool,
    /// Whether somebody else asks again and again while nobody answers.
    is_kept: bool,
}

impl Nats {
    /// A store in this bucket, which is declared. The thread that uses it is none of the
    /// runtime's.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(crate) fn new(
        bucket: Bucket,
        secret: &Secret,
        runtime: Handle,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            bucket,
            runtime,
            sealer: Sealer::new(secret)?,
            batches: Batches::new()?,
            last: None,
            is_read: false,
            is_kept: false,
        })
    }

    /// Somebody else asks again and again while nobody answers: until then nothing is tried.
    pub(crate) fn kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    async fn read_all(&mut self) -> Result<Snapshot, StoreError> {
        let all = read::everything(&self.bucket).await;
        let all = all.map_err(|trouble| of(&self.bucket, trouble))?;
        (self.last, self.is_read) = (Some(all.last), true);
        let mut entries = Snapshot::new();
        for (key, found) in all.found {
            let Some(value) = found.value else { continue };
            let kept = Kept {
                value: self.sealer.open(&key, value)?,
                revision: Revision(found.batch),
                age: bucket::between(found.written, all.state.now),
            };
            entries.insert(key, kept);
        }
        Ok(entries)
    }

    /// The newest message of a key, unless it is deleted.
    async fn found(&self, key: &str) -> Result<Option<Found>, StoreError> {
        let found = self.bucket.get(key).await;
        let found = found.map_err(|trouble| of(&self.bucket, trouble))?;
        Ok(found.filter(|found| found.value.is_some()))
    }
}

impl Store for Nats {
    fn read(&mut self) -> Result<Snapshot, StoreError> {
        self.runtime.clone().block_on(self.read_all())
    }

    fn revision(&mut self, key: &str) -> Result<Option<Revision>, StoreError> {
        let found = self.runtime.clone().block_on(self.found(key))?;
        Ok(found.map(|found| Revision(found.batch)))
    }

    fn newest(&self) -> Option<Revision> {
        self.last.map(Revision)
    }

    fn apply(&mut self, batch: &Batch, _durability: Durability) -> Result<Revision, ApplyError> {
        self.runtime.clone().block_on(self.write(batch))
    }
}
