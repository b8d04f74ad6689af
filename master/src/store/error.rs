//! What is wrong with a store, for a person.

use std::{io, path::PathBuf};

use baton_protocol::FleetId;

/// A journal cannot be read, or not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("row {key} makes no sense: {value}")]
    Row { key: String, value: String },
    #[error("its schema is version {found}, which a master that knows version {known} may not use")]
    Newer { found: i64, known: i64 },
    #[error("its pages are damaged: {0}")]
    Damaged(String),
    #[error("it cannot be made: {0}")]
    Io(#[from] io::Error),
    #[error(
        "it is of fleet {journal:.8}, and {} is of fleet {roster:.8}; give each fleet a runtime_dir and a data_dir of its own",
        file.display()
    )]
    OtherFleet {
        journal: FleetId,
        roster: FleetId,
        file: PathBuf,
    },
    #[error("{0} does not fit into the journal")]
    TooLarge(u64),
    #[error("{0}")]
    Deposed(String),
    /// Of another host, which does not answer now.
    #[error("{0}")]
    Away(String),
    /// Of another host: what it said.
    #[error("{0}")]
    Remote(String),
    #[error("another master wrote to the store at the same moment")]
    Changed,
    #[error(
        "{what} is not as this master declares it: {differences}. Change that with `nats stream \
         edit`, or remove the stream if no master needs it; the server is version {version}, and \
         atomic batches (allow_atomic) need 2.12"
    )]
    Unlike {
        what: String,
        differences: String,
        version: String,
    },
    #[error(
        "{0} in the store was sealed with another secret: every master of a fleet has the same; \
         copy the file `secret` from the data_dir of the one that led, mode 0600"
    )]
    OtherSecret(String),
}

impl StoreError {
    /// Whether the file itself is no good for this master, so that another may take its place.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Row { .. } | Self::Damaged(_) | Self::TooLarge(_) | Self::Newer { .. } => true,
            Self::Io(_)
            | Self::OtherFleet { .. }
            | Self::Deposed(_)
            | Self::Away(_)
            | Self::Remote(_)
            | Self::Changed
            | Self::Unlike { .. }
            | Self::OtherSecret(_) => false,
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

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// Another master has taken the term.
    Deposed,
    /// It cannot be written now: a full disk, one that can only be read.
    Refused(StoreError),
}

impl<E: Into<StoreError>> From<E> for ApplyError {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Why nothing was saved, for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// This save cannot be made now (the disk is full, or can only be read). It may be
    /// tried again.
    #[error("{0}")]
    Refused(String),
    /// Another master has taken the term: no save of this one will succeed, and it must
    /// decide nothing any more.
    #[error("{0}")]
    Deposed(String),
}
