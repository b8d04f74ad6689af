//! What can go wrong, and what can be done about it.

use std::{io, path::PathBuf};

use baton_protocol::Epoch;

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder is not one that only this user can read and write.
    #[error("{}: {what}; {hint}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },

    /// Another process in another pid namespace (a container of its own) uses the store.
    /// The engine knows its readers by their pids and would take one for the other.
    #[error(
        "{}: a process in another pid namespace uses it; run all slaves of a fleet in one container, or copy the state", path.display()
    )]
    Namespace {
        /// The folder of the shard.
        path: PathBuf,
    },

    /// A later owner began. Nothing was changed; nothing more of this writer will be.
    #[error("epoch {own} no longer owns the shard: epoch {latest} began")]
    Fenced {
        /// The writer's.
        own: Epoch,
        /// The later one, as far as it is known.
        latest: Epoch,
    },

    /// The writer was sealed. Nothing was changed.
    #[error("the shard is sealed")]
    Sealed,

    /// The events are of another session than the state. Nothing was changed. A new
    /// session begins with its READY.
    #[error("the state is of another session, and none begins here")]
    OtherSession,

    /// There is no room for the change, and none of it was made. See
    /// [`Full`] for whose bound it is.
    #[error("no room for the change, none of it was made: {0}")]
    Full(Full),

    /// Another writer was in the middle of a change for the whole patience.
    #[error("another process is in the middle of a change, and may be stopped")]
    Busy,

    /// The state cannot be read. Claiming the shard sets it aside and begins anew.
    #[error("the store is damaged: {0}")]
    Damaged(Damage),

    /// The state is in a format, or at a level of it, that this build does not know. Claiming
    /// the shard converts it, or goes on without it.
    #[error("the store is of format {found}; this build has format {known}")]
    Format {
        /// Its format.
        found: u16,
        /// That of this build.
        known: u16,
    },

    /// What was to be taken in is no guild. Nothing was changed.
    #[error("no guild: {0}")]
    NoGuild(String),

    /// Resources that cannot be kept together.
    #[error("{0}")]
    Resources(&'static str),

    /// It is for a state that nobody has open, and a process has it.
    #[error("{}: a process has it open", path.display())]
    Open {
        /// The folder of the shard.
        path: PathBuf,
    },

    /// There is no store.
    #[error("{}: no state is here", path.display())]
    Absent {
        /// The folder of the shard.
        path: PathBuf,
    },

    /// The operating system.
    #[error("{}: {source}", path.display())]
    Io {
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The engine. It should not happen.
    #[error("the engine: {0}")]
    Engine(#[from] heed::Error),
}

/// Whose bound a change met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`Options::most`](crate::Options::most).
    #[error("the store has reached its size limit")]
    Limit,
    /// The file system has no room, or the user's quota there.
    #[error("the file system is full")]
    Disk,
    /// So many threads read this shard at once.
    #[error("too many readers")]
    Readers,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A file is missing, shorter than it says, or none of the engine's.
    #[error("its file is missing, cut short or not a store's")]
    File,
    /// The header.
    #[error("its header is missing or damaged")]
    Header,
    /// It was written during an earlier boot of the host, and not on a disk for sure.
    #[error("it was written before the host was started, and is not known to be whole")]
    Boot,
    /// A page or a key.
    #[error("a page or a key is damaged")]
    Structure,
    /// The file is of another shard.
    #[error("it is of another shard")]
    Shard,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    /// What the engine says, as the kind of thing it means here.
    pub(crate) fn engine(error: heed::Error) -> Self {
        match &error {
            #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of twenty")]
            heed::Error::Mdb(mdb) => match mdb {
                heed::MdbError::MapFull => Self::Full(Full::Limit),
                heed::MdbError::ReadersFull => Self::Full(Full::Readers),
                heed::MdbError::Corrupted | heed::MdbError::PageNotFound => {
                    Self::Damaged(Damage::Structure)
                }
                heed::MdbError::Invalid | heed::MdbError::VersionMismatch => {
                    Self::Damaged(Damage::File)
                }
                _ => Self::Engine(error),
            },
            heed::Error::Io(io) if is_full(io) => Self::Full(Full::Disk),
            heed::Error::Io(_)
            | heed::Error::Encoding(_)
            | heed::Error::Decoding(_)
            | heed::Error::EnvAlreadyOpened => Self::Engine(error),
        }
    }
}

/// Whether a file system has no room: ENOSPC, or EDQUOT of a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
