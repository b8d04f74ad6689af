//! What happened, for whoever judges it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Lines that are kept; the first ones.
const MOST: usize = 10_000;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// The session of Lavalink; empty: none.
    pub session: String,
    /// The guild; zero: none.
    pub guild: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A client began a session.
    Connected,
    /// A client went on with one.
    Resumed,
    /// A client's connection ended, and its session waits for it.
    Away,
    /// A session ended, and its players with it.
    Ended,
    /// A track began.
    TrackStarted,
    /// A track ended, with the reason that clients are told.
    TrackEnded(&'static str),
    /// The voice gateway took the connection of a player.
    VoiceConnected,
    /// The connection to the voice gateway ended, with this code.
    VoiceClosed(u16),
    /// A request was refused, with this status.
    Refused(u16),
}

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Vec<Line>>);

impl Ledger {
    pub(crate) fn note(&self, session: &str, guild: u64, what: What) {
        let mut lines = self.all();
        if lines.len() < MOST {
            lines.push(Line {
                at: Instant::now(),
                session: session.to_owned(),
                guild,
                what,
            });
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.all().clone()
    }

    // Nothing panics in here.
    fn all(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
