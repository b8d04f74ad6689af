//! Where channels are, and how many units there are: what the next process that runs the work
//! has to know, so that it asks for nothing that is so already.
//!
//! One file, replaced as a whole before anything that relies on it is said.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::shards::Count;
use crate::{name::Login, scale::Scale, unit::Channels};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Of each account.
    pub(super) scales: BTreeMap<Login, Scale>,
    /// What each unit was told last.
    pub(super) told: BTreeMap<u32, Channels>,
    /// How many shards the conduit is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conduit: Option<Count>,
}

impl State {
    /// Beside the list.
    pub(super) fn path(list: &Path) -> PathBuf {
        let mut name = list.file_name().unwrap_or_default().to_owned();
        name.push(".units");
        list.with_file_name(name)
    }

    /// What the process before wrote; nothing, where there is none.
    ///
    /// # Errors
    /// It is there, and cannot be read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The disk's. The file before stays.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let next = path.with_file_name(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&next)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&next, path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_is_there_at_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = State::path(&folder.path().join("channels"));
        assert_eq!(State::read(&path).unwrap(), State::default());
        let told = Channels {
            version: 7,
            account: None,
            channels: vec!["one".parse().unwrap()],
        };
        let state = State {
            scales: BTreeMap::from([("bot".parse().unwrap(), Scale::new(3))]),
            told: BTreeMap::from([(2, told)]),
            conduit: None,
        };
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), state);
        fs::write(&path, "{").unwrap();
        assert!(
            State::read(&path).is_err(),
            "it is not taken for an empty one"
        );
    }
}
