//! The settings of this process: a flag wins over the environment, the
//! environment over the file, the file over the default.

mod broker;
mod clients;
mod settings;
mod values;

use std::{fs, path::PathBuf, time::Duration};

use baton_sink::SinkConfig;
use baton_slave::Error;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};
use serde::Deserialize;

pub(crate) use self::settings::Settings;
use self::{
    clients::{Clients, clients_of_file},
    settings::Tokens,
    values::{bytes, bytes_of_file, intents, intents_of_file},
};
use crate::{letters, store};

/// A complete gateway process: a cache that moves with its shards, and events as
/// JSON lines.
///
/// The token comes from DISCORD_TOKEN or --token-file. Exit codes: 0 told to
/// leave, 1 the system failed, 2 wrong configuration or refused by the master,
/// 75 the master is busy: try again later.
#[derive(Parser)]
#[command(name = "baton-slave", version, args_override_self = true)]
struct Arguments {
    /// TOML file with any of the keys below (`gateway_url = "..."`)
    #[arg(long, env = "BATON_SLAVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: Keys,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// Look after a store of guilds, while a bot uses it or not
    ///
    /// Exit codes: 0 all is well, 1 the system failed, 2 wrong usage, 3 nothing is there,
    /// 4 something is damaged or of another build, 75 an owner did not answer.
    Store {
        #[command(subcommand)]
        verb: store::Verb,
    },
    /// Look after dead letters at the broker of --sink, which stands before this word, in the
    /// environment or in the file
    ///
    /// Exit codes: 0 all is well, 1 the broker failed, 2 wrong usage, 3 nothing is there.
    Letters {
        #[command(subcommand)]
        verb: letters::Verb,
    },
}

