//! Snapshots: a shard's state in a file, for the owner after a death.
//!
//! A snapshot is a copy that only the disk acknowledges: the same pieces
//! with the same sequences, made between events at the pace of a tenth of the
//! shard's time. It stands at a sequence of one session; a slave that takes it in
//! resumes from there, and what was handled since then only brings the state up.
//!
//! ```text
//! shard task ──state frames──▶ writer thread ──▶ shard-7.PROCESS.tmp ──fsync, rename──▶ shard-7.snapshot
//! shard task ◀────pieces────── reader thread ◀── shard-7.snapshot, if it is whole, ours and near
//! ```
//!
//! Nothing here is ever waited for by an event: a full disk costs the next
//! death's state, and a warning.

mod format;
mod read;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{Epoch, Sequence, ShardId, discord};
use tokio::sync::Semaphore;

pub(crate) use self::{
    read::{Read, Reading},
    write::{Outcome, Writing},
};
use crate::unique::unique;

/// Snapshots of one process that are written at one time.
const WRITERS: usize = 16;

/// Snapshots of a shard are at least so far apart.
const SHORTEST: Duration = Duration::from_millis(100);

/// Where, how often and for how long snapshots are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// Folder of the files, one a shard, one folder a fleet. It is made, for this
    /// user alone, if it is not there: it holds what the bot's state holds.
    pub dir: PathBuf,
    /// Time between two snapshots of a shard; zero: none are written or read.
    pub every: Duration,
    /// An older snapshot with events to replay is not used.
    pub max_age: Duration,
    /// A snapshot that is more dispatches behind what was handled is not used;
    /// nor one further behind than half of what Discord keeps for a replay,
    /// which is `max(100, min(3500, 75 a guild))`. Each piece counts as a guild.
    pub max_behind: u64,
}

impl Snapshots {
    /// Every 60 s into `dir`, good for 150 s and 2000 dispatches.
    ///
    /// The age is the distance of two snapshots and the 90 s for which a session
    /// can be resumed.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            every: Duration::from_secs(60),
            max_age: Duration::from_secs(150),
            max_behind: 2000,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.dir.as_os_str().is_empty() {
            return Err("snapshots: no folder is named".to_owned());
        }
        if !self.every.is_zero() && self.every < SHORTEST {
            return Err(format!(
                "snapshot_every is {:?}: give 0, or at least {SHORTEST:?}",
                self.every
            ));
        }
        Ok(())
    }

    fn may_be_behind(&self, pieces: u64) -> u64 {
        self.max_behind.min(discord::replayed(pieces) / 2)
    }
}

/// The snapshots of one process.
#[derive(Debug)]
pub(crate) struct Store {
    settings: Snapshots,
    /// In the names of files that are being written.
    process: String,
    writers: Arc<Semaphore>,
}

/// Whose state a snapshot holds.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    /// The session's tag.
    pub(crate) session: Arc<str>,
}

impl Store {
    /// `None`: there are to be no snapshots.
    pub(crate) fn new(settings: Option<&Snapshots>) -> Option<Self> {
        let settings = settings.filter(|settings| !settings.every.is_zero())?;
        Some(Self {
            settings: settings.clone(),
            process: format!("{:016x}", unique() as u64),
            writers: Arc::new(Semaphore::new(WRITERS)),
        })
    }

    pub(crate) const fn every(&self) -> Duration {
        self.settings.every
    }

    /// Begins a snapshot of so many pieces; `None`: enough are being written.
    pub(crate) fn write(&self, of: Of, pieces: u64) -> Option<Writing> {
        let permit = self.writers.clone().try_acquire_owned().ok()?;
        Some(Writing::begin(
            write::Job {
                path: self.file(of.shard),
                temporary: self.temporary(of.shard),
                max_age: self.settings.max_age,
                of,
                pieces,
            },
            permit,
        ))
    }

    /// Begins to read the snapshot of a shard, for a slave that goes on at `handled`.
    pub(crate) fn read(&self, of: Of, handled: Sequence) -> Reading {
        Reading::begin(read::Job {
            path: self.file(of.shard),
            settings: self.settings.clone(),
            of,
            handled,
        })
    }

    pub(crate) fn file(&self, shard: ShardId) -> PathBuf {
        self.settings.dir.join(format!("shard-{shard}.snapshot"))
    }

    fn temporary(&self, shard: ShardId) -> PathBuf {
        let name = format!("shard-{shard}.{}.tmp", self.process);
        self.settings.dir.join(name)
    }
}

/// Whether this is a file that a process wrote, or still writes, for a snapshot
/// of the shard.
fn is_temporary(file: &Path, shard: ShardId) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix(&format!("shard-{shard}.")))
        .is_some_and(|rest| rest.ends_with(".tmp"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
