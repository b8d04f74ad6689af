//! What a slave counts, for its status page and for tests.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the process.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a slave counted since its start, at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads them all.
            #[must_use]
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Dispatches received, replays included.
    received,
    /// Events handed to the bot.
    handed,
    /// Events finished, failed ones included.
    finished,
    /// Events whose handler panicked, or gave them back too often.
    failed,
    /// Events given back with `retry()`.
    retried,
    /// Events handed out with `Mark::MayRepeat`.
    marked,
    /// Dispatches that a replay brought a second time; dropped.
    duplicates,
    /// Calls of the bot about state that panicked or failed.
    state_errors,
    /// Times that the store had no room for events, which wait.
    refused,
    /// Connections dialled.
    dials,
    /// Sessions that Discord ended: a span of events was lost each time.
    sessions_lost,
    /// Tasks of shards that panicked and were started again.
    panics,
    /// Times that a connection was closed because nothing was taken from it for too long.
    crowded,
    /// Events given up: no slave finished them, and Discord no longer replays them.
    given_up,
    /// Events set aside, each of which killed the processes that had it.
    set_aside,
    /// Replays that left out events which are known to have been sent.
    holes,
    /// Snapshots of state written.
    snapshots,
    /// Snapshots that could not be written.
    snapshots_failed,
    /// Snapshots from which a state was made whole again.
    snapshots_used,
    /// Commands that were accepted and could not be sent before the shard moved.
    commands_lost,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
