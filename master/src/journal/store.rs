//! The database itself: synchronous, owned by one thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_core::event::{
    Durability, Entry, Hold, JournalState, Recovered, RecoveredTicket, Row as OwnerRow,
};
use baton_protocol::{
    DeployId, Epoch, FleetId, ProcessIdentity, ShardId, SlaveId, Term, Ticket, Version,
    message::{Hello, ResumeAfter},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::{
    age::Clocks,
    roll::Roll,
    rows::{
        basis, fill, list, read_parameters, role, set_meta, slave_id, unsigned, wall_clock_ms,
        write,
    },
    schema::{self, SCHEMA},
};
use crate::crash;

/// Another reader (the sqlite3 shell) is waited for this long.
const BUSY: Duration = Duration::from_secs(2);

/// What is wrong with a database, for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a row of table {table} makes no sense: {value}")]
    Row { table: &'static str, value: String },
    #[error(
        "its schema is version {found}, which a master that knows version {SCHEMA} may not use"
    )]
    Newer { found: i64 },
    #[error("its pages are damaged: {0}")]
    Damaged(String),
    #[error("it cannot be made: {0}")]
    Io(#[from] io::Error),
    #[error(
        "it is of fleet {journal:.8}, and {} is of fleet {roll:.8}; give each fleet a runtime_dir and a data_dir of its own",
        file.display()
    )]
    OtherFleet {
        journal: FleetId,
        roll: FleetId,
        file: PathBuf,
    },
    #[error("{0} does not fit into the journal")]
    TooLarge(u64),
}

impl StoreError {
    /// Whether the file itself is no good for this master, so that another may take its place.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Row { .. } | Self::Damaged(_) | Self::TooLarge(_) | Self::Newer { .. } => true,
            Self::Io(_) | Self::OtherFleet { .. } => false,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(code) => matches!(
                    code,
                    rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt
                ),
                // A column of another type, a table that is not there.
                None => true,
            },
        }
    }
}

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

