//! What launched slaves write to standard error, so that their last words are known.
//!
//! A pipe to the master would hold a slave up, or end it, when the master is gone. So
//! each process writes to a file of its own in the runtime directory, named by its
//! process group. A thread copies what comes to the master's standard error, where it
//! always was, and gives the copied part of the file back to the filesystem. Where
//! what is copied is not read, the oldest is left out. A slot with a `log` of its own
//! writes there instead, and only the end of that file is read.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, stderr},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FallocateFlags, OFlags, fallocate},
    process::{Pid, test_kill_process_group},
};
use tracing::warn;

/// In the place of last words that nobody here could read: that is not silence.
pub const UNHEARD: &str = "(what it wrote on standard error is not known here)";

/// So many lines are last words.
const LINES: usize = 20;

/// A line is cut behind so many characters.
const LINE: usize = 400;

/// Last words are looked for in so much of the end of a file, in bytes.
const TAIL: u64 = 16 * 1024;

/// How often the thread looks for something new.
const PASS: Duration = Duration::from_millis(200);

/// What is written at once: a pipe that is ready takes so much without waiting.
const CHUNK: usize = 4096;

/// Most that is copied of one file in one pass.
const SHARE: u64 = 256 * 1024;

/// What is not copied yet may be so long; then the oldest of it is left out.
pub(super) const BEHIND: u64 = 4 * 1024 * 1024;

/// The file of a process group that is dead stays for so long.
const KEPT: Duration = Duration::from_secs(10);

/// Where nobody takes what is copied, the files of so many dead groups stay, the youngest:
/// slaves that die one after the other must not fill the runtime directory.
const DEAD: usize = 16;

/// The folder of these files.
#[derive(Clone, Debug)]
pub struct Outputs {
    dir: PathBuf,
}

/// Where one process writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    /// The bytes before are another process's.
    from: u64,
}

impl Outputs {
    /// Makes the folder and begins to copy what stands there, also of slaves that an
    /// earlier master launched.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn open(runtime_dir: &Path) -> io::Result<Self> {
        let outputs = Self {
            dir: runtime_dir.join("output"),
        };
        outputs.make_dir()?;
        let mut copier = Copier::new(&outputs.dir);
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                loop {
                    copier.pass(&mut Standard);
                    #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                    thread::sleep(PASS);
                }
            })?;
        Ok(outputs)
    }

    /// A file for a process that is to be launched; [`named`](Self::named) follows.
    pub(super) fn begin(&self) -> io::Result<(File, PathBuf)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The runtime directory may have been emptied.
        self.make_dir()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("new-{number}"));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        // Of a master that was killed in between.
        file.set_len(0)?;
        Ok((file, path))
    }

    /// The process is there, and leads its group.
    pub(super) fn named(&self, new: &Path, leader: u32) -> Output {
        let output = self.of_group(leader);
        let _ = fs::remove_file(at_file(&output.path));
        if let Err(error) = fs::rename(new, &output.path) {
            warn!(pid = leader, %error, "the last words of this process will not be known");
        }
        output
    }

    /// Where the processes of a launched group write.
    #[must_use]
    pub fn of_group(&self, leader: u32) -> Output {
        Output {
            path: self.dir.join(leader.to_string()),
            from: 0,
        }
    }

    fn make_dir(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Output {
    /// Of a file that others may have written to as well.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            from: 0,
        }
    }

    /// The last lines, as [`last_lines`](Self::last_lines), without holding the
    /// runtime up.
    pub async fn read(self) -> Vec<String> {
        let read = tokio::task::spawn_blocking(move || self.last_lines());
        read.await.unwrap_or_default()
    }

    /// In a file that others write to as well, from its present end on.
    pub(super) fn behind(path: &Path, file: &File) -> Self {
        Self {
            path: path.to_owned(),
            from: file.metadata().map_or(0, |now| now.len()),
        }
    }

    /// The last lines, at most 20, without control characters. Where the file is gone, or
    /// never was, one that says so ([`UNHEARD`]). Reads from a disk: not for a thread of the
    /// runtime.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        match self.tail() {
            Ok(text) => last(&text),
            Err(_) => vec![UNHEARD.to_owned()],
        }
    }

    fn tail(&self) -> io::Result<String> {
        // A pipe has no end to look at, and nobody waits for a writer.
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(nonblock).open(&self.path)?;
        let length = file.metadata()?.len();
        // A file that is shorter than at the launch was truncated.
        let from = if length < self.from { 0 } else { self.from };
        let begin = from.max(length.saturating_sub(TAIL));
        let mut bytes = vec![0; usize::try_from(length - begin).unwrap_or(0)];
        file.read_exact_at(&mut bytes, begin)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            // It begins in the middle of a line.
            Some((_, whole)) if begin > from => whole.to_owned(),
            Some(_) | None => text,
        })
    }
}

fn last(text: &str) -> Vec<String> {
    let lines: Vec<String> = text
        .lines()
        .map(plain)
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

/// A line as a person reads it: without colours and other control characters.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                // `ESC [` up to a letter is what colours are made of.
                if letters.next() == Some('[') {
                    let _ = letters.find(char::is_ascii_alphabetic);
                }
            }
            '\t' => plain.push(' '),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    match plain.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}...", &plain[..end]),
        None => plain,
    }
}

/// Takes what is copied.
trait Taker {
    /// How much of it was taken; zero: nothing can be taken now.
    fn take(&mut self, bytes: &[u8]) -> usize;
}

/// The master's standard error. It is written to without the lock that the log uses,
/// and only while it takes something: a reader that hangs holds nothing up.
struct Standard;

