//! Everything a client can do wrong, and what it meets.

use std::time::Duration;

use crate::common::{ALL, Came, Client, identify, identify_with, start};
use baton_discord::{DiscordConfig, MissedHeartbeat, intents};
use serde_json::{Value, json};

#[tokio::test]
async fn every_wrong_payload_has_its_close_code() {
    let discord = start(DiscordConfig {
        token: Some("abc".to_owned()),
        allowed_intents: intents::ALL & !intents::GUILD_PRESENCES,
        shards: 2,
        guilds_per_shard: 2000,
        members_per_guild: 2,
        ..DiscordConfig::quick()
    })
    .await;
    let base = |key: &str, value: Value| {
        let mut payload = identify_with((0, 2), 1);
        payload["d"][key] = value;
        payload
    };
    let cases = [
        (json!({"op": 99, "d": null}), 4001),
        (json!({"op": 0, "d": null}), 4001),
        (json!({"d": null}), 4002),
        (json!([1]), 4002),
        (json!({"op": 1, "d": "x"}), 4002),
        (json!({"op": 2, "d": {"token": "abc"}}), 4002),
        (json!({"op": 1, "d": null, "pad": "x".repeat(5000)}), 4002),
        (json!({"op": 3, "d": {}}), 4003),
        (json!({"op": 8, "d": {}}), 4003),
        (base("token", json!("other")), 4004),
        (base("token", json!("")), 4004),
        (base("shard", json!([2, 2])), 4010),
        (base("shard", json!([0, 0])), 4010),
        (base("shard", json!([0, 1])), 4011),
        (base("intents", Value::Null), 4013),
        (base("intents", json!(1_u64 << 40)), 4013),
        (base("intents", json!(ALL)), 4014),
        (base("large_threshold", json!(10)), 4002),
    ];
    for (payload, code) in cases {
        let mut client = Client::hello(&discord.url()).await;
        client.send(payload.clone()).await;
        assert_eq!(client.end().await, code, "{payload}");
    }
    assert_eq!(discord.counters().total.identifies, 0);
    assert_eq!(discord.counters().total.identifies_refused["4013"], 2);
}

#[tokio::test]
async fn a_second_identify_closes_with_4005() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut client, _) = Client::ready(&discord.url(), (0, 1)).await;
    client.send(identify((0, 1))).await;
    assert_eq!(client.end().await, 4005);
}

#[tokio::test]
async fn an_api_version_encoding_or_compression_that_does_not_exist_closes_with_4012() {
    let discord = start(DiscordConfig::quick()).await;
    for query in ["v=5", "v=x", "v=10&encoding=etf", "v=10&compress=lz4"] {
        let mut client = Client::open_url(&format!("{}/?{query}", discord.url()), "").await;
        assert_eq!(client.end().await, 4012, "{query}");
    }
    for query in ["", "?v=9", "path?encoding=json&v=10", "?v=10&compress="] {
        let mut client = Client::open_url(&format!("{}/{query}", discord.url()), "").await;
        assert_eq!(client.payload().await["op"], 10, "{query}");
    }
}

#[tokio::test]
async fn more_than_120_commands_in_a_minute_close_with_4008_heartbeats_included() {
    let discord = start(DiscordConfig::quick()).await;
    let mut client = Client::hello(&discord.url()).await;
    for _ in 0..120 {
        client.send(json!({"op": 1, "d": null})).await;
        assert_eq!(client.payload().await["op"], 11);
    }
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.end().await, 4008);
}

#[tokio::test]
async fn an_identify_inside_the_window_of_its_bucket_gets_op_9_and_the_connection_stays() {
    let discord = start(DiscordConfig {
        identify_window: Duration::from_secs(3600),
        max_concurrency: 2,
        shards: 4,
        ..DiscordConfig::default()
    })
    .await;
    Client::ready(&discord.url(), (0, 4)).await;
    Client::ready(&discord.url(), (1, 4)).await;
    let mut client = Client::hello(&discord.url()).await;
    client.send(identify((2, 4))).await;
    assert_eq!(
        client.payload().await,
        json!({"op": 9, "d": false, "s": null, "t": null})
    );
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    let shard = &discord.counters().shards[&2];
    assert_eq!(
        (
            shard.identifies,
            shard.identifies_refused["max_concurrency"]
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn a_client_without_heartbeats_is_disconnected_as_the_switch_says() {
    for (missed_heartbeat, code) in [
        (MissedHeartbeat::Drop, 0),
        (MissedHeartbeat::Close4009, 4009),
    ] {
        let discord = start(DiscordConfig {
            heartbeat_interval: Duration::from_millis(100),
            missed_heartbeat,
            ..DiscordConfig::quick()
        })
        .await;
        let (mut client, _) = Client::ready(&discord.url(), (0, 1)).await;
        assert_eq!(client.end().await, code);
    }
}

#[tokio::test]
async fn an_identify_without_shard_is_shard_0_of_1_and_a_heartbeat_may_come_first() {
    let discord = start(DiscordConfig::quick()).await;
    let mut client = Client::hello(&discord.url()).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    let mut payload = identify((0, 1));
    payload["d"].as_object_mut().unwrap().remove("shard");
    client.send(payload).await;
    assert_eq!(client.event("READY").await["d"]["shard"], json!([0, 1]));
}

#[tokio::test]
async fn intents_decide_which_dispatches_come_and_what_is_in_them() {
    let discord = start(DiscordConfig::quick()).await;
    let mut client = Client::hello(&discord.url()).await;
    client
        .send(identify_with((0, 1), intents::GUILD_MESSAGES))
        .await;
    client.event("READY").await;
    discord
        .set_probe(None, Some(Duration::from_millis(5)))
        .unwrap();
    let message = client.event("MESSAGE_CREATE").await;
    assert_eq!(message["s"], 2, "no GUILD_CREATE without the intent GUILDS");
    assert_eq!(
        message["d"]["content"], "",
        "no content without MESSAGE_CONTENT"
    );

    let mut client = Client::hello(&discord.url()).await;
    client.send(identify_with((0, 1), intents::GUILDS)).await;
    client.event("READY").await;
    for _ in 0..5 {
        let guild = client.event("GUILD_CREATE").await;
        assert_eq!(guild["d"]["presences"], json!([]));
    }
    client.silent(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_binary_payload_is_read_like_a_text() {
    use futures_util::SinkExt;
    let discord = start(DiscordConfig::quick()).await;
    let mut client = Client::hello(&discord.url()).await;
    let payload = tokio_websockets::Message::binary(identify((0, 1)).to_string().into_bytes());
    client.ws.send(payload).await.unwrap();
    assert!(matches!(client.next().await, Came::Payload(ready) if ready["t"] == "READY"));
}
