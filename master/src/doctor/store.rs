//! States that stay where they are: whether they have room, long before they have none.

use std::time::Duration;

use baton_core::view::{SlaveView, View};
use baton_protocol::{
    message::StoreRoom,
    text::{size, span},
};

use super::Finding;

/// A shard that has used so much of its limit, in percent, is worth a word, and one that
/// has used so much is nearly full.
const FILLING: u64 = 80;
const FULL: u64 = 95;

/// Whatever a store has: less room than this on its file system is worth a word, and with
/// less than this the next change may be refused.
const LOW: u64 = 16 << 20;
const LEAST: u64 = 4 << 20;

/// A whole file system that is smaller holds no large bot: `/dev/shm` of a container has 64 MB
/// as a rule.
const SMALL: u64 = 256 << 20;

/// Another process is waited for, for a moment, in every handover.
const MOMENT_MS: u64 = 2000;

/// A file has room for what it held once. So much more than it holds now, and more than this,
/// is a reader that never ends, or guilds that are gone.
const WIDE: u64 = 4;
const WIDE_BYTES: u64 = 64 << 20;

/// Readers have 126 places, one for each thread that reads.
const MANY_READERS: u32 = 100;

/// Slaves look every 5 s.
const OLD_MS: u64 = 60_000;

/// One finding for each thing that is not well, or one for all.
pub(super) fn store(view: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut well = None;
    for slave in view.slaves.iter().filter(|slave| slave.connected) {
        let Some(store) = &slave.store else {
            continue;
        };
        // A slave that has sealed everything has the states of its successor open.
        if slave.shards > 0 || store.held_up > 0 {
            let found = [
                held_up(slave, store),
                limit(store),
                file_system(store),
                small(store),
                wide(store),
                readers(store),
                set_aside(store),
                old(store),
            ];
            let found = found.into_iter().flatten();
            findings.extend(found.map(|finding| finding.of_slave(&slave.slave)));
        }
        well.get_or_insert_with(|| said(store));
    }
    if findings.is_empty() {
        let detail = well.unwrap_or_else(|| "no slave has a store".to_owned());
        findings.push(Finding::ok("store", detail));
    }
    findings
}

fn said(store: &StoreRoom) -> String {
    format!(
        "{} in {}, {} are free there",
        size(store.bytes),
        store.dir,
        size(store.free)
    )
}

fn held_up(slave: &SlaveView, store: &StoreRoom) -> Option<Finding> {
    if store.held_up == 0 || store.held_up_ms < MOMENT_MS {
        return None;
    }
    let shard = store.held_up_shard.get();
    let more = match store.held_up {
        1 => String::new(),
        more => format!(" (and {} other shards)", more - 1),
    };
    let detail = format!(
        "shard {shard}{more} of build {} takes nothing since {}, because its state cannot be \
         changed: {}",
        slave.build,
        span(Duration::from_millis(store.held_up_ms)),
        store.held_up_by,
    );
    let next = "make room there, or deploy a slave with a higher limit: the shard goes on by \
                itself within a second. Discord keeps its events only so long";
    Some(Finding::error("store", detail, next).of_shard(shard))
}

fn limit(store: &StoreRoom) -> Option<Finding> {
    let percent = percent(store.fullest_used, store.limit);
    if percent < FILLING || store.limit == 0 {
        return None;
    }
    let shard = store.fullest.get();
    let detail = format!(
        "the state of shard {shard} is {} and may be {} ({percent} %)",
        size(store.fullest_used),
        size(store.limit)
    );
    let next = "raise the limit with the next deploy (Guilds::with_limit, --store-limit), or \
                keep fewer resources";
    let finding = match percent >= FULL {
        true => Finding::error("store", detail, next),
        false => Finding::warning("store", detail, next),
    };
    Some(finding.of_shard(shard))
}

