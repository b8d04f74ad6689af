//! A folder for the stores of one run: in memory, as a bot's is.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// Where a bot's store is as a rule.
const MEMORY: &str = "/dev/shm";

/// It is removed with this.
#[derive(Debug)]
pub struct Place(TempDir);

impl Place {
    /// A new one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Self> {
        let memory = Path::new(MEMORY);
        let within = match memory.is_dir() {
            true => memory.to_owned(),
            false => std::env::temp_dir(),
        };
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("baton-bench-").tempdir_in(within);
        folder.map(Self).map_err(Error::io("make a folder"))
    }

    /// Where more may be put.
    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    /// The folder of a store, which a slave makes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Bytes that its files take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes(self.0.path())
    }
}

/// Bytes that the files below a folder take: those that are gone meanwhile, none.
#[must_use]
pub fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => bytes(&path),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(|entry| of(entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_counts_and_holes_do_not() {
        let place = Place::new().expect("a folder");
        assert_eq!(place.bytes(), 0);
        fs::create_dir_all(place.path().join("shard-0")).expect("a folder");
        fs::write(place.path().join("shard-0/data"), [1; 8192]).expect("a file");
        let file = fs::File::create(place.path().join("hole")).expect("a file");
        file.set_len(1 << 30).expect("a hole");
        assert_eq!(place.bytes(), 8192);
    }
}
