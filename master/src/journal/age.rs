//! How long ago a row was written. Only the wall clock outlasts a restart of the
//! host, but it can be set; the clock since the boot cannot, but is of one boot.
//! So a journal says how far apart the two were when it was last told that a
//! master runs: within the same boot, what the wall clock was set by since is
//! known, and does not count.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::clock::unix_ms;

/// Both clocks at one moment, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) boot: String,
    pub(super) since_boot: u64,
    pub(super) unix: u64,
}

impl Clocks {
    pub(super) fn now() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let clock = clock_gettime(ClockId::Boottime);
        Self {
            boot: boot.trim().to_owned(),
            since_boot: clock.tv_sec.cast_unsigned() * 1000
                + clock.tv_nsec.cast_unsigned() / 1_000_000,
            unix: unix_ms(),
        }
    }

    /// For a later master: the boot, and the wall clock's time when it began.
    pub(super) fn to_text(&self) -> String {
        let began = self.unix.saturating_sub(self.since_boot);
        format!("{} {began}", self.boot)
    }

    /// What the wall clock would say now, if it had not been set since `text` was
    /// written; what it says, if that is of another boot.
    pub(super) fn unset_since(&self, text: &str) -> u64 {
        self.began(text)
            .map_or(self.unix, |began| began.saturating_add(self.since_boot))
    }

    /// When this boot began, by the wall clock as it was when `text` was written;
    /// `None`: that is of another boot.
    pub(super) fn began(&self, text: &str) -> Option<u64> {
        match text.split_once(' ') {
            Some((boot, began)) if boot == self.boot && !boot.is_empty() => began.parse().ok(),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_boot_only_the_clock_that_nobody_sets_counts() {
        let at = |boot: &str, since_boot, unix| Clocks {
            boot: boot.to_owned(),
            since_boot,
            unix,
        };
        let text = at("one", 1_000, 1_000_000).to_text();
        assert_eq!(at("one", 3_000, 1_002_000).unset_since(&text), 1_002_000);
        assert_eq!(at("one", 3_000, 4_602_000).unset_since(&text), 1_002_000);
        assert_eq!(at("one", 3_000, 2_000).unset_since(&text), 1_002_000);
        assert_eq!(at("two", 500, 4_602_000).unset_since(&text), 4_602_000);
        assert_eq!(at("", 3_000, 7_000).unset_since(&text), 7_000);
        assert_eq!(at("one", 3_000, 7_000).unset_since("one word"), 7_000);
        assert_eq!(at("one", 3_000, 7_000).unset_since(""), 7_000);
    }

    #[test]
    fn the_clocks_of_this_host_agree_with_themselves() {
        let now = Clocks::now();
        assert!(!now.boot.is_empty() && now.since_boot > 0);
        assert_eq!(now.unset_since(&now.to_text()), now.unix);
    }
}
