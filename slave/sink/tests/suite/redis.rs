//! Redis Streams: a real redis-server, under traffic, with everything that happens to one.

use std::{collections::BTreeMap, os::unix::fs::symlink, sync::Arc, time::Duration};

use baton_brokers::{Kind, Process, Redis, Server, or_pass_over};
use baton_sink::{Address, Credentials, Dispatch, Epoch, Sink, SinkConfig};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio::time::sleep;

use crate::{
    common::{Came, Finished, Traffic, cutter::To, event, in_order, until, until_trouble},
    scenes::{self, Broker, NO_PAUSE, Outcome},
};

/// Of each event of a stream its id, and names and values.
type Entries = Vec<(String, Vec<(String, Vec<u8>)>)>;

impl Broker for Redis {
    const SCHEME: &'static str = "redis";

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self).unwrap();
    }

    fn forget(&self) {
        Self::forget(self).unwrap();
    }

    fn way(&self) -> To {
        To::File(self.socket())
    }

    async fn everything(&self, _: &str, ends: &[u64]) -> Vec<Came> {
        let mut came = Vec::new();
        for (shard, _) in (0..).zip(ends) {
            came.extend(everything(self, shard).await);
        }
        came
    }
}

/// Of a sink that has patience with a busy machine.
pub(crate) fn config(url: &str) -> SinkConfig {
    let mut config = SinkConfig::new(Address::parse(url).unwrap());
    config.timings.confirm = Duration::from_secs(30);
    config.timings.start = Duration::from_secs(30);
    config.gateway = "gateway-1".to_owned();
    config
}

async fn sink(url: &str) -> Arc<Sink> {
    Arc::new(Sink::start(config(url)).await.unwrap())
}

pub(crate) async fn connection(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    // What is read is large, and the machine may be busy.
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&patient);
    connecting.await.unwrap()
}

fn read(fields: &[(String, Vec<u8>)]) -> Came {
    let fields: BTreeMap<&str, &[u8]> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    let text = |name: &str| Some(String::from_utf8(fields.get(name)?.to_vec()).unwrap());
    let one = Came::read(text);
    let expected = event(one.shard, one.sequence).payload;
    assert_eq!(fields["payload"], expected, "the payload as it came");
    one
}

/// Everything in a shard's stream, in its order.
async fn everything(redis: &Redis, shard: u32) -> Vec<Came> {
    entries(redis, shard)
        .await
        .iter()
        .map(|(_, fields)| read(fields))
        .collect()
}

async fn entries(redis: &Redis, shard: u32) -> Entries {
    entries_of(redis, &format!("baton:events:{{{shard}}}")).await
}

pub(crate) async fn entries_of(redis: &Redis, key: &str) -> Entries {
    let mut connection = connection(redis).await;
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg("-").arg("+");
    range.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn an_event_arrives_with_its_envelope_in_the_stream_of_its_shard() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let sink = sink(&redis.url()).await;
    let finished = Finished::default();
    sink.publish(event(3, 2), finished.when_dropped(2));
    until("it is finished", || finished.count() == 1).await;
    let entries = entries(&redis, 3).await;
    let [(id, fields)] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert!(id.ends_with(&format!("-{}", 2 * 16384)), "{id}");
    let fields: BTreeMap<_, _> = fields.iter().cloned().collect();
    let says = |name: &str, value: &str| assert_eq!(fields[name], value.as_bytes(), "{name}");
    says("baton-envelope", "1");
    says("baton-gateway", "gateway-1");
    says("baton-shard", "3");
    says("baton-epoch", "7");
    says("baton-session", "00000003aabbccdd");
    says("baton-sequence", "2");
    says("baton-type", "MESSAGE_CREATE");
    says("baton-guild", "1");
    assert!(!fields.contains_key("baton-mark"));
}

#[tokio::test]
async fn a_broker_that_is_killed_under_traffic_loses_repeats_and_reorders_nothing() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let config = config(&redis.url());
    let scene = scenes::killed(&mut redis, config, (2, NO_PAUSE), (3, 2000));
    let Outcome { came, again, .. } = scene.await;
    assert_eq!(again, 0);
    for shard in 0..2 {
        let of_shard = came.iter().filter(|one| one.shard == shard);
        assert!(
            of_shard.is_sorted_by_key(|one| one.sequence),
            "the whole shard is in order"
        );
    }
}

