//! Settings of a slave.

mod legacy;

use std::{env, fmt, fs, path::PathBuf, str::FromStr, time::Duration};

use baton_protocol::{
    SessionParameters,
    auth::{SECRET_VARIABLE, Secret},
    message::{MAX_NAME, Role},
};

pub use self::legacy::Legacy;
use crate::{
    error::Error,
    shard::gateway::{API_VERSION, COMPRESSION},
    state::Snapshots,
};

/// Where a master listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

/// The bot's token. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Token(String);

/// Where the fleet's secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It was given, for example by the master that launched this process.
    Given(Secret),
    /// This file, read at each dial: the master may make it later.
    File(PathBuf),
    /// There is none; enough for a unix socket whose owner is the same user.
    None,
}

/// What becomes of a shard whose state was lost with its former owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostState {
    /// Resume: no event is lost, the bot is told [`State::Lost`](crate::State).
    #[default]
    Resume,
    /// Ask for a new session: it brings every guild anew, and loses a span of
    /// events.
    Identify,
}

/// What becomes of an event that killed each process that had it. Either way the master
/// keeps it in a file, and says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadlyEvent {
    /// It is not handed out any more.
    #[default]
    Skip,
    /// It is handed out once more, and [`Event::is_deadly`](crate::Event::is_deadly) says
    /// what it is. If it kills once more, it is skipped.
    HandOut,
}

impl FromStr for OnDeadlyEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "skip" => Ok(Self::Skip),
            "hand-out" => Ok(Self::HandOut),
            other => Err(format!(
                "on_deadly_event is {other:?}: give skip or hand-out"
            )),
        }
    }
}

/// How state is packed on its way to the next owner of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateCompression {
    /// Not at all: right where both processes are on one host.
    #[default]
    None,
    /// Each frame as one zstd block, at the level that costs least.
    Zstd,
}

/// Everything that a slave can be set to. Begin with [`SlaveConfig::new`] or
/// [`SlaveConfig::from_env`].
#[derive(Clone, Debug)]
pub struct SlaveConfig {
    /// Where the master is.
    pub master: Address,
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
    /// Gateway intents.
    pub intents: u64,
    /// 50 to 250, see Discord's documentation.
    pub large_threshold: u16,
    /// Events of one shard that are handed out and not finished, at most;
    /// 1 to 65,536.
    pub window: usize,
    /// The fleet's secret.
    pub secret: SecretSource,
    /// What to do without the state of a shard.
    pub on_lost_state: OnLostState,
    /// What to do with an event that killed each process that had it.
    pub on_deadly_event: OnDeadlyEvent,
    /// How the state of a shard is packed when it is copied to its next owner. Each
    /// slave chooses for what it copies out, and reads everything.
    pub state_compression: StateCompression,
    /// Snapshots of the bot's state; `None`: there are none.
    pub snapshots: Option<Snapshots>,
    /// Given: the master is the unchanged ancestor's, on a loopback address.
    pub legacy: Option<Legacy>,
    /// Deadlines and pauses.
    pub timings: Timings,
}

/// Deadlines and pauses; the defaults are for Discord, tests scale them down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Dial to HELLO. Below the master's limit for a resume without progress, so
    /// that there is another try; and a busy shard's replay buffer holds only
    /// some seconds.
    pub hello: Duration,
    /// Without any message while a replay is due: dial anew.
    pub progress: Duration,
    /// HELLO to RESUMED, however many events come between: where RESUMED is
    /// missing, the events of today look like a replay. The next RESUME goes on
    /// behind what came.
    pub replay: Duration,
    /// `hello`, `progress`, `replay` and `ready` double each time that they pass, up
    /// to this: a slow server is waited for longer, and in the end it is met.
    pub longest: Duration,
    /// A session that nobody could resume for so long is over. Nobody has said how
    /// long Discord keeps one; 90 s were measured.
    pub session: Duration,
    /// How long a connection that was dialled ahead is held before it is dialled
    /// anew: it cannot heartbeat, and Discord's heartbeats are due every 41 s.
    pub hold: Duration,
    /// IDENTIFY to READY. Each try costs an IDENTIFY, and a connection that is dead is
    /// noticed by its heartbeats before.
    pub ready: Duration,
    /// First pause between reconnects; the very first reconnect has none.
    pub redial_first: Duration,
    /// Longest pause between reconnects ...
    pub redial_max: Duration,
    /// ... and while the session may still be resumed: a pause must not outlive it.
    pub redial_session: Duration,
    /// A connection that served for so long clears the memory of failures.
    pub stable: Duration,
    /// Shortest wait after op 9 `d:true`; the longest is five times as long.
    pub invalid_session: Duration,
    /// How long a full window stops reading before the connection is closed.
    pub crowded: Duration,
    /// An event that was given back is handed out again after so long ...
    pub retry_delay: Duration,
    /// ... and so often.
    pub retries: u32,
    /// How long what is in doubt may run when the slave leaves by itself.
    pub drain: Duration,
    /// How long a slave that is asked to end waits for a successor to take over, where
    /// the master has one, before it leaves by itself. It serves meanwhile. Zero: it
    /// does not ask for one.
    pub followed: Duration,
    /// Dial and handshake with the master.
    pub handshake: Duration,
    /// A master that says nothing for so long (it pings every 5 s) is dialled
    /// anew.
    pub master_silence: Duration,
    /// First pause before the master is dialled again.
    pub master_redial_first: Duration,
    /// Longest such pause: a shard that is sealed is served by nobody until the
    /// master is back.
    pub master_redial_max: Duration,
    /// Pause before a legacy master is dialled again, after a dial that failed.
    pub legacy_redial: Duration,
    /// A legacy migration in which a master says nothing for so long stands
    /// still; a target that has nothing yet asks anew for work then.
    pub legacy_patience: Duration,
    /// Shortest time between two IDENTIFYs of one bucket where no master grants
    /// them: Discord's 5 s and a margin.
    pub identify_window: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hello: seconds(4),
            progress: seconds(5),
            replay: seconds(15),
            longest: seconds(300),
            session: seconds(120),
            hold: seconds(20),
            ready: seconds(120),
            redial_first: seconds(1),
            redial_max: seconds(60),
            redial_session: seconds(5),
            stable: seconds(5),
            invalid_session: seconds(1),
            crowded: seconds(15),
            retry_delay: Duration::from_millis(250),
            retries: 5,
            drain: seconds(10),
            followed: seconds(15),
            handshake: seconds(10),
            master_silence: seconds(30),
            master_redial_first: Duration::from_millis(100),
            master_redial_max: seconds(1),
            legacy_redial: seconds(5),
            legacy_patience: seconds(60),
            identify_window: Duration::from_millis(5250),
        }
    }
}

