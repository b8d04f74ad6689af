//! Where finished events go: one JSON object a line, written by a thread of its
//! own, so that a slow disk delays no shard before its window is full. An event
//! counts as finished when its line is with the operating system: a `kill -9`
//! loses no line of an event that a checkpoint calls finished.
//!
//! A reader that is slow holds events back, as a slow handler would. A target
//! that fails does not: lines are lost there, counted, and the bot goes on.

mod buffer;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use baton_slave::{Ack, Error};
use serde::Serialize;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel, error::TrySendError},
        oneshot,
    },
    time::timeout,
};
use tokio_util::task::TaskTracker;

use self::buffer::{Buffer, Outcome};

/// Lines that wait for the disk. Beyond it a line waits in a task of its own;
/// those are bounded by the in-flight windows of the shards.
const WAITING: usize = 65_536;

/// Lines, and bytes, that are written at once, at most: an event waits no longer
/// for its line than these take.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 1 << 16;

/// How long the end of the process waits for a reader that takes nothing.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    /// A file that is appended to; `%p` in its name is the process id.
    File(PathBuf),
    None,
}

impl Target {
    /// Reads `stdout`, `none` or `file:PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "none" => Ok(Self::None),
            other => match other.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Ok(Self::File(crate::with_pid(path))),
                _ => {
                    // An address that is misspelt may have a password in it.
                    let shown = other.rsplit('@').next().unwrap_or_default();
                    Err(format!(
                        "sink `{shown}` is unknown: give stdout, none, file:PATH or a broker's \
                         address, as in nats://127.0.0.1:4222"
                    ))
                }
            },
        }
    }
}

/// Writes lines; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    lines: Option<Sender<Order>>,
    /// Lines that found the queue full. Room that is given to one of these tasks is
    /// filled only when it runs, so what is sent last can be queued before it.
    late: TaskTracker,
    lost: Arc<AtomicU64>,
}

enum Order {
    Line(Vec<u8>, Option<Ack>),
    Finish(oneshot::Sender<()>),
}

/// Opens the target.
pub(crate) fn open(target: &Target) -> Result<Sink, Error> {
    let out = match target {
        Target::None => {
            return Ok(Sink {
                lines: None,
                late: TaskTracker::new(),
                lost: Arc::default(),
            });
        }
        Target::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        Target::File(path) => OpenOptions::new().append(true).create(true).open(path),
    };
    let out = out.map_err(|error| {
        let name = match target {
            Target::File(path) => path.display().to_string(),
            Target::Stdout | Target::None => "stdout".to_owned(),
        };
        Error::Config(format!(
            "sink: {name} cannot be written: {error}: give another file"
        ))
    })?;
    start(out)
}

fn start(out: impl Write + Send + 'static) -> Result<Sink, Error> {
    let (lines, waiting) = channel(WAITING);
    let lost = Arc::<AtomicU64>::default();
    let count = lost.clone();
    // Not joined: one that hangs in a write must not hold the process.
    thread::Builder::new()
        .name("sink".to_owned())
        .spawn(move || write(Buffer::new(out), waiting, &count))
        .map_err(|source| Error::System {
            what: "start the sink's thread",
            source,
        })?;
    Ok(Sink {
        lines: Some(lines),
        late: TaskTracker::new(),
        lost,
    })
}

impl Sink {
    /// Queues one line and returns at once; `ack` is dropped when it is written.
    pub(crate) fn write(&self, line: &impl Serialize, ack: Option<Ack>) {
        let Some(lines) = &self.lines else { return };
        let mut bytes = match serde_json::to_vec(line) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "an event could not be written down");
                return;
            }
        };
        bytes.push(b'\n');
        match lines.try_send(Order::Line(bytes, ack)) {
            // Closed only when the process ends.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(order)) => {
                let lines = lines.clone();
                self.late.spawn(async move { lines.send(order).await });
            }
        }
    }

    /// Queues one line that nothing waits for, unless there is no room.
    pub(crate) fn offer(&self, line: &impl Serialize) -> bool {
        let Some(lines) = &self.lines else {
            return false;
        };
        let Ok(mut bytes) = serde_json::to_vec(line) else {
            return false;
        };
        bytes.push(b'\n');
        lines.try_send(Order::Line(bytes, None)).is_ok()
    }

    /// Lines that a failing target did not take.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything that was queued is written, at most 5 s.
    pub(crate) async fn finish(&self) {
        let Some(lines) = &self.lines else { return };
        let (done, finished) = oneshot::channel();
        let farewell = async {
            self.late.close();
            self.late.wait().await;
            let _ = lines.send(Order::Finish(done)).await;
            let _ = finished.await;
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::error!("the sink is not read; the lines that waited for it are lost");
        }
    }
}

