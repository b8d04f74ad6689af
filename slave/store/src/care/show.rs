//! What there is of a shard, while a bot uses it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use baton_protocol::ShardId;
use serde::Serialize;

use super::existing;
use crate::{Error, Options, place};

/// How much room the state of a shard takes, and there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// The folder in the shard's that it is in: another one after it was moved.
    pub generation: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of it that hold something now; the others are used again.
    pub used: u64,
    /// The size limit of its last owner, in bytes.
    pub limit: u64,
    /// Bytes that are free for this user on the file system.
    pub free: u64,
    /// Places for readers that were taken so far.
    pub readers: u32,
    /// Places of dead readers that were given back just now.
    pub stale_readers: usize,
    /// States that were damaged and are set aside.
    pub set_aside: usize,
}

/// Says how much room a shard takes in this folder. It reads no documents.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub fn room(dir: &Path, shard: ShardId, options: Options) -> Result<Room, Error> {
    existing(dir, shard, options)?.room()
}

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
    /// The room that it takes.
    #[serde(flatten)]
    pub room: Room,
    /// Guilds that are available.
    pub available: usize,
    /// All guilds.
    pub guilds: usize,
    /// Documents of each kind.
    pub documents: BTreeMap<&'static str, u64>,
    /// Bytes of these documents, without what the engine adds.
    pub document_bytes: u64,
    /// Whether a process has it open, this one aside.
    pub is_open: bool,
    /// States of another format that are kept for a rollback.
    pub kept: Vec<PathBuf>,
    /// Generations that were set aside.
    pub damaged: Vec<PathBuf>,
}

/// Says what there is of a shard in this folder.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub fn show(dir: &Path, shard: ShardId, options: Options) -> Result<Shown, Error> {
    let path = place::shard_folder(dir, shard);
    // Before this process has it open too.
    let is_open = place::is_open(&path)?;
    let store = existing(dir, shard, options)?;
    let view = store.view()?;
    let room = store.room()?;
    let mut documents: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut document_bytes = 0;
    for document in view.documents() {
        let document = document?;
        *documents.entry(document.kind().name()).or_default() += 1;
        document_bytes += document.doc().bytes().len() as u64;
    }
    let all: Vec<_> = view.guilds().collect();
    let stand = view.stand();
    Ok(Shown {
        shard: shard.get(),
        epoch: stand.epoch.get(),
        session: stand.session.map(String::from),
        sequence: stand.sequence.get(),
        room,
        available: all.iter().filter(|guild| guild.available).count(),
        guilds: all.len(),
        documents,
        document_bytes,
        is_open,
        kept: place::kept(store.path())?,
        damaged: place::damaged(store.path())?,
    })
}
