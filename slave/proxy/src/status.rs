//! What a proxy says about itself.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::config::{Limits, Timings};

/// What a proxy says about itself. Counts begin when the shard came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Open connections, those that did not identify too.
    pub connections: usize,
    /// How much is kept for clients, and for how long.
    pub kept: Kept,
    /// Bytes of events that are not acknowledged, of all shards.
    pub open_bytes: usize,
    /// Bytes of all rings: of those, and of history.
    pub ring_bytes: usize,
    /// Connections that were closed, by code.
    pub closed: BTreeMap<u16, u64>,
    /// Its shards, ascending.
    pub shards: Vec<ShardStatus>,
}

/// How much is kept for clients, and for how long. What is beyond it is given up, which is
/// logged and counted: see [`ShardStatus::lost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Bytes of events of one shard that are not acknowledged.
    pub ring_bytes: usize,
    /// The same, of all shards. Half of it is divided equally among the bot's shards.
    pub rings_bytes: usize,
    /// Bytes of acknowledged events of one shard. There are fewer where the others need room.
    pub history_bytes: usize,
    /// For how long without room nothing is given up, in milliseconds.
    pub full_ms: u64,
    /// For how long without a client, in milliseconds.
    pub away_ms: u64,
}

/// What was given up: events that no client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// Why.
    pub reason: Reason,
    /// How many events.
    pub events: u64,
    /// Bytes of them.
    pub bytes: usize,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
}

/// Why events are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was no room for what follows them, and no client acknowledged any.
    Full,
    /// No client came for them.
    Away,
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
    /// Bytes of the ring: of those, and of history.
    pub bytes: usize,
    /// How long ago the oldest event came that is not acknowledged, in milliseconds; none:
    /// all are.
    pub oldest_ms: Option<u64>,
    /// For how long there has been no room and nothing was acknowledged, in milliseconds:
    /// nothing is taken from Discord meanwhile. None: there is room.
    pub full_ms: Option<u64>,
    /// For how long no client has been here, in milliseconds, where one is expected.
    pub away_ms: Option<u64>,
    /// No client came for too long: events pass by until one does.
    pub passes_by: bool,
    /// In how many milliseconds what is not acknowledged is given up, unless a client comes or
    /// acknowledges; none: it is not.
    pub gives_up_ms: Option<u64>,
    /// What was given up last.
    pub given_up: Option<GivenUp>,
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

impl Kept {
    pub(crate) fn of(limits: &Limits, timings: &Timings) -> Self {
        Self {
            ring_bytes: limits.ring,
            rings_bytes: limits.rings,
            history_bytes: limits.history,
            full_ms: millis(timings.hold),
            away_ms: millis(timings.keep),
        }
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
