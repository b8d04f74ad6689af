//! Whether the other side is alive, and how its handlers do.

use serde::{Deserialize, Serialize};

use super::{Clients, SinkReport};
use crate::id::{Epoch, Sequence, ShardId};

/// Id 16, master → slave: the link and both ends are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ping {
    /// Comes back unchanged.
    pub number: u64,
    /// The number of the last pong that the master heard, if the slave keeps a lease
    /// ([`crate::lease`]); zero: none, and then not sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub heard: u64,
}

/// Id 17, slave → master: answers a [`Ping`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pong {
    /// The ping's.
    pub number: u64,
    /// The lease that the slave keeps, in milliseconds ([`crate::lease`]); zero: none, and
    /// what a slave says that knows of none.
    #[serde(skip_serializing_if = "is_zero")]
    pub lease_ms: u64,
    /// Events that the slave's handlers finished since its start, failed ones
    /// included; zero before version 2.
    pub finished: u64,
    /// Events of these whose handler panicked, or gave them back too often.
    pub failed: u64,
    /// Milliseconds since its start in which a shard took nothing from Discord: its
    /// in-flight window was full, or something else had no room. Added up over all
    /// shards; zero before version 4. It grows as fast as time, or faster, where a slave
    /// cannot keep up.
    pub full_ms: u64,
    /// Of these: because the bot had no room, a proxy whose clients acknowledge too little
    /// for example. Zero where the slave does not tell the reasons apart.
    #[serde(skip_serializing_if = "is_zero")]
    pub full_bot_ms: u64,
    /// Of these: because the store had no room for what the next event changes. Zero where
    /// the slave does not tell the reasons apart.
    #[serde(skip_serializing_if = "is_zero")]
    pub full_store_ms: u64,
    /// For how long the oldest event that is not finished has been at the slave, over
    /// all shards that it serves, in milliseconds; zero before version 5.
    pub lag_ms: u64,
    /// For how long nothing came from Discord on the connection on which nothing came
    /// for the longest time, of those that are open and read, in milliseconds; zero
    /// before version 5.
    pub silent_ms: u64,
    /// The shard of that connection.
    pub silent_shard: ShardId,
    /// How long Discord took to answer the last heartbeat of the shard where it took
    /// longest, in milliseconds; zero before version 5, and before the first answer.
    pub heartbeat_ms: u64,
    /// That shard.
    pub heartbeat_shard: ShardId,
    /// Events that the slave handed to its bot since its start, each counted once;
    /// zero where it does not say so. What is not finished of them runs.
    pub handed: u64,
    /// The oldest unfinished events of shards where one is worth a look, the one with
    /// most events behind it first; at most [`Pong::MAX_UNFINISHED`]. None before
    /// version 6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Unfinished>,
    /// How much room the states that stay where they are take, and have; absent where
    /// there is no store, and where the slave does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Box<StoreRoom>>,
    /// How its local clients do; absent where it serves none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Box<Clients>>,
    /// How its sink does; absent where it publishes to no broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Box<SinkReport>>,
    /// How much memory its process has; absent where the slave does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Pong {
    /// More shards are not named in one pong.
    pub const MAX_UNFINISHED: usize = 16;
}

/// The memory of a slave's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUse {
    /// Bytes that are resident, as the kernel counts them.
    pub resident: u64,
    /// Bytes that may be; zero: no limit was set.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
    /// Whether it was above the limit for several looks in a row: the slave asks to be replaced.
    /// A master that does not know this leaves it as it is.
    #[serde(skip_serializing_if = "is_false")]
    pub is_above: bool,
}

/// The store of a slave: the states that stay where they are, of all shards that it has
/// open. Two slaves of one slot have the same states open during a deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreRoom {
    /// Its folder, on the slave's host.
    pub dir: String,
    /// Shards whose state was looked at.
    pub shards: u32,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of these that hold something now.
    pub used: u64,
    /// The size limit of one shard, in bytes.
    pub limit: u64,
    /// The shard whose state holds the most.
    pub fullest: ShardId,
    /// Bytes of its file.
    pub fullest_bytes: u64,
    /// Bytes of it that hold something now.
    pub fullest_used: u64,
    /// Bytes that are free for the slave's user on the file system.
    pub free: u64,
    /// Bytes of the file system.
    pub whole: u64,
    /// Places for readers that are taken, in the shard where they are most.
    pub readers: u32,
    /// Places of dead readers that this slave has given back since its start.
    pub stale_readers: u64,
    /// States that were damaged and are set aside.
    pub set_aside: u32,
    /// How long ago this was looked at, in milliseconds.
    pub age_ms: u64,
    /// Shards that take nothing now, because their state cannot be changed.
    pub held_up: u32,
    /// For how long the one that waits the longest has, in milliseconds.
    pub held_up_ms: u64,
    /// That shard.
    pub held_up_shard: ShardId,
    /// Why its state cannot be changed, where it is and what to do, for a person.
    pub held_up_by: String,
}

/// The oldest event of one shard that is not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unfinished {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// The event's sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it; empty: not known.
    pub kind: String,
    /// Its guild; zero: none, or not known.
    pub guild: u64,
    /// For how long it has been with its handler, in milliseconds.
    pub age_ms: u64,
    /// Events that were received after it.
    pub behind: u64,
}
