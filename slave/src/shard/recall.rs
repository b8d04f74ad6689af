//! State that comes from a snapshot, because nobody copied it.

use std::future::pending;

use crate::state::snapshot::{Read, Reading};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// The snapshot that is being read.
    reading: Option<Reading>,
    /// Whether the state is from a snapshot, and behind what was handled until the
    /// replay has brought the rest.
    behind: bool,
}

impl Recall {
    /// Whatever was read is of no use.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    pub(super) fn begin(&mut self, reading: Reading) {
        debug_assert!(!self.behind, "the state is complete, or lost");
        self.reading = Some(reading);
    }

    /// The next part of it; pending where none is read. Survives being cancelled.
    pub(super) async fn next(&mut self) -> Read {
        match &mut self.reading {
            Some(reading) => reading.next().await,
            None => pending().await,
        }
    }

    /// Takes the reader out, so that whatever ends the reading finds none.
    pub(super) const fn pause(&mut self) -> Option<Reading> {
        self.reading.take()
    }

    /// Nothing ended it.
    pub(super) fn go_on(&mut self, reading: Option<Reading>) {
        self.reading = reading;
    }

    /// It cannot be used.
    pub(super) fn failed(&mut self) {
        self.reading = None;
    }

    /// All of it is here.
    pub(super) fn complete(&mut self) {
        self.reading = None;
        self.behind = true;
    }

    /// The replay has come up to what was handled; whether that was waited for.
    pub(super) const fn has_caught_up(&mut self) -> bool {
        std::mem::replace(&mut self.behind, false)
    }
}
