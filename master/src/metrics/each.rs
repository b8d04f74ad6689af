//! Families with one value for each slave that has one.

use std::sync::atomic::AtomicU64;

use baton_core::view::SlaveView;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

pub(super) type Labels = Vec<(&'static str, String)>;
pub(super) type Float = Gauge<f64, AtomicU64>;

pub(super) fn gauges(
    slaves: &[SlaveView],
    value: impl Fn(&SlaveView) -> Option<u64>,
) -> Family<Labels, Gauge> {
    let family = Family::<Labels, Gauge>::default();
    for slave in slaves {
        if let Some(value) = value(slave) {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            family.get_or_create(&labels(slave)).set(value);
        }
    }
    family
}

pub(super) fn floats(
    slaves: &[SlaveView],
    value: impl Fn(&SlaveView) -> Option<f64>,
) -> Family<Labels, Float> {
    let family = Family::<Labels, Float>::default();
    for slave in slaves {
        if let Some(value) = value(slave) {
            family.get_or_create(&labels(slave)).set(value);
        }
    }
    family
}

/// Of milliseconds.
pub(super) fn seconds(
    slaves: &[SlaveView],
    ms: impl Fn(&SlaveView) -> Option<u64>,
) -> Family<Labels, Float> {
    floats(slaves, |slave| Some(ms(slave)? as f64 / 1000.0))
}

pub(super) fn counters(
    slaves: &[SlaveView],
    value: impl Fn(&SlaveView) -> Option<u64>,
) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    for slave in slaves {
        if let Some(value) = value(slave) {
            family.get_or_create(&labels(slave)).inc_by(value);
        }
    }
    family
}

pub(super) fn labels(slave: &SlaveView) -> Labels {
    vec![
        ("slave", slave.slave.clone()),
        ("slot", slave.slot.clone()),
        ("build", slave.build.clone()),
    ]
}
