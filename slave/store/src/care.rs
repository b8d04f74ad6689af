//! Looking after a store: what `baton-slave store show|verify` calls. Both read only, and a
//! bot may be at work meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use baton_protocol::ShardId;
use serde::Serialize;

use crate::{Error, Kind, Options, Store, place, read::View};

/// What there is of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Which shard.
    pub shard: u32,
    /// Of the last owner.
    pub epoch: u64,
    /// The fingerprint of its session.
    pub session: Option<String>,
    /// Every event up to here is in it.
    pub sequence: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Guilds that are available, and all of them.
    pub guilds: (usize, usize),
    /// Documents of each kind.
    pub documents: BTreeMap<&'static str, u64>,
    /// Bytes of these documents, without what the engine adds.
    pub document_bytes: u64,
    /// Places for readers that are taken.
    pub readers: u32,
    /// Places of dead readers that were given back just now.
    pub stale_readers: usize,
    /// Generations that were set aside.
    pub damaged: Vec<PathBuf>,
}

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

/// Says what there is of a shard in this folder.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub fn show(dir: &Path, shard: ShardId, options: Options) -> Result<Shown, Error> {
    let store = Store::open(dir, shard, options)?;
    store.refresh()?;
    let view = store.view()?;
    let (bytes, readers) = store.usage()?;
    let mut documents: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut document_bytes = 0;
    for document in view.documents() {
        let document = document?;
        *documents.entry(document.kind().name()).or_default() += 1;
        document_bytes += document.doc().bytes().len() as u64;
    }
    let all: Vec<_> = view.guilds().collect();
    let available = all.iter().filter(|guild| guild.available).count();
    let stand = view.stand();
    Ok(Shown {
        shard: shard.get(),
        epoch: stand.epoch.get(),
        session: stand.session.map(String::from),
        sequence: stand.sequence.get(),
        bytes,
        guilds: (available, all.len()),
        documents,
        document_bytes,
        readers: readers.0,
        stale_readers: readers.1,
        damaged: place::damaged(store.path())?,
    })
}

/// Reads every document of a shard, and checks what must hold between them. The engine may
/// end the process if a page of a damaged file leads it astray: verify in a process of its
/// own.
///
/// # Errors
/// Nothing is there, or it cannot be opened.
pub fn verify(dir: &Path, shard: ShardId, options: Options) -> Result<Verified, Error> {
    let store = Store::open(dir, shard, options)?;
    store.refresh()?;
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
