//! A second client of a shard.

use std::time::Duration;

use baton_proxy::ShardId;
use serde_json::{Value, json};

use crate::common::{Manner, Rig, config, identify, resume};

#[tokio::test]
async fn a_second_client_goes_on_where_the_first_was_and_repeats_nothing() {
    let mut config = config();
    config.timings.drain = Duration::from_millis(200);
    config.timings.ask = Duration::from_secs(60);
    let rig = Rig::with(config).await;
    let (mut old, greeting) = rig.client().await;
    rig.events(101..=103).await;
    old.numbers(3).await;
    let mut new = rig.hello().await;
    new.send(identify()).await;
    // The old one is asked at once, and answers as a library does.
    let serve_old = async { old.came().await };
    let (closed, fresh) = tokio::join!(serve_old, async {
        let greeting = new.greeting().await;
        rig.event(104).await;
        assert_eq!(new.numbers(1).await, [(4, Some(104))]);
        greeting
    });
    let crate::common::Came::End(code, reason) = closed else {
        panic!("the old one got {closed:?}");
    };
    assert_eq!((code, reason.contains("newer client")), (4000, true));
    assert_ne!(fresh[0]["d"]["session_id"], greeting[0]["d"]["session_id"]);
    rig.acknowledged(&mut new, 104).await;
    assert_eq!(rig.above.finished(), [101, 102, 103, 104]);
    assert_eq!(rig.status().shards[0].totals.takeovers, 1);

    // As long as the new one is here, the old one is told to stay away.
    let resume = resume(&greeting[0], 3);
    let mut back = rig.hello().await;
    back.send(resume.clone()).await;
    assert_eq!(back.closed().await.0, 4004);
    rig.dies(new).await;
    let mut back = rig.hello().await;
    back.send(resume).await;
    assert_eq!(back.payload().await["op"], 9, "it may begin anew");
}

#[tokio::test]
async fn a_first_client_that_does_not_answer_holds_nobody_up_for_long() {
    let mut config = config();
    config.timings.settle = Duration::from_millis(100);
    let rig = Rig::with(config).await;
    let (mut old, _) = rig.client().await;
    old.manner = Manner::Silent;
    rig.events(101..=102).await;
    old.numbers(2).await;
    let (mut new, _) = rig.client().await;
    assert_eq!(new.numbers(2).await, [(4, Some(101)), (5, Some(102))]);
}

#[tokio::test]
async fn a_first_client_that_says_what_it_has_handled_has_time_to_finish() {
    let mut config = config();
    config.timings.drain = Duration::from_secs(60);
    let rig = Rig::with(config).await;
    let (mut old, _) = rig.client_at("/handled").await;
    rig.events(101..=103).await;
    old.numbers(3).await;
    let mut new = rig.hello().await;
    new.send(identify()).await;
    new.nothing().await;
    rig.event(104).await;
    old.nothing().await;
    old.send(json!({"op": 1000, "d": [5, 4]})).await;
    old.send(json!({"op": 1000, "d": {"through": 6}})).await;
    new.greeting().await;
    assert_eq!(new.numbers(1).await, [(4, Some(104))]);
    // It has handed over: what it says now changes nothing.
    old.send(json!({"op": 1000, "d": {"through": 7}})).await;
    old.nothing().await;
    rig.acknowledged(&mut new, 104).await;
    assert_eq!(rig.above.finished(), [101, 102, 103, 104]);
}

#[tokio::test]
async fn a_client_that_dies_while_it_waits_leaves_the_first_one_as_it_was() {
    let rig = Rig::new().await;
    let (mut old, _) = rig.client().await;
    old.manner = Manner::Silent;
    rig.event(101).await;
    old.numbers(1).await;
    let mut new = rig.hello().await;
    new.send(identify()).await;
    new.nothing().await;
    drop(new);
    rig.until("gone", |rig| rig.status().connections == 1).await;
    rig.event(102).await;
    old.manner = Manner::Answers;
    assert_eq!(old.numbers(1).await, [(5, Some(102))]);
    rig.acknowledged(&mut old, 102).await;
    assert_eq!(rig.status().shards[0].totals.takeovers, 0);
}

#[tokio::test]
async fn of_two_that_wait_the_later_one_comes_in() {
    let rig = Rig::new().await;
    let (mut old, _) = rig.client().await;
    old.manner = Manner::Silent;
    rig.event(101).await;
    old.numbers(1).await;
    let mut second = rig.hello().await;
    second.send(identify()).await;
    second.nothing().await;
    let mut third = rig.hello().await;
    third.send(identify()).await;
    assert_eq!(second.closed().await.0, 4000);
    old.beat().await;
    third.greeting().await;
    rig.event(102).await;
    assert_eq!(third.numbers(1).await, [(4, Some(102))]);
}

#[tokio::test]
async fn a_shard_that_leaves_asks_its_clients_to_reconnect_and_one_that_comes_has_them() {
    let mut rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    let input = rig.proxy.open(ShardId(0));
    drop(std::mem::replace(&mut rig.input, input));
    let asked = client.payload().await;
    assert_eq!((&asked["op"], &asked["d"]), (&json!(7), &Value::Null));
    drop(client);
    let mut client = rig.hello().await;
    client.send(identify()).await;
    client.nothing().await;
    rig.resumed(100);
    client.greeting().await;
}