/// The largest state needs room for its copy, where it is compacted or its owner hangs, and
/// all of them need some to grow.
fn file_system(store: &StoreRoom) -> Option<Finding> {
    let low = store.fullest_bytes.max(store.bytes / 4).max(LOW);
    if store.whole == 0 || store.free >= low {
        return None;
    }
    let detail = format!(
        "{} of {} are free in {}, which has {} of states: less than {}",
        size(store.free),
        size(store.whole),
        store.dir,
        size(store.bytes),
        size(low)
    );
    let next = "make room there; /dev/shm can be mounted larger while it is in use (mount -o \
                remount,size=), and that of a container has --shm-size";
    let least = (store.bytes / 50).max(LEAST);
    Some(match store.free < least {
        true => Finding::error("store", detail, next),
        false => Finding::warning("store", detail, next),
    })
}

/// Where all limits together fit, it cannot be filled by the store.
fn small(store: &StoreRoom) -> Option<Finding> {
    let may_take = store.limit.saturating_mul(u64::from(store.shards));
    if store.whole == 0 || store.whole >= SMALL || may_take <= store.whole {
        return None;
    }
    let detail = format!(
        "{} is on a file system of {}, and {} states may take {} each",
        store.dir,
        size(store.whole),
        store.shards,
        size(store.limit)
    );
    let next = "in a container give /dev/shm room (--shm-size), name another folder \
                (BATON_STORE), or limit each state so that all fit (--store-limit)";
    Some(Finding::warning("store", detail, next))
}

fn wide(store: &StoreRoom) -> Option<Finding> {
    let (bytes, used) = (store.fullest_bytes, store.fullest_used);
    if bytes < WIDE_BYTES || bytes / WIDE < used {
        return None;
    }
    let shard = store.fullest.get();
    let detail = format!(
        "the file of shard {shard} has {}, and {} of it hold something",
        size(bytes),
        size(used)
    );
    let next = "baton-slave store compact writes it anew. If it grows again, a reader never \
                ends: look for a view that is kept, or a process that is stopped";
    Some(Finding::warning("store", detail, next).of_shard(shard))
}

fn readers(store: &StoreRoom) -> Option<Finding> {
    if store.readers < MANY_READERS {
        return None;
    }
    let detail = format!("{} of 126 places for readers are taken", store.readers);
    let next = "each thread that reads has one: read on fewer threads, or look for processes \
                that keep a store open";
    Some(Finding::warning("store", detail, next))
}

fn set_aside(store: &StoreRoom) -> Option<Finding> {
    if store.set_aside == 0 {
        return None;
    }
    let count = store.set_aside;
    let detail = format!(
        "{count} damaged states are set aside in {}, and take room",
        store.dir
    );
    let next = "the slave's log says what was damaged; when you have looked, remove the folders \
                damaged-* there";
    Some(Finding::warning("store", detail, next))
}

