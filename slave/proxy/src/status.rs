//! What a proxy says about itself.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a proxy says about itself. Counts begin when the shard came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Open connections, those that did not identify too.
    pub connections: usize,
    /// Bytes of all rings.
    pub ring_bytes: usize,
    /// Connections that were closed, by code.
    pub closed: BTreeMap<u16, u64>,
    /// Its shards, ascending.
    pub shards: Vec<ShardStatus>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: u32,
    /// Whether a client can begin.
    pub ready: bool,
    /// Those with a session, the primary first.
    pub clients: Vec<ClientStatus>,
    /// Events that are not acknowledged.
    pub open: u64,
    /// Bytes of them.
    pub open_bytes: usize,
    /// Bytes of the ring.
    pub bytes: usize,
    /// Events that came.
    pub events: u64,
    /// Sessions that clients began.
    pub sessions: u64,
    /// Of those, the ones that began while another client was connected.
    pub takeovers: u64,
    /// RESUMEs that went through.
    pub resumes: u64,
    /// RESUMEs that were refused.
    pub resumes_refused: u64,
    /// Events that RESUMEs replayed.
    pub replayed: u64,
    /// Events that no client received because they could not be kept longer.
    pub lost: u64,
    /// Events that passed by because no client came for too long.
    pub unattended: u64,
}

/// One client's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// What it says it is.
    pub library: String,
    /// The name of a mirror.
    pub mirror: Option<String>,
    /// Whether it has a connection.
    pub connected: bool,
    /// Whether it says what it has handled.
    pub says_handled: bool,
    /// Whether READY and the guilds are behind it.
    pub greeted: bool,
    /// Events that it was not sent yet.
    pub unsent: u64,
    /// Events that it was sent and did not say it has received.
    pub unacknowledged: u64,
}
