//! Faults that go on, and those that make an answer late or cut it short.

use std::time::{Duration, Instant};

use baton_discord::{Discord, DiscordConfig, Fault, FaultName, SettingsChange, When};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::common::{Came, Client, identify, resume, resume_url, session_of, start};

#[tokio::test]
async fn every_resume_is_closed_until_the_faults_are_cleared_and_the_session_stays() {
    for code in [4000, 4003, 1001, 1006] {
        let (discord, ready) = left(DiscordConfig::quick()).await;
        let close = Fault::new(FaultName::CloseOnResume).with_code(code);
        discord.fault(close.for_ever()).unwrap();
        for _ in 0..20 {
            let mut client = resuming(&ready, 6).await;
            // 1006 is no frame.
            assert_eq!(client.end().await, if code == 1006 { 0 } else { code });
        }
        assert_eq!(discord.counters().total.resumes_refused["fault"], 20);
        discord.clear_faults();
        let mut client = resuming(&ready, 6).await;
        client.event("RESUMED").await;
    }
}

#[tokio::test]
async fn every_identify_is_refused_for_a_time_and_counted_apart_from_those_that_were_accepted() {
    let discord = start(DiscordConfig::quick()).await;
    discord
        .fault(
            Fault::new(FaultName::Op9False)
                .at(When::Identify)
                .for_ever(),
        )
        .unwrap();
    let mut client = Client::hello(&discord.url()).await;
    for _ in 0..5 {
        client.send(identify((0, 1))).await;
        assert_eq!(client.payload().await["d"], false);
    }
    discord.clear_faults();
    let shut = Fault::new(FaultName::CloseOnIdentify).with_code(4003);
    discord
        .fault(shut.throughout(Duration::from_secs(60)))
        .unwrap();
    client.send(identify((0, 1))).await;
    assert_eq!(client.end().await, 4003);
    discord.clear_faults();
    Client::ready(&discord.url(), (0, 1)).await;
    let counted = discord.counters().total;
    assert_eq!(counted.identifies, 1);
    assert_eq!(counted.identifies_refused["fault"], 6);
}

#[tokio::test]
async fn a_refused_identify_spends_the_session_start_limit_only_where_that_is_switched_on() {
    for refused_identify_counts in [false, true] {
        let discord = start(DiscordConfig {
            refused_identify_counts,
            ..DiscordConfig::quick()
        })
        .await;
        let left = SettingsChange {
            identifies_left: Some(2),
            ..SettingsChange::default()
        };
        discord.change_settings(&left).unwrap();
        discord
            .fault(Fault::new(FaultName::Op9True).at(When::Identify).times(2))
            .unwrap();
        let mut client = Client::hello(&discord.url()).await;
        for _ in 0..2 {
            client.send(identify((0, 1))).await;
            assert_eq!(client.payload().await["d"], true);
        }
        client.send(identify((0, 1))).await;
        match client.next().await {
            Came::Payload(ready) => assert!(!refused_identify_counts, "{ready}"),
            Came::End(code) => assert!(refused_identify_counts && code == 4004, "{code}"),
        }
    }
}

#[tokio::test]
async fn a_late_ready_leaves_heartbeats_answered_and_brings_everything_in_order() {
    let discord = start(DiscordConfig::quick()).await;
    let late = Duration::from_secs(1);
    discord
        .fault(Fault::new(FaultName::SlowReady).lasting(late))
        .unwrap();
    let mut client = Client::hello(&discord.url()).await;
    client.send(identify((0, 1))).await;
    let asked = Instant::now();
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert_eq!(client.event("READY").await["s"], 1);
    assert!(asked.elapsed() >= late);
    for seq in 2..=6 {
        assert_eq!(client.event("GUILD_CREATE").await["s"], seq);
    }
}

#[tokio::test]
async fn a_late_resumed_comes_behind_its_replay_and_before_what_happened_since() {
    let (discord, ready) = left(DiscordConfig::quick()).await;
    let late = Duration::from_secs(1);
    discord
        .fault(Fault::new(FaultName::SlowResumed).lasting(late))
        .unwrap();
    let asked = Instant::now();
    let mut client = resuming(&ready, 3).await;
    for seq in 4..=6 {
        assert_eq!(client.event("GUILD_CREATE").await["s"], seq);
    }
    flood(&discord, 600);
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert_eq!(client.event("RESUMED").await["s"], 7);
    assert!(asked.elapsed() >= late);
    for seq in 8..608 {
        assert_eq!(client.payload().await["s"], seq);
    }
}

#[tokio::test]
async fn a_replay_is_closed_behind_so_many_events_and_at_the_latest_instead_of_resumed() {
    let (discord, ready) = left(DiscordConfig::quick()).await;
    let close = Fault::new(FaultName::CloseInReplay).times(2);
    for (events, code, last) in [(2, 4000, 4), (0, 1001, 2), (50, 1006, 6), (4, 4000, 6)] {
        let close = close.clone().with_events(events).with_code(code);
        discord.fault(close).unwrap();
        for _ in 0..2 {
            let mut client = resuming(&ready, 2).await;
            for seq in 3..=last {
                assert_eq!(client.event("GUILD_CREATE").await["s"], seq);
            }
            let end = client.next().await;
            let expected = if code == 1006 { 0 } else { code };
            assert!(
                matches!(end, Came::End(code) if code == expected),
                "{end:?}"
            );
        }
    }
    let mut client = resuming(&ready, 6).await;
    client.event("RESUMED").await;
}