/// What is said is as old as this.
fn old(store: &StoreRoom) -> Option<Finding> {
    if store.age_ms < OLD_MS {
        return None;
    }
    let age = span(Duration::from_millis(store.age_ms));
    let detail = format!("{} was looked at {age} ago", store.dir);
    let next = "a process that has it open may be stopped: baton-slave store show, and ps";
    Some(Finding::warning("store", detail, next))
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use baton_protocol::ShardId;

    use super::{super::Level, *};

    const MIB: u64 = 1 << 20;

    /// Of 8 shards, in a `/dev/shm` of a host.
    fn well() -> StoreRoom {
        StoreRoom {
            dir: "/dev/shm/baton-0/main-00".to_owned(),
            shards: 8,
            bytes: 220 * MIB,
            used: 200 * MIB,
            limit: 8192 * MIB,
            fullest: ShardId(3),
            fullest_bytes: 30 * MIB,
            fullest_used: 28 * MIB,
            free: 12_000 * MIB,
            whole: 16_000 * MIB,
            readers: 9,
            age_ms: 3000,
            ..StoreRoom::default()
        }
    }

    fn found(store: Option<StoreRoom>, shards: u32) -> Vec<Finding> {
        super::store(&View {
            slaves: vec![SlaveView {
                slave: "aa".to_owned(),
                build: "v1".to_owned(),
                connected: true,
                shards,
                store,
                ..SlaveView::default()
            }],
            ..View::default()
        })
    }

    #[test]
    fn a_store_with_room_is_well_and_so_is_a_fleet_without_one() {
        for (store, said) in [
            (Some(well()), "220 MiB in /dev/shm/baton-0/main-00"),
            (None, "no slave has a store"),
        ] {
            let found = found(store, 8);
            assert_eq!((found.len(), found[0].level), (1, Level::Ok));
            assert!(found[0].detail.starts_with(said), "{found:?}");
        }
    }

    #[test]
    fn what_will_be_without_room_is_said_before_it_is_and_what_is_so_names_shard_and_reason() {
        type Change = fn(&mut StoreRoom);
        let cases: [(Level, Option<u32>, &str, Change); 14] = [
            (Level::Ok, None, "", |store| {
                store.limit = 36 * MIB; // 77 %
            }),
            (
                Level::Warning,
                Some(3),
                "is 28.0 MiB and may be 34.0 MiB (82 %)",
                |store| {
                    store.limit = 34 * MIB;
                },
            ),
            (Level::Error, Some(3), "(96 %)", |store| {
                store.limit = 29 * MIB
            }),
            (Level::Ok, None, "", |store| store.free = 60 * MIB),
            (Level::Warning, None, "50.0 MiB of 15.6 GiB", |store| {
                store.free = 50 * MIB;
            }),
            (Level::Warning, None, "less than 100 MiB", |store| {
                (store.free, store.fullest_bytes) = (60 * MIB, 100 * MIB);
            }),
            (Level::Error, None, "4.0 MiB of", |store| {
                store.free = 4 * MIB;
            }),
            // A container as it is, and one whose operator has set limits.
            (
                Level::Warning,
                None,
                "on a file system of 64.0 MiB",
                |store| {
                    (store.whole, store.free, store.bytes) = (64 * MIB, 58 * MIB, 6 * MIB);
                },
            ),
            (Level::Ok, None, "", |store| {
                (store.whole, store.free, store.bytes) = (64 * MIB, 58 * MIB, 6 * MIB);
                (store.limit, store.fullest_used) = (8 * MIB, MIB);
            }),
            (
                Level::Warning,
                Some(3),
                "has 150 MiB, and 28.0 MiB of it",
                |store| {
                    store.fullest_bytes = 150 * MIB;
                },
            ),
            (Level::Warning, None, "110 of 126 places", |store| {
                store.readers = 110;
            }),
            (Level::Warning, None, "2 damaged states", |store| {
                store.set_aside = 2;
            }),
            (Level::Warning, None, "looked at 90 s ago", |store| {
                store.age_ms = 90_000;
            }),
            (
                Level::Error,
                Some(5),
                "shard 5 (and 1 other shards) of build v1 takes nothing since 7.0 s, because its \
                 state cannot be changed: it is full; do this",
                |store| {
                    (store.held_up, store.held_up_ms) = (2, 7000);
                    store.held_up_shard = ShardId(5);
                    store.held_up_by = "it is full; do this".to_owned();
                },
            ),
        ];
        for (level, shard, detail, change) in cases {
            let mut store = well();
            change(&mut store);
            let found = found(Some(store), 8);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (found[0].level, found[0].shard),
                (level, shard),
                "{found:?}"
            );
            assert!(found[0].detail.contains(detail), "{found:?}");
            assert_eq!(found[0].next.is_some(), level > Level::Ok);
        }
    }

    #[test]
    fn a_wait_of_a_moment_and_a_slave_that_serves_nothing_are_no_trouble() {
        let mut store = well();
        (store.held_up, store.held_up_ms) = (1, 1500);
        assert_eq!(found(Some(store.clone()), 8)[0].level, Level::Ok);
        store.held_up = 0;
        store.free = 0;
        assert_eq!(found(Some(store.clone()), 0)[0].level, Level::Ok);
        assert_eq!(found(Some(store), 8)[0].level, Level::Error);
    }
}
