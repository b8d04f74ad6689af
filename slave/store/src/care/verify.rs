//! Whether what is there can be read and fits together.

use std::{collections::BTreeMap, path::Path};

use baton_protocol::ShardId;
use serde::Serialize;

use super::existing;
use crate::{Error, Kind, Options, read::View};

/// What was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Documents that were read whole.
    pub documents: u64,
    /// What is wrong; empty: nothing.
    pub wrong: Vec<String>,
}

/// Faults that are named; more are not looked for.
const NAMED: usize = 20;

/// Reads every document of a shard, and checks what must hold between them. The engine may
/// end the process if a page of a damaged file leads it astray: verify in a process of its
/// own.
///
/// # Errors
/// Nothing is there, or it cannot be opened.
pub fn verify(dir: &Path, shard: ShardId, options: Options) -> Result<Verified, Error> {
    let store = existing(dir, shard, options)?;
    let view = store.view()?;
    let mut verified = Verified::default();
    for document in view.documents() {
        match document {
            Ok(_) => verified.documents += 1,
            Err(error) => verified.wrong.push(error.to_string()),
        }
        if verified.wrong.len() >= NAMED {
            return Ok(verified);
        }
    }
    counts(&view, &mut verified.wrong);
    verified.wrong.truncate(NAMED);
    Ok(verified)
}

/// Members are counted, users are known in as many guilds as they are a member of, and
/// channels are found where they are.
fn counts(view: &View, wrong: &mut Vec<String>) {
    let mut guilds_of: BTreeMap<u64, u64> = BTreeMap::new();
    for guild in view.guilds() {
        let mut members = 0;
        for member in view.members(guild.id) {
            members += 1;
            *guilds_of.entry(member.id()).or_default() += 1;
        }
        if members != guild.members {
            let counted = guild.members;
            wrong.push(format!(
                "guild {}: {members} members, {counted} counted",
                guild.id
            ));
        }
        for kind in [Kind::Channel, Kind::Thread] {
            for channel in view.all(guild.id, kind) {
                if !view.is_found(channel.id(), guild.id, kind) {
                    wrong.push(format!("channel {} is not found by its id", channel.id()));
                }
            }
        }
    }
    for (user, guilds) in view.users() {
        let members = guilds_of.remove(&user).unwrap_or(0);
        if members != guilds {
            wrong.push(format!(
                "user {user}: a member of {members} guilds, {guilds} counted"
            ));
        }
    }
    if view.resources().contains(Kind::User.resource()) {
        wrong.extend(
            guilds_of
                .keys()
                .map(|user| format!("user {user} is missing")),
        );
    }
}
