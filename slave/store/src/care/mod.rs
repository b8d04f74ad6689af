//! Looking after a store: what `baton-slave store show|verify|compact` calls.

mod compact;
mod show;
mod verify;

use std::{fs, io, path::Path};

use baton_protocol::ShardId;

pub(crate) use self::compact::{answered, is_asked};
pub use self::{
    compact::{ask_to_compact, compact, is_compact_asked, take_back},
    show::{Room, Shown, room, show},
    verify::{Verified, verify},
};
use crate::{Error, Options, Store, place};

/// The shards that have a state in this folder, ascending.
///
/// # Errors
/// It cannot be read.
pub fn shards(dir: &Path) -> Result<Vec<ShardId>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io(dir))?;
    let mut shards = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io(dir))?.file_name();
        shards.extend(name.to_str().and_then(place::shard_of_folder));
    }
    shards.sort_unstable();
    Ok(shards)
}

/// Opens what is there, and makes nothing.
fn existing(dir: &Path, shard: ShardId, options: Options) -> Result<Store, Error> {
    let path = place::shard_folder(dir, shard);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Absent { path }),
        Err(error) => Err(Error::io(path)(error)),
        Ok(_) => {
            let store = Store::open(dir, shard, options)?;
            store.refresh()?;
            Ok(store)
        }
    }
}
