//! Which stores and shards a folder has.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use baton_protocol::ShardId;

/// Each store at or in this folder, with its shards, or with the one that is asked for.
///
/// # Errors
/// A folder cannot be read.
pub(super) fn stores(
    dir: &Path,
    only: Option<ShardId>,
) -> Result<Vec<(PathBuf, Vec<ShardId>)>, String> {
    let own = shards(dir, only)?;
    if !own.is_empty() {
        return Ok(vec![(dir.to_owned(), own)]);
    }
    let mut stores = Vec::new();
    for entry in entries(dir)? {
        if entry.is_dir() {
            let shards = shards(&entry, only)?;
            if !shards.is_empty() {
                stores.push((entry, shards));
            }
        }
    }
    stores.sort();
    Ok(stores)
}

fn shards(dir: &Path, only: Option<ShardId>) -> Result<Vec<ShardId>, String> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut shards = baton_store::shards(dir).map_err(|error| error.to_string())?;
    shards.retain(|shard| only.is_none_or(|only| only == *shard));
    Ok(shards)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: io::Error| format!("{}: {error}", dir.display());
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(wrong))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error)),
    }
}
