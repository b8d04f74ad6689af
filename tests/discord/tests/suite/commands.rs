//! What is bound to the session that asked for it.

use std::time::Duration;

use baton_discord::{Discord, DiscordConfig, Fingerprint};
use serde_json::{Value, json};

use crate::common::{Client, resume, resume_url, session_of, start};

/// Long enough for what does not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Two clients of one shard, and the first guild.
async fn two() -> (Discord, (Client, Value), (Client, Value), String) {
    let discord = start(DiscordConfig::quick()).await;
    let one = Client::ready(&discord.url(), (0, 1)).await;
    let two = Client::ready(&discord.url(), (0, 1)).await;
    let guild = two.1["d"]["guilds"][0]["id"].as_str().unwrap().to_owned();
    (discord, one, two, guild)
}

#[tokio::test]
async fn a_voice_state_is_the_sessions_that_asked_and_ends_with_it() {
    let (discord, (mut one, ready), (mut two, ready_of_two), guild) = two().await;
    let truth = discord.truth_guild(guild.parse().unwrap()).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let mut channels = truth["guild"]["channels"].as_array().unwrap().iter();
    let channel = &channels.find(|channel| channel["type"] == 2).unwrap()["id"];
    let ask = |channel: &Value| json!({"op": 4, "d": {"guild_id": guild, "channel_id": channel, "self_mute": false, "self_deaf": false}});
    let of = |ready: &Value| {
        let session = Fingerprint::of(&session_of(ready));
        format!("{:032x}", session.0)
    };

    one.send(ask(channel)).await;
    for client in [&mut one, &mut two] {
        let state = client.event("VOICE_STATE_UPDATE").await;
        assert_eq!(state["d"]["session_id"], of(&ready));
        assert_eq!(&state["d"]["channel_id"], channel);
    }
    assert_eq!(
        one.event("VOICE_SERVER_UPDATE").await["d"]["guild_id"],
        guild
    );
    // Another session cannot end it.
    two.send(ask(&Value::Null)).await;
    two.silent(SILENCE).await;

    two.send(ask(channel)).await;
    for client in [&mut two, &mut one] {
        let state = client.event("VOICE_STATE_UPDATE").await;
        assert_eq!(state["d"]["session_id"], of(&ready_of_two));
    }
    two.event("VOICE_SERVER_UPDATE").await;

    // A session that can be resumed keeps its voice.
    two.close(4000).await;
    one.silent(SILENCE).await;
    let mut two = Client::hello(&resume_url(&ready_of_two)).await;
    two.send(resume(&session_of(&ready_of_two), 9)).await;
    two.event("RESUMED").await;
    two.close(1000).await;
    let left = one.event("VOICE_STATE_UPDATE").await;
    assert_eq!(left["d"]["channel_id"], Value::Null);
}

#[tokio::test]
async fn members_are_the_sessions_that_asked_and_a_guild_is_asked_for_once_in_30_seconds() {
    let (_discord, (mut one, _), (mut two, _), guild) = two().await;
    let all = |nonce: &str| json!({"op": 8, "d": {"guild_id": guild, "query": "", "limit": 0, "nonce": nonce}});
    one.send(all("first")).await;
    let chunk = one.event("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["d"]["nonce"], "first");
    two.silent(SILENCE).await;

    // Whoever asks: it is the bot that did.
    two.send(all("second")).await;
    let limited = two.event("RATE_LIMITED").await;
    assert_eq!(limited["d"]["opcode"], 8);
    let wait = limited["d"]["retry_after"].as_f64().unwrap();
    assert!((20.0..30.0).contains(&wait), "{wait}");
    one.silent(SILENCE).await;

    // Some of them may be asked for.
    two.send(json!({"op": 8, "d": {"guild_id": guild, "query": "user", "limit": 3}}))
        .await;
    let chunk = two.event("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["d"]["members"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_stamped_dispatch_says_what_the_ledger_calls_it_also_in_a_replay() {
    let discord = start(DiscordConfig {
        stamp: true,
        ..DiscordConfig::quick()
    })
    .await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    let session = Fingerprint::of(&session_of(&ready));
    assert_eq!(ready["d"]["_stamp"], format!("{session}:1"));
    client.close(4000).await;
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 1)).await;
    for number in 2..=6 {
        let guild = client.event("GUILD_CREATE").await;
        assert_eq!(guild["d"]["_stamp"], format!("{session}:{number}"));
    }
    let ledger = discord.ledger(0, usize::MAX);
    assert!(ledger.iter().all(|entry| entry.session == session));
}
