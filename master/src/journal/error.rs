//! What is wrong with a journal, for a person.

use std::{io, path::PathBuf};

use baton_protocol::FleetId;

/// What is wrong with a database, for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a row of table {table} makes no sense: {value}")]
    Row { table: &'static str, value: String },
    #[error("its schema is version {found}, which a master that knows version {known} may not use")]
    Newer { found: i64, known: i64 },
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
