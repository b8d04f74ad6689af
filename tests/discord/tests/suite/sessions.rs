//! IDENTIFY, READY, RESUME and the end of sessions, over real sockets.

use std::time::Duration;

use crate::common::{Came, Client, identify, resume, resume_url, session_of, start};
use baton_discord::{DiscordConfig, ResumeWhileConnected, What};
use serde_json::json;

#[tokio::test]
async fn an_identify_is_answered_with_ready_and_every_guild() {
    let discord = start(DiscordConfig::quick()).await;
    let (_, ready) = Client::ready(&discord.url(), (0, 1)).await;
    assert_eq!(ready["s"], 1);
    assert_eq!(ready["d"]["v"], 10);
    assert_eq!(ready["d"]["guilds"].as_array().unwrap().len(), 5);
    assert_eq!(ready["d"]["shard"], json!([0, 1]));
    assert!(ready["d"]["application"]["id"].is_string());
    assert_ne!(resume_url(&ready), discord.url());
    assert_eq!(discord.counters().total.identifies, 1);
}

#[tokio::test]
async fn every_compression_carries_the_same_payloads() {
    let discord = start(DiscordConfig::quick()).await;
    for compress in ["", "zlib-stream", "zstd-stream"] {
        let mut client = Client::open(&discord.url(), compress).await;
        assert_eq!(client.payload().await["op"], 10);
        client.send(identify((0, 1))).await;
        client.event("READY").await;
        for _ in 0..5 {
            client.event("GUILD_CREATE").await;
        }
    }
}

#[tokio::test]
async fn a_resume_replays_what_was_missed_in_order_and_then_says_resumed() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    discord
        .set_probe(None, Some(Duration::from_millis(1)))
        .unwrap();
    let mut seq = 6;
    while seq < 20 {
        seq = client.payload().await["s"].as_u64().unwrap();
    }
    client.close(4000).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 10)).await;
    for expected in 11.. {
        let payload = client.payload().await;
        assert_eq!(payload["s"], expected);
        if payload["t"] == "RESUMED" {
            break;
        }
        assert_eq!(payload["d"]["content"], "probe");
    }
    let counts = discord.counters().total;
    assert_eq!((counts.resumes, counts.identifies), (1, 1));
    assert_eq!(counts.resumes_at_plain_url, 0);
    // The replay adds nothing to the ledger: one entry per number.
    let ledger = discord.ledger(0, usize::MAX);
    assert!(
        ledger
            .iter()
            .enumerate()
            .all(|(at, entry)| entry.seq == at as u64 + 1)
    );
}

#[tokio::test]
async fn a_resume_at_the_plain_url_works_and_is_counted() {
    let discord = start(DiscordConfig::quick()).await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    client.close(4000).await;
    let mut client = Client::hello(&discord.url()).await;
    client.send(resume(&session_of(&ready), 6)).await;
    assert_eq!(client.event("RESUMED").await["s"], 7);
    assert_eq!(discord.counters().shards[&0].resumes_at_plain_url, 1);
}

#[tokio::test]
async fn a_close_with_1000_or_1001_ends_the_session_and_4000_does_not() {
    let discord = start(DiscordConfig::quick()).await;
    for (code, resumable) in [(1000, false), (1001, false), (4000, true), (1006, true)] {
        let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
        if code == 1006 {
            drop(client);
        } else {
            client.close(code).await;
        }
        let mut client = Client::hello(&resume_url(&ready)).await;
        client.send(resume(&session_of(&ready), 6)).await;
        let answer = client.payload().await;
        if resumable {
            assert_eq!(answer["t"], "RESUMED");
        } else {
            assert_eq!(answer, json!({"op": 9, "d": false, "s": null, "t": null}));
        }
    }
}

#[tokio::test]
async fn a_resume_with_another_compression_is_refused_and_the_log_says_why() {
    let discord = start(DiscordConfig::quick()).await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    client.close(4000).await;
    let mut client = Client::open(&resume_url(&ready), "zstd-stream").await;
    client.payload().await;
    client.send(resume(&session_of(&ready), 6)).await;
    assert_eq!(client.payload().await["op"], 9);
    let log = discord.log(0);
    let refused = log.iter().find(|line| line.what == What::Refused).unwrap();
    assert_eq!(refused.detail, "another compression");
}

#[tokio::test]
async fn a_sequence_that_is_too_high_closes_with_4007_and_ends_the_session() {
    let discord = start(DiscordConfig::quick()).await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    client.close(4000).await;
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 7)).await;
    assert_eq!(client.end().await, 4007);
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 6)).await;
    assert_eq!(client.payload().await["d"], false);
}

