//! How a process ends: every shard is sealed, then what runs may finish.

use std::time::Duration;

use baton_protocol::message::{Holding, Seal};
use tokio::time::Instant;

use super::{table::Table, work::Worker};

/// The process ends once everything is settled.
pub(super) struct Leaving {
    /// Whether the master asked for it.
    pub(super) asked: bool,
    /// It ends then at the latest.
    pub(super) until: Instant,
}

impl Leaving {
    /// Seals every shard, unasked or not. One that its next owner has already keeps the time
    /// that its seal gave to what is in doubt: that one waits as long.
    pub(super) fn begin(asked: bool, drain: Duration, table: &mut Table) -> Self {
        tracing::info!(asked, "leaving");
        let serving: Vec<_> = table
            .entries()
            .filter(|(_, entry)| {
                matches!(
                    entry.holding(),
                    Some(
                        Holding::Starting | Holding::Resuming | Holding::Serving | Holding::Failed
                    )
                )
            })
            .map(|(shard, entry)| (shard, entry.epoch()))
            .collect();
        for (shard, epoch) in serving {
            table.seal(Seal {
                shard,
                epoch,
                drain,
                begins: None,
            });
        }
        let sealed = table
            .entries()
            .filter_map(|(_, entry)| entry.drains_until());
        let until = sealed.fold(Instant::now() + drain, |until, drains| {
            if mutant!("drain-cut-off") {
                until
            } else {
                until.max(drains)
            }
        });
        Self {
            asked,
            until: until + Duration::from_millis(500),
        }
    }

    pub(super) fn is_over(&self, table: &Table, work: &Worker) -> bool {
        let settled = table.entries().all(|(_, entry)| match entry.holding() {
            Some(Holding::Sealed) => entry.settled().is_some(),
            Some(_) => false,
            None => true,
        });
        (settled && !work.is_busy()) || Instant::now() >= self.until
    }
}