#[tokio::test]
async fn a_broker_that_stands_still_gets_everything_once_when_it_goes_on() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let mut config = config(&redis.url());
    config.timings.confirm = Duration::from_millis(500);
    config.timings.start = Duration::from_millis(500);
    let outcome = scenes::stands_still(&mut redis, config, 1).await;
    assert_eq!(outcome.again, 0);
}

#[tokio::test]
async fn a_confirm_that_is_lost_with_its_connection_repeats_nothing() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let config = config(&redis.url());
    let without = Duration::from_millis(100);
    let scene = scenes::confirms_lost(&redis, config, (300, without));
    let Outcome { again, status, .. } = scene.await;
    assert_eq!(again, 0);
    assert!(status.repeats > 0, "{status:?}");
}

/// Reads what a group gets, and acknowledges it; ends when it has so many.
async fn group(redis: &Redis, count: usize) -> Vec<Came> {
    let mut connection = connection(redis).await;
    let mut came = Vec::new();
    while came.len() < count {
        let mut read_group = redis::cmd("XREADGROUP");
        read_group.arg(&["GROUP", "workers", "one", "COUNT", "100", "STREAMS"]);
        read_group.arg("baton:events:{0}").arg(">");
        let read_now: Option<Vec<(String, Entries)>> =
            read_group.query_async(&mut connection).await.unwrap();
        let Some(entries) = read_now.and_then(|mut streams| streams.pop()) else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        for (id, fields) in entries.1 {
            came.push(read(&fields));
            let mut ack = redis::cmd("XACK");
            ack.arg("baton:events:{0}").arg("workers").arg(id);
            let _: u64 = ack.query_async(&mut connection).await.unwrap();
        }
    }
    came
}

#[tokio::test]
async fn a_group_that_was_away_reads_everything_and_a_full_broker_goes_on_when_it_has() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let mut config = config(&redis.url());
    config.bounds.bytes = 1 << 20;
    config.timings.trim = Duration::from_millis(50);
    let sink = Arc::new(Sink::start(config).await.unwrap());
    let finished = Finished::default();
    sink.publish(event(0, 1), finished.when_dropped(1));
    until("the stream is there", || finished.count() == 1).await;
    let mut create = redis::cmd("XGROUP");
    create.arg(&["CREATE", "baton:events:{0}", "workers", "0"]);
    let _: () = create
        .query_async(&mut connection(&redis).await)
        .await
        .unwrap();
    // The first one of the traffic is a repeat.
    let traffic = Traffic::start(Arc::clone(&sink), 0, NO_PAUSE);
    until_trouble(&sink, "the stream is full").await;
    // Nothing is removed while nobody reads.
    sleep(Duration::from_millis(300)).await;
    let full = usize::try_from(traffic.finished()).unwrap();
    assert!(everything(&redis, 0).await.len() >= full);
    let came = group(&redis, 2 * full).await;
    in_order(&came);
    let sequences: Vec<u64> = came.iter().map(|one| one.sequence).collect();
    let expected: Vec<u64> = (1..=sequences.len() as u64).collect();
    assert_eq!(sequences, expected, "each once, and all of them");
}

#[tokio::test]
async fn a_broker_whose_room_is_taken_away_for_a_while_loses_and_repeats_nothing() {
    let Some(redis) = or_pass_over(Server::start(Kind::Redis)) else {
        return;
    };
    let fills = |fills| match fills {
        true => redis.fill().unwrap(),
        false => redis.make_room().unwrap(),
    };
    let Server::Redis(broker) = &redis else {
        panic!("{redis:?}");
    };
    let outcome = scenes::has_no_room(broker, config(&broker.url()), fills).await;
    assert_eq!(outcome.again, 0);
}

#[tokio::test]
async fn a_broker_that_comes_back_empty_gets_what_it_had_not_confirmed() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let config = config(&redis.url());
    let (came, left) = scenes::comes_back_empty(&mut redis, config).await;
    assert_eq!(came.len() as u64, left);
}

