//! Settings of a slave.

mod choices;
#[cfg(feature = "legacy")]
mod legacy;
mod master;
mod memory;
mod session;
mod timings;
mod token;

use std::{env, path::PathBuf, str::FromStr, time::Duration};

pub use baton_protocol::Address;
use baton_protocol::{
    auth::SECRET_VARIABLE,
    message::{MAX_NAME, Role},
};
use twilight_model::gateway::Intents;

#[cfg(feature = "legacy")]
pub use self::legacy::Legacy;
pub(crate) use self::session::{API_VERSION, is_gateway_url};
pub use self::{
    choices::{OnDeadlyEvent, OnLostState, StateCompression},
    master::{SecretSource, parse_role},
    memory::parse_memory,
    timings::Timings,
    token::Token,
};
use crate::{error::Error, state::Snapshots};

/// Environment variable that names the folder with a process's certificate.
const TLS_DIR_VARIABLE: &str = "BATON_TLS_DIR";

/// Methods that set a field each, and give the whole back.
macro_rules! setters {
    ($($setter:ident $field:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            #[must_use]
            pub fn $setter(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*
    };
}
use setters;

/// Everything that a slave can be set to. Begin with [`SlaveConfig::new`] or
/// [`SlaveConfig::from_env`], and change what is yours:
///
/// ```no_run
/// use baton_slave::{Intents, SlaveConfig};
///
/// let config = SlaveConfig::from_env()?
///     .with_intents(Intents::GUILDS | Intents::GUILD_MESSAGES)
///     .with_large_threshold(250);
/// # Ok::<(), baton_slave::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct SlaveConfig {
    /// Where the master is: at one of these, at least one. They are dialled in turn until one
    /// accepts.
    pub masters: Vec<Address>,
    /// The place in the fleet that this slave fills; at most 128 bytes.
    pub slot: String,
    /// Why it connects.
    pub role: Role,
    /// What the operator calls this build; at most 128 bytes.
    pub build: String,
    /// The bot's token, with or without `Bot `.
    pub token: Token,
    /// Gateway instead of Discord's (`ws://` or `wss://`).
    pub gateway_url: Option<String>,
    /// Where the bot's HTTP goes instead of Discord (`http://` or `https://`); see
    /// [`SlaveConfig::api_url`].
    pub api_url: Option<String>,
    /// Gateway intents. They belong to the session: a build with others is refused.
    pub intents: Intents,
    /// 50 to 250, see Discord's documentation.
    pub large_threshold: u16,
    /// Events of one shard that are handed out and not finished, at most;
    /// 1 to 65,536.
    pub window: usize,
    /// Whether events that a former owner may yet finish hold back all behind them: they are
    /// then handed out in order too, and a shard may wait for them as long as a drain takes.
    /// Default: no, later events go first.
    pub in_order: bool,
    /// The fleet's secret.
    pub secret: SecretSource,
    /// The folder with the certificate of this host's slaves (`ca.pem`, `cert.pem`, `key.pem`),
    /// for masters at `tls://`. It is read at each dial.
    pub tls_dir: Option<PathBuf>,
    /// What to do without the state of a shard.
    pub on_lost_state: OnLostState,
    /// What to do with an event that killed each process that had it.
    pub on_deadly_event: OnDeadlyEvent,
    /// How the state of a shard is packed when it is copied to its next owner. Each
    /// slave chooses for what it copies out, and reads everything.
    pub state_compression: StateCompression,
    /// Snapshots of the bot's state; `None`: there are none.
    pub snapshots: Option<Snapshots>,
    /// The folder of the store, for all fleets and slots of this user; `None`: the usual one,
    /// in `/dev/shm`. Of no use without a store.
    pub store: Option<PathBuf>,
    /// Bytes of memory that this process may have resident; 0: as many as there are. If it has
    /// more for some time, it asks its master for a successor, which takes its shards over as in
    /// a deploy.
    pub memory_limit: u64,
    /// Given: the master is the unchanged Go master, on a loopback address.
    #[cfg(feature = "legacy")]
    pub legacy: Option<Legacy>,
    /// Deadlines and pauses.
    pub timings: Timings,
}

impl SlaveConfig {
    /// For a master on this host, slot `main`, no intents.
    #[must_use]
    pub fn new(token: impl Into<Token>) -> Self {
        Self {
            masters: vec![Address::Tcp("127.0.0.1:7447".to_owned())],
            slot: "main".to_owned(),
            role: Role::Candidate,
            build: "unnamed".to_owned(),
            token: token.into(),
            gateway_url: None,
            api_url: None,
            intents: Intents::empty(),
            large_threshold: 50,
            window: 256,
            in_order: false,
            secret: SecretSource::None,
            tls_dir: None,
            on_lost_state: OnLostState::Resume,
            on_deadly_event: OnDeadlyEvent::Skip,
            state_compression: StateCompression::BetweenHosts,
            snapshots: None,
            store: None,
            memory_limit: 0,
            #[cfg(feature = "legacy")]
            legacy: None,
            timings: Timings::default(),
        }
    }

    setters! {
        with_masters masters: Vec<Address>,
        with_role role: Role,
        with_intents intents: Intents,
        with_large_threshold large_threshold: u16,
        with_window window: usize,
        with_in_order in_order: bool,
        with_secret secret: SecretSource,
        with_on_lost_state on_lost_state: OnLostState,
        with_on_deadly_event on_deadly_event: OnDeadlyEvent,
        with_state_compression state_compression: StateCompression,
        with_timings timings: Timings,
        with_memory_limit memory_limit: u64,
    }

    /// Sets [`masters`](Self::masters) to one.
    #[must_use]
    pub fn with_master(mut self, master: Address) -> Self {
        self.masters = vec![master];
        self
    }

    /// Sets [`slot`](Self::slot).
    #[must_use]
    pub fn with_slot(mut self, slot: impl Into<String>) -> Self {
        self.slot = slot.into();
        self
    }

    /// Sets [`build`](Self::build).
    #[must_use]
    pub fn with_build(mut self, build: impl Into<String>) -> Self {
        self.build = build.into();
        self
    }

    /// Sets [`snapshots`](Self::snapshots).
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Sets [`tls_dir`](Self::tls_dir).
    #[must_use]
    pub fn with_tls_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.tls_dir = Some(dir.into());
        self
    }

    /// Sets [`store`](Self::store).
    #[must_use]
    pub fn with_store(mut self, dir: impl Into<PathBuf>) -> Self {
        self.store = Some(dir.into());
        self
    }

    /// Sets [`legacy`](Self::legacy).
    #[cfg(feature = "legacy")]
    #[must_use]
    pub const fn with_legacy(mut self, legacy: Legacy) -> Self {
        self.legacy = Some(legacy);
        self
    }

    /// Sets [`gateway_url`](Self::gateway_url).
    #[must_use]
    pub fn with_gateway_url(mut self, url: impl Into<String>) -> Self {
        self.gateway_url = Some(url.into());
        self
    }

    /// Sets [`api_url`](Self#structfield.api_url).
    #[must_use]
    pub fn with_api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = Some(url.into());
        self
    }

    /// Reads what a launching master and an operator set: `DISCORD_TOKEN`,
    /// `BATON_MASTER`, `BATON_SLOT`, `BATON_ROLE`, `BATON_BUILD`,
    /// `BATON_GATEWAY_URL`, `BATON_API_URL`, `BATON_SECRET`, `BATON_RUNTIME_DIR`, `BATON_TLS_DIR`,
    /// `BATON_SNAPSHOTS`, `BATON_STORE`, `BATON_MEMORY_LIMIT`, `BATON_STATE_COMPRESSION`,
    /// `BATON_ON_DEADLY_EVENT`; with the feature `legacy` also `BATON_LEGACY`, `BATON_SHARDS`, `BATON_MAX_CONCURRENCY`.
    ///
    /// # Errors
    /// [`Error::Config`] names the variable and what it may be.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let token = variable("DISCORD_TOKEN").ok_or_else(|| {
            Error::Config("DISCORD_TOKEN is not set: give the bot's token".to_owned())
        })?;
        let mut config = Self::new(token);
        if let Some(master) = variable("BATON_MASTER") {
            config.masters = Address::list(&master)
                .map_err(|error| Error::Config(format!("BATON_MASTER: {error}")))?;
        }
        if let Some(slot) = variable("BATON_SLOT") {
            config.slot = slot;
        }
        if let Some(role) = variable("BATON_ROLE") {
            config.role = parse_role(&role).map_err(Error::Config)?;
        }
        if let Some(build) = variable("BATON_BUILD") {
            config.build = build;
        }
        config.gateway_url = variable("BATON_GATEWAY_URL");
        config.api_url = variable("BATON_API_URL");
        if let Some(compression) = variable("BATON_STATE_COMPRESSION") {
            config.state_compression = compression.parse().map_err(Error::Config)?;
        }
        if let Some(choice) = variable("BATON_ON_DEADLY_EVENT") {
            config.on_deadly_event = choice.parse().map_err(Error::Config)?;
        }
        config.snapshots = variable("BATON_SNAPSHOTS").map(Snapshots::new);
        config.store = variable("BATON_STORE").map(PathBuf::from);
        if let Some(limit) = variable("BATON_MEMORY_LIMIT") {
            let wrong = |why| Error::Config(format!("BATON_MEMORY_LIMIT: {why}"));
            config.memory_limit = parse_memory(&limit).map_err(wrong)?;
        }
        config.tls_dir = variable(TLS_DIR_VARIABLE).map(PathBuf::from);
        config.set_legacy(variable)?;
        config.secret = SecretSource::from_env(variable("BATON_RUNTIME_DIR").map(PathBuf::from))?;
        Ok(config)
    }

    #[cfg(feature = "legacy")]
    fn set_legacy(&mut self, variable: fn(&str) -> Option<String>) -> Result<(), Error> {
        self.legacy = Legacy::of(
            parsed("BATON_LEGACY", variable("BATON_LEGACY"))?.unwrap_or(false),
            parsed("BATON_SHARDS", variable("BATON_SHARDS"))?,
            parsed("BATON_MAX_CONCURRENCY", variable("BATON_MAX_CONCURRENCY"))?,
        )?;
        Ok(())
    }

    #[cfg(not(feature = "legacy"))]
    fn set_legacy(&mut self, variable: fn(&str) -> Option<String>) -> Result<(), Error> {
        if parsed("BATON_LEGACY", variable("BATON_LEGACY"))?.unwrap_or(false) {
            return Err(Error::Config(
                "BATON_LEGACY: this bot knows nothing of the Go master: build it with the feature \
                 `legacy` of baton-slave"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether the master is the Go master.
    #[cfg(feature = "legacy")]
    pub(crate) const fn is_legacy(&self) -> bool {
        self.legacy.is_some()
    }

    /// Whether the master is the Go master.
    #[cfg(not(feature = "legacy"))]
    pub(crate) const fn is_legacy(&self) -> bool {
        false
    }

    /// Where the bot's HTTP is to go, without a slash at its end; `None`: to Discord.
    /// The library sends none: give it to your HTTP client (with `twilight-http`,
    /// `ClientBuilder::proxy`).
    ///
    /// It is [`api_url`](Self::api_url), which a master passes on to the slaves that it
    /// starts. Where only another gateway is named it is that gateway's host: a
    /// simulated Discord takes both, and what a test does must not reach real channels.
    #[must_use]
    pub fn api_url(&self) -> Option<String> {
        if let Some(url) = &self.api_url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let url = self.gateway_url.as_deref()?;
        let (scheme, rest) = match url.strip_prefix("wss://") {
            Some(rest) => ("https", rest),
            None => ("http", url.strip_prefix("ws://")?),
        };
        let host = rest.split(['/', '?']).next().unwrap_or(rest);
        Some(format!("{scheme}://{host}"))
    }

    /// # Errors
    /// [`Error::Config`] says what to change.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Config(text));
        if self.token.expose().is_empty() {
            return wrong("the token is empty: set DISCORD_TOKEN or give a token file".to_owned());
        }
        for (name, value) in [("slot", &self.slot), ("build", &self.build)] {
            if value.is_empty() || value.len() > MAX_NAME {
                return wrong(format!(
                    "{name} has {} bytes: give 1 to {MAX_NAME}",
                    value.len()
                ));
            }
        }
        if !(50..=250).contains(&self.large_threshold) {
            return wrong(format!(
                "large_threshold is {}: give a number from 50 to 250",
                self.large_threshold
            ));
        }
        if !(1..=65_536).contains(&self.window) {
            return wrong(format!(
                "window is {}: give a number from 1 to 65536",
                self.window
            ));
        }
        if self.timings.session < Duration::from_secs(1) {
            return wrong(format!(
                "session_life is {:?}: give at least 1s, Discord keeps a session for about 90s",
                self.timings.session
            ));
        }
        if let Some(snapshots) = &self.snapshots
            && let Err(text) = snapshots.check()
        {
            return wrong(text);
        }
        if let Some(url) = &self.gateway_url
            && !is_gateway_url(url)
        {
            return wrong(format!(
                "gateway_url `{url}` is not of the form ws://HOST:PORT or wss://HOST"
            ));
        }
        if let Some(url) = &self.api_url {
            let host = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"));
            if host.is_none_or(|host| host.trim_end_matches('/').is_empty()) {
                return wrong(format!(
                    "api_url `{url}` is not of the form http://HOST:PORT or https://HOST"
                ));
            }
        }
        #[cfg(feature = "legacy")]
        if let Some(legacy) = &self.legacy {
            return legacy.check(&self.masters);
        }
        if self.masters.is_empty() {
            return wrong("no master is named: set BATON_MASTER".to_owned());
        }
        if let Some(open) = self.masters.iter().find(|master| master.is_open()) {
            return wrong(format!(
                "master: {open} is not on this host, and TCP in clear stays on its host: give \
                 tls://HOST:PORT, and certificates of the fleet (baton-master certs)"
            ));
        }
        if let Some(tls) = self
            .masters
            .iter()
            .find(|master| matches!(master, Address::Tls(_)))
        {
            if !cfg!(feature = "rustls") {
                return wrong(format!(
                    "master: {tls}: this bot was built without TLS to masters: build it with the \
                     feature `rustls-native-roots` of baton-slave"
                ));
            }
            if self.tls_dir.is_none() {
                return wrong(format!(
                    "master: {tls}: set {TLS_DIR_VARIABLE} to the folder with this host's \
                     certificate (baton-master certs issue --role slave makes one)"
                ));
            }
        }
        let is_unix = |master: &Address| matches!(master, Address::Unix(_));
        if self.secret == SecretSource::None && !self.masters.iter().all(is_unix) {
            return wrong(format!(
                "no secret for a master over TCP: set {SECRET_VARIABLE}, or the runtime directory \
                 that holds the master's file `secret`, or use its unix socket"
            ));
        }
        Ok(())
    }
}

fn parsed<T: FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, Error> {
    let wrong = |text: &str| Error::Config(format!("{name}: `{text}` cannot be read"));
    text.map(|text| text.parse().map_err(|_| wrong(&text)))
        .transpose()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::SlaveConfig;

    #[test]
    fn http_goes_where_it_is_told_to_or_to_the_host_of_another_gateway_or_to_discord() {
        let mut config = SlaveConfig::new("token");
        assert_eq!(config.api_url(), None);
        for (gateway, api) in [
            ("ws://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("ws://[::1]:5000/resume/3", "http://[::1]:5000"),
            ("wss://localhost/", "https://localhost"),
        ] {
            config.gateway_url = Some(gateway.to_owned());
            assert_eq!(config.api_url().as_deref(), Some(api));
        }
        config.api_url = Some("https://discord.com/".to_owned());
        assert_eq!(config.api_url().as_deref(), Some("https://discord.com"));
        config.api_url = Some("discord.com".to_owned());
        let wrong = config.check().unwrap_err().to_string();
        assert!(wrong.contains("api_url `discord.com`"), "{wrong}");
    }
}
