//! The `log` files of slots, and the master's own where that is a file: turned over by
//! size. Nothing else does that without systemd's journal, and a disk that is full of log
//! keeps shards from moving.
//!
//! The writer of such a file holds it open, appends, and outlives the master: so it is
//! copied and cut off, not renamed. A line that comes between the two may be lost.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, stderr},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{OFlags, fcntl_getfl};
use tracing::{info, warn};

/// A file that is longer is turned over.
const MOST: u64 = 64 * 1024 * 1024;

/// So many former ones are kept beside it, `.1` the youngest.
const KEPT: u32 = 3;

/// How often sizes are looked at.
const PASS: Duration = Duration::from_secs(10);

/// Keeps these files small, and standard error where it is a file, for as long as the
/// process lives.
pub fn keep_small(mut files: Vec<PathBuf>) {
    files.extend(own_log());
    keep_these_small(files);
}

/// The same, without standard error.
pub fn keep_these_small(files: Vec<PathBuf>) {
    if files.is_empty() {
        return;
    }
    // Without the thread they grow.
    let _ = thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || {
            let mut failing = BTreeSet::new();
            loop {
                for file in &files {
                    let turned = turn(file, MOST);
                    if let Ok(true) = turned {
                        info!(file = %file.display(), "a log was turned over");
                    }
                    if let Some(error) = is_news(&mut failing, file, turned) {
                        warn!(file = %file.display(), %error, "a log cannot be turned over, and grows");
                    }
                }
                #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                thread::sleep(PASS);
            }
        });
}

/// What went wrong with a file that was well before. One that is missing is not long.
fn is_news(
    failing: &mut BTreeSet<PathBuf>,
    file: &Path,
    turned: io::Result<bool>,
) -> Option<io::Error> {
    match turned {
        Ok(_) => {
            failing.remove(file);
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => failing.insert(file.to_owned()).then_some(error),
    }
}

/// Where standard error goes, if that is a file to which is appended.
fn own_log() -> Option<PathBuf> {
    let stderr = stderr();
    let flags = fcntl_getfl(&stderr).ok()?;
    let file = File::from(stderr.as_fd().try_clone_to_owned().ok()?);
    let appends = flags.contains(OFlags::APPEND) && file.metadata().ok()?.is_file();
    let path = fs::read_link("/proc/self/fd/2").ok()?;
    (appends && path.is_absolute()).then_some(path)
}

/// Turns a file over that is longer than `most`; whether it was.
fn turn(path: &Path, most: u64) -> io::Result<bool> {
    if fs::metadata(path)?.len() <= most {
        return Ok(false);
    }
    let former = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let new = former(0);
    let mut from = OpenOptions::new().read(true).write(true).open(path)?;
    // Nobody else opens it before it is as open as the log is.
    let mut to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    to.set_permissions(from.metadata()?.permissions())?;
    // What comes meanwhile is copied too, but for the last moment's.
    let copied = io::copy(&mut from, &mut to).and_then(|_| io::copy(&mut from, &mut to));
    if let Err(error) = copied {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    from.set_len(0)?;
    for number in (0..KEPT).rev() {
        match fs::rename(former(number), former(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_grows_is_cut_under_its_writer_and_a_few_former_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slave.log");
        let mut writer = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        for number in 0..6 {
            writeln!(writer, "line {number}").unwrap();
            assert!(!turn(&path, 10).unwrap(), "it is short");
            writeln!(writer, "more {number}").unwrap();
            assert!(turn(&path, 10).unwrap());
            assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        }
        let read = |end: &str| fs::read_to_string(format!("{}{end}", path.display())).unwrap();
        assert_eq!(read(".1"), "line 5\nmore 5\n");
        assert_eq!(read(".3"), "line 3\nmore 3\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_log_that_cannot_be_turned_over_is_said_once_whatever_the_others_do() {
        let (bad, good) = (Path::new("/bad"), Path::new("/good"));
        let mut failing = BTreeSet::new();
        let fails = || Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(is_news(&mut failing, bad, fails()).is_some());
        assert!(is_news(&mut failing, good, Ok(false)).is_none());
        assert!(is_news(&mut failing, bad, fails()).is_none(), "said");
        assert!(is_news(&mut failing, bad, Ok(true)).is_none());
        assert!(is_news(&mut failing, bad, fails()).is_some(), "anew");
    }
}
