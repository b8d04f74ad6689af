//! Folders and files that nobody but this user can read.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use baton_protocol::ShardId;
use rustix::fs::FlockOperation;

use super::lock::lock;
use crate::Error;

/// The folder of a shard.
pub(crate) fn shard_folder(dir: &Path, shard: ShardId) -> PathBuf {
    dir.join(format!("shard-{}", shard.get()))
}

/// The shard whose folder has this name.
pub(crate) fn shard_of_folder(name: &str) -> Option<ShardId> {
    let shard = ShardId(name.strip_prefix("shard-")?.parse().ok()?);
    (name == format!("shard-{shard}")).then_some(shard)
}

/// Makes a folder that only this user can read, or checks that one is.
///
/// # Errors
/// It is none, a symbolic link, another user's, or open to others.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io(path)(error)),
    }
    existing(path)
}

/// Makes a folder that nobody but this user can read, if it is not there, or checks that it
/// is one. A store is in a folder in such a folder, or in one of the system's.
///
/// # Errors
/// It cannot be made, or others can reach it: the error says what to do.
pub fn own_folder(path: &Path) -> Result<(), Error> {
    folder(path)
}

/// Whether no process has a shard of the store in this folder open, and none changed one for
/// so long. What cannot be seen is in use.
#[must_use]
pub fn is_unused(dir: &Path, for_so_long: Duration) -> bool {
    let shards = || -> io::Result<bool> {
        for shard in fs::read_dir(dir)? {
            let shard = shard?.path();
            let users = fs::File::open(shard.join("users"))?;
            let is_alone = lock(&users, FlockOperation::NonBlockingLockExclusive)?;
            if !is_alone || !is_old(&shard, for_so_long)? {
                return Ok(false);
            }
        }
        is_old(dir, for_so_long)
    };
    shards().unwrap_or(false)
}

/// Whether nothing in it was changed for so long.
fn is_old(path: &Path, for_so_long: Duration) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    let age = SystemTime::now().duration_since(found.modified()?);
    if age.unwrap_or_default() < for_so_long {
        return Ok(false);
    }
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            if !is_old(&entry?.path(), for_so_long)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Bytes that are free for this user where this is.
pub(crate) fn free(path: &Path) -> Result<u64, Error> {
    let found = rustix::fs::statvfs(path).map_err(|error| Error::io(path)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Makes a file with nothing in it that only this user can read. One may be there.
pub(crate) fn mark(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(|_| ()).map_err(Error::io(path))
}

/// Removes such a file. False: there was none.
pub(crate) fn unmark(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Checks a folder that has to be there.
///
/// # Errors
/// As [`folder`].
pub(super) fn existing(path: &Path) -> Result<(), Error> {
    let found = fs::symlink_metadata(path).map_err(Error::io(path))?;
    let wrong = |what, hint| {
        let path = path.to_owned();
        Err(Error::Folder { path, what, hint })
    };
    if found.is_symlink() {
        return wrong("it is a symbolic link", "name the folder itself");
    }
    if !found.is_dir() {
        return wrong("it is no folder", "name a folder that is not there yet");
    }
    owned(path, &found)
}

/// Checks a file, if it is there.
///
/// # Errors
/// It is no file, or as [`folder`].
pub(super) fn file(path: &Path) -> Result<Option<Metadata>, Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    if !found.is_file() {
        return Err(Error::Folder {
            path: path.to_owned(),
            what: "it is no file",
            hint: "remove it",
        });
    }
    owned(path, &found)?;
    Ok(Some(found))
}

fn owned(path: &Path, found: &Metadata) -> Result<(), Error> {
    let wrong = |what, hint| {
        let path = path.to_owned();
        Err(Error::Folder { path, what, hint })
    };
    if found.uid() != rustix::process::geteuid().as_raw() {
        return wrong("it is another user's", "give each user a folder of its own");
    }
    if found.mode() & 0o077 != 0 {
        return wrong(
            "other users can open it",
            "chmod go-rwx, or name a folder that is not there yet",
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::{Permissions, set_permissions, write},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_folder_is_made_for_this_user_and_one_that_others_can_reach_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        folder(&path).unwrap();

        set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        let error = folder(&path).unwrap_err().to_string();
        assert!(error.contains("other users can open it; chmod"), "{error}");

        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(
            folder(&link)
                .unwrap_err()
                .to_string()
                .contains("symbolic link")
        );

        let plain = dir.path().join("plain");
        write(&plain, "x").unwrap();
        assert!(
            folder(&plain)
                .unwrap_err()
                .to_string()
                .contains("no folder")
        );
        set_permissions(&plain, Permissions::from_mode(0o600)).unwrap();
        assert!(file(&plain).unwrap().is_some());
        assert!(file(&link).is_err() && file(&dir.path().join("none")).unwrap().is_none());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&plain, Some(65534), None).unwrap();
            let error = file(&plain).unwrap_err().to_string();
            assert!(error.contains("another user's"), "{error}");
        }
    }
}
