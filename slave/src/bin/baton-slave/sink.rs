//! Where finished events go: one JSON object a line, written by a thread of its
//! own, so that a slow disk delays no shard before its window is full. An event
//! counts as finished when its line is with the operating system: a `kill -9`
//! loses no line of an event that a checkpoint calls finished.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use baton_slave::{Ack, Error};
use serde::Serialize;

/// Lines that wait for the disk. Beyond it handlers wait, and with them, by the
/// in-flight window, the shards: nothing is dropped.
const WAITING: usize = 65_536;

/// What is written reaches the file within this time.
const FLUSH: Duration = Duration::from_millis(50);

/// Lines written at once, at most.
const BATCH: usize = 128;

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
                Some(path) if !path.is_empty() => Ok(Self::File(
                    path.replace("%p", &std::process::id().to_string()).into(),
                )),
                _ => Err(format!(
                    "sink `{other}` is unknown: give stdout, none or file:PATH"
                )),
            },
        }
    }
}

/// Writes lines; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    lines: Option<SyncSender<Order>>,
}

/// The thread behind a [`Sink`].
#[derive(Debug)]
pub(crate) struct Writer {
    lines: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Line(Vec<u8>, Option<Ack>),
    Finish,
}

/// Opens the target.
pub(crate) fn open(target: &Target) -> Result<(Sink, Writer), Error> {
    let out: Box<dyn Write + Send> = match target {
        Target::None => {
            let writer = Writer {
                lines: None,
                thread: None,
            };
            return Ok((Sink { lines: None }, writer));
        }
        Target::Stdout => Box::new(io::stdout()),
        Target::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|error| {
                Error::Config(format!(
                    "sink: {} cannot be written: {error}",
                    path.display()
                ))
            })?)
        }
    };
    let (lines, waiting) = sync_channel(WAITING);
    let thread = thread::Builder::new()
        .name("sink".to_owned())
        .spawn(move || write(BufWriter::with_capacity(1 << 16, out), &waiting))
        .map_err(|source| Error::System {
            what: "start the sink's thread",
            source,
        })?;
    let sink = Sink {
        lines: Some(lines.clone()),
    };
    let writer = Writer {
        lines: Some(lines),
        thread: Some(thread),
    };
    Ok((sink, writer))
}

impl Sink {
    /// Queues one line; `ack` is dropped when it is written.
    pub(crate) fn write(&self, line: &impl Serialize, ack: Option<Ack>) {
        let Some(lines) = &self.lines else { return };
        match serde_json::to_vec(line) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                // Fails only when the process ends.
                let _ = lines.send(Order::Line(bytes, ack));
            }
            Err(error) => tracing::error!(%error, "an event could not be written down"),
        }
    }
}

impl Writer {
    /// Waits until everything that was queued is written.
    pub(crate) fn finish(self) {
        if let Some(lines) = self.lines {
            let _ = lines.send(Order::Finish);
        }
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

fn write(mut out: BufWriter<Box<dyn Write + Send>>, waiting: &Receiver<Order>) {
    let mut failing = false;
    // Of lines in the buffer.
    let mut acks = Vec::new();
    loop {
        let order = match waiting.try_recv() {
            Ok(order) => order,
            Err(_) => {
                said(&mut failing, out.flush());
                acks.clear();
                match waiting.recv_timeout(FLUSH) {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        match order {
            Order::Line(line, ack) => {
                said(&mut failing, out.write_all(&line));
                acks.extend(ack);
                // A shard's window must not wait for a queue that never empties.
                if acks.len() == BATCH {
                    said(&mut failing, out.flush());
                    acks.clear();
                }
            }
            Order::Finish => {
                said(&mut failing, out.flush());
                return;
            }
        }
    }
}

/// A full disk is one line in the log, not one for each event.
fn said(failing: &mut bool, written: io::Result<()>) {
    match written {
        Ok(()) => *failing = false,
        Err(error) if !*failing => {
            *failing = true;
            tracing::error!(%error, "the sink cannot be written; events are lost there until it can");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_the_file_when_the_writer_has_finished() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.%p");
        let target = Target::parse(&format!("file:{}", path.display())).expect("a target");
        let (sink, writer) = open(&target).expect("a file");
        for number in 0..10_000 {
            sink.write(&number, None);
        }
        writer.finish();
        let Target::File(path) = target else {
            panic!("a file")
        };
        let text = std::fs::read_to_string(path).expect("the file");
        assert_eq!(text.lines().count(), 10_000);
        assert_eq!(text.lines().last(), Some("9999"));
    }

    #[test]
    fn an_unknown_target_says_which_ones_there_are() {
        for wrong in ["", "kafka", "file:"] {
            assert!(Target::parse(wrong).expect_err(wrong).contains("file:PATH"));
        }
    }
}
