//! What a shard was told for later: when it may dial, what its next RESUMED answers, and
//! that it is to be sealed with its connection.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// Discord asked for a pause, or the task before this one panicked: nothing is
    /// dialled before.
    not_before: Option<Instant>,
    /// Whether it served before its task panicked, so that nobody waits for a word.
    served: bool,
    /// Whether RESUMED is to be confirmed as the answer to an order.
    ordered: bool,
    /// It is to be sealed when its connection ends; how long what is in doubt may
    /// run then.
    late: Option<Duration>,
}

impl Plans {
    /// Behind a task that panicked, and that `served` or did not.
    pub(super) fn after_a_panic(served: bool, not_before: Instant) -> Self {
        Self {
            served,
            not_before: Some(not_before),
            ..Self::default()
        }
    }

    /// Nothing is dialled before.
    pub(super) const fn rest_until(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// When the next dial is due that was to be at `due`. It counts once.
    pub(super) fn dial_at(&mut self, due: Instant) -> Instant {
        self.not_before.take().map_or(due, |at| due.max(at))
    }

    /// An order to resume is carried out.
    pub(super) const fn resumes(&mut self) {
        self.ordered = !std::mem::replace(&mut self.served, false);
    }

    /// It serves; whether that answers an order.
    pub(super) const fn serves(&mut self) -> bool {
        std::mem::replace(&mut self.ordered, false)
    }

    /// It is to be sealed when its connection ends.
    pub(super) const fn seal_late(&mut self, drain: Duration) {
        self.late = Some(drain);
    }

    /// That is void.
    pub(super) const fn serve_on(&mut self) {
        self.late = None;
    }

    /// Its connection ended: how it is to be sealed, if it is.
    pub(super) const fn takes_late(&mut self) -> Option<Duration> {
        self.late.take()
    }
}
