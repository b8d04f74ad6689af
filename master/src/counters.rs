//! What the listener saw, for `status`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident ),* $(,)?) => {
        /// Counts since the master started. They order nothing, so they are
        /// relaxed.
        #[derive(Debug, Default)]
        pub struct Counters {
            $( $(#[$doc])* pub $name: Counter, )*
        }

        /// The counts at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $( $(#[$doc])* pub $name: u64, )*
        }

        impl Counters {
            /// The counts now.
            #[must_use]
            pub fn read(&self) -> Counts {
                Counts { $( $name: self.$name.get(), )* }
            }
        }
    };
}

counters! {
    /// Connections that were taken.
    connections,
    /// Slaves that joined, each time that they did.
    joined,
    /// Connections that were refused with a reason.
    refused,
    /// Connections that were dropped for what came over them: bytes that are no
    /// message, messages out of place, half frames.
    garbage,
    /// Connections of which TLS or a certificate was not as it must be.
    untrusted,
    /// Connections that were closed at once because there were too many.
    too_many,
    /// Connections that were dropped because the peer took nothing for too long.
    stuck,
}

/// One count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more; returns the count with it.
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
