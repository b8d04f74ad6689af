//! A bot without Baton, as its library alone makes it, and one with Baton that
//! does the same: what a shard and an event cost, side by side.
//!
//! `baton-reference twilight|twilight-cache|baton URL SHARDS`

use std::{env, error::Error, io::Write, process::ExitCode, sync::Arc, time::Duration};

use baton_slave::{Ack, Bot, Event, ShardHandle, Slave, SlaveConfig};
use baton_tests::discord::INTENTS;
use futures_util::future::join_all;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_gateway::{ConfigBuilder, EventTypeFlags, Intents, Shard, ShardId, StreamExt};
use twilight_gateway_queue::InMemoryQueue;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match arguments[..] {
        ["twilight", url, shards] => twilight(url, shards, false),
        ["twilight-cache", url, shards] => twilight(url, shards, true),
        ["baton", url, _] => baton(url),
        _ => return ExitCode::from(2),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "baton-reference: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every event parsed, every shard a task, the cache shared: as the library's
/// examples do it.
fn twilight(url: &str, shards: &str, keeps: bool) -> Result<(), Box<dyn Error>> {
    let shards: u32 = shards.parse()?;
    let token = env::var("DISCORD_TOKEN")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let queue = InMemoryQueue::new(16, 1000, Duration::from_secs(3600), 1000);
        let config = ConfigBuilder::new(token, Intents::from_bits_retain(INTENTS))
            .proxy_url(url.to_owned())
            .large_threshold(250)
            .queue(queue)
            .build();
        let cache = keeps.then(|| Arc::new(DefaultInMemoryCache::new()));
        let all = (0..shards).map(|shard| {
            let mut shard = Shard::with_config(ShardId::new(shard, shards), config.clone());
            let cache = cache.clone();
            tokio::spawn(async move {
                while let Some(event) = shard.next_event(EventTypeFlags::all()).await {
                    match (event, &cache) {
                        (Ok(event), Some(cache)) => cache.update(&event),
                        (Ok(event), None) => drop(event),
                        (Err(error), _) => {
                            let _ = writeln!(std::io::stderr(), "baton-reference: {error}");
                        }
                    }
                }
            })
        });
        join_all(all).await;
    });
    Ok(())
}

/// Parses every event, as the other one must.
struct Parses;

impl Bot for Parses {
    fn handle(&self, event: Event, ack: Ack, _shard: &ShardHandle) {
        drop(event.parse_owned());
        drop(ack);
    }
}

fn baton(url: &str) -> Result<(), Box<dyn Error>> {
    let mut config = SlaveConfig::from_env()?;
    config.gateway_url = Some(url.to_owned());
    config.intents = INTENTS;
    config.large_threshold = 250;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(Slave::builder(Parses).config(config).run())?;
    Ok(())
}
