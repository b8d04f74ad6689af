//! What an older and a newer build of the master would do, for tests that replace
//! one by the other.
//!
//! It exists only in builds with debug assertions; nothing of it is in a release
//! build. There `BATON_MASTER_AS` says what this process is like:
//!
//! | | |
//! |---|---|
//! | `older` | speaks version 2 of the wire at most |
//! | `newer` | its journal has one schema more, which this build may use |
//! | `apart` | the same, and this build may not |

#[cfg(debug_assertions)]
pub(crate) use self::played::{bring, check, hears};

/// What is heard of a slave's hello.
#[cfg(not(debug_assertions))]
pub(crate) const fn hears(_hello: &mut baton_protocol::message::Hello) {}

/// Changes a journal of the present schema.
#[cfg(not(debug_assertions))]
pub(crate) const fn bring<E>(_journal: &mut rusqlite::Connection) -> Result<(), E> {
    Ok(())
}

#[cfg(debug_assertions)]
mod played {
    use baton_protocol::{Version, message::Hello};
    use rusqlite::Connection;

    use crate::error::Error;

    const VARIABLE: &str = "BATON_MASTER_AS";

    /// The newest version that an older master speaks: no pre-dialled connections,
    /// no word on full windows.
    const OLDER_WIRE: Version = Version(2);

    /// What a later schema may add.
    const ADDITIONS: &str = r#"
        UPDATE entries SET value = CAST(json_set(CAST(value AS TEXT), '$.later', 'nothing') AS BLOB);
        INSERT INTO entries VALUES ('later.1', CAST('{"v":7,"two":"two"}' AS BLOB), 1);
        CREATE TABLE later (one INTEGER PRIMARY KEY, two TEXT NOT NULL) STRICT;
        INSERT OR REPLACE INTO meta VALUES ('later', 'something');
        PRAGMA user_version = 5;"#;

    fn is(what: &str) -> bool {
        std::env::var_os(VARIABLE).is_some_and(|value| value == what)
    }

    /// Whether the environment names a build that can be played, or none.
    ///
    /// # Errors
    /// It names another.
    pub(crate) fn check() -> Result<(), Error> {
        let known = ["older", "newer", "apart"].into_iter().any(is);
        if known || std::env::var_os(VARIABLE).is_none() {
            return Ok(());
        }
        Err(Error::Configuration(format!(
            "{VARIABLE} is `older`, `newer` or `apart`"
        )))
    }

    /// What is heard of a slave's hello: an older master knows no newer version.
    pub(crate) fn hears(hello: &mut Hello) {
        if is("older") {
            hello.version = hello.version.min(OLDER_WIRE);
        }
    }

    /// Changes a journal of the present schema.
    pub(crate) fn bring<E: From<rusqlite::Error>>(journal: &mut Connection) -> Result<(), E> {
        let oldest_reader = match () {
            () if is("newer") => "4",
            () if is("apart") => "5",
            () => return Ok(()),
        };
        Ok(add(journal, oldest_reader)?)
    }

    /// Makes it one of the next schema.
    pub(crate) fn add(journal: &mut Connection, oldest_reader: &str) -> rusqlite::Result<()> {
        let change = journal.transaction()?;
        change.execute_batch(ADDITIONS)?;
        change.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('oldest_reader', ?1)",
            [oldest_reader],
        )?;
        change.commit()
    }
}

#[cfg(all(test, debug_assertions))]
pub(crate) use self::played::add;
