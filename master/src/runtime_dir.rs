//! The directory where the master, its slaves and its operator meet: sockets,
//! the secret, and the lock that keeps a second master out.

use std::{
    env, fs,
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use baton_protocol::auth::{SECRET_VARIABLE, Secret};
use rustix::fs::FlockOperation;
use tracing::error;

use crate::{error::Error, whole_file};

/// Longest path of a unix socket on Linux, its ending zero left out.
const MAX_SOCKET_PATH: usize = 107;

/// The kernel gives its table of locks page by page. A lock is left out of one reading where
/// an earlier one is let go of between two pages; it is not left out again and again.
const LOOKS: u32 = 5;

/// `$XDG_RUNTIME_DIR/baton`, else `/run/baton`.
#[must_use]
pub fn default_path() -> PathBuf {
    env::var_os("XDG_RUNTIME_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from("/run"), PathBuf::from)
        .join("baton")
}

/// Where the operator's commands find the master.
#[must_use]
pub fn admin_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("admin.sock")
}

/// Where the fleet's name and its living slaves stand.
#[must_use]
pub fn fleet(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("fleet")
}

/// The runtime directory of a running master.
#[derive(Clone, Debug)]
pub struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// Finds the directory, or makes it for this user alone.
    ///
    /// # Errors
    /// It cannot be made, or its path is too long for a unix socket.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::system(format!("runtime_dir {}", path.display()), error))?;
        make_dir("runtime_dir", &path)?;
        let dir = Self { path };
        let longest = dir.admin_socket().as_os_str().len() + NEW.len();
        if longest > MAX_SOCKET_PATH {
            return Err(Error::Configuration(format!(
                "runtime_dir: {} is {} bytes too long for a unix socket; choose a shorter path",
                dir.path.display(),
                longest - MAX_SOCKET_PATH
            )));
        }
        Ok(dir)
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where slaves dial.
    #[must_use]
    pub fn slave_socket(&self) -> PathBuf {
        self.path.join("slave.sock")
    }

    /// Where the operator's commands dial.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.path)
    }

    /// Where the fleet's name and its living slaves stand.
    #[must_use]
    pub fn fleet(&self) -> PathBuf {
        fleet(&self.path)
    }

    /// Where the secret stands: here, and where the journal is, which is emptied less
    /// easily.
    #[must_use]
    pub fn secrets(&self, data_dir: &Path) -> Vec<PathBuf> {
        let here = self.path.join(SECRET);
        let kept = data_dir.join(SECRET);
        if same(&self.path, data_dir) {
            vec![here]
        } else {
            vec![here, kept]
        }
    }

    /// Whether a secret is there already.
    #[must_use]
    pub fn has_secret(&self, data_dir: &Path) -> bool {
        self.secrets(data_dir).iter().any(|path| path.exists())
    }

    /// The fleet's secret: found, or made at the first start (mode 0600), and kept in
    /// `data_dir` too. Gone here, it is the one that was kept. Where both are there and
    /// differ, the one here was changed: it counts, and the one before is left as
    /// `secret.before` in `data_dir`.
    ///
    /// # Errors
    /// A file cannot be read or made, is not a secret, or others may read it.
    pub fn secret(&self, data_dir: &Path) -> Result<Secret, Error> {
        let places = self.secrets(data_dir);
        let found = places
            .iter()
            .map(|path| read_secret(path))
            .collect::<Result<Vec<_>, _>>()?;
        let here = found.first().cloned().flatten();
        let kept = found.get(1).cloned().flatten();
        if let (Some(here), Some(kept)) = (&here, &kept)
            && here != kept
        {
            let before = data_dir.join(SECRET_BEFORE);
            error!(
                changed = %self.path.join(SECRET).display(), before = %before.display(),
                "the secret was changed: slaves by TCP that know the one before are not let in. \
                 To undo it, copy that one over the changed one and restart the master"
            );
            write_secret(&before, kept)?;
        }
        let secret = match here.or(kept) {
            Some(secret) => secret,
            None => Secret::random()
                .map_err(|error| Error::system("secret", io::Error::other(error.to_string())))?,
        };
        for (path, found) in places.iter().zip(&found) {
            if found.as_ref() != Some(&secret) {
                write_secret(path, &secret)?;
            }
        }
        Ok(secret)
    }

    /// Listens at `path`, for this user alone. A socket that a dead master left
    /// there is replaced.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn bind(&self, path: &Path) -> Result<tokio::net::UnixListener, Error> {
        let bind = || {
            // The socket gets its name when its mode is right.
            let mut new = path.as_os_str().to_owned();
            new.push(NEW);
            let new = PathBuf::from(new);
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = tokio::net::UnixListener::bind(&new)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            fs::rename(&new, path)?;
            Ok(listener)
        };
        bind().map_err(|error| Error::system(format!("socket {}", path.display()), error))
    }
}

