//! What can stop a master or a command, and with which exit code.

use std::{fmt::Write as _, io, path::PathBuf};

/// Everything went as asked.
pub const EXIT_DONE: u8 = 0;
/// The command was understood and failed: a deploy that was refused, aborted or
/// rolled back, a master that is not there.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage or configuration, or a second master: nothing was changed.
pub const EXIT_USAGE: u8 = 2;
/// What was asked for happened, and standard output could not be written (`EX_IOERR`).
pub const EXIT_OUTPUT: u8 = 74;

/// Another master has taken over: starting this one again would end that one.
pub const EXIT_DEPOSED: u8 = 4;

/// Another master of those that share a store leads: this one is to be started again, and
/// stands by then.
pub const EXIT_NOT_LEADING: u8 = 5;

/// A deploy went through, and sessions or events of its slot were lost meanwhile.
pub const EXIT_LOSSES: u8 = 3;
/// The operator stopped watching a deploy (Ctrl-C): it goes on.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Why a command ended. Shown as one line, see [`Error::line`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration must change; the text names the key and says how.
    #[error("{0}")]
    Configuration(String),
    /// A master already runs on this directory.
    #[error(
        "another master (pid {pid}) already uses {}: stop it, or choose another runtime_dir and data_dir",
        dir.display()
    )]
    SecondMaster {
        /// Process id of the first, as it wrote it down.
        pid: String,
        /// The directory that it holds.
        dir: PathBuf,
    },
    /// The journal cannot be used as it is.
    #[error("journal {}: {reason}", path.display())]
    Journal {
        /// Its file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A store on other hosts does not answer now.
    #[error("{0}")]
    Away(String),
    /// The operating system refused something.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Its word.
        source: io::Error,
    },
    /// Another master has taken over; the text says what to do.
    #[error("{0}")]
    Deposed(String),
    /// Another master of those that share a store leads; the text says which.
    #[error("{0}")]
    NotLeading(String),
    /// What was asked did not happen; the text says why.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The exit code that this error ends the process with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::SecondMaster { .. } => EXIT_USAGE,
            Self::Deposed(_) => EXIT_DEPOSED,
            Self::NotLeading(_) => EXIT_NOT_LEADING,
            Self::Away(_) | Self::Journal { .. } | Self::System { .. } | Self::Failed(_) => {
                EXIT_FAILED
            }
        }
    }

    /// The error and its causes on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            // Writing into a String cannot fail.
            let _ = write!(line, ": {error}");
            cause = error.source();
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn system(what: impl Into<String>, source: io::Error) -> Self {
        Self::System {
            what: what.into(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_cause_are_one_line() {
        let error = Error::system("open\nthis", io::Error::other("no\tway"));
        assert_eq!(error.line(), "open this: no way");
        assert_eq!(error.exit_code(), EXIT_FAILED);
    }
}
