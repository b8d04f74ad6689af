//! Commands of workers on their way to Discord: `docs/commands.md`.
//!
//! ```text
//!  worker ──▶ queue of a shard ──▶ desk of its owner ──▶ the shard's connection
//!       └──▶ queue of any shard ──▲ by its guild, or to each of them
//! ```
//!
//! | read | for |
//! |---|---|
//! | `desk` | what is written when, what is refused and why: pure, with the time as an input |
//! | `written` | what was written and may be handed out again |
//! | `post` | the task of a shard: the broker's queue, the desk and the shard |
//! | `posts` | which shards are here, and their tasks |
//! | `questions` | what is asked of the once-per-bot work, where there is one: its own queues |
//! | `said` | what a worker says, and which shards it is for |
//! | `letter` | what a broker hands out, and how it is settled there |
//! | `control` | what a worker says to publishers themselves |
//! | `along` | what the next owner has to know |
//! | `broker::*::commands` | each broker's queues |
//!
//! A command is settled at the broker when it is written or refused, and at no other time.
//! So one that was not written is handed out again, to whoever owns the shard then.

pub(crate) mod along;
pub(crate) mod control;
pub(crate) mod desk;
pub(crate) mod letter;
pub(crate) mod post;
mod posts;
mod questions;
mod said;
mod written;

use std::time::Duration;

use baton_slave::ShardId;

pub use self::{
    letter::WorkQueue,
    questions::{Question, Questions},
};
pub(crate) use self::{
    letter::{Keep, Letter, Place, Queue, Queues, Settlement, Taken, Wishes},
    posts::{Counts, Posts},
    said::shards_for,
};

/// The version of what workers send. A new field does not change it.
pub const COMMANDS_VERSION: u32 = 1;

/// How commands of workers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandsConfig {
    /// How long a command waits that says nothing else, at most 10 min: 30 s. Zero: no commands
    /// are taken.
    pub ttl: Duration,
    /// The bits of the bot's intents; `None`: they are not known, and Discord closes a shard
    /// for a command that needs others.
    pub intents: Option<u64>,
}

impl CommandsConfig {
    /// A command waits no longer, whatever it says.
    pub const LONGEST: Duration = Duration::from_secs(600);
}

impl Default for CommandsConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            intents: None,
        }
    }
}

/// Which shard has a guild.
pub(crate) fn shard_of(guild: u64, shards: u32) -> ShardId {
    let shard = (guild >> 22) % u64::from(shards.max(1));
    ShardId(u32::try_from(shard).unwrap_or(0))
}
