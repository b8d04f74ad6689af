//! What a slave says of how it does.

use super::*;

pub(super) fn pong() -> impl Strategy<Value = Pong> {
    (
        any::<[u64; 11]>(),
        any::<[u32; 2]>(),
        vec(unfinished(), 0..3),
        option::of(store_room().prop_map(Box::new)),
        option::of(clients().prop_map(Box::new)),
        option::of(sink().prop_map(Box::new)),
        option::of(memory()),
    )
        .prop_map(
            |(times, shards, unfinished, store, clients, sink, memory)| {
                let [
                    number,
                    lease_ms,
                    finished,
                    failed,
                    full_ms,
                    full_bot_ms,
                    full_store_ms,
                    lag_ms,
                    silent_ms,
                    heartbeat_ms,
                    handed,
                ] = times;
                let [silent_shard, heartbeat_shard] = shards.map(ShardId);
                Pong {
                    number,
                    lease_ms,
                    finished,
                    failed,
                    full_ms,
                    full_bot_ms,
                    full_store_ms,
                    lag_ms,
                    silent_ms,
                    silent_shard,
                    heartbeat_ms,
                    heartbeat_shard,
                    handed,
                    unfinished,
                    store,
                    clients,
                    sink,
                    memory,
                }
            },
        )
}

fn memory() -> impl Strategy<Value = MemoryUse> {
    any::<([u64; 2], bool)>().prop_map(|([resident, limit], is_above)| MemoryUse {
        resident,
        limit,
        is_above,
    })
}

fn unfinished() -> impl Strategy<Value = Unfinished> {
    (trying(), any::<[u64; 2]>()).prop_map(|(trying, [age_ms, behind])| Unfinished {
        shard: trying.shard,
        epoch: trying.epoch,
        sequence: trying.sequence,
        kind: trying.kind,
        guild: trying.guild,
        age_ms,
        behind,
    })
}

fn store_room() -> impl Strategy<Value = StoreRoom> {
    let (bytes, counts, texts) = (any::<[u64; 10]>(), any::<[u32; 6]>(), [text(), text()]);
    (bytes, counts, texts).prop_map(|(numbers, counts, [dir, held_up_by])| {
        let [
            bytes,
            used,
            limit,
            fullest_bytes,
            fullest_used,
            free,
            whole,
            stale_readers,
            age_ms,
            held_up_ms,
        ] = numbers;
        let [shards, fullest, readers, set_aside, held_up, held_up_shard] = counts;
        StoreRoom {
            dir,
            shards,
            bytes,
            used,
            limit,
            fullest: ShardId(fullest),
            fullest_bytes,
            fullest_used,
            free,
            whole,
            readers,
            stale_readers,
            set_aside,
            age_ms,
            held_up,
            held_up_ms,
            held_up_shard: ShardId(held_up_shard),
            held_up_by,
        }
    })
}

fn sink() -> impl Strategy<Value = SinkReport> {
    (any::<[u64; 9]>(), [text(), text()]).prop_map(|(numbers, [broker, reason])| {
        let [
            confirmed,
            repeats,
            retries,
            waiting,
            confirming_us,
            confirm_p50_us,
            confirm_p99_us,
            refused,
            refused_ms,
        ] = numbers;
        SinkReport {
            broker,
            confirmed,
            repeats,
            retries,
            waiting,
            confirming_us,
            confirm_p50_us,
            confirm_p99_us,
            refused,
            refused_ms,
            reason,
        }
    })
}

fn clients() -> impl Strategy<Value = Clients> {
    let named = (any::<u64>(), text()).prop_map(|(clients, name)| Library { name, clients });
    let absent = (any::<u32>(), any::<[u64; 2]>());
    let absent = absent.prop_map(|(shard, [away_ms, waiting])| Absent {
        shard: ShardId(shard),
        away_ms,
        waiting,
    });
    let behind = (any::<(u32, bool)>(), any::<[u64; 2]>(), text(), text());
    let behind = behind.prop_map(|((shard, connected), events, library, mirror)| Behind {
        shard: ShardId(shard),
        library,
        mirror,
        connected,
        unsent: events[0],
        unacknowledged: events[1],
    });
    let refused = (any::<(u16, u64, u64)>(), text());
    let refused = refused.prop_map(|((code, count, ago_ms), reason)| Refusals {
        code,
        count,
        reason,
        ago_ms,
    });
    let waiting = (any::<(u32, [u64; 3])>(), any::<[Option<u64>; 2]>());
    let waiting = waiting.prop_map(|((shard, numbers), [full_ms, gives_up_ms])| Waiting {
        shard: ShardId(shard),
        events: numbers[0],
        bytes: numbers[1],
        oldest_ms: numbers[2],
        full_ms,
        gives_up_ms,
    });
    let given_up = (any::<(u32, [u64; 3])>(), text());
    let given_up = given_up.prop_map(|((shard, numbers), reason)| GivenUp {
        shard: ShardId(shard),
        reason,
        events: numbers[0],
        bytes: numbers[1],
        ago_ms: numbers[2],
    });
    let lists = (
        vec(named, 0..3),
        vec(absent, 0..3),
        vec(behind, 0..3),
        vec(refused, 0..3),
        vec(waiting, 0..3),
        vec(given_up, 0..3),
    );
    let plain = (text(), any::<(bool, bool, u32)>(), any::<[u64; 16]>());
    (plain, lists).prop_map(|(plain, lists)| {
        let (libraries, absent, behind, refused, waiting, given_up) = lists;
        let (address, (listening, passed, fullest_shard), numbers) = plain;
        let [
            connections,
            attended,
            unattended,
            kept_bytes,
            kept_limit,
            fullest_bytes,
            shard_limit,
            keep_ms,
            events,
            sessions,
            takeovers,
            resumes,
            resumes_refused,
            replayed,
            lost,
            passed_by,
        ] = numbers;
        Clients {
            address,
            listening,
            passed,
            connections,
            libraries,
            attended,
            unattended,
            absent,
            behind,
            kept_bytes,
            kept_limit,
            fullest_shard: ShardId(fullest_shard),
            fullest_bytes,
            shard_limit,
            keep_ms,
            waiting,
            given_up,
            events,
            sessions,
            takeovers,
            resumes,
            resumes_refused,
            replayed,
            lost,
            passed_by,
            refused,
        }
    })
}
