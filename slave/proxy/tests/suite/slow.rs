//! Clients that do not read, do not answer, or do not come: everything stays bounded.

use std::time::Duration;

use baton_proxy::{Dispatch, Sequence};
use serde_json::json;
use tokio::time::timeout;

use crate::common::{Manner, Rig, config, identify, resume};

fn large(sequence: u64) -> Dispatch {
    let d = json!({"n": sequence, "text": "x".repeat(10_000)});
    Dispatch {
        sequence: Sequence(sequence),
        kind: "MESSAGE_CREATE".to_owned(),
        json: json!({"d": d}).to_string().into(),
    }
}

#[tokio::test]
async fn a_full_ring_holds_upstream_back_and_goes_on_when_it_is_acknowledged() {
    let mut config = config();
    config.limits.ring = 100_000;
    let rig = Rig::with(config).await;
    let mut next = 101;
    while rig.input.has_room() {
        rig.input.push(&large(next));
        next += 1;
    }
    assert_eq!(rig.above.rooms(), 1, "it is told when there is none");
    let waits = rig.input.event(large(next));
    assert!(timeout(Duration::from_millis(20), waits).await.is_err());
    let status = rig.status().shards.remove(0);
    assert!(
        (100_000..112_000).contains(&status.open_bytes),
        "{status:?}"
    );
    assert!(rig.above.finished().is_empty());
    let (mut client, _) = rig.client().await;
    for sequence in 101..next {
        assert_eq!(client.numbers(1).await[0].1, Some(sequence));
        client.beat().await;
    }
    rig.until_finished(next - 1).await;
    assert!(rig.input.has_room());
    assert_eq!(rig.above.rooms(), 2, "and when there is again");
    assert_eq!(rig.status().shards[0].totals.lost, 0);
}

#[tokio::test]
async fn a_shard_that_leaves_while_its_ring_is_full_has_left_all_the_same() {
    let mut config = config();
    config.limits.ring = 20_000;
    let rig = Rig::with(config).await;
    let (mut client, _) = rig.client().await;
    client.manner = Manner::Silent;
    for sequence in 101..=102 {
        rig.input.event(large(sequence)).await;
    }
    assert!(!rig.input.has_room());
    client.numbers(2).await;
    let Rig { above, input, .. } = rig;
    drop(input);
    assert_eq!(client.payload().await["op"], 7);
    assert!(above.finished().is_empty(), "its next owner has them");
}

#[tokio::test]
async fn a_client_that_reads_nothing_costs_its_connection_and_not_the_others() {
    let mut config = config();
    config.mirrors.insert("m".to_owned());
    config.timings.write = Duration::from_millis(300);
    config.limits.history = 100_000;
    let rig = Rig::with(config).await;
    let (mut client, _) = rig.client().await;
    let (_stuck, _) = rig.client_at("/mirror/m").await;
    // More than sockets hold.
    for sequence in 101..=1500 {
        rig.input.event(large(sequence)).await;
        assert_eq!(client.numbers(1).await[0].1, Some(sequence));
        if sequence % 50 == 0 {
            client.beat().await;
        }
    }
    rig.until("dropped", |rig| {
        let shard = rig.status().shards.remove(0);
        shard
            .clients
            .iter()
            .all(|it| it.mirror.is_none() || !it.connected)
    })
    .await;
    let status = rig.status();
    assert!(status.shards[0].bytes < 2_000_000, "{status:?}");
    rig.acknowledged(&mut client, 1500).await;
}

#[tokio::test]
async fn a_backlog_that_holds_discord_back_too_long_is_given_up_loudly() {
    let mut config = config();
    config.limits.ring = 20_000;
    config.timings.hold = Duration::from_millis(100);
    let rig = Rig::with(config).await;
    let (client, greeting) = rig.client().await;
    drop(client);
    for sequence in 101..=110 {
        rig.input.event(large(sequence)).await;
    }
    rig.until("given up", |rig| rig.status().shards[0].totals.lost > 0)
        .await;
    rig.until_finished(110).await;
    let shard = rig.status().shards.remove(0);
    let past = shard.totals.lost + shard.totals.unattended;
    assert_eq!(past + shard.open, 10, "{shard:?}");
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 3)).await;
    assert_eq!(client.payload().await["op"], 9, "it is told");
    client.send(identify()).await;
    client.greeting().await;
    client.nothing().await;
    rig.event(111).await;
    assert_eq!(
        client.numbers(1).await,
        [(4, Some(111))],
        "and kept for again"
    );
    assert!(!rig.above.has_finished(111));
}

#[tokio::test]
async fn nothing_is_kept_for_a_client_that_stays_away() {
    let mut config = config();
    config.timings.keep = Duration::from_millis(100);
    let rig = Rig::with(config).await;
    let (mut client, _) = rig.client().await;
    client.manner = Manner::Silent;
    rig.event(101).await;
    assert_eq!(client.numbers(1).await, [(4, Some(101))]);
    drop(client);
    rig.until_finished(101).await;
    rig.event(102).await;
    rig.until_finished(102).await;
    let shard = rig.status().shards.remove(0);
    let totals = shard.totals;
    assert_eq!((totals.lost, totals.unattended, shard.open), (1, 1, 0));
    let (mut client, _) = rig.client().await;
    client.manner = Manner::Silent;
    rig.event(103).await;
    assert_eq!(client.numbers(1).await, [(4, Some(103))]);
    assert!(
        !rig.above.has_finished(103),
        "whoever is here is waited for"
    );
}
