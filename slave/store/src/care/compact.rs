//! Writing a state anew into full pages: by its owner, who is asked with a mark in the
//! shard's folder, or by whoever asks, if nobody has the state open.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use baton_protocol::ShardId;

use super::existing;
use crate::{Compacted, Error, Options, Writer, place};

/// The mark of somebody who asks.
const ASKED: &str = "compact";

/// Compacts a state that no process has open.
///
/// It is done in the name of the last owner, and needs no lock meanwhile: whoever claims the
/// shard at this moment is of a later epoch, and of the two the claimant goes on.
///
/// # Errors
/// [`Error::Open`]: a process has it open, which must do it ([`ask_to_compact`]). Else as
/// [`Writer::compact`].
pub fn compact(dir: &Path, shard: ShardId, options: Options) -> Result<Compacted, Error> {
    let path = place::shard_folder(dir, shard);
    if place::is_open_for(options.patience, &path)? {
        return Err(Error::Open { path });
    }
    let store = existing(dir, shard, options)?;
    Writer::of_last_owner(&store)?.compact()
}

/// Asks the owner of a shard to compact its state. It does so soon, if it is well:
/// [`is_compact_asked`] is false then.
///
/// # Errors
/// The folder is not there, or cannot be written.
pub fn ask_to_compact(dir: &Path, shard: ShardId) -> Result<(), Error> {
    place::mark(&asked(&place::shard_folder(dir, shard)))
}

/// Whether somebody asked, and was not answered yet.
///
/// # Errors
/// The folder cannot be read.
pub fn is_compact_asked(dir: &Path, shard: ShardId) -> Result<bool, Error> {
    is_asked(&place::shard_folder(dir, shard))
}

/// Asks no more.
///
/// # Errors
/// The mark cannot be removed.
pub fn take_back(dir: &Path, shard: ShardId) -> Result<(), Error> {
    answered(&place::shard_folder(dir, shard))
}

pub(crate) fn is_asked(shard: &Path) -> Result<bool, Error> {
    let path = asked(shard);
    match fs::symlink_metadata(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    }
}

pub(crate) fn answered(shard: &Path) -> Result<(), Error> {
    place::unmark(&asked(shard)).map(|_| ())
}

fn asked(shard: &Path) -> PathBuf {
    shard.join(ASKED)
}
