//! The database itself: synchronous, owned by one thread.

mod recover;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_core::event::{Durability, Entry};
use baton_protocol::{Epoch, Term};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{
    age::Clocks,
    error::StoreError,
    roll::Roll,
    rows::{set_meta, write},
    schema,
};
use crate::{clock::unix_ms, crash};

/// Another reader (the sqlite3 shell) is waited for this long.
const BUSY: Duration = Duration::from_secs(2);

/// What the masters before left.
#[derive(Debug)]
pub(super) struct Before {
    /// Of the last one; `None`: the file is new.
    pub(super) term: Option<Term>,
}

/// After a loss epochs begin above what any earlier master can have used: the
/// term, and room for as many epochs in each.
const EPOCHS_OF_A_TERM: u64 = 1 << 28;

/// Opens a journal and reads all of it once, so that what is damaged shows.
pub(super) fn readable(
    path: &Path,
    configured: BTreeMap<String, Vec<String>>,
) -> Result<Store, StoreError> {
    let store = Store::open(path, configured)?;
    store.before()?;
    store.recover()?;
    store.shard_count()?;
    store.commands()?;
    Ok(store)
}

/// Moves a bad journal away, with the files beside it. Nothing is deleted:
/// a person may look at it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
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

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    unix_ms() / 1000
}

pub(super) struct Store {
    connection: Connection,
    /// Who may be alive, outside of the journal.
    roll: Option<Roll>,
    /// Whether commits reach the disk before they return.
    full: bool,
    /// The configured command of each slot.
    configured: BTreeMap<String, Vec<String>>,
}

impl Store {
    pub(super) fn open(
        path: &Path,
        configured: BTreeMap<String, Vec<String>>,
    ) -> Result<Self, StoreError> {
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
            roll: None,
            full: true,
            configured,
        })
    }

    /// For looking only, also while a master writes: one moment of it, until this is
    /// dropped.
    pub(super) fn read_only(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self {
            connection,
            roll: None,
            full: true,
            configured: BTreeMap::new(),
        })
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn before(&self) -> Result<Before, StoreError> {
        let Some(text) = self.meta("fleet")? else {
            return Ok(Before { term: None });
        };
        let fleet = text.parse().map_err(|_| StoreError::Row {
            table: "meta",
            value: text,
        })?;
        let counter = self.meta_number("term")?.unwrap_or(0);
        let term = Some(Term { fleet, counter });
        Ok(Before { term })
    }

    /// The boot on which a master ran last.
    pub(super) fn boot(&self) -> Result<Option<String>, StoreError> {
        let text = self.meta("booted_ms")?;
        Ok(text.and_then(|text| Some(text.split_once(' ')?.0.to_owned())))
    }

    /// Counts this start; notes what was `lost` until it is whole again. On the
    /// disk when it returns.
    pub(super) fn begin_term(&mut self, term: Term, lost: bool) -> Result<(), StoreError> {
        crash::before("term");
        self.durability(Durability::Now)?;
        let clocks = Clocks::now();
        let booted = self.meta("booted_ms")?.unwrap_or_default();
        let change = self.connection.transaction()?;
        // Else rows are there that were written by an earlier word on this boot.
        if clocks.began(&booted).is_none() {
            set_meta(&change, "booted_ms", &clocks.to_text())?;
        }
        set_meta(&change, "fleet", &term.fleet.to_string())?;
        set_meta(&change, "term", &term.counter.to_string())?;
        if lost {
            let floor = term.counter.saturating_mul(EPOCHS_OF_A_TERM);
            let floor = floor.min(Epoch::LAST.get() / 4);
            set_meta(&change, "lost", &floor.to_string())?;
        }
        change.commit()?;
        crash::after("term");
        Ok(())
    }

    /// Takes rows out whose epoch no master gave; says how many. A slave may have said
    /// so to a master that believed it.
    pub(super) fn take_out_impossible(&mut self) -> Result<usize, StoreError> {
        let last = Epoch::LAST.get().cast_signed();
        let change = self.connection.transaction()?;
        let mut taken = 0;
        for table in ["shards", "tickets", "work"] {
            // The highest numbers are negative there.
            let delete = format!("DELETE FROM {table} WHERE epoch < 1 OR epoch > ?1");
            taken += change.execute(&delete, [last])?;
        }
        change.commit()?;
        Ok(taken)
    }

    /// Writes what is known outside of the journal again.
    pub(super) fn write_roll(&self) {
        if let Some(roll) = &self.roll {
            roll.write_again();
        }
    }

    /// From now on slaves are entered there too.
    pub(super) fn keep(&mut self, roll: Roll) {
        self.roll = Some(roll);
    }

    pub(super) fn shard_count(&self) -> Result<Option<u32>, StoreError> {
        match self.meta_number("shard_count")? {
            None => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| StoreError::TooLarge(number)),
        }
    }

    pub(super) fn pin_shard_count(&mut self, shard_count: u32) -> Result<(), StoreError> {
        crash::before("shard-count");
        if let Some(roll) = &mut self.roll {
            roll.pin_shard_count(shard_count)?;
        }
        self.durability(Durability::Now)?;
        let change = self.connection.transaction()?;
        set_meta(&change, "shard_count", &shard_count.to_string())?;
        change.commit()?;
        crash::after("shard-count");
        Ok(())
    }

    /// One transaction: all entries or none.
    pub(super) fn save(
        &mut self,
        entries: &[Entry],
        durability: Durability,
    ) -> Result<(), StoreError> {
        crash::before(entries);
        if let Some(roll) = &mut self.roll {
            roll.add(entries)?;
        }
        self.durability(durability)?;
        let change = self.connection.transaction()?;
        for entry in entries {
            write(&change, entry, &self.configured)?;
        }
        change.commit()?;
        if let Some(roll) = &mut self.roll {
            roll.remove(entries);
        }
        crash::after(entries);
        Ok(())
    }

    /// Empties the write-ahead log; says whether it is empty now. Waits for no
    /// reader.
    pub(super) fn fold(&mut self) -> Result<bool, StoreError> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let busy: Result<i64, _> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(BUSY)?;
        Ok(busy? == 0)
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

    fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()?)
    }

    pub(super) fn meta_number(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let Some(text) = self.meta(key)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(StoreError::Row {
                table: "meta",
                value: text,
            }),
        }
    }
}
