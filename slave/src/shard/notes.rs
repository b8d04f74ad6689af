//! Where a shard stands, as its checkpoints will say it.

use tokio::time::Instant;

use crate::telemetry::{Position, Standing};

/// See the module.
pub(super) struct Notes {
    standing: Standing,
    /// When it is noted next, where it cannot be for each event.
    due: Option<Instant>,
}

impl Notes {
    pub(super) const fn new(standing: Standing) -> Self {
        Self {
            standing,
            due: None,
        }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// It is noted then at the latest.
    pub(super) fn put_off(&mut self, until: impl FnOnce() -> Instant) {
        self.due.get_or_insert_with(until);
    }

    pub(super) fn note(&mut self, position: Position) {
        self.due = None;
        self.standing.note(position);
    }

    /// A ticket is said: what is noted from now on is behind it.
    pub(super) fn says_ticket(&self) {
        self.standing.says_ticket();
    }
}
