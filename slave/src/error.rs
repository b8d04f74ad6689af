//! Why a slave ended otherwise than by leaving.

use baton_protocol::message::RefusedReason;

/// What ended a slave. [`Error::exit_code`] is what a binary should end with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot work; the text says what to change.
    #[error("{0}")]
    Config(String),
    /// The master refused this slave, which owns nothing.
    #[error("the master refused this slave: {detail}")]
    Refused {
        /// Why, for the program.
        reason: RefusedReason,
        /// Why and what to do, for a person.
        detail: String,
    },
    /// Another deploy is under way; the same slave may be accepted later.
    #[error("the master is busy: {detail}")]
    Busy {
        /// Why, for a person.
        detail: String,
    },
    /// The operating system refused something that no slave can be without.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The operating system's word.
        source: std::io::Error,
    },
}

impl Error {
    /// 75 (`EX_TEMPFAIL`) when the same slave may be accepted later, 1 when the
    /// operating system failed, else 2: something must be changed first.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Refused { .. } => 2,
            Self::Busy { .. } => 75,
            Self::System { .. } => 1,
        }
    }
}
