//! A bot that plays music, whose processes are killed while it is in a call.

use std::net::SocketAddr;

use baton_testing::Fleet;
use baton_tests::fleet::own_proxy;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_websockets::{ClientBuilder, Message};

use super::{bot, identify};

/// A process of a music bot: it begins, joins a call where `joins` says so, and is killed when
/// it knows of one and has acknowledged that. What it was told of it: the state, then the server.
async fn plays(address: SocketAddr, joins: impl Fn(&Value) -> Option<Value>) -> (Value, Value) {
    let url = format!("ws://{address}/?v=10&encoding=json");
    let builder = ClientBuilder::from_uri(url.parse().unwrap());
    let (mut socket, _) = builder.connect().await.unwrap();
    let (mut state, mut server, mut joined) = (Value::Null, Value::Null, false);
    let mut sequence = Value::Null;
    while let Some(Ok(message)) = socket.next().await {
        let Some(text) = message.as_text() else {
            continue;
        };
        let payload: Value = serde_json::from_str(text).unwrap();
        let d = payload["d"].clone();
        let mut answer = match payload["op"].as_u64() {
            Some(10) => Some(identify((0, 1))),
            Some(1) => Some(json!({"op": 1, "d": sequence})),
            Some(11) => return (state, server),
            _ => None,
        };
        if payload["op"] == 0 {
            sequence = payload["s"].clone();
        }
        match payload["t"].as_str() {
            Some("GUILD_CREATE") if !joined => {
                answer = joins(&d);
                joined = answer.is_some();
            }
            Some("VOICE_STATE_UPDATE") if server.is_null() => state = d,
            Some("VOICE_SERVER_UPDATE") => {
                server = d;
                answer = Some(json!({"op": 1, "d": sequence}));
            }
            _ => {}
        }
        if let Some(answer) = answer {
            socket
                .send(Message::text(answer.to_string()))
                .await
                .unwrap();
        }
    }
    panic!("it was not told where it is: {state}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_music_bot_that_begins_after_a_deploy_or_a_kill_is_told_again_where_it_plays() {
    let address = own_proxy();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    // The bot alone speaks: what the new process hears is no backlog.
    let builder = Fleet::builder().shards(1).listen(address);
    let builder = builder.events_per_second(0.0);
    let mut fleet = builder.start(bot("v1", address, &store)).await.unwrap();
    let joins = |guild: &Value| {
        let channels = guild["channels"].as_array()?;
        let channel = channels.iter().find(|channel| channel["type"] == 2)?;
        Some(json!({"op": 4, "d": {
            "guild_id": guild["id"], "channel_id": channel["id"],
            "self_mute": false, "self_deaf": true,
        }}))
    };
    let (state, server) = plays(address, joins).await;
    assert!(server["token"].is_string() && state["member"].is_object());
    let again = |it: &(Value, Value)| {
        assert_eq!(it.1, server);
        for field in [
            "user_id",
            "guild_id",
            "channel_id",
            "session_id",
            "self_deaf",
        ] {
            assert_eq!(it.0[field], state[field], "{field}");
        }
        assert_eq!(it.0["member"]["user"]["id"], state["user_id"]);
    };
    again(&plays(address, |_| None).await);
    fleet.deploy(bot("v2", address, &store)).await.unwrap();
    again(&plays(address, |_| None).await);
    fleet.kill_bot().await.unwrap();
    fleet.serves().await.unwrap();
    again(&plays(address, |_| None).await);
}
