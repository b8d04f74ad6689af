//! An independent library, pointed at the simulated Discord.

use std::time::Duration;

use crate::common::start;
use baton_discord::{Discord, DiscordConfig, Fault, FaultName, Tls, Traffic};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Event, EventTypeFlags, Intents, Message, Session, Shard, ShardId,
};

#[tokio::test]
async fn twilight_identifies_caches_and_resumes_without_a_gap() {
    let discord = served(Tls::Off).await;
    let mut shard = shard(&discord, None);
    let mut guilds = 0;
    let mut last = 0;
    while last < 200 {
        let (seq, event) = event(&mut shard).await;
        guilds += usize::from(matches!(event, Event::GuildCreate(_)));
        last = seq;
    }
    assert!(guilds >= 5);
    discord.fault(Fault::new(FaultName::Reset)).unwrap();
    // Twilight resumes by itself; the numbers go on one by one.
    loop {
        let (seq, event) = event(&mut shard).await;
        assert_eq!(seq, last + 1);
        last = seq;
        if matches!(event, Event::Resumed) {
            break;
        }
    }
    assert_eq!(discord.counters().total.identifies, 1);
    assert_eq!(discord.counters().total.resumes_at_plain_url, 0);
}

#[tokio::test]
async fn a_session_moves_from_one_twilight_shard_to_another() {
    let discord = served(Tls::Off).await;
    let mut old = shard(&discord, None);
    let mut last = 0;
    while last < 50 {
        last = event(&mut old).await.0;
    }
    let (session, url) = (
        old.session().cloned().unwrap(),
        old.resume_url().unwrap().to_owned(),
    );
    old.close(CloseFrame::new(4000, ""));
    while let Some(Ok(message)) = timeout(PATIENCE, old.next()).await.unwrap() {
        match message {
            Message::Close(_) => break,
            Message::Text(text) => {
                let payload: Value = serde_json::from_str(&text).unwrap();
                last = payload["s"].as_u64().unwrap_or(last);
            }
        }
    }
    drop(old);
    let session = Session::new(last.max(session.sequence()), session.id().to_owned());
    let mut new = shard(&discord, Some((session, url)));
    loop {
        let (seq, event) = event(&mut new).await;
        assert_eq!(seq, last + 1);
        last = seq;
        if matches!(event, Event::Resumed) {
            break;
        }
    }
    assert_eq!(discord.counters().total.identifies, 1);
}

const PATIENCE: Duration = Duration::from_secs(10);

async fn served(tls: Tls) -> Discord {
    let _ = rustls::crypto::ring::default_provider().install_default();
    start(DiscordConfig {
        traffic: Traffic::at_rate(500.0),
        tls,
        ..DiscordConfig::quick()
    })
    .await
}

fn shard(discord: &Discord, resume: Option<(Session, String)>) -> Shard {
    let mut config =
        ConfigBuilder::new("Bot abc".to_owned(), Intents::all()).proxy_url(discord.url());
    if let Some((session, url)) = resume {
        config = config.session(session).resume_url(url);
    }
    Shard::with_config(ShardId::ONE, config.build())
}

/// The next dispatch, read with twilight's models.
async fn event(shard: &mut Shard) -> (u64, Event) {
    loop {
        let item = timeout(PATIENCE, shard.next())
            .await
            .expect("nothing came")
            .unwrap();
        let Ok(Message::Text(text)) = item else {
            continue;
        };
        let seq = serde_json::from_str::<Value>(&text).unwrap()["s"].as_u64();
        let event = twilight_gateway::parse(text, EventTypeFlags::all()).unwrap();
        if let (Some(seq), Some(event)) = (seq, event) {
            return (seq, Event::from(event));
        }
    }
}
