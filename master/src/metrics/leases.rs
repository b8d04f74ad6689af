//! Leases of slaves, where a slot has one.

use baton_core::view::SlaveView;
use prometheus_client::registry::{Registry, Unit};

use super::each;

/// Nothing where no slave keeps one, or is asked to.
pub(super) fn leases(slaves: &[SlaveView], ours: &mut Registry) {
    let has = |slave: &SlaveView| slave.lease_ms.is_some() || slave.lease_refused;
    if !slaves.iter().any(has) {
        return;
    }
    ours.register_with_unit(
        "lease",
        "How long the slave serves without a word of a leader",
        Unit::Seconds,
        each::seconds(slaves, |slave| slave.lease_ms),
    );
    ours.register_with_unit(
        "lease_left",
        "In how long its silence frees its shards, unless it says something before",
        Unit::Seconds,
        each::seconds(slaves, |slave| slave.lease_left_ms),
    );
    ours.register(
        "lease_refused",
        "1 where the slave knows no lease, although its slot has one",
        each::gauges(slaves, |slave| {
            has(slave).then(|| slave.lease_refused.into())
        }),
    );
}
