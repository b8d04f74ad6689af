use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Log;

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn whoever_logs_does_not_wait_for_a_reader_that_reads_nothing() {
    let (log, reader) = unread();
    let line = "x".repeat(1023);
    // The first line is in the hands of the thread before the queue fills: a thread that
    // began late would say what was dropped in between.
    log.line(&line);
    let begun = Instant::now();
    while !log.is_stuck(Duration::ZERO) {
        assert!(begun.elapsed() < LONG, "the thread takes nothing");
        thread::yield_now();
    }
    for _ in 1..5000 {
        log.line(&line);
    }
    // The queue has room for a mebibyte, which is 1,024 of these lines.
    let dropped = log.dropped();
    assert_eq!(dropped, 5000 - 1024 - 1);
    assert!(!log.finish(Duration::from_millis(1)), "nobody reads it");

    reader.read();
    assert!(log.finish(LONG), "it is read again");
    let text = reader.text();
    let lines: Vec<_> = text.lines().collect();
    let (last, kept) = lines.split_last().expect("lines");
    assert_eq!(kept.len() as u64, 5000 - dropped, "all that had room");
    assert!(kept.iter().all(|kept| *kept == line), "each is whole");
    let said = format!("{dropped} lines of this log were dropped");
    assert!(last.starts_with(&said), "{last}");
}

#[test]
fn a_target_that_fails_costs_its_lines_and_is_said_when_it_works_again() {
    let disk = Arc::new(Mutex::new((0, Vec::new())));
    let log = Log::to(Disk(disk.clone()));
    for _ in 0..3 {
        log.line("lost");
        assert!(log.finish(LONG), "a failure is no wait");
    }
    assert_eq!(log.dropped(), 3);
    disk.lock().expect("the disk").0 = 1000;
    log.line("first");
    assert!(log.finish(LONG));
    log.line("second");
    assert!(log.finish(LONG));
    let text = String::from_utf8(disk.lock().expect("the disk").1.clone()).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["first", "second"]);
    assert!(lines[2].starts_with("3 lines of this log were dropped"));
    assert_eq!(lines.len(), 3, "once");
}

#[test]
fn a_target_that_does_not_block_is_tried_again() {
    let disk = Arc::new(Mutex::new((usize::MAX, Vec::new())));
    let log = Log::to(Shy(Disk(disk.clone()), 3));
    log.line("a line");
    assert!(log.finish(LONG));
    assert_eq!(disk.lock().expect("the disk").1, b"a line\n");
    assert_eq!(log.dropped(), 0);
}

/// A log whose reader reads nothing until the test opens the gate.
fn unread() -> (Log, Reader) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let (open, gate) = sync_channel(10_000);
    let log = Log::to(Pipe {
        gate,
        text: text.clone(),
    });
    (log, Reader { open, text })
}

struct Reader {
    open: SyncSender<()>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Reader {
    fn read(&self) {
        for _ in 0..10_000 {
            self.open.send(()).expect("the log");
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("the text").clone()).expect("text")
    }
}

struct Pipe {
    gate: Receiver<()>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gate.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
        let count = bytes.len().min(4096);
        let mut text = self.text.lock().expect("the text");
        text.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has room for so many bytes.
struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().expect("the disk");
        if disk.0 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.0 -= bytes.len();
        disk.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes something only at every so-and-so-many-th try.
struct Shy(Disk, u32);

impl Write for Shy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1 > 0 {
            self.1 -= 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
