//! What a standby master writes down of a journal that it shares: the file `fleet` of its
//! host, as the leader's own says it. With it a standby master knows, when it leads, whether the
//! store lost anything, and which slaves may be alive where it lost all.

use std::{cmp::Ordering, io, path::PathBuf};

use baton_core::event::Key;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{
    roster::{Home, Known, Roster},
    rows::Rows,
};
use crate::store::{
    Kept, Revision, Snapshot, StoreError, TERM,
    nats::{Bucket, Found, Trouble},
};

/// Keys of slaves begin so.
const SLAVES: &str = "slave.";

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Copy {
    path: PathBuf,
    /// What the file says; `None`: there is none.
    written: Option<Known>,
    /// What the store said; `None`: it was not read yet.
    read: Option<Known>,
    /// Slaves are read from here on.
    from: u64,
}

impl Copy {
    /// Of the file at this home.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open(home: &Home) -> io::Result<Self> {
        Ok(Self {
            path: home.file.clone(),
            written: Roster::read(&home.file)?,
            read: None,
            from: 0,
        })
    }

    /// Which slaves the store names.
    pub(crate) fn knows(&self, slave: baton_protocol::SlaveId) -> bool {
        let known = self.read.as_ref().or(self.written.as_ref());
        known.is_some_and(|known| known.slaves.contains_key(&slave))
    }

    /// Whether a master ever led with this journal, as far as it was read.
    pub(crate) const fn was_led(&self) -> bool {
        self.read.is_some()
    }

    /// Reads what is new, and writes it down.
    ///
    /// # Errors
    /// The store does not answer, or what it says makes no sense.
    pub(crate) async fn follow(&mut self, bucket: &Bucket) -> Result<(), Trouble> {
        let newest = bucket.state().await?.last;
        let Some(rows) = self.head(bucket).await? else {
            return Ok(());
        };
        let Some((term, _)) = rows.term else {
            return Ok(());
        };
        let mut next = self.read.take().filter(|read| read.newest <= newest);
        if next.is_none() {
            self.from = 0;
        }
        let known = next.get_or_insert_with(Known::default);
        self.slaves(bucket, known).await?;
        known.term = term;
        known.shard_count = rows.shard_count;
        known.pinned = rows.pinned;
        known.copied = true;
        known.newest = newest;
        let next = known.clone();
        self.read = Some(next.clone());
        if self.keeps_its_own(&next) || self.written.as_ref() == Some(&next) {
            return Ok(());
        }
        let path = self.path.clone();
        let written = next.clone();
        match spawn_blocking(move || Roster::begin(&path, written)).await {
            Ok(Ok(_)) => self.written = Some(next),
            Ok(Err(error)) => {
                warn!(file = %self.path.display(), %error, "what the store says cannot be written down");
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// What is written is worth more: this host's master led last, or the store went back
    /// behind what was seen of it.
    fn keeps_its_own(&self, next: &Known) -> bool {
        self.written.as_ref().is_some_and(|written| {
            match written.term.counter.cmp(&next.term.counter) {
                Ordering::Greater => true,
                Ordering::Equal => !written.copied || written.newest > next.newest,
                Ordering::Less => false,
            }
        })
    }

    /// The rows beside those of slaves; `None`: a newer master wrote what makes no sense here.
    async fn head(&self, bucket: &Bucket) -> Result<Option<Rows>, Trouble> {
        let mut head = Snapshot::new();
        for key in [TERM, super::rows::SHARD_COUNT, &Key::Pinned.to_string()] {
            if let Some(found) = bucket.get(key).await? {
                add(&mut head, found);
            }
        }
        Ok(Self::rows(&head))
    }

    async fn slaves(&mut self, bucket: &Bucket, known: &mut Known) -> Result<(), Trouble> {
        while let Some(found) = bucket.next(self.from, SLAVES).await? {
            self.from = found.sequence + 1;
            let Ok(Key::Slave(slave)) = found.key.parse() else {
                continue;
            };
            known.slaves.remove(&slave);
            let mut one = Snapshot::new();
            add(&mut one, found);
            let rows = Self::rows(&one).unwrap_or_default();
            let hellos = rows.slaves.into_iter();
            known
                .slaves
                .extend(hellos.filter_map(|(slave, row)| Some((slave, row.hello?))));
        }
        Ok(())
    }

    fn rows(snapshot: &Snapshot) -> Option<Rows> {
        let read: Result<Rows, StoreError> = Rows::read(snapshot);
        read.inspect_err(|error| warn!(%error, "a row of the store makes no sense here"))
            .ok()
    }
}

fn add(snapshot: &mut Snapshot, found: Found) {
    let Some(value) = found.value else { return };
    let kept = Kept {
        value,
        revision: Revision(found.batch),
        age: None,
    };
    snapshot.insert(found.key, kept);
}
