//! What can go wrong with a fleet under test.

use std::{io, path::PathBuf};

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the fleet is nowhere.
    #[error(
        "{}: not there, and not in PATH; install Baton, name its folder in BATON_BIN_DIR, or, in \
         Baton's own workspace, run `cargo build --workspace --bins` with the same profile",
        .0.display()
    )]
    NotBuilt(PathBuf),
    /// The operating system's word.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A process ended, or did not say what it should.
    #[error("{name}: {detail}")]
    Process {
        /// Which.
        name: String,
        /// What happened, with the last lines that it wrote.
        detail: String,
    },
    /// A control port did not answer as it should.
    #[error("{what}: {detail}")]
    Answer {
        /// The request.
        what: String,
        /// What came.
        detail: String,
    },
    /// The host lets a process have too few open files.
    #[error(
        "{shards} shards need {needed} open files a process, and the limit is {most}: raise it with `ulimit -Hn {needed}`"
    )]
    Files {
        /// Shards of the fleet.
        shards: u32,
        /// What they need.
        needed: u64,
        /// What is allowed.
        most: u64,
    },
    /// The simulated Discord does not start, or refuses an order.
    #[error("the simulated Discord: {0}")]
    Discord(#[from] baton_discord::Error),
    /// Events were lost, or cannot be accounted for: one line for each shard.
    #[error("{0}")]
    Lost(String),
    /// Something did not happen in time.
    #[error("{0}")]
    Late(String),
}

impl Error {
    /// The error and what caused it, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// What was tried, for what the operating system says.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A control port answered this with that.
    #[must_use]
    pub fn answer(what: &str, detail: impl std::fmt::Display) -> Self {
        Self::Answer {
            what: what.to_owned(),
            detail: detail.to_string(),
        }
    }

    /// A control port did not answer.
    #[must_use]
    pub fn silent(what: &str) -> Self {
        Self::answer(what, "no answer in 30 s")
    }
}
