//! Conduits: which shard gets what, and what is dropped.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use twitch_mock::{Fault, FaultName, Recipient, Scope, Twitch};

use crate::common::{
    A_WHILE, Got, Socket, ask, assign, conduit, seconds, speak, subscribe, twitch,
};

/// A conduit whose shards have a socket each, and subscriptions to the first channels.
async fn fleet(twitch: &Twitch, shards: u32, channels: u32) -> (String, Vec<Socket>) {
    let id = conduit(twitch, shards);
    let mut sockets = Vec::new();
    for shard in 0..shards {
        let socket = Socket::open(twitch, "").await;
        assert_eq!(
            assign(twitch, &id, shard, &socket.id)["data"][0]["status"],
            "enabled"
        );
        sockets.push(socket);
    }
    for channel in 1..=channels {
        assert_eq!(subscribe(twitch, &id, channel).0, 202);
    }
    (id, sockets)
}

fn shard_of(twitch: &Twitch, number: u64) -> Option<u32> {
    let all = twitch.deliveries(0, 10_000);
    let of = all
        .iter()
        .filter(|one| one.number == number && !one.dropped);
    of.filter_map(|one| match &one.to {
        Some(Recipient::Session { shard, .. }) => *shard,
        Some(Recipient::Irc(_)) | None => None,
    })
    .next()
}

