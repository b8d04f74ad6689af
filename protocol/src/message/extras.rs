//! What our versions add to the bodies of the Go wire: the `Baton` key of ids 1 to 10. Fields
//! travel by name and have defaults, so that either side may be newer.

use serde::{Deserialize, Serialize};

use super::Unit;
use crate::{
    id::{DeployId, Epoch, Sequence},
    ranges::SequenceRanges,
    ticket::Ticket,
};

/// Addition to [`FullStart`](super::FullStart).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartExtra {
    /// The shards to IDENTIFY, each when its permit comes.
    pub shards: Vec<Unit>,
    /// Shards of the whole bot.
    pub shard_count: u32,
}

/// Addition to [`ShardMigrationStart`](super::ShardMigrationStart).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrationExtra {
    /// Which deploy this is.
    pub deploy: DeployId,
}

/// Addition to [`StopShard`](super::StopShard).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopExtra {
    /// The epoch at which the addressed slave owns the shard. A slave that owns
    /// it at another epoch does nothing.
    pub epoch: Epoch,
    /// Question: how long what is in doubt may still run, in milliseconds.
    pub drain_ms: u64,
    /// Question, from version 6 on: behind this sequence the next owner's RESUME begins.
    /// An owner whose heartbeats have named more may answer
    /// [`CopyAnew`](super::ToMaster::CopyAnew). Absent: it seals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sequence>,
    /// Answer: the ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// Addition to [`Resume`](super::Resume).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResumeExtra {
    /// The epoch at which the addressed slave owns the shard from now on.
    pub epoch: Epoch,
    /// How the shard came free.
    pub after: ResumeAfter,
    /// Order: the slave's state of the shard is more events behind than
    /// Discord replays, and is not used. A session outlives that, and its events do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state_too_old: bool,
    /// Order: processes died again and again with events of this shard in hand. What is
    /// replayed before RESUMED is handed out one at a time, each after [`Trying`](super::Trying) was
    /// answered. Only from version 6 on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Order: these killed the process that had them, alone: what becomes of them the bot's
    /// configuration says. Only from version 6 on.
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub deadly: SequenceRanges,
    /// Order: these killed once more when the bot still wanted them: they are
    /// not handed out. All of them are `deadly` too. Only from version 6 on.
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub skipped: SequenceRanges,
    /// Order: the ticket. Answer: absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// How a shard came free, which decides what must be marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeAfter {
    /// The owner sealed it: the ticket is exact, what is in doubt waits for
    /// [`Settled`](super::Settled), nothing else is marked.
    #[default]
    Seal,
    /// The owner died: the ticket is its last checkpoint. What is replayed
    /// before RESUMED and not known finished is marked.
    Death,
}
