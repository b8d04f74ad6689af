//! A store in one SQLite file of this host.

pub(crate) mod schema;
mod tables;
#[cfg(test)]
mod tests;
mod wal;

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use baton_core::event::Durability;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use self::wal::{BUSY, Wal};
use super::{ApplyError, Batch, Kept, Revision, Snapshot, Store, StoreError, TERM};
use crate::clock::unix_ms;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Connection,
    /// Whether commits reach the disk before they return.
    full: bool,
    wal: Wal,
    /// What an older file would be in the present schema, where it is only looked at.
    lifted: Option<Connection>,
}

impl Sqlite {
    /// Opens or makes a store, and brings an older one to the present schema.
    ///
    /// # Errors
    /// The disk refused, the file is damaged, or a newer master does not let this one
    /// use it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        // Made here, because it holds session ids: for this user alone. The files
        // beside it get the same mode.
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            return Err(StoreError::Damaged(check));
        }
        schema::bring(&mut connection)?;
        Ok(Self {
            connection,
            full: true,
            wal: Wal::new(path, Instant::now()),
            lifted: None,
        })
    }

    /// For looking only, also while a master writes: one moment of it, until this is
    /// dropped.
    ///
    /// # Errors
    /// It is no database, or cannot be read.
    pub(crate) fn read_only(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("BEGIN")?;
        let is_older = (1..schema::SCHEMA).contains(&schema::found(&connection)?);
        Ok(Self {
            connection,
            full: true,
            wal: Wal::new(path, Instant::now()),
            lifted: is_older.then(|| schema::lifted(path)).transpose()?,
        })
    }

    /// For questions about its schema.
    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What SQLite finds wrong with its pages and indexes, and with types of columns.
    ///
    /// # Errors
    /// It cannot be asked.
    pub(crate) fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let said = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut broken = Vec::new();
        for line in said {
            let line = line?;
            if line != "ok" {
                broken.push(line);
            }
        }
        Ok(broken)
    }

    /// A commit with FULL waits for the disk and takes all earlier ones along;
    /// with NORMAL it survives the process, not the host.
    fn durability(&mut self, durability: Durability) -> Result<(), StoreError> {
        let full = match durability {
            Durability::Now => true,
            Durability::Soon => false,
        };
        if full != self.full {
            let level = if full { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.full = full;
        }
        Ok(())
    }
}

impl Store for Sqlite {
    fn read(&mut self) -> Result<Snapshot, StoreError> {
        let query = "SELECT key, value, revision FROM entries";
        let connection = self.lifted.as_ref().unwrap_or(&self.connection);
        let mut statement = connection.prepare(query)?;
        let mut rows = statement.query([])?;
        let mut entries = Snapshot::new();
        while let Some(row) = rows.next()? {
            let kept = Kept {
                value: row.get(1)?,
                revision: revision(row.get(2)?),
                age: None,
            };
            entries.insert(row.get(0)?, kept);
        }
        Ok(entries)
    }

    fn revision(&mut self, key: &str) -> Result<Option<Revision>, StoreError> {
        Ok(revision_of(&self.connection, key)?)
    }

    fn apply(&mut self, batch: &Batch, durability: Durability) -> Result<Revision, ApplyError> {
        if durability == Durability::Now {
            self.wal.put_off(Instant::now());
        }
        self.durability(durability)?;
        // The term is looked at when nobody else can write any more.
        let change = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if revision_of(&change, TERM)? != batch.term && !mutant!("term-not-compared") {
            return Err(ApplyError::Deposed);
        }
        let number: i64 = change
            .prepare_cached("UPDATE batches SET last = last + 1 RETURNING last")?
            .query_row([], |row| row.get(0))?;
        for (key, value) in &batch.changes {
            match value {
                Some(value) => change
                    .prepare_cached(
                        "INSERT OR REPLACE INTO entries (key, value, revision) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((key, value, number))?,
                None => change
                    .prepare_cached("DELETE FROM entries WHERE key = ?1")?
                    .execute([key])?,
            };
        }
        change.commit()?;
        Ok(revision(number))
    }

    fn rest(&mut self, now: Instant) {
        self.wal.when_idle(&self.connection, now);
    }
}

const fn revision(number: i64) -> Revision {
    Revision(number.cast_unsigned())
}

fn revision_of(connection: &Connection, key: &str) -> rusqlite::Result<Option<Revision>> {
    connection
        .prepare_cached("SELECT revision FROM entries WHERE key = ?1")?
        .query_row([key], |row| Ok(revision(row.get(0)?)))
        .optional()
}

/// Moves a bad journal away, with the files beside it. Nothing is deleted:
/// a person may look at it.
///
/// # Errors
/// The disk refused.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let away = format!(".damaged-{}", unix_ms());
    for end in ["-shm", "-wal", ""] {
        match fs::rename(named(end), named(&format!("{away}{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(named(&away))
}