const SECRET: &str = "secret";
const SECRET_BEFORE: &str = "secret.before";

/// Whether two paths are one directory.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => one == other,
    }
}

fn read_secret(path: &Path) -> Result<Option<Secret>, Error> {
    let failed = |error: io::Error| Error::system(format!("secret {}", path.display()), error);
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Configuration(format!(
            "secret {}: others may read it (mode {:03o}); chmod 600 it, or delete it when no slave runs",
            path.display(),
            mode & 0o777
        )));
    }
    let secret = Secret::from_hex(&text).ok_or_else(|| {
        Error::Configuration(format!(
            "secret {}: not 64 hex digits; delete it when no slave runs, a new one is made",
            path.display()
        ))
    })?;
    Ok(Some(secret))
}

fn write_secret(path: &Path, secret: &Secret) -> Result<(), Error> {
    let text = format!("{}\n", secret.to_hex());
    whole_file::write(path, text.as_bytes())
        .map_err(|error| Error::system(format!("secret {}", path.display()), error))
}

/// Ending of a socket's name while it is being made.
const NEW: &str = ".new";

/// Makes a directory for this user alone, and those above it.
pub(crate) fn make_dir(key: &str, path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            Error::Configuration(format!(
                "{key}: {} cannot be made: {error}; choose another with {key}",
                path.display()
            ))
        })
}

const LOCK: &str = "master.lock";
const AGENT_LOCK: &str = "agent.lock";

/// The fleet's secret, for an agent: from the file that was named, else from the environment, else
/// from the file in its folder.
///
/// # Errors
/// There is none, or it is no secret.
pub(crate) fn agent_secret(dir: &Path, named: Option<&Path>) -> Result<Secret, Error> {
    if let Some(file) = named {
        let wrong = |reason: String| {
            Error::Configuration(format!("--secret-file {}: {reason}", file.display()))
        };
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let mode = fs::metadata(file).map_or(0, |of| of.permissions().mode());
        // What a container mounts may be its group's.
        if mode & 0o007 != 0 {
            let mode = mode & 0o777;
            return Err(wrong(format!(
                "others may read it (mode {mode:03o}): chmod 600 it"
            )));
        }
        return Secret::from_hex(&text).ok_or_else(|| wrong("not 64 hex digits".to_owned()));
    }
    let given = env::var(SECRET_VARIABLE).ok().filter(|hex| !hex.is_empty());
    if let Some(hex) = given {
        return Secret::from_hex(&hex).ok_or_else(|| {
            let text = format!("{SECRET_VARIABLE} is not 64 hex digits");
            Error::Configuration(text)
        });
    }
    let path = dir.join(SECRET);
    read_secret(&path)?.ok_or_else(|| {
        Error::Configuration(format!(
            "the agent has no secret: set {SECRET_VARIABLE}, or copy the file `secret` of the master's \
             runtime directory to {} (mode 0600)",
            path.display()
        ))
    })
}

