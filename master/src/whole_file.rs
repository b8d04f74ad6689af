//! A small file that is whole, or as it was.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes a file for this user alone, in place of a former one. It appears under its
/// name only when it is whole and on the disk. Beside it, `.new` in place of its
/// extension, may be left what a crash interrupted.
///
/// # Errors
/// The directory cannot be written to.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
