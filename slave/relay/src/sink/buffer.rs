//! Whole lines on their way to a file that can fail.

use std::io::{self, ErrorKind, Write};

/// Collects lines and writes them together. A failure costs the lines that were
/// collected and nothing else: one that was written in part is completed before
/// the next, so that every line of the file is whole.
#[derive(Debug)]
pub(super) struct Buffer<W> {
    out: W,
    bytes: Vec<u8>,
    /// Ends of lines in `bytes`.
    ends: Vec<usize>,
    /// The first of them is the rest of a line that was written in part.
    torn: bool,
    failing: bool,
}

/// What became of one write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything is with the operating system.
    Written,
    /// The same, after failures.
    Recovered,
    /// So many lines are lost. `error`: the first failure after a success.
    Failed {
        lost: usize,
        error: Option<io::Error>,
    },
}

impl<W: Write> Buffer<W> {
    pub(super) const fn new(out: W) -> Self {
        Self {
            out,
            bytes: Vec::new(),
            ends: Vec::new(),
            torn: false,
            failing: false,
        }
    }

    /// Adds a line, which ends with a newline.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    /// Bytes that wait.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes everything, or gives it up.
    pub(super) fn flush(&mut self) -> Outcome {
        let mut written = 0;
        let error = loop {
            match self.bytes.get(written..) {
                None | Some([]) => break None,
                Some(rest) => match self.out.write(rest) {
                    Ok(0) => break Some(ErrorKind::WriteZero.into()),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break Some(error),
                },
            }
        };
        let Some(error) = error else {
            let nothing = self.bytes.is_empty();
            self.bytes.clear();
            self.ends.clear();
            self.torn = false;
            // An empty write proves nothing about the file.
            if nothing || !std::mem::take(&mut self.failing) {
                return Outcome::Written;
            }
            return Outcome::Recovered;
        };
        let lost = self.keep_torn(written);
        let first = !std::mem::replace(&mut self.failing, true);
        Outcome::Failed {
            lost,
            error: first.then_some(error),
        }
    }

    /// Forgets what was not begun; gives how many lines that is.
    fn keep_torn(&mut self, written: usize) -> usize {
        let whole = self.ends.partition_point(|end| *end <= written);
        let begins = self.ends[..whole].last().copied().unwrap_or(0);
        self.torn = written > begins || (self.torn && whole == 0);
        let lost = self.ends.len() - whole - usize::from(self.torn);
        let kept = if self.torn { self.ends[whole] } else { written };
        self.bytes.truncate(kept);
        self.bytes.drain(..written);
        self.ends.clear();
        if self.torn {
            self.ends.push(self.bytes.len());
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_costs_lines_is_said_once_and_tears_none() {
        let mut buffer = Buffer::new(Disk::default());
        buffer.out.room = 6;
        for line in [b"one\n", b"two\n", b"six\n"] {
            buffer.push(line);
        }
        // "one", and half of "two".
        assert!(matches!(
            buffer.flush(),
            Outcome::Failed {
                lost: 1,
                error: Some(_)
            }
        ));
        for _ in 0..3 {
            buffer.push(b"ten\n");
            assert!(matches!(
                buffer.flush(),
                Outcome::Failed {
                    lost: 1,
                    error: None
                }
            ));
        }
        // Nothing to write says nothing about the disk, and this is something.
        assert_eq!(buffer.len(), 2);
        buffer.out.room = 100;
        buffer.push(b"end\n");
        assert!(matches!(buffer.flush(), Outcome::Recovered));
        assert_eq!(buffer.out.text, b"one\ntwo\nend\n");
        buffer.push(b"far\n");
        assert!(matches!(buffer.flush(), Outcome::Written));
    }

    #[test]
    fn whatever_fits_lines_stay_whole() {
        for room in 0..=12 {
            let mut buffer = Buffer::new(Disk::default());
            buffer.out.room = room;
            for line in [b"one\n", b"two\n", b"six\n"] {
                buffer.push(line);
            }
            let lost = match buffer.flush() {
                Outcome::Written | Outcome::Recovered => 0,
                Outcome::Failed { lost, .. } => lost,
            };
            buffer.out.room = 100;
            buffer.push(b"end\n");
            buffer.flush();
            let text = String::from_utf8(buffer.out.text).expect("text");
            let mut lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.pop(), Some("end"), "room {room}");
            assert_eq!(lines, ["one", "two", "six"][..3 - lost], "room {room}");
        }
    }

    /// Takes at most three bytes at once, as long as there is room.
    #[derive(Debug, Default)]
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room).min(3);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