#[tokio::test]
async fn hello_can_be_late_and_its_interval_anything() {
    let discord = start(DiscordConfig::quick()).await;
    let late = Duration::from_millis(200);
    discord
        .fault(Fault::new(FaultName::SlowHello).lasting(late))
        .unwrap();
    let asked = Instant::now();
    Client::hello(&discord.url()).await;
    assert!(asked.elapsed() >= late);

    let odd = [
        json!(0),
        json!(1),
        json!(-41_250),
        json!(u64::MAX),
        json!(1.5),
        json!("41250"),
        Value::Null,
    ];
    for value in odd {
        discord
            .fault(Fault::new(FaultName::OddHello).with_value(value.clone()))
            .unwrap();
        let mut client = Client::open(&discord.url(), "").await;
        let hello = client.payload().await;
        assert_eq!(hello["d"]["heartbeat_interval"], value);
    }
    discord.fault(Fault::new(FaultName::OddHello)).unwrap();
    let mut client = Client::open(&discord.url(), "").await;
    let hello = client.payload().await;
    assert!(
        !hello["d"]
            .as_object()
            .unwrap()
            .contains_key("heartbeat_interval")
    );
}

#[tokio::test]
async fn discord_is_away_for_websockets_resume_urls_rest_and_what_was_open_until_told_otherwise() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    let mut rest = TcpStream::connect(discord.address()).await.unwrap();
    ask(&mut rest).await.unwrap();
    discord
        .fault(Fault::new(FaultName::Away).lasting(Duration::ZERO))
        .unwrap();
    assert_eq!(client.end().await, 0);
    while ask(&mut rest).await.is_ok() {}
    dialled(&discord, false).await;
    for _ in 0..50 {
        let error = TcpStream::connect(discord.address()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    discord.clear_faults();
    dialled(&discord, true).await;
    let mut client = resuming(&ready, 6).await;
    client.event("RESUMED").await;
}

#[tokio::test]
async fn sequence_numbers_leave_some_out_and_a_resume_from_any_of_them_misses_nothing() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    let skip = SettingsChange {
        skip_every: Some(3),
        ..SettingsChange::default()
    };
    discord.change_settings(&skip).unwrap();
    flood(&discord, 90);
    let mut seen = Vec::new();
    for _ in 0..90 {
        seen.push(client.payload().await["s"].as_u64().unwrap());
    }
    let gaps = seen.windows(2).filter(|two| two[1] != two[0] + 1).count();
    assert!((28..=30).contains(&gaps), "{gaps} gaps");
    client.close(4000).await;
    for from in seen[0]..=seen[89] {
        let mut client = resuming(&ready, from).await;
        for seq in seen.iter().filter(|seq| **seq > from) {
            assert_eq!(client.payload().await["s"], *seq);
        }
        client.event("RESUMED").await;
        client.close(4000).await;
    }
}

#[tokio::test]
async fn a_quiet_shard_stays_quiet_until_it_is_given_traffic() {
    let mut config = DiscordConfig {
        shards: 2,
        quiet_shards: vec![1],
        ..DiscordConfig::quick()
    };
    config.traffic.rate = 1000.0;
    let discord = start(config).await;
    let (mut busy, _) = Client::ready(&discord.url(), (0, 2)).await;
    let (mut quiet, _) = Client::ready(&discord.url(), (1, 2)).await;
    for _ in 0..20 {
        busy.payload().await;
    }
    quiet.silent(Duration::from_millis(50)).await;
    let traffic = baton_discord::Traffic::at_rate(1000.0);
    discord.set_traffic(Some(1), &traffic).unwrap();
    quiet.payload().await;
}

/// Dials until it succeeds, or until it does not.
async fn dialled(discord: &Discord, well: bool) {
    let dialling = async {
        while TcpStream::connect(discord.address()).await.is_ok() != well {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, dialling).await.unwrap();
}

/// A simulated Discord and the READY of a session that was left with six events, so that it
/// can be resumed.
async fn left(config: DiscordConfig) -> (Discord, Value) {
    let discord = start(config).await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    client.close(4000).await;
    (discord, ready)
}

async fn resuming(ready: &Value, seq: u64) -> Client {
    let mut client = Client::hello(&resume_url(ready)).await;
    client.send(resume(&session_of(ready), seq)).await;
    client
}

fn flood(discord: &Discord, events: u32) {
    let flood = Fault::new(FaultName::Flood).with_events(events);
    discord.fault(flood).unwrap();
}

/// One request on a connection that stays open.
async fn ask(rest: &mut TcpStream) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    rest.write_all(b"GET /gateway HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let mut answer = [0; 4096];
    if rest.read(&mut answer).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
