//! A bot without Baton, as its library alone makes it, and one with Baton that
//! does the same: what a shard and an event cost, side by side.
//!
//! `baton-reference twilight|twilight-cache|baton|keeps-bytes URL SHARDS`
//! `baton-reference hop source|relay|sink windowed|piped TO BYTES`
//! `baton-reference publish nats|amqp|redis URL RATE SECONDS`
//! `baton-reference consume nats|amqp|redis URL SHARDS FILE`

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_slave::{
    Ack, Bot, Builder, Event, ImportError, Sequence, ShardHandle, ShardId as Unit, Slave,
    SlaveConfig, State, StateStatus,
};
#[cfg(feature = "brokers")]
use baton_tests::bench::brokers;
use baton_tests::{bench::two_hop, discord::INTENTS};
use bytes::Bytes;
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
        ["baton", url, _] => baton(url, Slave::builder(Parses)),
        ["keeps-bytes", url, _] => {
            let bot = Arc::new(KeepsBytes::default());
            baton(url, Slave::builder(bot.clone()).state(bot))
        }
        ["hop", role, hops, to, bytes] => hop(role, hops, to, bytes),
        #[cfg(feature = "brokers")]
        ["publish", broker, url, rate, seconds] => publish(broker, url, rate, seconds),
        #[cfg(feature = "brokers")]
        ["consume", broker, url, shards, file] => consume(broker, url, shards, file),
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

/// Keeps each GUILD_CREATE as it came, so that a copy of its state is nothing but
/// a copy, and writes down how many bytes of a shard it took over.
#[derive(Default)]
struct KeepsBytes {
    guilds: Mutex<HashMap<u64, (Unit, Bytes)>>,
}

impl KeepsBytes {
    fn guilds(&self) -> MutexGuard<'_, HashMap<u64, (Unit, Bytes)>> {
        self.guilds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bot for KeepsBytes {
    fn handle(&self, _event: Event, ack: Ack, _shard: &ShardHandle) {
        drop(ack);
    }

    fn state_changed(&self, shard: &ShardHandle, _status: StateStatus) {
        let guilds = self.guilds();
        let of_shard = guilds.values().filter(|(of, _)| *of == shard.shard());
        let bytes: usize = of_shard.map(|(_, bytes)| bytes.len()).sum();
        if bytes > 0 {
            say(&bytes.to_string());
        }
    }
}

impl State for KeepsBytes {
    fn apply(&self, event: &Event) {
        if event.kind() == "GUILD_CREATE"
            && let Some(guild) = event.guild_id()
        {
            let json = Bytes::copy_from_slice(event.json().as_bytes());
            self.guilds().insert(guild.get(), (event.shard(), json));
        }
    }

    fn export(&self, shard: Unit) -> Vec<u64> {
        let guilds = self.guilds();
        let of_shard = guilds.iter().filter(|(_, (of, _))| *of == shard);
        of_shard.map(|(guild, _)| *guild).collect()
    }

    fn export_piece(&self, _shard: Unit, key: u64) -> Option<Bytes> {
        self.guilds().get(&key).map(|(_, bytes)| bytes.clone())
    }

    fn import_piece(
        &self,
        shard: Unit,
        key: u64,
        _sequence: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        self.guilds().insert(key, (shard, piece));
        Ok(())
    }

    fn drop_shard(&self, shard: Unit) {
        self.guilds().retain(|_, (of, _)| *of != shard);
    }
}

fn hop(role: &str, hops: &str, to: &str, bytes: &str) -> Result<(), Box<dyn Error>> {
    let (hops, bytes) = (hops.parse()?, bytes.parse()?);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(two_hop::play(role, hops, to, bytes, |line| say(&line)))?;
    Ok(())
}

/// Nothing but a broker's client, which publishes.
#[cfg(feature = "brokers")]
fn publish(broker: &str, url: &str, rate: &str, seconds: &str) -> Result<(), Box<dyn Error>> {
    let (broker, rate, seconds) = (broker.parse()?, rate.parse()?, seconds.parse()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let published = brokers::publish(broker, url, rate, seconds);
    let bare = runtime
        .block_on(published)
        .map_err(|error| error.to_string())?;
    say(&serde_json::to_string(&bare)?);
    Ok(())
}

/// Nothing but a broker's client, which reads what a slave has published.
#[cfg(feature = "brokers")]
fn consume(broker: &str, url: &str, shards: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let (broker, shards) = (broker.parse()?, shards.parse()?);
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let consumed = brokers::consume(broker, url, shards, file);
    runtime
        .block_on(consumed)
        .map_err(|error| error.to_string())?;
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn baton(url: &str, bot: Builder) -> Result<(), Box<dyn Error>> {
    let config = SlaveConfig::from_env()?
        .with_gateway_url(url)
        .with_intents(Intents::from_bits_retain(INTENTS))
        .with_large_threshold(250);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bot.config(config).run())?;
    Ok(())
}
