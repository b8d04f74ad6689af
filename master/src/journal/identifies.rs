//! `identifies`: what was given of the budget of a day. It says how old it is by itself:
//! within one boot of the host by the clock that nobody sets, so no jump of the wall clock
//! gives a day's IDENTIFYs twice. After a boot it is the wall clock, as for tickets.

use std::time::Duration;

use baton_core::event::Identifies;
use serde::{Deserialize, Serialize};

use super::age::Clocks;
use crate::clock::millis;

/// The row. Fields that are missing are as if nothing was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct IdentifiesRow {
    total: u32,
    remaining: u32,
    resets_in_ms: u64,
    refused: u32,
    trips: u32,
    held: String,
    began_ago_ms: u64,
    tripped_ago_ms: u64,
    /// When it was written: the boot, the time since then, and the wall clock.
    boot: String,
    since_boot_ms: u64,
    unix_ms: u64,
}

impl IdentifiesRow {
    /// As it is written at a moment.
    pub(super) fn at(written: &Clocks, known: &Identifies) -> Self {
        Self {
            total: known.total,
            remaining: known.remaining,
            resets_in_ms: millis(known.resets_in),
            refused: known.refused,
            trips: known.trips,
            held: known.held.clone(),
            began_ago_ms: millis(known.began_ago),
            tripped_ago_ms: millis(known.tripped_ago),
            boot: written.boot.clone(),
            since_boot_ms: written.since_boot,
            unix_ms: written.unix,
        }
    }

    /// What it says at a later moment.
    pub(super) fn by(&self, now: &Clocks) -> Identifies {
        let age = if !self.boot.is_empty() && self.boot == now.boot {
            now.since_boot.saturating_sub(self.since_boot_ms)
        } else {
            now.unix.saturating_sub(self.unix_ms)
        };
        let known = Identifies {
            total: self.total,
            remaining: self.remaining,
            resets_in: Duration::from_millis(self.resets_in_ms),
            refused: self.refused,
            trips: self.trips,
            held: self.held.clone(),
            began_ago: Duration::from_millis(self.began_ago_ms),
            tripped_ago: Duration::from_millis(self.tripped_ago_ms),
        };
        known.older(Duration::from_millis(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_does_not_make_the_day_shorter_and_another_boot_asks_the_wall() {
        let clocks = |boot: &str, since_boot, unix| Clocks {
            boot: boot.to_owned(),
            since_boot,
            unix,
        };
        let known = Identifies {
            total: 1000,
            remaining: 20,
            resets_in: Duration::from_secs(3600),
            trips: 2,
            held: "a storm".to_owned(),
            tripped_ago: Duration::from_secs(5),
            ..Identifies::default()
        };
        let row = IdentifiesRow::at(&clocks("one", 1_000, 1_000_000), &known);
        let in_a_minute = |unix| row.by(&clocks("one", 61_000, unix));
        for unix in [1_060_000, 90_000_000, 0] {
            let found = in_a_minute(unix);
            assert_eq!(found, known.clone().older(Duration::from_secs(60)));
            assert_eq!(found.resets_in, Duration::from_secs(3540));
        }
        let booted = row.by(&clocks("two", 500, 1_600_000));
        assert_eq!(booted.resets_in, Duration::from_secs(3000));
        assert_eq!(booted.tripped_ago, Duration::from_secs(605));
        let set_back = row.by(&clocks("two", 500, 7));
        assert_eq!(
            set_back.resets_in, known.resets_in,
            "no time is known to have passed"
        );
        assert_eq!(
            row.by(&clocks("two", 500, 9_000_000)).resets_in,
            Duration::ZERO
        );
    }
}