#[tokio::test]
async fn events_wait_for_a_broker_that_is_not_there_yet() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let config = config(&redis.url());
    scenes::not_there_yet(&mut redis, config).await;
}

#[tokio::test]
async fn a_server_that_is_a_replica_now_is_left_for_the_primary_at_the_same_address() {
    let Some(old) = or_pass_over(Redis::start()) else {
        return;
    };
    let new = Redis::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = dir.path().join("primary");
    symlink(old.socket(), &address).unwrap();
    let sink = sink(&format!("redis+unix://{}", address.display())).await;
    let finished = Finished::default();
    sink.publish(event(0, 1), finished.when_dropped(1));
    until("it is finished", || finished.count() == 1).await;
    std::fs::remove_file(&address).unwrap();
    symlink(new.socket(), &address).unwrap();
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(1);
    let _: () = follow
        .query_async(&mut connection(&old).await)
        .await
        .unwrap();
    sink.publish(event(0, 2), finished.when_dropped(2));
    until("it is finished", || finished.count() == 2).await;
    assert_eq!(everything(&new, 0).await.len(), 1);
}

fn of_epoch(epoch: u64, sequence: u64) -> Dispatch {
    let mut event = event(0, sequence);
    event.epoch = Epoch(epoch);
    event
}

#[tokio::test]
async fn an_older_owner_adds_only_what_is_missing_and_each_owner_s_repeats_are_known() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let [old, new] = [sink(&redis.url()).await, sink(&redis.url()).await];
    let finished = Finished::default();
    for sequence in 1..=10 {
        old.publish(of_epoch(7, sequence), finished.when_dropped(sequence));
    }
    until("they are finished", || finished.count() == 10).await;
    // 11 and 12 are in the older owner's hands when the shard moves.
    for sequence in (9..=10).chain(13..=15) {
        new.publish(of_epoch(8, sequence), finished.when_dropped(sequence));
    }
    until("they are finished", || finished.count() == 15).await;
    assert_eq!(new.status().repeats, 2);
    old.publish(of_epoch(7, 12), finished.when_dropped(12));
    until("it is finished", || finished.count() == 16).await;
    // It was not finished in time, and comes from both.
    new.publish(of_epoch(8, 11), finished.when_dropped(11));
    new.publish(of_epoch(8, 12), finished.when_dropped(12));
    new.publish(of_epoch(8, 16), finished.when_dropped(16));
    until("they are finished", || finished.count() == 19).await;
    assert_eq!(new.status().repeats, 3);
    // One that woke up late.
    old.publish(of_epoch(7, 17), finished.when_dropped(17));
    old.publish(of_epoch(9, 17), finished.when_dropped(17));
    until("the newer one is finished", || finished.count() == 20).await;

    let came: Vec<_> = everything(&redis, 0)
        .await
        .into_iter()
        .map(|one| one.sequence)
        .collect();
    let expected: Vec<u64> = (1..=10).chain([13, 14, 15, 12, 11, 16, 17]).collect();
    assert_eq!(came, expected);
    assert_eq!(old.status().waiting, 0);

    // Another session begins anew.
    let mut first = of_epoch(9, 1);
    first.session = "ffffffffffffffff".to_owned();
    old.publish(first, finished.when_dropped(1));
    until("it is finished", || finished.count() == 21).await;
    assert_eq!(everything(&redis, 0).await.len(), 18);
}

#[tokio::test]
async fn a_broker_that_forgets_and_one_that_lets_nobody_in_are_refused_with_what_to_do() {
    let Some(redis) = or_pass_over(Redis::with(&["--maxmemory-policy", "allkeys-lru"])) else {
        return;
    };
    let error = Sink::start(config(&redis.url()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`maxmemory-policy noeviction`"), "{error}");

    let redis = Redis::with(&["--requirepass", "pa:ss"]).unwrap();
    let error = Sink::start(config(&redis.url()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not let this process in"), "{error}");
    let mut known = config(&redis.url());
    known.credentials = Some(Credentials::new("default:wrong").unwrap());
    let error = Sink::start(known.clone()).await.unwrap_err().to_string();
    assert!(error.contains("does not let this process in"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    known.credentials = Some(Credentials::new("default:pa:ss").unwrap());
    Sink::start(known).await.unwrap();
}
