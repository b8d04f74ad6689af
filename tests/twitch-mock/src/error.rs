//! What can go wrong when a simulated Twitch is started or told something.

use std::io;

/// Why a simulated Twitch did not start, or refused a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or a request that cannot be carried out; the text says what to
    /// change.
    #[error("{0}")]
    Invalid(String),
    /// An address could not be bound.
    #[error("cannot listen on {address}: {source}; choose another port, 0 takes any free one")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Shorthand for [`Error::Invalid`].
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
