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
//! | `post` | the task of a shard: the broker's queue, the desk and the shard |
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

use std::time::Duration;

use baton_slave::ShardId;
use serde::Deserialize;

pub(crate) use self::{
    letter::{Letter, Queue, Queues, Settlement, Taken, Wishes},
    post::Posts,
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

/// A payload of the gateway.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload<'p> {
    pub(crate) op: u64,
    #[serde(borrow)]
    pub(crate) d: &'p serde_json::value::RawValue,
}

/// Which shards a command is for that names none: that of its guild, or each of them.
///
/// # Errors
/// Why that cannot be said.
pub(crate) fn shards_for(payload: &[u8], shards: u32) -> Result<Vec<ShardId>, String> {
    let all = || (0..shards).map(ShardId).collect();
    let desk::Said::Command(payload) = desk::said(payload)? else {
        return Ok(all());
    };
    let command = baton_protocol::command::Command::read(payload.op, payload.d.get(), u64::MAX);
    let command = command.map_err(|wrong| wrong.to_string())?;
    let mut shard_of = command.guilds.iter().map(|guild| shard_of(*guild, shards));
    let Some(shard) = shard_of.next() else {
        return Ok(all());
    };
    match shard_of.find(|other| *other != shard) {
        None => Ok(vec![shard]),
        Some(other) => Err(format!(
            "its guilds are of more than one shard ({shard} and {other}): send a command to each"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_finds_its_shard_by_its_guild_and_one_of_no_guild_goes_to_each() {
        let guild = |number: u64| (number << 22) + 5;
        let asks = |ids: &[u64]| format!(r#"{{"op":31,"d":{{"guild_ids":{ids:?}}}}}"#);
        let found = |payload: &str| shards_for(payload.as_bytes(), 4);
        assert_eq!(found(&asks(&[guild(6)])), Ok(vec![ShardId(2)]));
        assert_eq!(found(&asks(&[guild(6), guild(2)])), Ok(vec![ShardId(2)]));
        let split = found(&asks(&[guild(6), guild(1)])).expect_err("two shards");
        assert!(split.contains("(2 and 1)"), "{split}");
        let everywhere = Ok((0..4).map(ShardId).collect());
        assert_eq!(found(r#"{"op":3,"d":{"status":"idle"}}"#), everywhere);
        assert_eq!(found(r#"{"control":"status"}"#), everywhere);
        assert!(found("[").is_err() && found(r#"{"op":2,"d":{}}"#).is_err());
    }
}
