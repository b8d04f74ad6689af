//! Versions of the file's schema, and which masters may use which.
//!
//! A change adds, and nothing else: a kind of key, a field of a value, a table. What an
//! older master leaves out must do no harm: it leaves alone what it does not know, and a
//! value that it replaces has the defaults of the fields that it does not name. Such
//! a journal says in `oldest_reader` which schema a master has to know at least,
//! so that an operator can go back to yesterday's master. Only a change that
//! cannot be made like this raises [`OLDEST_READER`]: the fourth schema did, and a
//! master of before sets such a journal aside and asks the slaves.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use tracing::warn;

use super::tables::{SECOND, THIRD, to_entries};
use crate::{store::StoreError, test_hooks::other_build};

/// Written as `user_version`; raised with each change of the schema.
pub(crate) const SCHEMA: i64 = 4;

/// A master of this schema, and of each later one, can read and write a journal
/// of [`SCHEMA`]. One of before looks for tables that are not there.
const OLDEST_READER: i64 = 4;

/// Makes the tables of a new journal, and brings an older one to the present schema. A
/// newer one is left as it is.
///
/// # Errors
/// [`StoreError::Newer`]: a newer one, and this master may not use it.
pub(super) fn bring(connection: &mut Connection) -> Result<(), StoreError> {
    let found = found(connection)?;
    let before: &[&str] = match found {
        0 | 3 | SCHEMA => &[],
        1 => &[SECOND, THIRD],
        2 => &[THIRD],
        found => {
            let oldest_reader = oldest_reader(connection)?;
            if found < SCHEMA || oldest_reader.is_none_or(|oldest| oldest > SCHEMA) {
                return Err(newer(found));
            }
            warn!(
                schema = found,
                known = SCHEMA,
                "the journal is of a newer master; this one may use it"
            );
            return Ok(());
        }
    };
    if found == SCHEMA && oldest_reader(connection)? == Some(OLDEST_READER) {
        return other_build::bring(connection);
    }
    let change = connection.transaction()?;
    for statements in before {
        change.execute_batch(statements)?;
    }
    match found {
        0 => change.execute_batch(include_str!("schema.sql"))?,
        1..SCHEMA => to_entries(&change)?,
        _ => {}
    }
    change.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('oldest_reader', ?1)",
        [OLDEST_READER.to_string()],
    )?;
    change.pragma_update(None, "user_version", SCHEMA)?;
    change.commit()?;
    other_build::bring(connection)
}

/// A copy in memory of an older file, in the present schema.
///
/// # Errors
/// It cannot be read.
pub(super) fn lifted(path: &Path) -> Result<Connection, StoreError> {
    let mut copy = Connection::open_in_memory()?;
    let path = path.to_string_lossy();
    copy.execute("ATTACH ?1 AS older", [&*path])?;
    let version: i64 = copy.query_row("PRAGMA older.user_version", [], |row| row.get(0))?;
    let tables: Vec<String> = copy
        .prepare("SELECT name FROM older.sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for table in tables {
        copy.execute_batch(&format!(
            "CREATE TABLE main.\"{table}\" AS SELECT * FROM older.\"{table}\""
        ))?;
    }
    copy.execute_batch("DETACH older")?;
    copy.pragma_update(None, "user_version", version)?;
    bring(&mut copy)?;
    Ok(copy)
}

const fn newer(found: i64) -> StoreError {
    StoreError::Newer {
        found,
        known: SCHEMA,
    }
}

/// Whether a master of this build could use a journal as it is; else what it would
/// do to it, or about it.
///
/// # Errors
/// [`StoreError::Newer`]: it may not use it.
pub(crate) fn usable(connection: &Connection) -> Result<Option<String>, StoreError> {
    let found = found(connection)?;
    match found {
        SCHEMA => Ok(None),
        found if (1..SCHEMA).contains(&found) => Ok(Some(format!(
            "its schema is version {found}; the next master brings it to {SCHEMA}"
        ))),
        found
            if found > SCHEMA
                && oldest_reader(connection)?.is_some_and(|oldest| oldest <= SCHEMA) =>
        {
            Ok(Some(format!(
                "it is of a newer master (schema {found}); this one, which knows {SCHEMA}, may use it"
            )))
        }
        found => Err(newer(found)),
    }
}

/// Its version; 0: it has no tables.
pub(crate) fn found(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// `None`: it does not say.
pub(crate) fn oldest_reader(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let query = "SELECT value FROM meta WHERE key = 'oldest_reader'";
    let text: Option<String> = connection
        .query_row(query, [], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}
