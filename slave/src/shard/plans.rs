//! What a shard was told for later: when it may dial, what its next RESUMED answers, and
//! that it is to be sealed with its connection.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// Nothing is dialled before.
    rest: Option<Rest>,
    /// Whether it served before its task panicked, so that nobody waits for a word.
    served: bool,
    /// Whether RESUMED is to be confirmed as the answer to an order.
    ordered: bool,
    /// It is to be sealed when its connection ends; how long what is in doubt may
    /// run then.
    late: Option<Duration>,
}

/// Until when nothing is dialled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) until: Instant,
    /// Whether Discord asked for it; else the task before this one panicked.
    pub(super) by_discord: bool,
}

impl Plans {
    /// Behind a task that panicked, and that `served` or did not.
    pub(super) fn after_a_panic(served: bool, not_before: Instant) -> Self {
        Self {
            served,
            rest: Some(Rest {
                until: not_before,
                by_discord: false,
            }),
            ..Self::default()
        }
    }

    /// Discord asked for a pause: nothing is dialled before.
    pub(super) const fn rest_until(&mut self, until: Instant) {
        self.rest = Some(Rest {
            until,
            by_discord: true,
        });
    }

    /// The rest before the next dial, which was to be at `due`. What was planned counts
    /// once.
    pub(super) fn rest_before_dial(&mut self, due: Instant) -> Rest {
        let planned = self.rest.take().filter(|rest| rest.until >= due);
        planned.unwrap_or(Rest {
            until: due,
            by_discord: false,
        })
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
