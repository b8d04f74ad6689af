//! A shard goes from one proxy to the next, and its clients with it.

use std::time::Duration;

use baton_proxy::{Begin, ProxyConfig, Sequence, ShardId};
use serde_json::json;
use tokio::net::TcpListener;

use crate::common::{Client, Manner, PATIENCE, Rig, config, identify, resume};

/// Two proxies that have one socket, and the shard at the first.
async fn two() -> (Rig, Rig) {
    two_with(config()).await
}

pub(crate) async fn two_with(config: ProxyConfig) -> (Rig, Rig) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let old = Rig::on(config, listener);
    let new = old.sibling();
    old.resumed(100);
    old.proxy.admit();
    (old, new)
}

/// The shard leaves the old one, as its slave would have it leave. Gives what goes along.
pub(crate) async fn leaves(old: Rig) -> String {
    old.proxy.shut();
    let parting = old.input.parts();
    parting.rest(PATIENCE).await;
    drop(parting);
    old.above.inner().clients.clone()
}

/// And begins at the new one.
pub(crate) fn comes(new: &Rig, handled: u64, clients: String) {
    let handled = Sequence(handled);
    let begin = Begin::TakenOver { handled, clients };
    new.input.begin(&begin);
    new.proxy.admit();
}

#[tokio::test]
async fn a_client_goes_on_at_the_next_process_without_a_gap_and_without_a_repeat() {
    let (old, new) = two().await;
    let (mut client, greeting) = old.client().await;
    old.events(101..=103).await;
    let first = [(4, Some(101)), (5, Some(102)), (6, Some(103))];
    assert_eq!(client.numbers(3).await, first);
    let above = std::sync::Arc::clone(&old.above);
    let url = old.url();
    let client = tokio::spawn(async move {
        // It answers when it is asked, then it is told to reconnect.
        let told = client.payload().await;
        assert_eq!(told["op"], 7, "{told}");
        client.close(4000).await;
    });
    let clients = leaves(old).await;
    client.await.unwrap();
    assert_eq!(above.finished(), [101, 102, 103], "it said what it has");

    // It comes before its shard does.
    let mut client = tokio::spawn(async move { Client::open(&url).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!client.is_finished(), "nobody lets it in yet");
    comes(&new, 103, clients);
    let mut client = (&mut client).await.unwrap();
    assert_eq!(client.payload().await["op"], 10);
    client.send(resume(&greeting[0], 6)).await;
    let resumed = client.payload().await;
    assert_eq!(
        (&resumed["t"], &resumed["s"]),
        (&json!("RESUMED"), &json!(6))
    );
    new.events(104..=105).await;
    assert_eq!(client.numbers(2).await, [(7, Some(104)), (8, Some(105))]);
    client.beat().await;
    new.until_finished(105).await;
    assert_eq!(new.above.finished(), [104, 105]);
}

#[tokio::test]
async fn who_answers_nothing_in_time_gets_no_repeat_if_it_resumes() {
    let (old, new) = two().await;
    let (mut client, greeting) = old.client().await;
    client.manner = Manner::Silent;
    old.events(101..=103).await;
    client.numbers(3).await;
    old.proxy.shut();
    let parting = old.input.parts();
    parting.rest(Duration::from_millis(50)).await;
    assert!(!parting.is_at_rest());
    drop(parting);
    let clients = old.above.inner().clients.clone();
    assert_eq!(old.above.finished(), [0; 0]);
    comes(&new, 100, clients);
    let mut client = new.hello().await;
    client.send(resume(&greeting[0], 6)).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
    new.events(101..=104).await;
    assert_eq!(client.numbers(1).await, [(7, Some(104))]);
    new.until_finished(103).await;
}

#[tokio::test]
async fn what_a_client_says_that_it_has_handled_counts_as_its_shard_leaves_and_nothing_repeats() {
    let (old, new) = two().await;
    let (mut client, greeting) = old.client_at("/handled?v=10&encoding=json").await;
    client.manner = Manner::Raw;
    old.events(101..=103).await;
    client.numbers(3).await;
    old.proxy.shut();
    let parting = old.input.parts();
    assert!(!parting.is_at_rest());
    assert_eq!(client.payload().await["op"], 1, "it is asked");
    client.send(json!({"op": 1000, "d": 4})).await;
    client.beat().await;
    // Its handlers run on, and nobody waits for them.
    parting.rest(PATIENCE).await;
    assert!(parting.is_at_rest());
    assert_eq!(old.above.finished(), [101]);
    drop(parting);
    let mut ops = Vec::new();
    while ops.last() != Some(&json!(7)) {
        ops.push(client.payload().await["op"].clone());
    }
    // A slow machine is asked once more.
    ops.retain(|op| *op != 1);
    assert_eq!(ops, [11, 7]);
    // This one is lost with its connection.
    client.send(json!({"op": 1000, "d": 5})).await;

    comes(&new, 101, old.above.inner().clients.clone());
    let mut client = new.hello().await;
    client.send(resume(&greeting[0], 6)).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
    new.events(102..=104).await;
    assert_eq!(client.numbers(1).await, [(7, Some(104))]);
    client.send(json!({"op": 1000, "d": {"through": 6}})).await;
    new.until_finished(103).await;
    assert_eq!(new.above.finished(), [102, 103]);
}

#[tokio::test]
async fn who_comes_anew_gets_what_was_not_acknowledged() {
    let (old, new) = two().await;
    let (mut client, _) = old.client().await;
    old.event(101).await;
    client.numbers(1).await;
    client.beat().await;
    old.until_finished(101).await;
    drop(client);
    let clients = leaves(old).await;
    comes(&new, 101, clients);
    new.events(102..=103).await;
    let (mut client, _) = new.client().await;
    assert_eq!(client.numbers(2).await, [(4, Some(102)), (5, Some(103))]);
}

#[tokio::test]
async fn who_waits_where_the_shard_is_not_any_more_is_sent_on() {
    let (old, new) = two().await;
    let mut late = old.hello().await;
    let url = old.url();
    let proxy = {
        let Rig { proxy, input, .. } = old;
        proxy.shut();
        drop(input.parts());
        proxy
    };
    late.send(identify()).await;
    assert_eq!(late.payload().await["op"], 7);
    comes(&new, 100, String::new());
    let mut client = Client::open(&url).await;
    client.payload().await;
    client.send(identify()).await;
    client.greeting().await;
    drop(proxy);
}

#[tokio::test]
async fn a_shard_that_comes_back_before_it_has_left_is_waited_for_and_counts_once() {
    let mut rig = Rig::new().await;
    rig.event(101).await;
    let parting = rig.input.parts();
    let again = rig.proxy.open(ShardId(0));
    let before = std::mem::replace(&mut rig.input, again);
    assert_eq!(rig.status().totals.events, 1);
    drop(parting);
    drop(before);
    assert_eq!(rig.status().totals.events, 1);
    let mut client = rig.hello().await;
    client.send(identify()).await;
    client.nothing().await;
    rig.resumed(100);
    client.greeting().await;
}

#[tokio::test]
async fn an_address_of_its_own_is_free_for_the_next_process_when_the_last_shard_has_left() {
    let old = Rig::new().await;
    let mut config = config();
    config.listen = old.proxy.address();
    let (client, greeting) = old.client().await;
    drop(client);
    let next = TcpListener::bind(config.listen).await;
    assert!(next.is_err(), "it is taken");
    let Rig {
        proxy,
        input,
        above,
        ..
    } = old;
    proxy.leave();
    drop(input.parts());
    let clients = above.inner().clients.clone();
    let new = {
        let mut tries = 0;
        loop {
            match TcpListener::bind(config.listen).await {
                Ok(listener) => break Rig::on(config, listener.into_std().unwrap()),
                Err(error) => assert!(tries < 500, "{error}"),
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    comes(&new, 100, clients);
    let mut client = new.hello().await;
    client.send(resume(&greeting[0], 3)).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
}