#[derive(Args, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    /// The masters, with commas between them: unix:PATH, tls://HOST:PORT, or HOST:PORT on
    /// this host [default: 127.0.0.1:7447]
    #[arg(long, env = "BATON_MASTER", value_name = "ADDRESS,...")]
    master: Option<String>,
    /// The master's runtime directory, for the fleet's secret [default:
    /// $XDG_RUNTIME_DIR/baton, else /run/baton]
    #[arg(long, env = "BATON_RUNTIME_DIR", value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// The folder with the certificate of this host's slaves (ca.pem, cert.pem, key.pem), for
    /// masters at tls://
    #[arg(long, env = "BATON_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// The slot that this process fills [default: main]
    #[arg(long, env = "BATON_SLOT", value_name = "NAME")]
    slot: Option<String>,
    /// candidate, standby or relaunch [default: candidate]
    #[arg(long, env = "BATON_ROLE")]
    role: Option<String>,
    /// What you call this build [default: this program's version]
    #[arg(long, env = "BATON_BUILD", value_name = "NAME")]
    build: Option<String>,
    /// File that holds the bot's token. As a flag it wins over DISCORD_TOKEN,
    /// else DISCORD_TOKEN wins
    #[arg(long, env = "BATON_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Gateway instead of Discord's, ws:// or wss://
    #[arg(long, env = "BATON_GATEWAY_URL", value_name = "URL")]
    gateway_url: Option<String>,
    /// Gateway intents: a number, or names as in GUILDS,GUILD_MESSAGES [default:
    /// all that are not privileged]
    #[arg(long, env = "BATON_INTENTS", value_name = "INTENTS", value_parser = intents, allow_hyphen_values = true)]
    #[serde(deserialize_with = "intents_of_file")]
    intents: Option<u64>,
    /// Guilds with more members come without their offline members, 50 to 250
    /// [default: 250]
    #[arg(long, env = "BATON_LARGE_THRESHOLD", value_name = "N")]
    large_threshold: Option<u16>,
    /// Events of one shard in handlers at one time [default: 256]
    #[arg(long, env = "BATON_WINDOW", value_name = "N")]
    window: Option<usize>,
    /// What to do when the state of a shard died with its process: resume (lose
    /// the state) or identify (lose a span of events) [default: resume]
    #[arg(long, env = "BATON_ON_LOST_STATE", value_name = "WHAT")]
    on_lost_state: Option<LostState>,
    /// What to do with an event that killed each process that had it: skip, or hand-out
    /// once more, said to be one. The master keeps it in set-aside.jsonl [default: skip]
    #[arg(long, env = "BATON_ON_DEADLY_EVENT", value_name = "WHAT")]
    on_deadly_event: Option<DeadlyEvent>,
    /// What is kept of guilds, and where: cache (twilight's, which is copied to the next
    /// process) or store (memory that both processes see, which stays where it is)
    /// [default: cache; store with --proxy]
    #[arg(long, env = "BATON_STATE", value_name = "WHAT")]
    state: Option<Kept>,
    /// Folder of the store, for all fleets and slots of this user [default:
    /// /dev/shm/baton-UID]
    #[arg(long, env = "BATON_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// Size limit of the store of a shard: bytes, or with MiB or GiB behind. Events for
    /// which there is no room wait [default: 8GiB]
    #[arg(long, env = "BATON_STORE_LIMIT", value_name = "SIZE", value_parser = bytes)]
    #[serde(deserialize_with = "bytes_of_file")]
    store_limit: Option<u64>,
    /// Memory that this process may have resident: above it for some time, the master is asked
    /// for a successor, which takes the shards over as in a deploy [default: no limit]
    #[arg(long, env = "BATON_MEMORY_LIMIT", value_name = "SIZE")]
    memory_limit: Option<String>,
    /// How the cache is packed on its way to the next process: between-hosts (as zstd, where
    /// it crosses the network), none, or zstd [default: between-hosts]
    #[arg(long, env = "BATON_STATE_COMPRESSION", value_name = "HOW")]
    state_compression: Option<String>,
    /// Folder for snapshots of the cache, from which a process that follows a
    /// dead one takes it; one folder a fleet [default: no snapshots]
    #[arg(long, env = "BATON_SNAPSHOTS", value_name = "DIR")]
    snapshots: Option<PathBuf>,
    /// Time between two snapshots of a shard; 0: none [default: 60s]
    #[arg(long, env = "BATON_SNAPSHOT_EVERY", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "humantime_serde")]
    snapshot_every: Option<Duration>,
    /// An older snapshot with events to replay is not used [default: 150s]
    #[arg(long, env = "BATON_SNAPSHOT_MAX_AGE", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "humantime_serde")]
    snapshot_max_age: Option<Duration>,
    /// Nor one that is more events behind, or than half of what Discord keeps
    /// for a replay [default: 2000]
    #[arg(long, env = "BATON_SNAPSHOT_MAX_BEHIND", value_name = "N")]
    snapshot_max_behind: Option<u64>,
    /// A session that no slave could resume for so long is given up for a new one, at
    /// least 1s [default: 2m]
    #[arg(long, env = "BATON_SESSION_LIFE", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "humantime_serde")]
    session_life: Option<Duration>,
    /// Where events go: stdout, none, file:PATH, in which %p is the process id, or a broker,
    /// as in nats://HOST:PORT, amqp://HOST:PORT or redis://HOST:PORT, which has an event before
    /// it is finished. zmq://HOST:PORT is as none with a --copy there. A password is taken from the environment and the file, not from a flag [default: stdout]
    #[arg(long, env = "BATON_SINK", value_name = "SINK", hide_env_values = true)]
    sink: Option<String>,
    /// Further ends that get each event at most once and hold none up: stdout, file:PATH or
    /// zmq://HOST:PORT, where this process publishes to whoever subscribes; may be given
    /// several times
    #[arg(long, env = "BATON_COPY", value_name = "END", value_delimiter = ',')]
    copy: Vec<String>,
    /// Names what is declared at the broker, one name a fleet [default: baton]
    #[arg(long, env = "BATON_SINK_NAME", value_name = "NAME")]
    sink_name: Option<String>,
    /// File with which the broker lets this process in: USER:PASSWORD in one line, or what
    /// the broker's own tools write
    #[arg(long, env = "BATON_SINK_CREDENTIALS", value_name = "FILE")]
    sink_credentials: Option<PathBuf>,
    /// Authority of the broker's certificate, a PEM file, beside those of the system
    #[arg(long, env = "BATON_SINK_CA", value_name = "FILE")]
    sink_ca: Option<PathBuf>,
    /// This process's own certificate for the broker, a PEM file
    #[arg(long, env = "BATON_SINK_CERT", value_name = "FILE")]
    sink_cert: Option<PathBuf>,
    /// Its key, a PEM file
    #[arg(long, env = "BATON_SINK_KEY", value_name = "FILE")]
    sink_key: Option<PathBuf>,
    /// Size of the events at the broker. Beyond it they wait here, then at Discord: bytes, or
    /// with MiB or GiB behind [default: 1GiB]
    #[arg(long, env = "BATON_SINK_BYTES", value_name = "SIZE", value_parser = bytes)]
    #[serde(deserialize_with = "bytes_of_file")]
    sink_bytes: Option<u64>,
    /// How long an event waits at the broker for a worker [default: 24h]
    #[arg(long, env = "BATON_SINK_AGE", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "humantime_serde")]
    sink_age: Option<Duration>,
    /// Servers that have an event before it is confirmed, 1 to 5 [default: 1]
    #[arg(long, env = "BATON_SINK_REPLICAS", value_name = "N")]
    sink_replicas: Option<usize>,
    /// How long a command of a worker waits for Discord that says nothing else, at most 10min;
    /// 0s: no commands are taken [default: 30s]
    #[arg(long, env = "BATON_SINK_COMMAND_TTL", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(with = "humantime_serde")]
    sink_command_ttl: Option<Duration>,
    /// Write the payload of each event too
    #[arg(long, env = "BATON_SINK_BODY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    sink_body: Option<bool>,
    /// Redis or Valkey with copies of guilds for workers, as in redis://HOST:PORT; it needs
    /// --state store. Name and certificates are the sink's
    #[arg(
        long,
        env = "BATON_GUILDS",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    guilds: Option<String>,
    /// File with which it lets this process in: USER:PASSWORD in one line
    #[arg(long, env = "BATON_GUILDS_CREDENTIALS", value_name = "FILE")]
    guilds_credentials: Option<PathBuf>,
    /// Let each event take so long, to see what slow handlers do [default: 0]
    #[arg(long, env = "BATON_HANDLER_MS", value_name = "MS")]
    handler_ms: Option<u64>,
    /// Die of one event, as this file of the runtime directory says
    #[arg(long, value_name = "FILE", hide = true)]
    #[serde(skip)]
    dies_of: Option<PathBuf>,
    /// Never finish one event, as this file of the runtime directory says
    #[arg(long, value_name = "FILE", hide = true)]
    #[serde(skip)]
    keeps: Option<PathBuf>,
    /// Answer GET /status and GET /guild/ID here: 127.0.0.1:PORT or unix:PATH, in
    /// which %p is the process id
    #[arg(long, env = "BATON_INSPECT", value_name = "ADDRESS")]
    inspect: Option<String>,
    /// What is logged, as in RUST_LOG [default: info]
    #[arg(long, env = "BATON_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// text or json, on standard error [default: text]
    #[arg(long, env = "BATON_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<Format>,
    /// The master is YAGPDB's unchanged 2018 Go master, on this host;
    /// needs --shards. docs/moving-from-go.md says what it cannot promise
    #[arg(long, env = "BATON_LEGACY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    legacy: Option<bool>,
    /// Shards of the whole bot, with --legacy only
    #[arg(long, env = "BATON_SHARDS", value_name = "N")]
    shards: Option<u32>,
    /// Discord's max_concurrency of this bot, with --legacy only [default: 1]
    #[arg(long, env = "BATON_MAX_CONCURRENCY", value_name = "N")]
    max_concurrency: Option<u32>,
    #[command(flatten)]
    #[serde(deserialize_with = "clients_of_file")]
    proxy: Clients,
}

