//! The room of states that stay where they are, as each slave says it.

use std::sync::atomic::AtomicU64;

use baton_protocol::message::StoreRoom;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::picture::{Labels, Scrape, labels};

/// What a slave says, as a number.
type Said = fn(&StoreRoom) -> u64;

const BYTES: [(&str, &str, Said); 6] = [
    (
        "store_file",
        "Files of the states that the slave has open",
        |store| store.bytes,
    ),
    (
        "store_used",
        "What of these files holds something now",
        |store| store.used,
    ),
    (
        "store_fullest",
        "What the fullest state of one shard holds",
        |store| store.fullest_used,
    ),
    (
        "store_limit",
        "What the state of one shard may hold",
        |store| store.limit,
    ),
    (
        "store_free",
        "Room on the file system of the store",
        |store| store.free,
    ),
    (
        "store_file_system",
        "Size of the file system of the store",
        |store| store.whole,
    ),
];

const COUNTS: [(&str, &str, Said); 3] = [
    (
        "store_readers",
        "Places for readers that are taken, in the shard where they are most",
        |store| store.readers.into(),
    ),
    (
        "store_set_aside",
        "States that were damaged and are set aside",
        |store| store.set_aside.into(),
    ),
    (
        "store_held_up_shards",
        "Shards that take nothing because their state cannot be changed",
        |store| store.held_up.into(),
    ),
];

impl Scrape<'_> {
    pub(super) fn stores(&self, ours: &mut Registry) {
        for (name, help, said) in BYTES {
            ours.register_with_unit(name, help, Unit::Bytes, self.of_stores(said));
        }
        for (name, help, said) in COUNTS {
            ours.register(name, help, self.of_stores(said));
        }
        let waits = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        let stale = Family::<Labels, Counter>::default();
        for slave in &self.view.slaves {
            if let Some(store) = &slave.store {
                let labels = labels(slave);
                let seconds = store.held_up_ms as f64 / 1000.0;
                waits.get_or_create(&labels).set(seconds);
                stale.get_or_create(&labels).inc_by(store.stale_readers);
            }
        }
        ours.register_with_unit(
            "store_held_up",
            "For how long the one of these that waits the longest has",
            Unit::Seconds,
            waits,
        );
        ours.register(
            "store_stale_readers",
            "Places of dead readers that the slave has given back",
            stale,
        );
    }

    fn of_stores(&self, said: Said) -> Family<Labels, Gauge> {
        let family = Family::<Labels, Gauge>::default();
        for slave in &self.view.slaves {
            if let Some(store) = &slave.store {
                let value = i64::try_from(said(store)).unwrap_or(i64::MAX);
                family.get_or_create(&labels(slave)).set(value);
            }
        }
        family
    }
}
