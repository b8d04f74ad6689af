//! Bodies of ids 1 to 10: the fields of the Go wire under their Go names.
//!
//! What we add to a body sits under the one key `Baton`, which a Go decoder
//! ignores and a Go encoder never writes. Without it a body is, byte for byte,
//! the Go wire's.
//!
//! The Go decoder takes nil for a zero number or an empty string, refuses it for
//! a truth value, fills a missing key with zero and ignores an unknown key; so do
//! these types.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Hello, MigrationExtra, ResumeExtra, StartExtra, StopExtra};

/// Id 8, slave → master: the first frame of every connection.
///
/// Legacy: `running` false asks for work, true says "I am the running slave and
/// lost my connection" and gets no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlaveHello {
    /// Whether this slave already serves shards.
    #[serde(rename = "Running")]
    pub running: bool,
    /// Present: the versioned hello. Absent: a Go slave.
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub hello: Option<Box<Hello>>,
}

/// Id 2, master → slave: start cold. Legacy: without a body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FullStart {
    /// Which shards to start, each at which epoch. Absent: all of them.
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub start: Option<StartExtra>,
}

/// Id 3, both ways: a migration begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardMigrationStart {
    /// Whether shards leave the slave that this frame is sent to, or comes from.
    #[serde(rename = "FromThisSlave")]
    pub from_this_slave: bool,
    /// How many shards; `0` in the master's question to the old slave.
    #[serde(rename = "NumShards", deserialize_with = "nil_is_default")]
    pub num_shards: u32,
    /// Which deploy this is.
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub extra: Option<MigrationExtra>,
}

/// Id 4, both ways: master → slave seals a shard; slave → master answers with
/// its ticket.
///
/// Legacy traps: `Shard == NumShards` means "all moved, shut down" and gets no
/// answer; the master's question may carry the session of the shard before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopShard {
    /// The shard.
    #[serde(rename = "Shard", deserialize_with = "nil_is_default")]
    pub shard: u32,
    /// Discord's session id; meaningless in the master's question.
    #[serde(rename = "SessionID", deserialize_with = "nil_is_default")]
    pub session_id: String,
    /// The sequence to resume from; meaningless in the master's question.
    #[serde(rename = "Sequence", deserialize_with = "nil_is_default")]
    pub sequence: u64,
    /// Epoch and ticket.
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<StopExtra>>,
}

/// Id 5, both ways: master → slave gives a shard; slave → master says that
/// Discord answered RESUMED.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resume {
    /// The shard.
    #[serde(rename = "Shard", deserialize_with = "nil_is_default")]
    pub shard: u32,
    /// Discord's session id.
    #[serde(rename = "SessionID", deserialize_with = "nil_is_default")]
    pub session_id: String,
    /// The sequence to resume from.
    #[serde(rename = "Sequence", deserialize_with = "nil_is_default")]
    pub sequence: u64,
    /// Epoch and ticket.
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<ResumeExtra>>,
}

/// Takes nil as the default, as Go does.
fn nil_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
