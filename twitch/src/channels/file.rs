//! A SQLite file that outlives its process: for this user alone, with a schema that has a
//! version, and safe with a second process at it.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// So long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(5);

/// Two who open a new file at once can be refused without having waited: SQLite does not
/// wait while it changes the kind of journal. So it is tried so often, and between two
/// tries there is a pause.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// One thread of this process opens at a time: see [`make`].
static OPENING: Mutex<()> = Mutex::new(());

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be made or opened.
    #[error("{path}: {source}: let this user write there, or give another path")]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a file of something else.
    #[error("{path} is no {kind}: give another path, or move that file away")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
    },
    /// A newer build wrote it.
    #[error(
        "{path} has schema {found}, and this build knows {known}: start the newer build, or move that file away"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// It is damaged.
    #[error("{path} is damaged ({said}): move it away, or put back a copy")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What SQLite found first.
        said: String,
    },
    /// SQLite refused: the disk is full, or another writer holds the file.
    #[error("the {kind} could not be read or written: {source}")]
    Sqlite {
        /// What the file is.
        kind: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Something in it is not what this build writes.
    #[error("the {kind} holds {what} that this build did not write: look at it with sqlite3")]
    Odd {
        /// What the file is.
        kind: &'static str,
        /// What is odd.
        what: &'static str,
    },
}

/// What a file is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// For people.
    pub(crate) name: &'static str,
    /// SQLite keeps it as `application_id`, so that no file is taken for another.
    pub(crate) application: i32,
    /// The schemas' statements: the first makes the tables, each later one adds to them.
    pub(crate) schemas: &'static [&'static str],
}

impl Kind {
    /// The error of a call to SQLite.
    pub(crate) const fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + Copy + use<> {
        let kind = self.name;
        move |source| Error::Sqlite { kind, source }
    }

    /// Opens the file or makes it, and brings it to the newest schema. It may block: see
    /// [`BUSY`].
    pub(crate) fn open(&self, path: &Path) -> Result<Connection, Error> {
        let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        make(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        let mut connection = Connection::open(path).map_err(self.failed())?;
        self.prepare(&mut connection, path)?;
        Ok(connection)
    }

    /// One that ends with its process.
    pub(crate) fn in_memory(&self) -> Result<Connection, Error> {
        let mut connection = Connection::open_in_memory().map_err(self.failed())?;
        self.prepare(&mut connection, Path::new(":memory:"))?;
        Ok(connection)
    }

    fn prepare(&self, connection: &mut Connection, path: &Path) -> Result<(), Error> {
        let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Error::Foreign {
                path: path.to_owned(),
                kind: self.name,
            },
            Some(ErrorCode::DatabaseCorrupt) => Error::Damaged {
                path: path.to_owned(),
                said: source.to_string(),
            },
            _ => self.failed()(source),
        };
        connection.busy_timeout(BUSY).map_err(failed)?;
        write_ahead(connection).map_err(failed)?;
        // What was answered has happened, even if the power fails.
        let full = connection.pragma_update(None, "synchronous", "FULL");
        full.map_err(failed)?;
        let check = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let said: String = check.map_err(failed)?;
        if said != "ok" {
            return Err(Error::Damaged {
                path: path.to_owned(),
                said,
            });
        }
        self.bring(connection, path)
    }

    fn bring(&self, connection: &mut Connection, path: &Path) -> Result<(), Error> {
        let failed = self.failed();
        // Nobody else brings it on meanwhile.
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let change = change.map_err(failed)?;
        let number = |pragma: &str| change.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let application = number("PRAGMA application_id").map_err(failed)?;
        let found = number("PRAGMA user_version").map_err(failed)?;
        let tables = number("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
        let is_new = application == 0 && found == 0 && tables == 0;
        if application != i64::from(self.application) && !is_new {
            return Err(Error::Foreign {
                path: path.to_owned(),
                kind: self.name,
            });
        }
        let known = i64::try_from(self.schemas.len()).unwrap_or(i64::MAX);
        let before = match usize::try_from(found) {
            Ok(before) if before <= self.schemas.len() => before,
            _ => {
                return Err(Error::Newer {
                    path: path.to_owned(),
                    found,
                    known,
                });
            }
        };
        for statements in &self.schemas[before..] {
            change.execute_batch(statements).map_err(failed)?;
        }
        let id = change.pragma_update(None, "application_id", self.application);
        id.map_err(failed)?;
        let version = change.pragma_update(None, "user_version", known);
        version.map_err(failed)?;
        change.commit().map_err(failed)
    }
}

/// Makes a file that is not there, because SQLite would let others read it. The files beside
/// it get the same mode. One that is there is not opened: to close it would take
/// away the locks of each connection that this process has at it.
fn make(path: &Path) -> io::Result<()> {
    let mut new = fs::OpenOptions::new();
    match new.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever opens a file is on a thread that may block"
)]
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 1..TRIES {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(refused) if refused.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FIRST: &str = "CREATE TABLE things (name TEXT PRIMARY KEY) STRICT;";
    const KIND: Kind = Kind {
        name: "box of things",
        application: 7,
        schemas: &[FIRST],
    };
    const LATER: Kind = Kind {
        schemas: &[FIRST, "ALTER TABLE things ADD COLUMN colour TEXT;"],
        ..KIND
    };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("things");
        (folder, path)
    }

    #[test]
    fn a_new_file_and_those_beside_it_are_for_this_user_alone() {
        let (folder, path) = place();
        let connection = KIND.open(&path).expect("it is new");
        let put = connection.execute("INSERT INTO things VALUES ('a')", []);
        put.expect("it has its tables");
        let mut files = 0;
        for file in fs::read_dir(folder.path()).expect("it is there") {
            let meta = file.expect("it is there").metadata().expect("it is there");
            assert_eq!(meta.permissions().mode() & 0o777, 0o600);
            files += 1;
        }
        assert!(files > 1, "there is a journal beside it");
    }

    #[test]
    fn an_older_file_is_brought_on_and_a_newer_one_is_left_alone() {
        let (_folder, path) = place();
        KIND.open(&path)
            .expect("it is new")
            .execute("INSERT INTO things VALUES ('a')", [])
            .expect("it has its tables");
        let later = LATER.open(&path).expect("it is brought on");
        let colours = "SELECT count(*) FROM things WHERE colour IS NULL";
        let rows: i64 = later.query_row(colours, [], |row| row.get(0)).expect("so");
        assert_eq!(rows, 1);
        drop(later);
        let refused = KIND.open(&path).expect_err("it is newer").to_string();
        assert!(refused.contains("schema 2"), "{refused}");
    }

    #[test]
    fn a_file_of_something_else_is_not_touched() {
        let (_folder, path) = place();
        fs::write(
            &path,
            "these are no pages of a database, but somebody's words",
        )
        .expect("so");
        assert!(matches!(KIND.open(&path), Err(Error::Foreign { .. })));
        fs::remove_file(&path).expect("it is there");
        let other = Connection::open(&path).expect("it is new");
        other.execute_batch("CREATE TABLE mine (a)").expect("so");
        assert!(matches!(KIND.open(&path), Err(Error::Foreign { .. })));
    }

    #[test]
    fn several_may_open_a_new_file_at_once() {
        let (_folder, path) = place();
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d", "e", "f"] {
                let path = &path;
                scope.spawn(move || {
                    let connection = KIND.open(path).expect("all may");
                    let put = connection.execute("INSERT INTO things VALUES (?1)", [name]);
                    put.expect("one waits for the other");
                });
            }
        });
    }
}
