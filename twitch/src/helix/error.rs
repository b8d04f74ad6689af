//! Why Helix did not do what was asked.

use std::time::Duration;

/// See the module. No text of it has a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("{0}")]
    Address(String),
    /// The token or the application is refused.
    #[error("Twitch refuses the application's credentials ({0}): see the client id and the secret")]
    Unauthorised(String),
    /// It may not be done with this token, or not by this user.
    #[error("Twitch does not allow it: {0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("Twitch does not know it: {0}")]
    NotFound(String),
    /// It is there already.
    #[error("Twitch has it already: {0}")]
    Conflict(String),
    /// Too many requests. The points of a minute are used up, or a limit of another kind is.
    #[error("Twitch is asked too often: {reason}")]
    TooMany {
        /// What it says.
        reason: String,
        /// How long to wait.
        wait: Duration,
    },
    /// It says that the request is wrong.
    #[error("Twitch refuses the request with {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// It could not be asked, or did not answer as documented. It may have done what was asked.
    #[error("Twitch cannot be asked: {0}")]
    Unreachable(String),
}

impl Error {
    /// Whether the same request is refused again until somebody changes something.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Address(_)
            | Self::Unauthorised(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Refused { .. } => true,
            Self::TooMany { .. } | Self::Unreachable(_) => false,
        }
    }

    /// Whether it may have been done all the same.
    #[must_use]
    pub const fn may_be_done(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// How long Twitch wants to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait, .. } => Some(*wait),
            Self::Address(_)
            | Self::Unauthorised(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Refused { .. }
            | Self::Unreachable(_) => None,
        }
    }
}