impl Taker for Standard {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let stderr = stderr();
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        let takes = poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
            && ready[0].revents().contains(PollFlags::OUT);
        if !takes {
            return 0;
        }
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        rustix::io::write(stderr.as_fd(), chunk).unwrap_or(0)
    }
}

/// One file that is copied.
struct Copied {
    file: File,
    inode: u64,
    /// So much of it was copied.
    at: u64,
    /// So much of it was given back.
    freed: u64,
    /// Since when no writer is left.
    dead: Option<Instant>,
}

struct Copier {
    dir: PathBuf,
    files: BTreeMap<u32, Copied>,
    buffer: Vec<u8>,
}

impl Copier {
    fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            files: BTreeMap::new(),
            buffer: vec![0; 64 * 1024],
        }
    }

    fn pass(&mut self, taker: &mut impl Taker) {
        self.look();
        let Self { dir, files, buffer } = self;
        files.retain(|leader, copied| {
            let path = dir.join(leader.to_string());
            let before = copied.at;
            let whole = copied.copy(*leader, buffer, taker);
            if copied.at != before {
                // Where the next master goes on.
                let _ = fs::write(at_file(&path), copied.at.to_string());
            }
            copied.free();
            if is_alive(*leader) {
                copied.dead = None;
                return true;
            }
            let dead = copied.dead.get_or_insert_with(Instant::now);
            let over = whole && dead.elapsed() >= KEPT;
            if over {
                remove(&path);
            }
            !over
        });
        self.leave_out_dead();
    }

    /// Of the dead groups, the oldest beyond a few go uncopied.
    fn leave_out_dead(&mut self) {
        let dead = self.files.iter();
        let dead = dead.filter_map(|(leader, copied)| Some((copied.dead?, *leader)));
        let mut dead: Vec<_> = dead.collect();
        dead.sort_unstable();
        let most = dead.len().saturating_sub(DEAD);
        for (_, leader) in dead.drain(..most) {
            if let Some(copied) = self.files.remove(&leader) {
                let skipped = copied
                    .file
                    .metadata()
                    .map_or(0, |now| now.len().saturating_sub(copied.at));
                warn!(
                    pid = leader,
                    skipped, "what a dead slave wrote was left out: nobody took it in time"
                );
            }
            remove(&self.dir.join(leader.to_string()));
        }
    }

    /// Files that are new, or that another process of the same number took.
    fn look(&mut self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let leader = name.to_str().and_then(|name| name.parse::<u32>().ok());
            let (Some(leader), Ok(found)) = (leader, entry.metadata()) else {
                continue;
            };
            let known = self.files.get(&leader);
            if known.is_some_and(|known| known.inode == found.ino()) {
                continue;
            }
            let opened = OpenOptions::new().read(true).write(true).open(entry.path());
            let Ok(file) = opened else { continue };
            let at = fs::read_to_string(at_file(&entry.path()));
            let at = at.ok().and_then(|at| at.parse().ok()).unwrap_or(0);
            let copied = Copied {
                file,
                inode: found.ino(),
                at: std::cmp::min(at, found.len()),
                freed: 0,
                dead: None,
            };
            self.files.insert(leader, copied);
        }
    }
}

impl Copied {
    /// Copies what came, a share of it; whether that was all.
    fn copy(&mut self, leader: u32, buffer: &mut [u8], taker: &mut impl Taker) -> bool {
        let Ok(length) = self.file.metadata().map(|now| now.len()) else {
            return true;
        };
        if length.saturating_sub(self.at) > BEHIND {
            let skipped = length - self.at - TAIL;
            self.at = length - TAIL;
            warn!(
                pid = leader,
                skipped, "bytes of a slave's output were left out: they were not read in time"
            );
        }
        let until = length.min(self.at + SHARE);
        while self.at < until {
            let most = usize::try_from(until - self.at).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let Ok(read @ 1..) = self.file.read_at(&mut buffer[..most], self.at) else {
                break;
            };
            // Whole lines, so that the lines of two writers do not mix.
            let line = buffer[..read].iter().rposition(|byte| *byte == b'\n');
            let end = match line {
                Some(end) => end + 1,
                None if read == buffer.len() || !is_alive(leader) => read,
                None => break,
            };
            let mut taken = 0;
            while taken < end {
                match taker.take(&buffer[taken..end]) {
                    0 => {
                        self.at += taken as u64;
                        return false;
                    }
                    more => taken += more,
                }
            }
            self.at += taken as u64;
        }
        self.at >= length
    }

    /// Gives back what was copied, but for what last words are looked for in.
    fn free(&mut self) {
        let end = self.at.saturating_sub(TAIL);
        if end.saturating_sub(self.freed) < SHARE {
            return;
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&self.file, hole, 0, end).is_ok() {
            self.freed = end;
        } else if self.at >= BEHIND && self.file.set_len(0).is_ok() {
            // A filesystem without holes. Its writers append: they go on at its
            // beginning.
            (self.at, self.freed) = (0, 0);
        }
    }
}

/// Whether a process of this group is left.
fn is_alive(leader: u32) -> bool {
    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    group.is_some_and(|group| test_kill_process_group(group) != Err(rustix::io::Errno::SRCH))
}

/// A file that nobody needs any more, as well as may be.
fn remove(path: &Path) {
    let _ = fs::remove_file(at_file(path));
    let _ = fs::remove_file(path);
}

/// Where it stands how much of a file was copied.
fn at_file(path: &Path) -> PathBuf {
    path.with_extension("at")
}

#[cfg(test)]
mod tests;
