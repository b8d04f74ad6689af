//! Files of the master's user alone: small ones that are whole, or as they were, and ones
//! that grow by lines.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

const OWN: u32 = 0o600;

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
        .mode(OWN)
        .open(&new)?;
    own(&file)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Opens a file, or makes one, to append whole lines. What a crash or a full disk cut off
/// becomes a line of its own, so that no later one is lost with it.
///
/// # Errors
/// The operating system refused.
pub(crate) fn append(path: &Path) -> io::Result<fs::File> {
    let mut file = fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(OWN)
        .open(path)?;
    own(&file)?;
    let mut last = [b'\n'];
    if let Some(end) = file.metadata()?.len().checked_sub(1) {
        file.read_exact_at(&mut last, end)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// One that was there before may have been made by a careless hand.
fn own(file: &fs::File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(OWN))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_its_users_alone_also_where_a_careless_hand_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let [lines, whole, left] =
            ["lines", "whole", "whole.new"].map(|name| dir.path().join(name));
        for path in [&lines, &left] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        append(&lines).unwrap();
        write(&whole, b"secret").unwrap();
        for path in [&lines, &whole] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, OWN, "{}", path.display());
        }
        assert_eq!(fs::read(&whole).unwrap(), b"secret");
    }

    #[test]
    fn a_line_that_was_cut_off_takes_no_other_one_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        fs::write(&path, "one\ntw").unwrap();
        append(&path).unwrap().write_all(b"three\n").unwrap();
        append(&path).unwrap().write_all(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\nfour\n");
    }
}
