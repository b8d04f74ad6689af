//! What is said of shards that are served, or are to be.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, Sequence, ShardId},
    ranges::SequenceRanges,
    ticket::Ticket,
};

/// A shard at an epoch; the whole body of several messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
}

/// Id 2, master → slave: start these shards cold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FullStart {
    /// The shards to IDENTIFY, each when its permit comes.
    pub shards: Vec<Unit>,
    /// Shards of the whole bot.
    pub shard_count: u32,
}

/// Id 20, slave → master: this shard needs a new session; may it IDENTIFY?
/// Asked again on every new connection until [`ToSlave::IdentifyPermit`] comes.
///
/// [`ToSlave::IdentifyPermit`]: super::ToSlave::IdentifyPermit
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentifyRequest {
    /// The shard.
    pub shard: ShardId,
    /// The asker's epoch.
    pub epoch: Epoch,
    /// Why it needs one.
    pub cause: IdentifyCause,
}

/// Why a shard needs a new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyCause {
    /// It never had one.
    #[default]
    Cold,
    /// Discord ended it: op 9 `d:false`, close 4007 or 4009, or a READY where
    /// RESUMED was due.
    SessionLost,
    /// The bot chose a new session because its state was lost.
    StateLost,
}

/// Id 22, slave → master: a shard got further. Sent at each step and, while a
/// replay runs, at most every 250 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Where it is.
    pub step: Step,
    /// Dispatches received since the RESUME.
    pub replayed: u64,
    /// Why the last dial brought no connection, for a person: the host answered something
    /// else, and may have asked to be left alone for a time. Empty: nothing of that kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refused: String,
}

/// Where a shard is between "told to" and "serves".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// TCP, TLS, websocket.
    #[default]
    Dialling,
    /// HELLO came.
    Hello,
    /// RESUME is sent, the replay runs.
    Replaying,
    /// Waits for its permit to IDENTIFY.
    Waiting,
    /// READY or RESUMED came: it serves.
    Serving,
    /// The connection was lost; its owner resumes it.
    Reconnecting,
    /// Discord ended the session: a span of events is lost.
    SessionLost,
}

/// The state of one shard in a [`Checkpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointEntry {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// See [`Ticket::handled`].
    pub handled: Sequence,
    /// See [`Ticket::finished_above`].
    pub finished_above: SequenceRanges,
    /// The highest sequence that was received; zero: not above what is finished, and
    /// always so before version 6.
    #[serde(skip_serializing_if = "is_zero")]
    pub received: Sequence,
    /// The whole ticket, when the session is new or was never sent on this
    /// connection. Its `handled` and `finished_above` are the ones above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Ticket>,
}

/// Id 23, slave → master: shards that got further since the last checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Only shards that changed.
    pub shards: Vec<CheckpointEntry>,
}

fn is_zero(sequence: &Sequence) -> bool {
    sequence.get() == 0
}

/// Id 30, slave → master: this shard cannot be served here. The slave keeps what
/// it knows and does nothing more with the shard until told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Close code, where one says why (4004, 4010 to 4014); else `0`.
    pub close_code: u16,
    /// Why, for a person.
    pub detail: String,
}
