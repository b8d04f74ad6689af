//! Why there is no link to a master.

use std::{io, time::Duration};

use baton_protocol::{ConnectionError, DecodeError, Version, message::Refused};

use crate::config::Address;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot reach the master at {address}: {source}")]
    Dial { address: Address, source: io::Error },
    #[error("the master's handshake failed: {0}")]
    Connection(#[from] ConnectionError),
    #[error("the master's handshake failed: {0}")]
    Decode(#[from] DecodeError),
    #[error("the master did not answer within {0:?}")]
    Slow(Duration),
    #[error("the master closed the connection")]
    Closed,
    #[error("the master speaks version {0}, which this build does not")]
    Version(Version),
    #[error("{0}")]
    Untrusted(String),
    #[error("this is not our master: {0}")]
    OtherMaster(String),
    #[error("refused: {}", .0.detail)]
    Refused(Refused),
    #[error("the operating system has no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}
