//! What the flow remembers of a migration and of the way back.

use baton_core::event::Time;
use bytes::Bytes;

/// A connection of a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(pub u64);

/// Shards on their way from the main slave to a new one.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) new: Peer,
    /// The new slave's connection ended.
    pub(super) new_missed: Option<Time>,
    pub(super) shards: u32,
    pub(super) phase: Phase,
    /// When the phase must be over.
    pub(super) deadline: Time,
    /// What was handed over, for the way back, by shard.
    pub(super) handed: Vec<Handed>,
    pub(super) kept: usize,
}

/// How far the shard in hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Both slaves get ready.
    Preparing,
    /// The old one was ordered to stop this shard.
    Stopping(u32),
    /// The new one was ordered to resume this shard.
    Resuming(u32),
    /// The old one knows that everything moved.
    Retiring,
}

/// A shard that was handed over, for the way back.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) session_id: String,
    pub(super) sequence: u64,
    pub(super) states: Vec<Bytes>,
}

/// After a rollback: the Go bot stopped its plugins at the start of the
/// migration and starts them again only when its last shard is resumed. So that
/// shard is stopped and given back, after the one that was in hand.
#[derive(Debug)]
pub(super) struct Restore {
    /// The shard that was ordered to stop; `None` while the slave has not yet said
    /// how many it has.
    pub(super) told: Option<u32>,
    /// The last shard, still to come.
    pub(super) last: Option<u32>,
    pub(super) states: Vec<Bytes>,
    pub(super) deadline: Time,
}
