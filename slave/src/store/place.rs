//! Where the store of a fleet and slot is.
//!
//! ```text
//! /dev/shm/baton-UID/          of this user, 0700; or what SlaveConfig::store says
//!   main-0123456789abcdef/     of a slot of a fleet
//!     shard-3/                 of baton-store
//! ```
//!
//! `/dev/shm` and not the master's runtime directory, which is a file system in memory too as
//! a rule, and a small one: a tenth of the memory, shared with the sockets that everything
//! needs. Not a disk: nothing is gained by it, because a session does not outlive its host,
//! and a disk has moments in which every write waits.
//!
//! Epochs are those of a journal. A fleet that begins with a new one counts from 1 again, so
//! that its name is part of the folder's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use baton_protocol::{FleetId, ShardId, message::StoreRoom};
use baton_store::{Options, own_folder};

use crate::{Error, sha256::Sha256};

/// A folder of a fleet that was not changed for so long is of none that will go on: its
/// sessions are over.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What the kernel calls file systems without a disk behind them.
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;

/// A file system with less room than this is worth a word.
const SMALL: u64 = 256 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    slot: String,
    /// Whether no disk is behind it.
    pub(super) is_in_memory: bool,
    /// The size limit of a shard.
    limit: u64,
    of_fleet: OnceLock<PathBuf>,
}

/// See [`Guilds::usual_dir`](super::Guilds::usual_dir).
pub(super) fn usual_dir() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    PathBuf::from(format!("/dev/shm/baton-{user}"))
}

impl Folder {
    pub(super) fn new(dir: PathBuf, slot: &str, options: &Options) -> Result<Self, Error> {
        let wrong = |what: String| {
            Error::Config(format!(
                "store: {what}; give another folder in BATON_STORE or SlaveConfig::store"
            ))
        };
        options.check().map_err(|error| wrong(error.to_string()))?;
        own_folder(&dir).map_err(|error| wrong(error.to_string()))?;
        let shown = dir.display();
        let found = rustix::fs::statfs(&dir).map_err(|error| wrong(format!("{shown}: {error}")))?;
        let is_in_memory = matches!(found.f_type, TMPFS | RAMFS);
        let whole = u64::try_from(found.f_bsize).unwrap_or(0) * found.f_blocks;
        if whole < SMALL && found.f_type != RAMFS {
            tracing::warn!(
                dir = %shown, bytes = whole,
                "the file system of the store is small: in a container give it room (--shm-size), \
                 or name another folder in BATON_STORE"
            );
        }
        Ok(Self {
            dir,
            slot: slot.to_owned(),
            is_in_memory,
            limit: options.most,
            of_fleet: OnceLock::new(),
        })
    }

    /// The folder of the slot in this fleet, which is made if it is not there.
    pub(super) fn at(&self, fleet: FleetId) -> Result<&Path, baton_store::Error> {
        if self.of_fleet.get().is_none() {
            own_folder(&self.dir)?;
        }
        let path = self.of_fleet.get_or_init(|| {
            let path = self.dir.join(name(fleet, &self.slot));
            self.forget_others(&path);
            path
        });
        Ok(path)
    }

    /// Where it is, and the room of its file system; `None`: no shard was served yet, or it
    /// cannot be looked at.
    pub(super) fn room(&self) -> Option<StoreRoom> {
        let dir = self.of_fleet()?;
        let found = rustix::fs::statvfs(dir).ok()?;
        Some(StoreRoom {
            dir: dir.display().to_string(),
            free: found.f_bavail.saturating_mul(found.f_frsize),
            whole: found.f_blocks.saturating_mul(found.f_frsize),
            ..StoreRoom::default()
        })
    }

    /// Where a shard is and how large it may be, for whoever reads an error.
    pub(super) fn shown(&self, shard: ShardId) -> String {
        let dir = self.of_fleet().unwrap_or(&self.dir);
        let mebibytes = self.limit >> 20;
        format!("{}/shard-{shard} (limit {mebibytes} MiB)", dir.display())
    }

    pub(super) fn of_fleet(&self) -> Option<&Path> {
        self.of_fleet.get().map(PathBuf::as_path)
    }

    /// Removes what is left of fleets that are no more. Nobody has it open, as it was not
    /// changed for so long; if somebody has, it goes on in files without a name, and the
    /// guilds come as after any lost state.
    fn forget_others(&self, own: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_one = entry.file_name().to_str().is_some_and(is_name);
            if is_one && path != own && baton_store::is_unused(&path, FORGOTTEN) {
                tracing::info!(dir = %path.display(), "a store that nobody uses is removed");
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

/// The folder of a slot in a fleet.
fn name(fleet: FleetId, slot: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
    let begins: String = slot.chars().take(32).filter(plain).collect();
    let mut digest = Sha256::new();
    digest.update(fleet.to_string().as_bytes());
    digest.update(b"/");
    digest.update(slot.as_bytes());
    let digest = digest.finish();
    let hex: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{begins}-{hex}")
}

/// Whether it is the name of such a folder.
fn is_name(name: &str) -> bool {
    let hex = name.rsplit_once('-').map(|(_, hex)| hex);
    hex.is_some_and(|hex| hex.len() == 16 && hex.chars().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_of_each_fleet_has_a_folder_of_its_own_whatever_it_is_called() {
        let (one, other) = (FleetId(1), FleetId(2));
        let names = [
            name(one, "main"),
            name(other, "main"),
            name(one, "../../etc"),
            name(one, "etc"),
            name(one, &"a".repeat(128)),
        ];
        for (at, folder) in names.iter().enumerate() {
            assert!(is_name(folder) && !folder.contains(['/', '.']), "{folder}");
            assert!(!names[..at].contains(folder), "{folder}");
        }
        assert!(names[0].starts_with("main-"), "{}", names[0]);
        assert!(!is_name("shard-3") && !is_name("main"));
    }

    #[test]
    fn a_folder_that_others_can_reach_is_refused_with_what_to_do() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Folder::new(open, "main", &Options::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("other users can open it; chmod go-rwx"),
            "{text}"
        );
        assert!(text.contains("BATON_STORE"), "{text}");
    }

    #[test]
    fn a_store_of_another_fleet_stays_while_somebody_uses_it_or_did_just_now() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("all");
        let folder = |fleet| {
            let folder = Folder::new(dir.clone(), "main", &Options::default()).unwrap();
            folder.at(fleet).unwrap().to_owned()
        };
        let former = folder(FleetId(1));
        let open = || {
            let options = Options::default();
            baton_store::Store::open(&former, ShardId(0), options).unwrap()
        };
        let claimed = open().claim(baton_protocol::Epoch(1), baton_store::Owner([1; 16]));
        let claimed = claimed.unwrap();
        assert!(
            !baton_store::is_unused(&former, Duration::ZERO),
            "it is open"
        );
        drop(claimed);
        assert!(
            !baton_store::is_unused(&former, FORGOTTEN),
            "it was changed just now"
        );
        folder(FleetId(2));
        assert!(former.exists());
        assert!(baton_store::is_unused(&former, Duration::ZERO));
    }
}
