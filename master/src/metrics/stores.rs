//! The room of states that stay where they are, as each slave says it.

use baton_core::view::SlaveView;
use baton_protocol::message::StoreRoom;
use prometheus_client::registry::{Registry, Unit};

use super::each;

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

pub(super) fn stores(slaves: &[SlaveView], ours: &mut Registry) {
    for (name, help, said) in BYTES {
        ours.register_with_unit(name, help, Unit::Bytes, each::gauges(slaves, of(said)));
    }
    for (name, help, said) in COUNTS {
        ours.register(name, help, each::gauges(slaves, of(said)));
    }
    ours.register_with_unit(
        "store_held_up",
        "For how long the one of these that waits the longest has",
        Unit::Seconds,
        each::seconds(slaves, of(|store| store.held_up_ms)),
    );
    ours.register(
        "store_stale_readers",
        "Places of dead readers that the slave has given back",
        each::counters(slaves, of(|store| store.stale_readers)),
    );
}

fn of(said: Said) -> impl Fn(&SlaveView) -> Option<u64> {
    move |slave| slave.store.as_ref().map(said)
}