#[tokio::test]
async fn a_sequence_below_the_replay_buffer_is_an_invalid_session() {
    let discord = start(DiscordConfig {
        replay_buffer: Some(2),
        ..DiscordConfig::quick()
    })
    .await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    client.close(4000).await;
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 3)).await;
    assert_eq!(client.payload().await["d"], false);
    assert_eq!(
        discord.counters().total.resumes_refused["sequence below the replay buffer"],
        1
    );
}

#[tokio::test]
async fn a_resume_while_connected_does_what_the_switch_says() {
    for policy in [
        ResumeWhileConnected::TakeOver,
        ResumeWhileConnected::Refuse,
        ResumeWhileConnected::RefuseFalse,
        ResumeWhileConnected::Both,
    ] {
        let discord = start(DiscordConfig {
            resume_while_connected: policy,
            ..DiscordConfig::quick()
        })
        .await;
        let (mut old, ready) = Client::ready(&discord.url(), (0, 1)).await;
        let mut new = Client::hello(&resume_url(&ready)).await;
        new.send(resume(&session_of(&ready), 6)).await;
        match policy {
            ResumeWhileConnected::TakeOver => {
                assert_eq!(new.payload().await["t"], "RESUMED");
                assert_eq!(old.end().await, 4000);
            }
            ResumeWhileConnected::Refuse => {
                assert_eq!(new.payload().await["d"], true);
                discord
                    .set_probe(None, Some(Duration::from_millis(5)))
                    .unwrap();
                assert_eq!(old.payload().await["t"], "MESSAGE_CREATE");
            }
            ResumeWhileConnected::RefuseFalse => {
                assert_eq!(new.payload().await["d"], false);
                assert_eq!(old.payload().await["d"], false, "the session is over");
                let refused = discord.counters().total.resumes_refused;
                assert_eq!(refused["still connected"], 1);
            }
            ResumeWhileConnected::Both => {
                assert_eq!(new.payload().await["t"], "RESUMED");
                discord
                    .set_probe(None, Some(Duration::from_millis(5)))
                    .unwrap();
                let (one, two) = (old.payload().await, new.payload().await);
                assert_eq!(one["s"], two["s"]);
            }
        }
    }
}

#[tokio::test]
async fn two_sessions_of_one_shard_number_the_same_events_each_for_itself() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut one, _) = Client::ready(&discord.url(), (0, 1)).await;
    discord
        .set_probe(None, Some(Duration::from_millis(2)))
        .unwrap();
    one.payload().await;
    let mut two = Client::hello(&discord.url()).await;
    two.send(identify((0, 1))).await;
    assert_eq!(two.event("READY").await["s"], 1);
    for _ in 0..5 {
        two.event("GUILD_CREATE").await;
    }
    let first = two.event("MESSAGE_CREATE").await;
    assert_eq!(first["s"], 7);
    loop {
        let same = one.payload().await;
        if same["d"]["id"] == first["d"]["id"] {
            assert!(same["s"].as_u64().unwrap() > 7);
            break;
        }
    }
}

#[tokio::test]
async fn shards_of_another_count_get_exactly_their_guilds() {
    let discord = start(DiscordConfig {
        shards: 4,
        ..DiscordConfig::quick()
    })
    .await;
    let mut seen = Vec::new();
    for shard in 0..6 {
        let (_, ready) = Client::ready(&discord.url(), (shard, 6)).await;
        for guild in ready["d"]["guilds"].as_array().unwrap() {
            let id: u64 = guild["id"].as_str().unwrap().parse().unwrap();
            assert_eq!((id >> 22) % 6, u64::from(shard));
            seen.push(id);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn the_session_start_limit_ends_every_session_and_resets_the_token() {
    let discord = start(DiscordConfig {
        session_start_limit: 2,
        ..DiscordConfig::quick()
    })
    .await;
    let (mut one, _) = Client::ready(&discord.url(), (0, 1)).await;
    let (mut two, ready) = Client::ready(&discord.url(), (0, 1)).await;
    let mut three = Client::hello(&discord.url()).await;
    three.send(identify((0, 1))).await;
    assert_eq!(three.end().await, 4004);
    assert_eq!(one.end().await, 4004);
    assert_eq!(two.end().await, 4004);
    let mut again = Client::hello(&discord.url()).await;
    again.send(resume(&session_of(&ready), 1)).await;
    assert!(matches!(again.next().await, Came::End(4004)));
    assert_eq!(discord.counters().total.token_resets, 1);
}