#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum LostState {
    Resume,
    Identify,
}

#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum DeadlyEvent {
    Skip,
    HandOut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kept {
    #[default]
    Cache,
    Store,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// What this process is to do.
pub(crate) enum Asked {
    /// Serve shards.
    Serve(Box<Settings>),
    /// Look after a store.
    Store(store::Verb),
    /// Look after the dead letters of a broker.
    Letters(letters::Verb, Box<SinkConfig>),
}

/// Reads the command line; `--help` and wrong usage end the process.
pub(crate) fn read() -> Result<Asked, Error> {
    let given = Arguments::command().try_get_matches().and_then(|matches| {
        let by_flag = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        let by_flag = ["token_file", "sink", "guilds", "proxy_token_file"].map(by_flag);
        Ok((Arguments::from_arg_matches(&matches)?, by_flag))
    });
    let (arguments, [by_flag, sink_by_flag, guilds_by_flag, proxy_by_flag]) = match given {
        Ok(given) => given,
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let line = text.split("\n\n").next().unwrap_or_default();
            let line = line.trim_start_matches("error: ");
            return Err(Error::Config(format!("{line}; see baton-slave --help")));
        }
        Err(error) => error.exit(),
    };
    let letters = match arguments.work {
        Some(Work::Store { verb }) => return Ok(Asked::Store(verb)),
        Some(Work::Letters { verb }) => Some(verb),
        None => None,
    };
    let sink = arguments.keys.sink.as_deref();
    if let Some(sink) = sink.filter(|_| sink_by_flag) {
        broker::without_secret("sink", sink)?;
    }
    let guilds = arguments.keys.guilds.as_deref();
    if let Some(guilds) = guilds.filter(|_| guilds_by_flag) {
        broker::without_secret("guilds", guilds)?;
    }
    let of = |variable, by_flag: bool| std::env::var(variable).ok().filter(|_| !by_flag);
    let given = Tokens {
        bot: of("DISCORD_TOKEN", by_flag),
        proxy: of("BATON_PROXY_TOKEN", proxy_by_flag),
    };
    let keys = match &arguments.config {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                Error::Config(format!(
                    "config: {} cannot be read: {error}",
                    path.display()
                ))
            })?;
            let file = parse(&text).map_err(|(line, reason)| {
                Error::Config(format!("{}:{line}: {reason}", path.display()))
            })?;
            arguments.keys.or(file)
        }
        None => arguments.keys,
    };
    if let Some(verb) = letters {
        let broker = keys.broker()?;
        let broker = broker.ok_or_else(|| {
            Error::Config("letters: name the broker: --sink nats://HOST:PORT".to_owned())
        })?;
        return Ok(Asked::Letters(verb, Box::new(broker)));
    }
    keys.check(given).map(Box::new).map(Asked::Serve)
}

