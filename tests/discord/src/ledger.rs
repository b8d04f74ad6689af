//! What was sent and what happened: the ledger of dispatches and the log of
//! connections. Both only grow, are bounded, and say so when they had to drop.

use std::{
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{id::Fingerprint, kind::EventKind};

/// One dispatch of one session. Written once, when it was numbered; a replay
/// adds nothing, so the time stays that of the creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `CLOCK_MONOTONIC` of the event, microseconds.
    pub created_us: u64,
    /// Its number in the session.
    pub seq: u64,
    /// The session.
    pub session: Fingerprint,
    /// The guild, 0 for none.
    pub guild: u64,
    /// The session's shard.
    pub shard: u32,
    /// The type.
    pub kind: EventKind,
    /// Whether a probe made it.
    pub probe: bool,
}

impl Entry {
    /// Appends the entry as one line of JSON.
    pub fn write_line(&self, out: &mut String) {
        let _ = writeln!(
            out,
            r#"{{"shard":{},"session":"{}","seq":{},"type":"{}","guild":"{}","created_us":{},"probe":{}}}"#,
            self.shard, self.session, self.seq, self.kind, self.guild, self.created_us, self.probe
        );
    }
}

/// A step in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// TCP was accepted and the websocket opened; detail: the path and query.
    Connected,
    /// HELLO was sent.
    Hello,
    /// An IDENTIFY was received; detail: `accepted` or why not.
    Identify,
    /// A RESUME was received; detail: its sequence.
    Resume,
    /// A RESUME was refused; detail: why.
    Refused,
    /// RESUMED was put behind the replay; detail: how many events are replayed.
    Resumed,
    /// The client closed; detail: the code.
    CloseReceived,
    /// The server closed; detail: the code and why.
    CloseSent,
    /// The connection ended without a close frame; detail: why.
    Lost,
    /// A fault was carried out; detail: its name.
    Fault,
}

impl What {
    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Hello => "hello",
            Self::Identify => "identify",
            Self::Resume => "resume",
            Self::Refused => "refused",
            Self::Resumed => "resumed",
            Self::CloseReceived => "close_received",
            Self::CloseSent => "close_sent",
            Self::Lost => "lost",
            Self::Fault => "fault",
        }
    }
}

/// One line of the connection log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `CLOCK_MONOTONIC`, microseconds.
    pub at_us: u64,
    /// The connection, counted from 1.
    pub conn: u64,
    /// The shard, once the client has named it.
    pub shard: Option<u32>,
    /// The session, once there is one.
    pub session: Option<Fingerprint>,
    /// What happened.
    pub what: What,
    /// More about it.
    pub detail: String,
}

impl LogLine {
    /// Appends the line as one line of JSON.
    pub fn write_line(&self, out: &mut String) {
        let line = serde_json::json!({
            "at_us": self.at_us,
            "conn": self.conn,
            "shard": self.shard,
            "session": self.session.map(|s| s.to_string()),
            "what": self.what.name(),
            "detail": self.detail,
        });
        let _ = writeln!(out, "{line}");
    }
}

/// A list that only grows, up to a limit.
pub(crate) struct Bounded<T> {
    limit: usize,
    inner: Mutex<Inner<T>>,
}

/// Entries per piece. A list in pieces never copies millions of entries at once
/// just to grow.
const PIECE: usize = 1 << 14;

struct Inner<T> {
    pieces: Vec<Vec<T>>,
    len: usize,
    dropped: u64,
}

/// Every dispatch.
pub(crate) type Ledger = Bounded<Entry>;
/// Every step of every connection.
pub(crate) type Log = Bounded<LogLine>;

impl<T: Clone> Bounded<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::new(Inner {
                pieces: Vec::new(),
                len: 0,
                dropped: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, or counts what it could not append.
    pub(crate) fn push(&self, entry: T) {
        let mut inner = self.lock();
        if inner.len >= self.limit {
            inner.dropped += 1;
            return;
        }
        if inner.len.is_multiple_of(PIECE) {
            inner.pieces.push(Vec::with_capacity(PIECE.min(self.limit)));
        }
        if let Some(last) = inner.pieces.last_mut() {
            last.push(entry);
        }
        inner.len += 1;
    }

    /// At most `limit` entries from number `from` on.
    pub(crate) fn read(&self, from: usize, limit: usize) -> Vec<T> {
        let inner = self.lock();
        let from = from.min(inner.len);
        let count = limit.min(inner.len - from);
        let mut read = Vec::with_capacity(count);
        for piece in inner.pieces.iter().skip(from / PIECE) {
            let start = if read.is_empty() { from % PIECE } else { 0 };
            let end = piece.len().min(start + (count - read.len()));
            read.extend_from_slice(&piece[start.min(end)..end]);
            if read.len() == count {
                break;
            }
        }
        read
    }

    /// Entries held and entries dropped.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.len, inner.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn entries_are_read_across_pieces() {
        let list = Bounded::new(100_000);
        for number in 0..40_000 {
            list.push(number);
        }
        let expected: Vec<i32> = (16_000..36_000).collect();
        assert_eq!(list.read(16_000, 20_000), expected);
        assert_eq!(list.read(16_384, 2), [16_384, 16_385]);
        assert_eq!(list.read(39_999, 10), [39_999]);
    }

    #[test]
    fn a_full_list_counts_what_it_drops_and_keeps_what_it_has() {
        let list = Bounded::new(2);
        for number in 0..5 {
            list.push(number);
        }
        assert_eq!(list.read(0, 10), [0, 1]);
        assert_eq!(list.read(1, 10), [1]);
        assert_eq!(list.read(9, 10), [0; 0]);
        assert_eq!(list.counts(), (2, 3));
    }
}
