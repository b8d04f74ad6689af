//! Commands up, and their answers.

use std::time::Duration;

use baton_proxy::Call;
use serde_json::{Value, json};

use crate::common::{BOT, Rig, config, identify, resume};

#[tokio::test]
async fn commands_go_up_as_they_are_in_their_order() {
    let rig = Rig::new().await;
    rig.above.inner().full = 1;
    let mut client = rig.hello().await;
    let presence = json!({"status": "dnd", "activities": [], "since": null, "afk": false});
    let mut identify = identify();
    identify["d"]["presence"] = presence.clone();
    client.send(identify).await;
    client.greeting().await;
    let commands = [
        json!({"op": 4, "d": {"guild_id": "1", "channel_id": null, "self_mute": false, "self_deaf": true}}),
        json!({"op": 8, "d": {"guild_id": "1", "query": "", "limit": 0, "nonce": "n"}}),
        json!({"op": 8, "d": {"guild_id": ["1"], "user_ids": ["5", 6]}}),
        json!({"op": 31, "d": {"guild_ids": ["1", "2"]}}),
        json!({"op": 43, "d": {"guild_id": "1", "fields": ["status"]}}),
    ];
    for command in &commands {
        client.send(command.clone()).await;
    }
    rig.until("sent", |rig| rig.above.inner().commands.len() == 6)
        .await;
    let sent = rig.above.inner().commands.clone();
    assert_eq!(sent[0], json!({"op": 3, "d": presence}));
    assert_eq!(sent[1..], commands);
}

#[tokio::test]
async fn a_command_that_discord_would_close_the_shard_for_closes_the_client() {
    let rig = Rig::new().await;
    let users: Vec<Value> = (0..101).map(|id| json!(id.to_string())).collect();
    for (op, d) in [
        (3, json!({"status": "moon"})),
        (3, json!({"status": "idle", "activities": "x"})),
        (3, json!(null)),
        (4, json!({"channel_id": "1"})),
        (4, json!({"guild_id": "x", "channel_id": null})),
        (8, json!({"guild_id": "1"})),
        (8, json!({"guild_id": "1", "query": "x"})),
        (8, json!({"guild_id": ["1", "2"], "query": "", "limit": 0})),
        (8, json!({"guild_id": "1", "user_ids": users})),
        (31, json!({"guild_ids": "1"})),
        (43, json!({})),
    ] {
        let (mut client, _) = rig.client().await;
        client.send(json!({"op": op, "d": d})).await;
        assert_eq!(client.closed().await.0, 4002, "{op} {d}");
    }
    assert_eq!(rig.above.inner().commands.len(), 0);
}

#[tokio::test]
async fn an_answer_comes_to_whoever_asked_and_is_a_number_for_the_others() {
    let mut config = config();
    config.mirrors.insert("m".to_owned());
    let rig = Rig::with(config).await;
    let (mut client, _) = rig.client().await;
    let (mut mirror, _) = rig.client_at("/mirror/m").await;
    let ask = |nonce: &str| json!({"op": 8, "d": {"guild_id": "1", "query": "a", "limit": 5, "nonce": nonce}});
    client.send(ask("one")).await;
    mirror.send(ask("two")).await;
    rig.until("asked", |rig| rig.above.inner().commands.len() == 2)
        .await;
    let chunk = |nonce: &str| json!({"guild_id": "1", "members": [], "nonce": nonce});
    rig.say(101, "GUILD_MEMBERS_CHUNK", chunk("one")).await;
    let limited =
        json!({"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": "1", "nonce": "two"}});
    rig.say(102, "RATE_LIMITED", limited).await;
    rig.say(103, "GUILD_MEMBERS_CHUNK", chunk("nobody's")).await;
    let mut kinds = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (client, kinds) in [&mut client, &mut mirror].into_iter().zip(&mut kinds) {
            kinds.push(client.payload().await["t"].as_str().unwrap().to_owned());
        }
    }
    let (chunk, limited) = ("GUILD_MEMBERS_CHUNK", "RATE_LIMITED");
    assert_eq!(kinds[0], [chunk, "BATON_FILLER", chunk]);
    assert_eq!(kinds[1], ["BATON_FILLER", limited, chunk]);
}

#[tokio::test]
async fn a_mirror_stays_one_wherever_it_resumes() {
    let mut config = config();
    config.mirrors.insert("m".to_owned());
    let rig = Rig::with(config).await;
    let (mirror, greeting) = rig.client_at("/mirror/m").await;
    drop(mirror);
    // At the path of a primary: its library does not keep the URL that READY names.
    let mut mirror = rig.hello().await;
    mirror.send(resume(&greeting[0], 3)).await;
    assert_eq!(mirror.payload().await["t"], "RESUMED");
    mirror.send(json!({"op": 3, "d": {"status": "idle"}})).await;
    let asks = json!({"op": 31, "d": {"guild_ids": ["1"]}});
    mirror.send(asks.clone()).await;
    rig.until("sent", |rig| !rig.above.inner().commands.is_empty())
        .await;
    assert_eq!(rig.above.inner().commands, [asks]);
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_closed_with_4008() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    // IDENTIFY counts; heartbeats do not.
    for _ in 0..200 {
        client.beat().await;
    }
    for _ in 0..119 {
        client.send(json!({"op": 3, "d": {"status": "idle"}})).await;
    }
    client.nothing().await;
    client.send(json!({"op": 3, "d": {"status": "idle"}})).await;
    assert_eq!(client.closed().await.0, 4008);
    let sent = rig.above.inner().commands.len();
    assert!(sent <= 110, "{sent} of 110 a minute go up");
}

#[tokio::test]
async fn a_client_that_comes_into_a_call_is_told_again_where_it_is() {
    let rig = Rig::new().await;
    let state =
        json!({"guild_id": "1", "user_id": BOT.to_string(), "channel_id": "9", "session_id": "v"});
    let server = json!({"guild_id": "1", "token": "t", "endpoint": "e"});
    rig.above.inner().calls.push(Call {
        state: state.to_string(),
        server: server.to_string(),
    });
    rig.event(101).await;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    let greeting = client.greeting_of(4).await;
    assert_eq!(
        (&greeting[3]["t"], &greeting[3]["d"]),
        (&json!("VOICE_STATE_UPDATE"), &state)
    );
    assert_eq!(
        (&greeting[4]["t"], &greeting[4]["d"]),
        (&json!("VOICE_SERVER_UPDATE"), &server)
    );
    assert_eq!(client.numbers(1).await, [(6, Some(101))], "no gap");
}

#[tokio::test]
async fn a_client_that_was_taken_over_from_commands_nothing_any_more() {
    let mut config = config();
    config.timings.drain = Duration::from_secs(60);
    let rig = Rig::with(config).await;
    let (mut old, _) = rig.client().await;
    let (_new, _) = rig.client().await;
    old.send(json!({"op": 4, "d": {"guild_id": "1", "channel_id": null}}))
        .await;
    old.nothing().await;
    assert_eq!(rig.above.inner().commands.len(), 0);
}