/// Line (from 1), key and reason of what is wrong.
fn parse(text: &str) -> Result<Keys, (usize, String)> {
    let broken = |error: &toml::de::Error, key: Option<String>| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text.as_bytes()[..at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let reason = error.message().replace("unknown field", "unknown key");
        let reason = reason.lines().collect::<Vec<_>>().join("; ");
        match key {
            // The reason has the name that is unknown.
            Some(key) if !reason.starts_with("unknown key") => (line, format!("{key}: {reason}")),
            Some(_) | None => (line, reason),
        }
    };
    let document = toml::Deserializer::parse(text).map_err(|error| broken(&error, None))?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| broken(error.inner(), Some(error.path().to_string())))
}

impl Keys {
    fn or(self, file: Self) -> Self {
        Self {
            master: self.master.or(file.master),
            tls_dir: self.tls_dir.or(file.tls_dir),
            runtime_dir: self.runtime_dir.or(file.runtime_dir),
            slot: self.slot.or(file.slot),
            role: self.role.or(file.role),
            build: self.build.or(file.build),
            token_file: self.token_file.or(file.token_file),
            gateway_url: self.gateway_url.or(file.gateway_url),
            intents: self.intents.or(file.intents),
            large_threshold: self.large_threshold.or(file.large_threshold),
            window: self.window.or(file.window),
            on_lost_state: self.on_lost_state.or(file.on_lost_state),
            on_deadly_event: self.on_deadly_event.or(file.on_deadly_event),
            state: self.state.or(file.state),
            store: self.store.or(file.store),
            store_limit: self.store_limit.or(file.store_limit),
            memory_limit: self.memory_limit.or(file.memory_limit),
            state_compression: self.state_compression.or(file.state_compression),
            snapshots: self.snapshots.or(file.snapshots),
            snapshot_every: self.snapshot_every.or(file.snapshot_every),
            snapshot_max_age: self.snapshot_max_age.or(file.snapshot_max_age),
            snapshot_max_behind: self.snapshot_max_behind.or(file.snapshot_max_behind),
            session_life: self.session_life.or(file.session_life),
            sink: self.sink.or(file.sink),
            copy: match self.copy.is_empty() {
                true => file.copy,
                false => self.copy,
            },
            sink_name: self.sink_name.or(file.sink_name),
            sink_credentials: self.sink_credentials.or(file.sink_credentials),
            sink_ca: self.sink_ca.or(file.sink_ca),
            sink_cert: self.sink_cert.or(file.sink_cert),
            sink_key: self.sink_key.or(file.sink_key),
            sink_bytes: self.sink_bytes.or(file.sink_bytes),
            sink_age: self.sink_age.or(file.sink_age),
            sink_replicas: self.sink_replicas.or(file.sink_replicas),
            sink_command_ttl: self.sink_command_ttl.or(file.sink_command_ttl),
            sink_body: self.sink_body.or(file.sink_body),
            guilds: self.guilds.or(file.guilds),
            guilds_credentials: self.guilds_credentials.or(file.guilds_credentials),
            handler_ms: self.handler_ms.or(file.handler_ms),
            dies_of: self.dies_of,
            keeps: self.keeps,
            inspect: self.inspect.or(file.inspect),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            legacy: self.legacy.or(file.legacy),
            shards: self.shards.or(file.shards),
            max_concurrency: self.max_concurrency.or(file.max_concurrency),
            proxy: self.proxy.or(file.proxy),
        }
    }
}

#[cfg(test)]
mod tests;
