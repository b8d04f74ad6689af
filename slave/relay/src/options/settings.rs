//! What is given, checked: the settings.

use std::{path::PathBuf, time::Duration};

use baton_proxy::ProxyConfig;
use baton_sink::SinkConfig;
use baton_slave::{
    Address, Error, Legacy, OnDeadlyEvent, OnLostState, SecretSource, SlaveConfig, Snapshots,
    parse_memory, parse_role,
};
use twilight_model::gateway::Intents;

use super::{
    DeadlyEvent, Format, Kept, Keys, LostState, broker,
    values::{default_runtime_dir, token},
};
use crate::{
    copies::{Names, Place},
    inspect,
    sink::Target,
};

/// Every intent that Discord does not call privileged.
pub(super) const DEFAULT_INTENTS: u64 = 53_575_421;

/// Tokens that are not in their files.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) bot: Option<String>,
    /// Of the proxy's own.
    pub(super) proxy: Option<String>,
}

/// The settings, checked.
pub(crate) struct Settings {
    pub(crate) slave: SlaveConfig,
    pub(crate) state: Kept,
    /// Bytes of a shard in the store; `None`: as many as usual.
    pub(crate) store_limit: Option<u64>,
    pub(crate) sink: Target,
    /// Events go to a broker, and to no sink.
    pub(crate) broker: Option<SinkConfig>,
    /// Ends that get each event at most once.
    pub(crate) copies: Vec<Place>,
    /// What these are told of this process.
    pub(crate) names: Names,
    /// Guilds are copied there.
    pub(crate) guilds: Option<SinkConfig>,
    pub(crate) body: bool,
    pub(crate) handler: Duration,
    /// The file that names the event that kills this process.
    pub(crate) dies_of: Option<PathBuf>,
    /// Where it is said which event is never finished.
    pub(crate) keeps: Option<PathBuf>,
    /// Local clients are served.
    pub(crate) proxy: Option<ProxyConfig>,
    /// The master's.
    pub(crate) runtime_dir: PathBuf,
    pub(crate) inspect: Option<inspect::Address>,
    pub(crate) log: String,
    pub(crate) log_format: Format,
}

impl Keys {
    /// `given`: the tokens, unless they are in their files.
    pub(super) fn check(self, given: Tokens) -> Result<Settings, Error> {
        let wrong = Error::Config;
        let to_broker = self.broker()?;
        let (copies, names) = self.copies()?;
        let guilds = self.guilds_kept()?;
        let is_at_most_once = self.sink.as_deref().is_some_and(broker::is_at_most_once);
        let sink = self.sink.filter(|_| !is_at_most_once);
        let token = token(given.bot, self.token_file)?;
        let proxy = self.proxy.check(&token, given.proxy.as_deref())?;
        let state = match (self.state, &proxy) {
            (Some(Kept::Cache), Some(_)) => {
                return Err(wrong(
                    "proxy: READY and the guilds of clients come from the store: leave --state \
                     cache out"
                        .to_owned(),
                ));
            }
            (None, Some(_)) => Kept::Store,
            (given, _) => given.unwrap_or_default(),
        };
        if guilds.is_some() && state != Kept::Store {
            return Err(wrong(
                "guilds: what is copied comes from the store: give --state store".to_owned(),
            ));
        }
        if to_broker.is_some() && proxy.is_some() {
            return Err(wrong(
                "sink: with --proxy events go to its clients: give one of the two".to_owned(),
            ));
        }
        let mut slave = SlaveConfig::new(token);
        if let Some(master) = self.master {
            slave.masters =
                Address::list(&master).map_err(|error| wrong(format!("master: {error}")))?;
        }
        slave.tls_dir = self.tls_dir;
        if let Some(slot) = self.slot {
            slave.slot = slot;
        }
        if let Some(role) = self.role {
            slave.role = parse_role(&role).map_err(wrong)?;
        }
        slave.build = self
            .build
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
        slave.gateway_url = self.gateway_url;
        slave.intents = Intents::from_bits_retain(self.intents.unwrap_or(DEFAULT_INTENTS));
        slave.large_threshold = self.large_threshold.unwrap_or(250);
        let usual = if proxy.is_some() {
            crate::proxy::WINDOW
        } else {
            slave.window
        };
        slave.window = self.window.unwrap_or(usual);
        // A client's sequences go up by one.
        slave.in_order = proxy.is_some();
        if let Some(compression) = self.state_compression {
            slave.state_compression = compression.parse().map_err(wrong)?;
        }
        slave.snapshots = self.snapshots.map(|dir| {
            let usual = Snapshots::new(dir);
            Snapshots {
                every: self.snapshot_every.unwrap_or(usual.every),
                max_age: self.snapshot_max_age.unwrap_or(usual.max_age),
                max_behind: self.snapshot_max_behind.unwrap_or(usual.max_behind),
                ..usual
            }
        });
        slave.store = self.store;
        if let Some(limit) = self.memory_limit {
            let limit =
                parse_memory(&limit).map_err(|why| wrong(format!("memory_limit: {why}")))?;
            slave.memory_limit = limit;
        }
        if let Some(life) = self.session_life {
            slave.timings.session = life;
        }
        slave.on_lost_state = match self.on_lost_state {
            Some(LostState::Identify) => OnLostState::Identify,
            Some(LostState::Resume) | None => OnLostState::Resume,
        };
        let runtime_dir = self.runtime_dir.unwrap_or_else(default_runtime_dir);
        let dies_of = self.dies_of.map(|file| runtime_dir.join(file));
        let keeps = self.keeps.map(|file| runtime_dir.join(file));
        slave.secret = SecretSource::from_env(Some(runtime_dir.clone()))?;
        slave.legacy = Legacy::of(
            self.legacy.unwrap_or(false),
            self.shards,
            self.max_concurrency,
        )?;
        slave.on_deadly_event = match self.on_deadly_event {
            Some(DeadlyEvent::HandOut) => OnDeadlyEvent::HandOut,
            Some(DeadlyEvent::Skip) => OnDeadlyEvent::Skip,
            None if dies_of.is_some() => OnDeadlyEvent::HandOut,
            None => OnDeadlyEvent::Skip,
        };
        slave.check()?;
        let inspect = self.inspect.as_deref().map(inspect::Address::parse);
        Ok(Settings {
            slave,
            state,
            proxy,
            runtime_dir,
            store_limit: self.store_limit,
            sink: match (&to_broker, sink.as_deref()) {
                (Some(_), _) => Target::None,
                (None, None) if is_at_most_once => Target::None,
                (None, sink) => Target::parse(sink.unwrap_or("stdout")).map_err(wrong)?,
            },
            broker: to_broker,
            copies,
            names,
            guilds,
            body: self.sink_body.unwrap_or(false),
            handler: Duration::from_millis(self.handler_ms.unwrap_or(0)),
            dies_of,
            keeps,
            inspect: inspect.transpose().map_err(wrong)?,
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}
