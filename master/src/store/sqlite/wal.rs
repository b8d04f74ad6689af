//! Keeps the write-ahead log short. SQLite folds it in only when a commit finds
//! 1000 pages in it, which may be the commit that a seal waits for, and never
//! makes its file smaller. So the thread does it when no save waits.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::{debug, warn};

use crate::store::StoreError;

/// A log of this many bytes stays as it is. What is longer is folded in: at most
/// SQLite's 1000 pages, two syncs of the disk.
pub(super) const LONG: u64 = 512 << 10;

/// Another reader (the sqlite3 shell) or another master is waited for this long.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// So long after a save that a task waited for: in a deploy one follows another.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// So long after an attempt that failed.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// When a log is folded in.
#[derive(Debug)]
pub(super) struct Wal {
    log: PathBuf,
    not_before: Instant,
}

impl Wal {
    /// Of the journal in this file, which was just opened.
    pub(super) fn new(journal: &Path, now: Instant) -> Self {
        let mut log = journal.as_os_str().to_owned();
        log.push("-wal");
        Self {
            log: log.into(),
            not_before: now + QUIET,
        }
    }

    /// A task waited for a save.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.not_before = self.not_before.max(now + QUIET);
    }

    /// Nothing else is to be done: folds the log in, if that is due. It fails
    /// where a reader (the sqlite3 shell) is in the way or the disk refuses; nothing
    /// is lost by that, and it is tried again.
    pub(super) fn when_idle(&mut self, connection: &Connection, now: Instant) {
        if now < self.not_before || self.length() <= LONG {
            return;
        }
        match fold(connection) {
            Ok(true) => return,
            Ok(false) => debug!("a reader keeps the journal's write-ahead log as it is"),
            Err(error) => warn!(%error, "the journal's write-ahead log could not be folded in"),
        }
        self.not_before = now + AGAIN;
    }

    /// How long it is, in bytes.
    pub(super) fn length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

/// Empties the write-ahead log; says whether it is empty now. Waits for no
/// reader.
fn fold(connection: &Connection) -> Result<bool, StoreError> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy: Result<i64, _> =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(BUSY)?;
    Ok(busy? == 0)
}
