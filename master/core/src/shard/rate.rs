//! How many events a shard gets. Two questions are asked:
//!
//! - *How many may come?* From it follows how long a RESUME can still reach back, because
//!   the service replays a bounded number of events ([`Rate::read`]). A burst counts.
//! - *How many come as a rule?* A new slave that gets far fewer gets none
//!   ([`Rate::usual`]). A burst does not count: the beginning of a new session, a raid.
//!
//! Replayed events answer neither question. They came while the shard had no connection, and
//! all of them come at once. So the rate stands still from the moment in which the owner
//! loses its connection, or another slave begins to RESUME, until the replay is over
//! ([`Rate::live`]).

use std::time::Duration;

use baton_protocol::Sequence;

use crate::event::Time;

/// It is measured over at least this time.
const SPAN: Duration = Duration::from_secs(5);

/// A rate younger than [`SPAN`] counts from here on.
const SHORTEST: Duration = Duration::from_secs(1);

/// So many pieces of time, of [`SHORTEST`] or longer, are kept: the newest.
const PIECES: usize = 16;

/// Of fewer pieces nothing is said about what is usual.
const FEWEST: usize = 4;

/// What the checkpoints of one shard say about its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// The span that runs; `None`: nothing was heard.
    span: Option<Piece>,
    /// Events in 1000 s, over the last whole span.
    last: u64,
    /// The piece that runs.
    piece: Option<Piece>,
    /// Whole pieces: how many events came, in how many milliseconds.
    pieces: [(u64, u64); PIECES],
    /// How many there are.
    whole: usize,
    /// Which one is overwritten next.
    next: usize,
}

/// A time that began when the service was there.
#[derive(Clone, Copy, Debug)]
struct Piece {
    since: Time,
    at: Sequence,
}

impl Rate {
    pub(crate) const fn new() -> Self {
        Self {
            span: None,
            last: 0,
            piece: None,
            pieces: [(0, 0); PIECES],
            whole: 0,
            next: 0,
        }
    }

    /// From now on its owner receives what the service sends as it happens; it has received
    /// everything up to here.
    pub(crate) const fn live(&mut self, now: Time, received: Sequence) {
        let begins = Piece {
            since: now,
            at: received,
        };
        self.span = Some(begins);
        self.piece = Some(begins);
    }

    /// Its owner, which is connected, has received everything up to here.
    pub(crate) fn note(&mut self, now: Time, received: Sequence) {
        let (Some(span), Some(piece)) = (self.span, self.piece) else {
            return self.live(now, received);
        };
        if received < span.at {
            // Another session.
            self.last = 0;
            return self.live(now, received);
        }
        let begins = Piece {
            since: now,
            at: received,
        };
        if now.since(span.since) >= SPAN {
            self.last = span.rate(now, received);
            self.span = Some(begins);
        }
        if now.since(piece.since) >= SHORTEST {
            self.pieces[self.next] = piece.until(now, received);
            self.next = (self.next + 1) % PIECES;
            self.whole = (self.whole + 1).min(PIECES);
            self.piece = Some(begins);
        }
    }

    /// Events in 1000 s that may come, where the owner is connected and has received
    /// everything up to here; zero where nothing is known.
    pub(super) fn read(&self, now: Time, received: Sequence) -> u64 {
        let Some(span) = self.span else {
            return self.last;
        };
        let length = now.since(span.since);
        let running = if length >= SHORTEST {
            span.rate(now, received)
        } else {
            0
        };
        if length >= 2 * SPAN {
            running
        } else {
            running.max(self.last)
        }
    }

    /// The same as it was when the owner was connected last.
    pub(super) const fn before(&self) -> u64 {
        self.last
    }

    /// Events in 1000 s that come as a rule: in the quieter half of the last pieces, of
    /// which the one that runs is one where the owner is connected (it has received
    /// everything up to here then). Zero where too little is known.
    pub(super) fn usual(&self, now: Time, received: Option<Sequence>) -> u64 {
        let running = received
            .and_then(|received| Some(self.piece?.until(now, received)))
            .filter(|&(_, ms)| u128::from(ms) >= SHORTEST.as_millis());
        let mut pieces = self.pieces[..self.whole].to_vec();
        pieces.extend(running);
        if pieces.len() < FEWEST {
            return 0;
        }
        pieces.sort_by_key(|&(events, ms)| in_1000_s(events, ms));
        let half = &pieces[..pieces.len() / 2];
        let sum = |of: fn(&(u64, u64)) -> u64| half.iter().map(of).fold(0, u64::saturating_add);
        in_1000_s(sum(|piece| piece.0), sum(|piece| piece.1))
    }
}

impl Piece {
    /// Events and milliseconds since it began.
    fn until(self, now: Time, received: Sequence) -> (u64, u64) {
        let ms = now.since(self.since).as_millis();
        let events = received.get().saturating_sub(self.at.get());
        (events, u64::try_from(ms).unwrap_or(u64::MAX))
    }

    fn rate(self, now: Time, received: Sequence) -> u64 {
        let (events, ms) = self.until(now, received);
        in_1000_s(events, ms)
    }
}

fn in_1000_s(events: u64, ms: u64) -> u64 {
    let rate = u128::from(events) * 1_000_000 / u128::from(ms.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}
