//! What stands beside a payload: `docs/envelope.md`, the same for each broker.

use std::time::{SystemTime, UNIX_EPOCH};

use baton_slave::ShardId;

use crate::dispatch::Dispatch;

/// The version of the envelope. A new field does not change it.
pub const VERSION: u32 = 1;

/// Guilds are divided into so many parts, each of which a worker may have for itself.
pub const PARTITIONS: u32 = 16;

/// Which part of the events this is: the CRC-32 of the guild's id in decimal, or, without a
/// guild, the shard, modulo [`PARTITIONS`].
#[must_use]
pub fn partition(guild: Option<u64>, shard: ShardId) -> u32 {
    let number = match guild {
        Some(guild) => crc32fast::hash(guild.to_string().as_bytes()),
        None => shard.get(),
    };
    number % PARTITIONS
}

/// Milliseconds of Unix time.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// What names a dispatch for ever: `fingerprint:sequence`. A retry has the same, and so has
/// the same event from another process.
pub(crate) fn id(event: &Dispatch) -> String {
    if mutant!("id-without-session") {
        return event.sequence.to_string();
    }
    // A fingerprint has 16 digits.
    let session: String = event.session.chars().take(32).collect();
    format!("{session}:{}", event.sequence)
}

/// Its type as a part of a subject or a key, where a dot would begin another part.
pub(crate) fn word(event: &Dispatch) -> &str {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let kind = &event.kind;
    let is_word = (1..=64).contains(&kind.len()) && kind.chars().all(known);
    if is_word { kind } else { "UNKNOWN" }
}

/// Every field, by its name in headers.
pub(crate) fn fields(event: &Dispatch, stamp: &Stamp<'_>) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("baton-envelope", VERSION.to_string()),
        ("baton-gateway", stamp.gateway.to_owned()),
        ("baton-shard", event.shard.to_string()),
        ("baton-shards", event.shards.to_string()),
        ("baton-epoch", event.epoch.to_string()),
        ("baton-session", event.session.clone()),
        ("baton-sequence", event.sequence.to_string()),
        ("baton-type", event.kind.clone()),
        ("baton-created", stamp.created.to_string()),
    ];
    if let Some(guild) = event.guild {
        fields.push(("baton-guild", guild.to_string()));
    }
    if let Some(commands) = &stamp.commands {
        fields.push(("baton-commands", commands.clone()));
    }
    if event.may_repeat || stamp.may_repeat {
        fields.push(("baton-mark", "may-repeat".to_owned()));
    }
    fields
}

/// What does not come with the event.
pub(crate) struct Stamp<'a> {
    pub(crate) gateway: &'a str,
    /// Milliseconds of Unix time.
    pub(crate) created: u64,
    /// An earlier try may have been taken, and the broker cannot know a repeat any more.
    pub(crate) may_repeat: bool,
    /// Where commands for the shard go; `None`: none are taken.
    pub(crate) commands: Option<String>,
}

#[cfg(test)]
mod tests {
    use baton_slave::{Epoch, Sequence};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_partition_can_be_computed_in_any_language() {
        // Python: zlib.crc32(b"41771983423143937") % 16
        assert_eq!(partition(Some(41_771_983_423_143_937), ShardId(3)), 5);
        assert_eq!(partition(None, ShardId(35)), 3);
    }

    #[test]
    fn a_mark_and_a_guild_stand_there_only_where_there_is_one() {
        let mut event = Dispatch {
            shard: ShardId(3),
            shards: 4,
            epoch: Epoch(7),
            session: "0011223344556677".to_owned(),
            sequence: Sequence(41),
            kind: "MESSAGE_CREATE".to_owned(),
            may_repeat: false,
            guild: None,
            payload: Bytes::new(),
        };
        let said = |event: &Dispatch, may_repeat| {
            let stamp = Stamp {
                gateway: "one",
                created: 5,
                may_repeat,
                commands: None,
            };
            fields(event, &stamp)
        };
        let plain = said(&event, false);
        assert_eq!(plain.len(), 9);
        assert!(plain.contains(&("baton-epoch", "7".to_owned())));
        assert_eq!(id(&event), "0011223344556677:41");
        let mark = ("baton-mark", "may-repeat".to_owned());
        assert!(said(&event, true).contains(&mark));
        event.may_repeat = true;
        event.guild = Some(9);
        let whole = said(&event, false);
        assert!(whole.contains(&mark) && whole.contains(&("baton-guild", "9".to_owned())));
    }
}