#[tokio::test(start_paused = true)]
async fn each_channel_has_one_shard_and_all_shards_have_channels() {
    let twitch = twitch(|_| {});
    let (_, mut sockets) = fleet(&twitch, 4, 40).await;
    for round in 0..3 {
        for channel in 1..=40 {
            speak(&twitch, &format!("channel{channel}"), &format!("n{round}"));
        }
    }
    let mut seen = Vec::new();
    for socket in &mut sockets {
        for message in socket.rest().await {
            seen.push(
                message["payload"]["event"]["message_id"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    assert!(twitch.judge(&seen, &Scope::default()).is_clean());
    let mut shards: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for message in twitch.messages(0, 1000) {
        let shard = shard_of(&twitch, message.number).unwrap();
        shards
            .entry(message.channel.to_string())
            .or_default()
            .insert(shard);
    }
    assert!(shards.values().all(|of| of.len() == 1));
    assert_eq!(shards.values().flatten().collect::<BTreeSet<_>>().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_shard_is_used() {
    let twitch = twitch(|_| {});
    let (_, mut sockets) = fleet(&twitch, 1, 1).await;
    assert!(sockets[0].rest().await.is_empty());
    for _ in 0..5 {
        let next = sockets[0].within(seconds(11)).await.message();
        assert_eq!(next["metadata"]["message_type"], "session_keepalive");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_for_a_disabled_shard_is_tried_on_one_other_and_then_dropped() {
    let twitch = twitch(|_| {});
    let (_, mut sockets) = fleet(&twitch, 2, 20).await;
    sockets.remove(0).close().await;
    tokio::time::sleep(A_WHILE).await;
    for channel in 1..=20 {
        speak(&twitch, &format!("channel{channel}"), "one shard is left");
    }
    assert_eq!(sockets[0].rest().await.len(), 20);
    let counters = twitch.counters();
    assert!(counters.retried > 0, "some were of the other shard");
    assert_eq!((counters.dropped, counters.shards_disabled), (0, 1));
    sockets.remove(0).close().await;
    tokio::time::sleep(A_WHILE).await;
    for channel in 1..=20 {
        speak(&twitch, &format!("channel{channel}"), "none is left");
    }
    assert_eq!(twitch.counters().dropped, 20);
    assert_eq!(twitch.extents().dropped, 20);
    let verdict = twitch.judge(
        &[],
        &Scope {
            from: 21,
            ..Scope::default()
        },
    );
    assert_eq!((verdict.dropped, verdict.lost), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn only_one_other_shard_is_tried() {
    let twitch = twitch(|_| {});
    let id = conduit(&twitch, 20);
    let mut socket = Socket::open(&twitch, "").await;
    assign(&twitch, &id, 0, &socket.id);
    for channel in 1..=40 {
        subscribe(&twitch, &id, channel);
        speak(&twitch, &format!("channel{channel}"), "most find nobody");
    }
    let got = socket.rest().await.len() as u64;
    assert_eq!(got + twitch.counters().dropped, 40);
    assert!(
        twitch.counters().dropped > 20,
        "not every shard is tried: {got}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_had_not_reached_a_socket_when_it_ended_is_tried_elsewhere() {
    let twitch = twitch(|config| config.eventsub.delay = seconds(3));
    let (_, mut sockets) = fleet(&twitch, 2, 20).await;
    for channel in 1..=20 {
        speak(&twitch, &format!("channel{channel}"), "on its way");
    }
    sockets.remove(0).close().await;
    tokio::time::sleep(seconds(4)).await;
    assert_eq!(sockets[0].rest().await.len(), 20);
    assert!(twitch.counters().retried > 0);
    assert_eq!(twitch.counters().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shard_moves_with_one_patch_and_nothing_is_lost_or_repeated() {
    let twitch = twitch(|_| {});
    let (id, mut sockets) = fleet(&twitch, 1, 1).await;
    let mut old = sockets.remove(0);
    // The ten seconds after the Welcome are over: what closes it is that it lost its shard.
    tokio::time::sleep(seconds(15)).await;
    speak(&twitch, "channel1", "to the old one");
    let mut new = Socket::open(&twitch, "").await;
    assign(&twitch, &id, 0, &new.id);
    speak(&twitch, "channel1", "to the new one");
    assert_eq!((old.rest().await.len(), new.rest().await.len()), (1, 1));
    let same = seconds(9);
    assert!(matches!(
        old.within(same).await,
        Got::Nothing | Got::Message(_)
    ));
    assert_eq!(old.close_code().await, 4003, "nothing uses the old one");
    assert_eq!(twitch.counters().shards_disabled, 0);
    speak(&twitch, "channel1", "still here");
    let rest = new.rest().await;
    assert_eq!(rest.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_old_socket_gets_after_the_patch_is_a_switch() {
    let twitch = twitch(|config| {
        config.unknown.old_shard_close = Some(4003);
        config.unknown.old_shard_close_after = seconds(2);
        config.unknown.old_shard_stragglers = seconds(1);
    });
    let (id, mut sockets) = fleet(&twitch, 1, 1).await;
    let mut old = sockets.remove(0);
    let mut new = Socket::open(&twitch, "").await;
    assign(&twitch, &id, 0, &new.id);
    for number in 0..10 {
        speak(&twitch, "channel1", &format!("n{number}"));
    }
    assert_eq!(
        (old.rest().await.len(), new.rest().await.len()),
        (5, 5),
        "stragglers"
    );
    tokio::time::sleep(seconds(1)).await;
    speak(&twitch, "channel1", "later");
    assert_eq!((old.rest().await.len(), new.rest().await.len()), (0, 1));
    let start = tokio::time::Instant::now();
    assert_eq!(old.close_code().await, 4003);
    assert!(start.elapsed() < seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_patch_says_of_each_shard_what_is_wrong() {
    let twitch = twitch(|_| {});
    let id = conduit(&twitch, 2);
    let socket = Socket::open(&twitch, "").await;
    let websocket = |session: &str| json!({ "method": "websocket", "session_id": session });
    let body = json!({ "conduit_id": id, "shards": [
        { "id": "0", "transport": websocket(&socket.id) },
        { "id": "1", "transport": websocket(&socket.id) },
        { "id": "1", "transport": websocket("made-up") },
        { "id": "2", "transport": websocket(&socket.id) },
        { "id": "x", "transport": websocket(&socket.id) },
        { "id": "1", "transport": { "method": "webhook" } },
    ]});
    let (status, answer) = ask(&twitch, "PATCH", "/helix/eventsub/conduits/shards", &body);
    assert_eq!(status, 202);
    assert_eq!(answer["data"].as_array().unwrap().len(), 1);
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 5);
    assert!(
        errors
            .iter()
            .all(|error| error["code"] == "invalid_parameter")
    );
    assert!(
        errors[0]["message"]
            .as_str()
            .unwrap()
            .contains("another shard")
    );
    assert!(errors[2]["message"].as_str().unwrap().contains("range"));
    twitch.fault(Fault::new(FaultName::ShardError)).unwrap();
    let again = assign(&twitch, &id, 0, &socket.id);
    assert_eq!(again["errors"][0]["message"], "fault");
}

#[tokio::test(start_paused = true)]
async fn whether_a_session_can_be_that_of_several_shards_is_a_switch() {
    let twitch = twitch(|config| config.unknown.session_of_many_shards = true);
    let id = conduit(&twitch, 2);
    let socket = Socket::open(&twitch, "").await;
    for shard in 0..2 {
        assert_eq!(assign(&twitch, &id, shard, &socket.id)["errors"], json!([]));
    }
}

#[tokio::test(start_paused = true)]
async fn more_shards_than_fit_into_a_patch_are_refused() {
    let twitch = twitch(|_| {});
    let id = conduit(&twitch, 200);
    let shard = |number: u32| json!({ "id": number.to_string(), "transport": {} });
    let body = json!({ "conduit_id": id, "shards": (0..101).map(shard).collect::<Vec<_>>() });
    assert_eq!(
        ask(&twitch, "PATCH", "/helix/eventsub/conduits/shards", &body).0,
        400
    );
}

#[tokio::test(start_paused = true)]
async fn shards_are_listed_with_their_status_and_a_disabled_one_is_told() {
    let twitch = twitch(|_| {});
    let (id, mut sockets) = fleet(&twitch, 2, 0).await;
    let body = json!({
        "type": "conduit.shard.disabled",
        "version": "1",
        "condition": { "client_id": "client", "conduit_id": id },
        "transport": { "method": "conduit", "conduit_id": id },
    });
    assert_eq!(
        ask(&twitch, "POST", "/helix/eventsub/subscriptions", &body).0,
        202
    );
    let list = |query: &str| {
        let path = format!("/helix/eventsub/conduits/shards?conduit_id={id}{query}");
        ask(&twitch, "GET", &path, &Value::Null).1["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(list("").len(), 2);
    sockets.remove(0).close().await;
    let told = sockets[0].until("notification").await;
    let event = &told["payload"]["event"];
    assert_eq!(
        (&event["shard_id"], &event["status"]),
        (&json!("0"), &json!("websocket_disconnected"))
    );
    assert_eq!(event["conduit_id"], id.as_str());
    let disabled = list("&status=websocket_disconnected");
    assert_eq!(disabled.len(), 1);
    assert!(disabled[0]["transport"]["disconnected_at"].is_string());
    assert_eq!(list("&status=enabled").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_shard_drops_until_its_pong_is_late() {
    let twitch = twitch(|_| {});
    let (_, sockets) = fleet(&twitch, 1, 1).await;
    twitch
        .fault(Fault {
            shard: Some(0),
            ..Fault::new(FaultName::SessionHalfOpen)
        })
        .unwrap();
    tokio::time::sleep(A_WHILE).await;
    speak(&twitch, "channel1", "lost");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(twitch.extents().dropped, 1);
    assert_eq!(
        twitch.counters().shards_disabled,
        0,
        "Twitch cannot know yet"
    );
    tokio::time::sleep(seconds(41)).await;
    assert_eq!(twitch.counters().shards_disabled, 1);
    drop(sockets);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_reconnects_is_not_disabled() {
    let twitch = twitch(|_| {});
    let (_, mut sockets) = fleet(&twitch, 1, 1).await;
    twitch
        .fault(Fault::new(FaultName::SessionReconnect))
        .unwrap();
    let told = sockets[0].until("session_reconnect").await;
    let url = told["payload"]["session"]["reconnect_url"]
        .as_str()
        .unwrap();
    let mut new = Socket::open(&twitch, &format!("?{}", url.split_once('?').unwrap().1)).await;
    sockets.remove(0).close().await;
    tokio::time::sleep(A_WHILE).await;
    speak(&twitch, "channel1", "hello");
    assert_eq!(new.rest().await.len(), 1);
    assert_eq!(twitch.counters().shards_disabled, 0);
}

#[tokio::test(start_paused = true)]
async fn conduits_are_created_listed_resized_and_deleted() {
    let twitch = twitch(|_| {});
    let path = "/helix/eventsub/conduits";
    let (id, mut sockets) = fleet(&twitch, 2, 1).await;
    assert_eq!(
        ask(&twitch, "GET", path, &Value::Null).1["data"],
        json!([{ "id": id, "shard_count": 2 }])
    );
    let (status, body) = ask(
        &twitch,
        "PATCH",
        path,
        &json!({ "id": id, "shard_count": 1 }),
    );
    assert_eq!((status, &body["data"][0]["shard_count"]), (200, &json!(1)));
    // The session of the shard that is gone has no use.
    assert_eq!(sockets[1].close_code().await, 4003);
    for _ in 0..4 {
        conduit(&twitch, 1);
    }
    assert_eq!(
        ask(&twitch, "POST", path, &json!({ "shard_count": 1 })).0,
        429,
        "five"
    );
    assert_eq!(
        ask(&twitch, "POST", path, &json!({ "shard_count": 20_001 })).0,
        400
    );
    assert_eq!(
        ask(&twitch, "DELETE", &format!("{path}?id={id}"), &Value::Null).0,
        204
    );
    assert_eq!(
        ask(&twitch, "DELETE", &format!("{path}?id={id}"), &Value::Null).0,
        404
    );
    let (_, list) = ask(
        &twitch,
        "GET",
        "/helix/eventsub/subscriptions",
        &Value::Null,
    );
    assert_eq!(list["total"], 0, "its subscriptions are gone, too");
}
