//! Why a proxy does not start.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be open to other hosts without a lock.
    #[error("{0} is not a loopback address: serve it by TLS, or give clients a token of their own")]
    Exposed(SocketAddr),
    /// A client could come with nothing that is accepted.
    #[error("no token: clients need the bot's, or one of their own")]
    NoToken,
    /// A setting is out of its range.
    #[error("{setting}: {wrong}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what it may be.
        wrong: String,
    },
    /// A file is no certificate or key.
    #[error("{}: {wrong}", .file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        wrong: String,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
