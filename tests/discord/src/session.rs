//! One session: its own numbering of the events, its replay buffer, and the
//! connections it is served on.
//!
//! ```text
//!            IDENTIFY                 connection lost, any close but 1000/1001
//!   (none) ──────────▶ connected ───────────────────────────▶ resumable
//!                        ▲  │                                   │   │
//!                        │  │ close 1000/1001, op 9 false,      │   │ window over
//!                        │  ▼ token reset                       │   ▼
//!                        │ ended ◀──────────────────────────────┼─ ended
//!                        └──────────────── RESUME ──────────────┘
//! ```
//!
//! The buffer is also the send queue: a connection holds a cursor into it, so a
//! RESUME is nothing but a cursor at an older place. Cells push into a session
//! whether or not it is connected.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    conn::command::Command,
    id::{ConnId, Fingerprint},
    kind::EventKind,
    ledger::{Entry as LedgerEntry, Ledger},
    wire::encode::Compression,
    world::view::View,
};

/// What a session was identified with; never changes.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    pub(crate) token: String,
    pub(crate) shard: u32,
    pub(crate) count: u32,
    pub(crate) intents: u64,
    pub(crate) version: u8,
    pub(crate) compression: Compression,
    pub(crate) large_threshold: u32,
}

impl Params {
    /// Whether the dispatches of this guild go to the session's shard.
    pub(crate) fn has_guild(&self, guild: u64) -> bool {
        (guild >> 22) % u64::from(self.count) == u64::from(self.shard)
    }

    pub(crate) fn view(&self) -> View {
        View {
            intents: self.intents,
            large_threshold: self.large_threshold,
        }
    }
}

/// One dispatch in the buffer.
#[derive(Clone, Debug)]
pub(crate) struct Buffered {
    pub(crate) seq: u64,
    pub(crate) kind: EventKind,
    pub(crate) body: Arc<str>,
    /// READY and RESUMED belong to the connection they answer and are never
    /// replayed: in a replay they would end it too early.
    only: Option<ConnId>,
}

/// A dispatch on its way into a session.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: EventKind,
    pub(crate) guild: u64,
    pub(crate) body: Arc<str>,
    pub(crate) created_us: u64,
    pub(crate) probe: bool,
    pub(crate) only: Option<ConnId>,
}

/// A connection that serves the session.
struct Attached {
    conn: ConnId,
    /// Highest sequence the connection has taken.
    cursor: u64,
    notify: Arc<Notify>,
    commands: mpsc::Sender<Command>,
}

struct State {
    seq: u64,
    /// Dispatches that were numbered.
    dispatches: u64,
    /// Highest sequence that is no longer in the buffer.
    floor: u64,
    buffer: VecDeque<Buffered>,
    attached: Vec<Attached>,
    /// Since when no connection serves the session; `None` while one does.
    alone_since: Option<Instant>,
    ended: bool,
    /// Served while it is connected, but never resumed.
    expired: bool,
    /// The last sequence that told this session about a guild.
    touched: BTreeMap<u64, u64>,
}

/// Why a RESUME was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeError {
    /// Ended, or its window is over.
    Gone,
    /// The sequence is above the session's.
    SeqTooHigh,
    /// The replay buffer no longer reaches back so far.
    Trimmed,
    /// Another connection serves it, and the switch says to refuse.
    Connected,
}

/// See the module.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) params: Params,
    bound: usize,
    backlog: usize,
    skip_every: Arc<AtomicU32>,
    state: Mutex<State>,
}

