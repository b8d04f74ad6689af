//! The lease of this process: whether it may still act for its shards
//! (`baton_protocol::lease` has the proof).
//!
//! The agent keeps it, and each shard looks at it before it hands an event out. The clock is
//! the one since the boot, which goes on while the host is suspended.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// May act for ever.
const FOR_EVER: u64 = u64::MAX;

/// Until when shards of this process may act, in nanoseconds since the boot.
#[derive(Debug)]
pub(crate) struct Gate(AtomicU64);

impl Default for Gate {
    fn default() -> Self {
        Self(AtomicU64::new(FOR_EVER))
    }
}

impl Gate {
    /// They may until then; `None`: for ever.
    pub(crate) fn opens(&self, until: Option<Duration>) {
        let until = until.map_or(FOR_EVER, |until| {
            u64::try_from(until.as_nanos()).unwrap_or(FOR_EVER)
        });
        self.0.store(until, Ordering::Release);
    }

    /// They may not.
    pub(crate) fn shuts(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Whether they may not, now.
    pub(crate) fn is_shut(&self) -> bool {
        let until = self.0.load(Ordering::Acquire);
        until != FOR_EVER && u128::from(until) <= now().as_nanos() && !mutant!("lease-not-kept")
    }
}

/// The time since the boot, suspended or not.
pub(crate) fn now() -> Duration {
    let clock = clock_gettime(ClockId::Boottime);
    Duration::new(
        clock.tv_sec.cast_unsigned(),
        u32::try_from(clock.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_open_until_its_time_and_for_ever_where_it_has_none() {
        let gate = Gate::default();
        assert!(!gate.is_shut());
        gate.opens(Some(now() + Duration::from_secs(3600)));
        assert!(!gate.is_shut());
        gate.opens(Some(now()));
        assert!(gate.is_shut());
        gate.opens(None);
        assert!(!gate.is_shut());
        gate.shuts();
        assert!(gate.is_shut());
    }
}