fn write(mut buffer: Buffer<impl Write>, mut waiting: Receiver<Order>, lost: &AtomicU64) {
    // Of lines in the buffer.
    let mut acks = Vec::new();
    loop {
        let order = match waiting.try_recv() {
            Ok(order) => order,
            Err(_) => {
                flush(&mut buffer, lost);
                acks.clear();
                match waiting.blocking_recv() {
                    Some(order) => order,
                    None => return,
                }
            }
        };
        match order {
            Order::Line(line, ack) => {
                buffer.push(&line);
                acks.extend(ack);
                // A shard's window must not wait for a queue that never empties.
                if acks.len() >= BATCH || buffer.len() >= BATCH_BYTES {
                    flush(&mut buffer, lost);
                    acks.clear();
                }
            }
            Order::Finish(done) => {
                flush(&mut buffer, lost);
                acks.clear();
                let _ = done.send(());
            }
        }
    }
}

/// A full disk is one line in the log, not one for each event.
fn flush(buffer: &mut Buffer<impl Write>, count: &AtomicU64) {
    match buffer.flush() {
        Outcome::Written => {}
        Outcome::Recovered => {
            let lost = count.load(Ordering::Relaxed);
            tracing::warn!(lost, "the sink can be written again");
        }
        Outcome::Failed { lost, error } => {
            count.fetch_add(lost as u64, Ordering::Relaxed);
            if let Some(error) = error {
                tracing::error!(%error, "the sink cannot be written; lines are lost until it can");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn every_line_is_in_the_file_when_the_sink_has_finished() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.%p");
        let target = Target::parse(&format!("file:{}", path.display())).expect("a target");
        let sink = open(&target).expect("a file");
        for number in 0..10_000 {
            sink.write(&number, None);
        }
        sink.finish().await;
        let Target::File(path) = target else {
            panic!("a file")
        };
        let text = std::fs::read_to_string(path).expect("the file");
        assert_eq!(text.lines().count(), 10_000);
        assert_eq!(text.lines().last(), Some("9999"));
        assert_eq!(sink.lost(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_blocks_neither_the_bot_nor_the_end() {
        let (release, held) = mpsc::sync_channel(1);
        let lines = Arc::<AtomicU64>::default();
        let sink = start(Held(held, lines.clone())).expect("a thread");
        // More than the queue and one batch hold.
        let many = WAITING + BATCH_BYTES;
        for number in 0..many {
            sink.write(&number, None);
        }
        sink.finish().await;
        assert_eq!(lines.load(Ordering::Relaxed), 0);

        tokio::time::resume();
        drop(release);
        // Room for every line that found the queue full, of which none has run yet.
        while lines.load(Ordering::Relaxed) < WAITING as u64 {
            thread::yield_now();
        }
        sink.finish().await;
        assert_eq!(lines.load(Ordering::Relaxed), many as u64);
    }

    #[tokio::test]
    async fn a_full_disk_loses_lines_and_counts_them() {
        let sink = open(&Target::File("/dev/full".into())).expect("a file");
        for number in 0..1000 {
            sink.write(&number, None);
        }
        sink.finish().await;
        assert_eq!(sink.lost(), 1000);
    }

    #[test]
    fn an_unknown_target_says_which_ones_there_are() {
        for wrong in ["", "kafka", "file:"] {
            assert!(Target::parse(wrong).expect_err(wrong).contains("file:PATH"));
        }
        let said = Target::parse("nats:/me:secret@a").expect_err("misspelt");
        assert!(said.contains("`a`") && !said.contains("secret"), "{said}");
    }

    /// Takes nothing until its channel is closed, then counts lines.
    struct Held(mpsc::Receiver<()>, Arc<AtomicU64>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            self.1.fetch_add(lines as u64, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
