//! How sessions, connections and shards are named.

use std::fmt;

use sha2::{Digest, Sha256};

/// Shard counts a client may name.
pub(crate) const MAX_SHARD_COUNT: u32 = 65_536;

/// The first 16 hexadecimal digits of the SHA-256 of a session id: names a
/// session in ledgers and logs without giving the id away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a session id.
    pub fn of(session_id: &str) -> Self {
        let digest = Sha256::digest(session_id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names one connection of this server; 1 is the first.
pub(crate) type ConnId = u64;

/// No connection.
pub(crate) const NOBODY: ConnId = 0;
