//! Versions of the journal's schema, and which masters may use which.
//!
//! A change adds, and nothing else: a table, a key of `meta`, a column with a
//! default. What an older master leaves out must do no harm: it names the columns
//! that it writes, and a row that it replaces has the defaults of the others. Such
//! a journal says in `oldest_reader` which schema a master has to know at least,
//! so that an operator can go back to yesterday's master. Only a change that
//! cannot be made like this raises [`OLDEST_READER`].

use rusqlite::{Connection, OptionalExtension};
use tracing::warn;

use super::{error::StoreError, rows::set_meta};
use crate::other_build;

/// Written as `user_version`; raised with each change of the schema.
pub(super) const SCHEMA: i64 = 3;

/// A master of this schema, and of each later one, can read and write a journal
/// of [`SCHEMA`]. One of the first would leave the `basis` of an earlier epoch.
const OLDEST_READER: i64 = 2;

/// Brings a journal of the first schema to the second.
const SECOND: &str = "ALTER TABLE shards ADD COLUMN basis TEXT NOT NULL DEFAULT 'death'";

/// Brings one of the second to the third.
const THIRD: &str = include_str!("schema_3.sql");

/// Makes the tables of a new journal, and those that an older one lacks. A newer
/// one is left as it is.
///
/// # Errors
/// [`StoreError::Newer`]: a newer one, and this master may not use it.
pub(super) fn bring(connection: &mut Connection) -> Result<(), StoreError> {
    let found = found(connection)?;
    let missing: &[&str] = match found {
        0 => &[include_str!("schema.sql"), THIRD],
        1 => &[SECOND, THIRD],
        2 => &[THIRD],
        SCHEMA => &[],
        found => {
            let oldest_reader = oldest_reader(connection)?;
            if found < SCHEMA || oldest_reader.is_none_or(|oldest| oldest > SCHEMA) {
                return Err(StoreError::Newer {
                    found,
                    known: SCHEMA,
                });
            }
            warn!(
                schema = found,
                known = SCHEMA,
                "the journal is of a newer master; this one may use it"
            );
            return Ok(());
        }
    };
    if missing.is_empty() && oldest_reader(connection)? == Some(OLDEST_READER) {
        return other_build::bring(connection);
    }
    let change = connection.transaction()?;
    for statements in missing {
        change.execute_batch(statements)?;
    }
    set_meta(&change, "oldest_reader", &OLDEST_READER.to_string())?;
    change.pragma_update(None, "user_version", SCHEMA)?;
    change.commit()?;
    other_build::bring(connection)
}

/// Whether a master of this build could use a journal as it is; else what it would
/// do to it, or about it.
///
/// # Errors
/// [`StoreError::Newer`]: it may not use it.
pub(super) fn usable(connection: &Connection) -> Result<Option<String>, StoreError> {
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
        found => Err(StoreError::Newer {
            found,
            known: SCHEMA,
        }),
    }
}

/// Its version; 0: it has no tables.
pub(super) fn found(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// `None`: it does not say.
pub(super) fn oldest_reader(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let query = "SELECT value FROM meta WHERE key = 'oldest_reader'";
    let text: Option<String> = connection
        .query_row(query, [], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}