/// Held as long as a master runs; the kernel lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: fs::File,
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    /// [`Error::SecondMaster`] with the holder's pid, or the operating system's
    /// word.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        Self::take_file(dir, LOCK)
    }

    /// Takes the folder of an agent.
    ///
    /// # Errors
    /// As [`take`](Self::take); the holder is another agent.
    pub(crate) fn take_for_agent(dir: &Path) -> Result<Self, Error> {
        let taken = Self::take_file(dir, AGENT_LOCK);
        if let Err(Error::SecondMaster { pid, dir }) = taken {
            return Err(Error::Configuration(format!(
                "another agent (pid {pid}) already uses {}: stop it, or give this one a \
                 --runtime-dir of its own",
                dir.display()
            )));
        }
        taken
    }

    fn take_file(dir: &Path, name: &str) -> Result<Self, Error> {
        let path = dir.join(name);
        let failed = |error: io::Error| {
            Error::Configuration(format!(
                "{} cannot be written: {error}; choose another runtime_dir or data_dir",
                path.display()
            ))
        };
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // What was written there only names the holder in a message.
                let _ = file.read_to_string(&mut pid);
                return Err(Error::SecondMaster {
                    pid: pid.trim().to_owned(),
                    dir: dir.to_owned(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path, file })
    }

    /// Whether the file that is locked still has its name: else another master would
    /// lock another one.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let named = fs::symlink_metadata(&self.path).map(|of| (of.dev(), of.ino()));
        let held = self.file.metadata().map(|of| (of.dev(), of.ino()));
        matches!((named, held), (Ok(named), Ok(held)) if named == held)
    }

    /// The pid of the master that holds the lock of a directory; `None`: no master is known
    /// to. Takes nothing and makes nothing.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<String> {
        let mut file = fs::File::open(dir.join(LOCK)).ok()?;
        let inode = format!(":{}", file.metadata().ok()?.ino());
        // To try the lock would be to hold it for a moment, which a master that starts
        // would take for another one.
        let is_held = |_: u32| {
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            let mut locks = locks.lines().map(str::split_ascii_whitespace);
            locks.any(|mut fields| {
                fields.any(|field| field == "FLOCK") && fields.any(|field| field.ends_with(&inode))
            })
        };
        if !(0..LOOKS).any(is_held) {
            return None;
        }
        let mut pid = String::new();
        file.read_to_string(&mut pid).ok()?;
        Some(pid.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_found_later() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(&temp.path().join("a/b")).unwrap();
        let secret = dir.secret(dir.path()).unwrap();
        assert_eq!(dir.secret(dir.path()).unwrap(), secret);
        let mode = fs::metadata(dir.path().join("secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_may_read_or_that_is_none_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(temp.path()).unwrap();
        dir.secret(dir.path()).unwrap();
        let path = dir.path().join("secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            dir.secret(dir.path())
                .unwrap_err()
                .line()
                .contains("chmod 600")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(
            dir.secret(dir.path())
                .unwrap_err()
                .line()
                .contains("64 hex")
        );
    }

    #[test]
    fn a_secret_that_is_gone_from_the_runtime_directory_is_the_one_beside_the_journal() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(&temp.path().join("run")).unwrap();
        let data = temp.path().join("data");
        make_dir("data_dir", &data).unwrap();
        assert!(!dir.has_secret(&data));
        let secret = dir.secret(&data).unwrap();
        fs::remove_file(dir.path().join(SECRET)).unwrap();
        assert!(dir.has_secret(&data), "a fleet ran here");
        assert_eq!(dir.secret(&data).unwrap(), secret);
        fs::remove_file(data.join(SECRET)).unwrap();
        assert_eq!(dir.secret(&data).unwrap(), secret);
        for file in dir.secrets(&data) {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // One that an operator put there counts, and the one before can be put back.
        let other = Secret::random().unwrap();
        write_secret(&dir.path().join(SECRET), &other).unwrap();
        assert_eq!(dir.secret(&data).unwrap(), other);
        assert_eq!(read_secret(&data.join(SECRET)).unwrap(), Some(other));
        let before = read_secret(&data.join(SECRET_BEFORE)).unwrap();
        assert_eq!(before, Some(secret));
    }

    #[test]
    fn who_holds_a_lock_is_known_without_taking_it() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(Lock::holder(temp.path()), None);
        let lock = Lock::take(temp.path()).unwrap();
        assert_eq!(
            Lock::holder(temp.path()),
            Some(std::process::id().to_string())
        );
        assert!(lock.is_in_place());
        fs::remove_file(temp.path().join(LOCK)).unwrap();
        assert!(!lock.is_in_place());
        fs::write(temp.path().join(LOCK), "").unwrap();
        assert!(!lock.is_in_place(), "another file");
        assert_eq!(Lock::holder(temp.path()), None);
    }

    #[test]
    fn a_second_master_is_told_the_pid_of_the_first() {
        let temp = tempfile::tempdir().unwrap();
        let first = Lock::take(temp.path()).unwrap();
        let error = Lock::take(temp.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let pid = format!("(pid {})", std::process::id());
        assert!(error.line().contains(&pid), "{}", error.line());
        drop(first);
        Lock::take(temp.path()).unwrap();
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_a_wrong_configuration() {
        let temp = tempfile::tempdir().unwrap();
        let error = RuntimeDir::open(&temp.path().join("x".repeat(100))).unwrap_err();
        assert!(error.line().contains("too long"));
    }

    #[tokio::test]
    async fn a_socket_is_for_this_user_and_replaces_a_dead_masters() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::open(temp.path()).unwrap();
        drop(dir.bind(&dir.slave_socket()).unwrap());
        let _listener = dir.bind(&dir.slave_socket()).unwrap();
        let mode = fs::metadata(dir.slave_socket())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        tokio::net::UnixStream::connect(dir.slave_socket())
            .await
            .unwrap();
    }
}
