//! What a worker says, and which shards it is for.

use baton_protocol::command::{Command, LONGEST};
use baton_slave::ShardId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    control::{self, Control},
    shard_of,
};

/// What a worker says.
#[derive(Debug)]
pub(crate) enum Said<'p> {
    Command(Payload<'p>),
    Control(Control),
}

/// Reads what a broker handed out.
pub(crate) fn said(bytes: &[u8]) -> Result<Said<'_>, String> {
    #[derive(Deserialize)]
    struct ToUs {
        #[serde(rename = "control")]
        _control: IgnoredAny,
    }
    let has = bytes.len();
    let most = |most: usize, whose: &str| {
        let is_more = has > most;
        is_more.then(|| format!("it has {has} bytes, and {whose} at most {most}"))
    };
    if let Some(error) = most(control::LONGEST, "a control message has") {
        return Err(error);
    }
    if serde_json::from_slice::<ToUs>(bytes).is_ok() {
        return Control::read(bytes).map(Said::Control);
    }
    if let Some(error) = most(LONGEST, "Discord takes") {
        return Err(error);
    }
    let payload = serde_json::from_slice(bytes).map_err(|error| {
        let why = error.to_string();
        format!("it is no payload of the gateway, as in {{\"op\":8,\"d\":{{...}}}}: {why}")
    });
    payload.map(Said::Command)
}

/// A payload of the gateway.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload<'p> {
    pub(crate) op: u64,
    #[serde(borrow)]
    pub(crate) d: &'p RawValue,
}

/// Which shards a command is for that names none: that of its guild, or each of them.
///
/// # Errors
/// Why that cannot be said.
pub(crate) fn shards_for(payload: &[u8], shards: u32) -> Result<Vec<ShardId>, String> {
    let all = || (0..shards).map(ShardId).collect();
    let Said::Command(payload) = said(payload)? else {
        return Ok(all());
    };
    let command = Command::read(payload.op, payload.d.get(), u64::MAX);
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