/// What a connection brings to a session.
pub(crate) struct Attachment {
    pub(crate) conn: ConnId,
    pub(crate) notify: Arc<Notify>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Session {
    /// A session served by `first`, nothing sent yet. Each `skip_every` dispatches
    /// numbers are left out.
    pub(crate) fn new(
        id: String,
        params: Params,
        bound: usize,
        backlog: usize,
        skip_every: Arc<AtomicU32>,
        first: Attachment,
    ) -> Self {
        Self {
            fingerprint: Fingerprint::of(&id),
            id,
            params,
            bound,
            backlog,
            skip_every,
            state: Mutex::new(State {
                seq: 0,
                dispatches: 0,
                floor: 0,
                buffer: VecDeque::new(),
                attached: vec![first.at(0)],
                alone_since: None,
                ended: false,
                expired: false,
                touched: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a dispatch and puts it into the buffer; the ledger learns of it
    /// in the same step. False when the session has ended.
    pub(crate) fn push(&self, event: Outgoing, ledger: &Ledger) -> bool {
        let mut state = self.lock();
        if state.ended {
            return false;
        }
        let seq = state.number(self.skip_every.load(Ordering::Relaxed));
        if event.guild != 0 {
            state.touched.insert(event.guild, seq);
        }
        state.buffer.push_back(Buffered {
            seq,
            kind: event.kind,
            body: event.body,
            only: event.only,
        });
        ledger.push(LedgerEntry {
            created_us: event.created_us,
            seq,
            session: self.fingerprint,
            guild: event.guild,
            shard: self.params.shard,
            kind: event.kind,
            probe: event.probe,
        });
        state.trim(self.bound);
        if state.buffer.len() > self.bound + self.backlog {
            for attached in state.attached.drain(..) {
                let _ = attached.commands.try_send(Command::Overrun);
            }
            state.alone_since = Some(Instant::now());
            state.trim(self.bound);
        }
        for attached in &state.attached {
            attached.notify.notify_one();
        }
        true
    }

    /// The next dispatches for a connection, at most `max`; `None` when the
    /// connection no longer serves the session.
    pub(crate) fn take(&self, conn: ConnId, max: usize) -> Option<Vec<Buffered>> {
        let mut state = self.lock();
        let position = state.attached.iter().position(|a| a.conn == conn)?;
        let cursor = state.attached[position].cursor;
        let skip = state.behind(cursor);
        let mut taken = Vec::new();
        let mut last = cursor;
        for event in state.buffer.iter().skip(skip).take(max) {
            last = event.seq;
            if event.only.is_none_or(|only| only == conn) {
                taken.push(event.clone());
            }
        }
        state.attached[position].cursor = last;
        state.trim(self.bound);
        if last < state.seq {
            // More is waiting: the connection must come again.
            state.attached[position].notify.notify_one();
        }
        Some(taken)
    }

    /// Serves the session on one more connection from `seq` on. `replace` says
    /// what happens to those that serve it already. Returns how many events
    /// will be replayed.
    pub(crate) fn resume(
        &self,
        seq: u64,
        attachment: Attachment,
        window: Duration,
        replace: Replace,
    ) -> Result<u64, ResumeError> {
        let mut state = self.lock();
        if state.is_gone(window) || state.expired {
            state.ended = true;
            return Err(ResumeError::Gone);
        }
        if seq > state.seq {
            state.ended = true;
            return Err(ResumeError::SeqTooHigh);
        }
        if seq < state.floor {
            return Err(ResumeError::Trimmed);
        }
        match replace {
            Replace::Refuse if !state.attached.is_empty() => return Err(ResumeError::Connected),
            Replace::TakeOver => {
                for attached in state.attached.drain(..) {
                    let _ = attached.commands.try_send(Command::TakenOver);
                }
            }
            Replace::Refuse | Replace::Keep => {}
        }
        let notify = Arc::clone(&attachment.notify);
        state.attached.push(attachment.at(seq));
        state.alone_since = None;
        notify.notify_one();
        let replayed = state.buffer.len() - state.behind(seq);
        Ok(u64::try_from(replayed).unwrap_or(u64::MAX))
    }

    /// A connection no longer serves the session.
    pub(crate) fn detach(&self, conn: ConnId) {
        let mut state = self.lock();
        let before = state.attached.len();
        state.attached.retain(|a| a.conn != conn);
        if state.attached.is_empty() && before > 0 {
            state.alone_since = Some(Instant::now());
            state.trim(self.bound);
        }
    }

    /// Ends the session for good and frees its buffer. Connections that serve
    /// it hear of it, except `but`.
    pub(crate) fn end(&self, but: Option<ConnId>, tell: impl Fn() -> Command) {
        let mut state = self.lock();
        state.ended = true;
        state.buffer = VecDeque::new();
        state.touched = BTreeMap::new();
        for attached in state.attached.drain(..) {
            if Some(attached.conn) != but {
                let _ = attached.commands.try_send(tell());
            }
        }
    }

    /// The session can no longer be resumed, but is served while connected.
    pub(crate) fn expire(&self) {
        self.lock().expired = true;
    }

    /// Removes everything at or below `seq` that was already sent.
    pub(crate) fn trim_to(&self, seq: u64) {
        let mut state = self.lock();
        let keep = state.lowest_cursor();
        while state
            .buffer
            .front()
            .is_some_and(|e| e.seq <= seq && e.seq <= keep)
        {
            state.drop_front();
        }
    }

    /// The sequence of the last dispatch.
    pub(crate) fn seq(&self) -> u64 {
        self.lock().seq
    }

    /// The last sequence that told the session about the guild, if any did.
    pub(crate) fn touched(&self, guild: u64) -> Option<u64> {
        self.lock().touched.get(&guild).copied()
    }

    /// Whether the session can never be resumed again.
    pub(crate) fn is_gone(&self, window: Duration) -> bool {
        self.lock().is_gone(window)
    }

    /// Whether a connection serves it.
    pub(crate) fn is_connected(&self) -> bool {
        !self.lock().attached.is_empty()
    }
}

/// What a RESUME does to the connections that already serve the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    TakeOver,
    Refuse,
    Keep,
}

impl Attachment {
    fn at(self, cursor: u64) -> Attached {
        Attached {
            conn: self.conn,
            cursor,
            notify: self.notify,
            commands: self.commands,
        }
    }
}

impl State {
    /// The number of the next dispatch. READY is always 1.
    fn number(&mut self, skip_every: u32) -> u64 {
        let every = u64::from(skip_every);
        let nth = self.dispatches;
        self.dispatches += 1;
        self.seq += 1;
        if every > 0 && nth > 0 && nth.is_multiple_of(every) {
            self.seq += 1 + nth / every % 3;
        }
        self.seq
    }

    /// How many events of the buffer are at or below a sequence.
    fn behind(&self, seq: u64) -> usize {
        self.buffer.partition_point(|event| event.seq <= seq)
    }

    fn is_gone(&self, window: Duration) -> bool {
        self.ended
            || (self.expired && self.attached.is_empty())
            || self
                .alone_since
                .is_some_and(|since| since.elapsed() > window)
    }

    fn lowest_cursor(&self) -> u64 {
        self.attached
            .iter()
            .map(|a| a.cursor)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Shortens the buffer to its bound, but keeps what was not sent yet.
    fn trim(&mut self, bound: usize) {
        let keep = self.lowest_cursor();
        while self.buffer.len() > bound && self.buffer.front().is_some_and(|e| e.seq <= keep) {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(event) = self.buffer.pop_front() {
            self.floor = event.seq;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "session_tests.rs"]
mod tests;
