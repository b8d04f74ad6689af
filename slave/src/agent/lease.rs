//! A slave that keeps a lease seals itself when it is over: it closes its connections, keeps
//! its tickets, and hands nothing out. What a leader makes of that it says when there is one.
//!
//! ```text
//! kept ──no word of a leader──▶ over: the gate is shut, every shard is sealed, the link dropped
//!   ▲                                          │ all are sealed
//!   └───────── accepted: the gate opens ◀── dials, and reports what it sealed
//! ```
//!
//! The gate shuts by the clock alone, whatever this task does meanwhile: a process that was
//! stopped hands nothing out when it wakes (`shard/handing.rs`, `shard/connection.rs`).

use std::time::Duration;

use baton_protocol::{
    lease::Lease,
    message::{Holding, Seal},
};

use super::Agent;
use crate::lease::now;

/// What runs when it is over may run so long: as at a seal that a master orders as a rule.
const DRAIN: Duration = Duration::from_secs(10);

/// The clock is looked at this often: timers stand still while the host is suspended.
const LOOK: Duration = Duration::from_secs(1);

/// While shards are being sealed, the master is dialled after this time.
const SEALING: Duration = Duration::from_millis(100);

/// The lease, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lease: Lease,
    /// Whether it was over, and no leader accepted what was sealed since.
    lapsed: bool,
}

impl Kept {
    /// Whether what is sealed was sealed because it was over.
    pub(super) const fn lapsed(&self) -> bool {
        self.lapsed
    }

    /// When it is to be looked at; `None`: there is none.
    pub(super) fn look_in(&self) -> Option<Duration> {
        let until = self.lease.until().filter(|_| !self.lapsed)?;
        Some(until.saturating_sub(now()).min(LOOK))
    }

    /// In milliseconds; zero: there is none.
    pub(super) fn millis(&self) -> u64 {
        let length = self.lease.length().unwrap_or_default();
        u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Agent {
    /// A leader is dialled.
    pub(super) fn lease_dials(&mut self) {
        self.kept.lease.dials(now());
    }

    /// A leader accepted this slave, and says how long its lease is. `false`: the lease was
    /// over before this word came, so what was reported is not so any more.
    pub(super) fn lease_accepted(&mut self, lease_ms: u64) -> bool {
        if !self.kept.lapsed {
            self.look_at_lease();
            if self.kept.lapsed {
                return false;
            }
        }
        debug_assert!(
            !self.kept.lapsed || self.all_sealed(),
            "what is reported as sealed is"
        );
        let length = (lease_ms > 0).then(|| Duration::from_millis(lease_ms));
        self.kept.lease.accepted(length);
        self.kept.lapsed = false;
        self.open_gate();
        true
    }

    /// A ping is about to be answered. Of which answer the leader says that it heard it.
    pub(super) fn lease_pinged(&mut self, number: u64, heard: u64) {
        if heard > 0 {
            self.kept.lease.is_heard(heard);
        }
        self.kept.lease.answers(number, now());
        if mutant!("lease-by-arrival") {
            self.kept.lease.dials(now());
            let length = self.kept.lease.length();
            self.kept.lease.accepted(length);
        }
        if !self.kept.lapsed {
            self.open_gate();
        }
    }

    fn open_gate(&self) {
        self.base.context.lease.opens(self.kept.lease.until());
    }

    /// If it is over, everything is sealed.
    pub(super) fn look_at_lease(&mut self) {
        if self.kept.lapsed || !self.kept.lease.is_over(now()) || mutant!("lease-not-kept") {
            return;
        }
        self.kept.lapsed = true;
        self.base.context.lease.shuts();
        let owned = self.base.table.entries();
        let owned: Vec<_> = owned
            .filter(|(_, entry)| entry.is_owned() && !entry.is(Holding::Sealed))
            .map(|(shard, entry)| (shard, entry.epoch()))
            .collect();
        tracing::error!(
            lease = ?self.kept.lease.length().unwrap_or_default(), shards = owned.len(),
            "no leader said anything for the whole lease: every shard is sealed until one does"
        );
        for (shard, epoch) in owned {
            self.base.table.seal(Seal {
                shard,
                epoch,
                drain: DRAIN,
                ..Seal::default()
            });
        }
        self.base.work.stop(None);
        if self.base.link().is_some() {
            self.redial();
        }
    }

    /// Whether the master may be dialled: it is told what is sealed, not what is about to be.
    pub(super) fn may_dial(&mut self) -> bool {
        self.look_at_lease();
        if self.kept.lapsed && !self.all_sealed() {
            self.base.dials_again(SEALING);
            return false;
        }
        true
    }

    fn all_sealed(&self) -> bool {
        let mut owned = self.base.table.entries();
        owned.all(|(_, entry)| {
            !entry.is_owned() || entry.is(Holding::Sealed) || entry.is(Holding::Failed)
        }) && !self.base.work.is_busy()
            && self.base.work.epoch().get() == 0
    }
}