impl SlaveConfig {
    /// For a master on this host, slot `main`, no intents.
    #[must_use]
    pub fn new(token: impl Into<Token>) -> Self {
        Self {
            master: Address::Tcp("127.0.0.1:7447".to_owned()),
            slot: "main".to_owned(),
            role: Role::Candidate,
            build: "unnamed".to_owned(),
            token: token.into(),
            gateway_url: None,
            api_url: None,
            intents: 0,
            large_threshold: 50,
            window: 256,
            secret: SecretSource::None,
            on_lost_state: OnLostState::Resume,
            on_deadly_event: OnDeadlyEvent::Skip,
            state_compression: StateCompression::None,
            snapshots: None,
            legacy: None,
            timings: Timings::default(),
        }
    }

    /// Reads what a launching master and an operator set: `DISCORD_TOKEN`,
    /// `BATON_MASTER`, `BATON_SLOT`, `BATON_ROLE`, `BATON_BUILD`,
    /// `BATON_GATEWAY_URL`, `BATON_API_URL`, `BATON_SECRET`, `BATON_RUNTIME_DIR`, `BATON_LEGACY`,
    /// `BATON_SHARDS`, `BATON_MAX_CONCURRENCY`, `BATON_SNAPSHOTS`,
    /// `BATON_STATE_COMPRESSION`, `BATON_ON_DEADLY_EVENT`.
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
            config.master = master.parse().map_err(Error::Config)?;
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
        config.legacy = Legacy::of(
            parsed("BATON_LEGACY", variable("BATON_LEGACY"))?.unwrap_or(false),
            parsed("BATON_SHARDS", variable("BATON_SHARDS"))?,
            parsed("BATON_MAX_CONCURRENCY", variable("BATON_MAX_CONCURRENCY"))?,
        )?;
        config.secret = SecretSource::from_env(variable("BATON_RUNTIME_DIR").map(PathBuf::from))?;
        Ok(config)
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

    /// What sessions of this build are identified with.
    #[must_use]
    pub fn parameters(&self, shard_count: u32) -> SessionParameters {
        SessionParameters {
            intents: self.intents,
            shard_count,
            api_version: API_VERSION,
            encoding: "json".to_owned(),
            compression: COMPRESSION.to_owned(),
            large_threshold: self.large_threshold,
        }
    }

    /// # Errors
    /// [`Error::Config`] says what to change.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Config(text));
        if self.token.0.is_empty() {
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
        if let Some(legacy) = &self.legacy {
            return legacy.check(&self.master);
        }
        if self.secret == SecretSource::None && matches!(self.master, Address::Tcp(_)) {
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

/// What twilight's websocket client takes without a panic.
pub(crate) fn is_gateway_url(url: &str) -> bool {
    let Some(rest) = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))
    else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or_default();
    !host.is_empty()
        && url.len() <= 512
        && url
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/.-_~[]%".contains(&byte))
        && format!("{url}/?v=10").parse::<http::Uri>().is_ok()
}

impl SecretSource {
    /// `BATON_SECRET`, else the file `secret` of the runtime directory, else
    /// none.
    ///
    /// # Errors
    /// `BATON_SECRET` is no secret.
    pub fn from_env(runtime_dir: Option<PathBuf>) -> Result<Self, Error> {
        match env::var(SECRET_VARIABLE).ok().filter(|hex| !hex.is_empty()) {
            Some(hex) => Secret::from_hex(&hex).map(Self::Given).ok_or_else(|| {
                Error::Config(format!("{SECRET_VARIABLE} is not 64 hex digits: unset it"))
            }),
            None => Ok(runtime_dir.map_or(Self::None, |dir| Self::File(dir.join("secret")))),
        }
    }

    /// The secret as it is now; `None`: there is none (yet).
    pub(crate) fn read(&self) -> Option<Secret> {
        match self {
            Self::Given(secret) => Some(secret.clone()),
            Self::File(path) => Secret::from_hex(&fs::read_to_string(path).ok()?),
            Self::None => None,
        }
    }
}

/// Reads `candidate`, `standby` or `relaunch`.
///
/// # Errors
/// A sentence that says what to change.
pub fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "candidate" => Ok(Role::Candidate),
        "standby" => Ok(Role::Standby),
        "relaunch" => Ok(Role::Relaunch),
        other => Err(format!(
            "role `{other}` is unknown: give candidate, standby or relaunch"
        )),
    }
}

impl FromStr for StateCompression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "zstd" => Ok(Self::Zstd),
            other => Err(format!(
                "state_compression `{other}` is unknown: give none or zstd"
            )),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("`unix:` has no path: give unix:/path/to/socket".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is no address: give HOST:PORT or unix:/path/to/socket"
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Token {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Token {
    fn from(token: T) -> Self {
        Self(token.into().trim().to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
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
