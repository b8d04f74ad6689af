//! Lines on their way to a reader, who may not read them.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{Level, enabled, warn};

/// Bytes that wait to be written, beside those that are being written.
const QUEUE: usize = 1024 * 1024;

/// A target that takes nothing and does not block (a pipe that another process made
/// non-blocking) is tried again after this time.
const AGAIN: Duration = Duration::from_millis(20);

/// The log of a process; cheap to clone. See the [crate](crate).
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    work: Condvar,
    /// Everything is written.
    idle: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Since when the thread has been writing what it took.
    writing: Option<Instant>,
}

/// The log of this process: its standard error, as it is at the first call. Nothing is
/// written by the caller.
#[must_use]
pub fn stderr() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        // A descriptor of its own: a thread that holds the lock of `io::stderr` in a write
        // that does not end is not waited for.
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(stderr) => Log::to(File::from(stderr)),
            // It is closed: nobody can read anything.
            Err(_) => Log::to(io::sink()),
        }
    })
}

impl Log {
    /// A log that one thread of its own writes to `out`.
    #[must_use]
    pub fn to(out: impl Write + Send + 'static) -> Self {
        let log = Self {
            shared: Arc::default(),
        };
        let writer = log.clone();
        // Not joined: one that hangs in a write must not hold the process. Where no
        // thread can be had the queue fills, and the rest is counted.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write(out));
        log
    }

    /// Queues one line, to which the newline is added, and returns at once.
    pub fn line(&self, text: &str) {
        self.push(format!("{text}\n").as_bytes());
    }

    /// Takes one line, in as many parts as it is written.
    #[must_use]
    pub const fn writer(&self) -> Line<'_> {
        Line {
            log: self,
            bytes: Vec::new(),
        }
    }

    /// Lines that are lost, since the process started: the queue was full, or
    /// the target failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything that is queued now is written, for at most `limit`; says
    /// whether it is.
    pub fn finish(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.state();
        loop {
            if state.bytes.is_empty() && state.writing.is_none() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.idle.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the target has taken nothing for `limit`.
    #[must_use]
    pub fn is_stuck(&self, limit: Duration) -> bool {
        let since = self.state().writing;
        since.is_some_and(|since| since.elapsed() >= limit)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes.len() + line.len() > QUEUE {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes.extend_from_slice(line);
        drop(state);
        self.shared.work.notify_one();
    }

    /// The lock is held for a copy in memory at most, never for a write.
    fn state(&self) -> MutexGuard<'_, State> {
        let locked = self.shared.state.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut out: impl Write) {
        let mut taken = Vec::new();
        let mut said = 0;
        let mut works = true;
        loop {
            self.take(&mut taken);
            // Before the bytes are written: what was dropped came behind them, and the
            // queue has room now. Not while the target fails, or saying it would be
            // dropped in its turn, for ever.
            let dropped = self.dropped();
            if dropped > said && works {
                say_dropped(self, dropped - said);
                said = dropped;
            }
            let lost = write_all(&mut out, &taken);
            works = lost == 0;
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Waits for lines and takes all of them, in the place of those of `taken`.
    fn take(&self, taken: &mut Vec<u8>) {
        taken.clear();
        let mut state = self.state();
        while state.bytes.is_empty() {
            state.writing = None;
            self.shared.idle.notify_all();
            let waited = self.shared.work.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.bytes, taken);
        state.writing = Some(Instant::now());
    }
}

/// In the form of the other lines, where this is where they go.
fn say_dropped(log: &Log, lines: u64) {
    if enabled!(Level::WARN) {
        warn!(
            lines,
            "lines of this log were dropped: they were not read in time, or could not be written"
        );
    } else {
        log.line(&format!(
            "{lines} lines of this log were dropped: they were not read in time, or could not be written"
        ));
    }
}

/// Gives how many lines are lost.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread that writes is its own"
)]
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> u64 {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => break,
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
            Err(_) => break,
        }
    }
    let lost = bytes.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(lost).unwrap_or(u64::MAX)
}

/// Takes one line, in as many parts as it is written, and queues it as a whole.
#[derive(Debug)]
pub struct Line<'a> {
    log: &'a Log,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.is_empty() && bytes.ends_with(b"\n") {
            // A whole line, as `tracing` gives it, is copied once.
            self.log.push(bytes);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.log.push(&self.bytes);
        }
    }
}
