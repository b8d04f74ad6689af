//! Who has a shard open: the file `users`, which every user of it has locked, shared.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use rustix::fs::FlockOperation;

use super::{
    folder,
    lock::{lock, try_for},
};
use crate::Error;

/// A file that only this user can read.
pub(super) fn private(path: &Path) -> Result<File, Error> {
    folder::file(path)?;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options.open(path).map_err(Error::io(path))
}

/// Whether a process has a shard open. One that is about to open it tries again.
pub(crate) fn is_open(shard: &Path) -> Result<bool, Error> {
    let path = shard.join("users");
    if folder::file(&path)?.is_none() {
        return Ok(false);
    }
    let file = File::open(&path).map_err(Error::io(&path))?;
    let alone = lock(&file, FlockOperation::NonBlockingLockExclusive);
    Ok(!alone.map_err(Error::io(path))?)
}

/// The same, where it counts: a process that is started at this moment has the file for as
/// long as it takes to begin.
pub(crate) fn is_open_for(patience: Duration, shard: &Path) -> Result<bool, Error> {
    let closed = try_for(patience, || Ok((!is_open(shard)?).then_some(())));
    match closed {
        Ok(()) => Ok(false),
        Err(Error::Busy) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Says that this process uses the shard. Pids name readers to the engine, so that all
/// users have to be in one pid namespace. Who is alone there writes its own down.
pub(super) fn users(shard: &Path, patience: Duration) -> Result<File, Error> {
    let path = shard.join("users");
    let mut file = private(&path)?;
    let own = format!("{}\n", namespace().map_err(Error::io("/proc/self/ns/pid"))?);
    let io = |error| Error::io(&path)(error);
    try_for(patience, || {
        if lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io)? {
            file.set_len(0).map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.write_all(own.as_bytes()).map_err(io)?;
        }
        let shared = lock(&file, FlockOperation::NonBlockingLockShared).map_err(io)?;
        Ok(shared.then_some(()))
    })?;
    let mut theirs = String::new();
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    file.read_to_string(&mut theirs).map_err(io)?;
    if theirs != own {
        let path = shard.to_owned();
        return Err(Error::Namespace { path });
    }
    Ok(file)
}

fn namespace() -> io::Result<u64> {
    fs::metadata("/proc/self/ns/pid").map(|found| found.ino())
}