/// Moves a journal away that is no good, with the files beside it. Nothing is deleted:
/// a person may look at it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let away = format!(".damaged-{}", wall_clock_ms());
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
    wall_clock_ms() / 1000
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

    /// Everything, as it was saved; whether a slave still lives is not judged
    /// here.
    pub(super) fn recover(&self) -> Result<Recovered, StoreError> {
        let floor = self.meta_number("lost")?;
        Ok(Recovered {
            pinned: self
                .connection
                .query_row(
                    "SELECT intents, shard_count, api_version, encoding, compression, large_threshold FROM pinned",
                    [],
                    |row| read_parameters(row, 0),
                )
                .optional()?,
            shards: self.shards()?,
            work: self.work()?,
            slaves: self.slaves()?,
            fenced: self.fenced()?,
            last_deploy: DeployId(self.meta_number("last_deploy")?.unwrap_or(0)),
            given_up: self.given_up()?,
            tickets: self.tickets()?,
            late_seal_refused: self.meta_number("late_seal_refused")? == Some(1),
            journal: match floor {
                Some(_) => JournalState::Lost,
                None => JournalState::Intact,
            },
            floor: Epoch(floor.unwrap_or(0)),
        })
    }

    /// The commands that deploys brought and that no change of the configuration
    /// has overruled.
    pub(super) fn commands(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT slot, command, configured FROM commands")?;
        let mut rows = statement.query([])?;
        let mut commands = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let slot: String = row.get(0)?;
            let configured = list(&row.get::<_, String>(2)?)?;
            let now = self.configured.get(&slot).map_or(&[][..], Vec::as_slice);
            if configured == now {
                commands.insert(slot, list(&row.get::<_, String>(1)?)?);
            }
        }
        Ok(commands)
    }

    /// The command that each slot had before the present one. A configuration that
    /// changed counts from the start of a master on.
    pub(super) fn commands_before(
        &self,
        commands: &BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        for (slot, configured) in &self.configured {
            fill(
                &self.connection,
                slot,
                commands.get(slot).unwrap_or(configured),
            )?;
        }
        let mut statement = self
            .connection
            .prepare("SELECT slot, before FROM fillings WHERE before <> '[]'")?;
        let mut rows = statement.query([])?;
        let mut before = BTreeMap::new();
        while let Some(row) = rows.next()? {
            before.insert(row.get(0)?, list(&row.get::<_, String>(1)?)?);
        }
        Ok(before)
    }

    fn shards(&self) -> Result<BTreeMap<ShardId, OwnerRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT shard, epoch, owner, hold, basis FROM shards")?;
        let mut rows = statement.query([])?;
        let mut shards = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let hold: String = row.get(3)?;
            let hold = if hold == "owned" {
                Hold::Owned
            } else {
                Hold::Reserved
            };
            let found = OwnerRow {
                epoch: Epoch(unsigned(row.get(1)?)),
                owner: slave_id("shards", &row.get::<_, String>(2)?)?,
                hold,
                basis: basis(&row.get::<_, String>(4)?)?,
            };
            shards.insert(ShardId(row.get(0)?), found);
        }
        Ok(shards)
    }

    fn tickets(&self) -> Result<BTreeMap<ShardId, RecoveredTicket>, StoreError> {
        let booted = self.meta("booted_ms")?.unwrap_or_default();
        let now = Clocks::now().unset_since(&booted);
        let seen = self.meta_number("seen_ms")?.unwrap_or(0);
        let mut statement = self
            .connection
            .prepare("SELECT shard, epoch, after, written_ms, ticket FROM tickets")?;
        let mut rows = statement.query([])?;
        let mut tickets = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let shard = ShardId(row.get(0)?);
            let after: String = row.get(2)?;
            let text: String = row.get(4)?;
            let ticket: Ticket = serde_json::from_str(&text).map_err(|_| StoreError::Row {
                table: "tickets",
                // The text holds a session id.
                value: format!("shard {shard}"),
            })?;
            let recovered = RecoveredTicket {
                epoch: Epoch(unsigned(row.get(1)?)),
                after: if after == "seal" {
                    ResumeAfter::Seal
                } else {
                    ResumeAfter::Death
                },
                ticket,
                age: Duration::from_millis(now.saturating_sub(unsigned(row.get(3)?).max(seen))),
            };
            tickets.insert(shard, recovered);
        }
        Ok(tickets)
    }

    fn work(&self) -> Result<Option<(Epoch, SlaveId)>, StoreError> {
        let row: Option<(i64, String)> = self
            .connection
            .query_row("SELECT epoch, owner FROM work", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        row.map(|(epoch, owner)| Ok((Epoch(unsigned(epoch)), slave_id("work", &owner)?)))
            .transpose()
    }

    fn slaves(&self) -> Result<BTreeMap<SlaveId, Hello>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT slave, slot, build, role, version, lowest, pid, start_time, boot_id, pid_namespace,
                    intents, shard_count, api_version, encoding, compression, large_threshold FROM slaves",
        )?;
        let mut rows = statement.query([])?;
        let mut slaves = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let slave = slave_id("slaves", &row.get::<_, String>(0)?)?;
            let mut hello = Hello {
                slave,
                slot: row.get(1)?,
                build: row.get(2)?,
                role: role(&row.get::<_, String>(3)?),
                version: Version(row.get(4)?),
                lowest: Version(row.get(5)?),
                process: ProcessIdentity {
                    pid: row.get(6)?,
                    start_time: unsigned(row.get(7)?),
                    boot_id: row.get(8)?,
                    pid_namespace: unsigned(row.get(9)?),
                },
                parameters: read_parameters(row, 10)?,
                ..Hello::default()
            };
            // An earlier build wrote down what it was told as it was.
            hello.make_readable();
            slaves.insert(slave, hello);
        }
        Ok(slaves)
    }

    fn given_up(&self) -> Result<BTreeSet<DeployId>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT value FROM meta WHERE key LIKE 'given up %'")?;
        let mut rows = statement.query([])?;
        let mut given_up = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let value: String = row.get(0)?;
            // What is no number is of a master that knows more.
            given_up.extend(value.parse().ok().map(DeployId));
        }
        Ok(given_up)
    }

    fn fenced(&self) -> Result<BTreeSet<SlaveId>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT substr(key, 8) FROM meta WHERE key LIKE 'fenced %'")?;
        let mut rows = statement.query([])?;
        let mut fenced = BTreeSet::new();
        while let Some(row) = rows.next()? {
            fenced.insert(slave_id("meta", &row.get::<_, String>(0)?)?);
        }
        Ok(fenced)
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
