//! The configuration: one TOML file, each key also a flag and a `BATON_...`
//! variable. What is wrong with it is one line that names the key.

mod changes;
mod command;
mod file;
mod options;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use baton_protocol::message::MAX_NAME;

use self::file::as_error;
pub use self::{
    changes::{Change, Effect},
    command::check_command,
    file::{Mistake, Origin},
    options::{LimitValue, Limits, LogFormat, Options, ResolvedLimits, SlotOptions},
};
use crate::{
    core::settings::{Settings, SlotSettings},
    error::Error,
};

/// Where slaves are listened for when nothing else is configured.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7447";

/// Discord's own HTTP interface.
pub const DEFAULT_API_URL: &str = "https://discord.com";

/// More shards than this are refused: far above what Discord gives to one bot.
pub const MAX_SHARDS: u32 = 16_384;

/// More standbys of one slot than this are refused.
pub const MAX_STANDBYS: u32 = 16;

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of sockets and the secret.
    pub runtime_dir: PathBuf,
    /// Directory of the journal.
    pub data_dir: PathBuf,
    /// TCP address for slaves.
    pub listen: SocketAddr,
    /// Shards of the whole bot, if configured.
    pub shard_count: Option<u32>,
    /// IDENTIFYs in one window, if configured.
    pub max_concurrency: Option<u32>,
    /// Where Discord's HTTP interface is.
    pub api_url: String,
    /// The bot's token, where one was given.
    pub token: Option<Token>,
    /// Where the operator's HTTP interface is, beside the unix socket.
    pub admin_listen: Option<SocketAddr>,
    /// What requests there must carry. There is one unless that is a loopback
    /// address.
    pub admin_token: Option<Token>,
    /// Standbys of each slot that has a command.
    pub standbys: u32,
    /// Whether deploys seal late where they do not say it.
    pub late_seal: bool,
    /// Whether the master ends at the first thing that goes wrong.
    pub fail_on_error: bool,
    /// Whether unchanged slaves of the ancestor are served, and nothing else.
    pub legacy: bool,
    /// The limits.
    pub limits: ResolvedLimits,
    /// The places of the fleet, at least one.
    pub slots: Vec<Slot>,
}

/// One place of the fleet, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Program and arguments; `None`: the master launches nothing into it.
    pub command: Option<Vec<String>>,
    /// First and last of its shards; `None`: all.
    pub shards: Option<(u32, u32)>,
    /// Further environment of its slave.
    pub env: BTreeMap<String, String>,
    /// File that its slave's output is appended to.
    pub log: Option<PathBuf>,
}

/// A secret text: the bot's token, the operators'. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as it was given, white space around it ignored.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The file that is read when none is named: `baton/baton.toml` in
/// `$XDG_CONFIG_HOME` (or `~/.config`), else in `/etc`; `None` when there is
/// neither.
#[must_use]
pub fn default_file() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".config"));
    let own = env::var_os("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(home);
    own.into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|dir| dir.join("baton/baton.toml"))
        .find(|file| file.is_file())
}

/// Reads the file, if one is named; what `given` says wins over it.
///
/// # Errors
/// [`Error::Configuration`]: the file cannot be read, is not TOML, or has a key
/// that does not exist; the line and the key are named.
pub fn read(file: Option<&Path>, given: Options) -> Result<Options, Error> {
    let (options, mistakes) = examine(file, given)?;
    if mistakes.is_empty() {
        Ok(options)
    } else {
        Err(as_error(&mistakes))
    }
}

/// As [`read`]; what is wrong with the file is named, all of it, and left out.
///
/// # Errors
/// [`Error::Configuration`]: the file cannot be read.
pub fn examine(file: Option<&Path>, given: Options) -> Result<(Options, Vec<Mistake>), Error> {
    let Some(path) = file else {
        return Ok((given, Vec::new()));
    };
    let (file, mistakes) = file::examine(path)?;
    Ok((over(given, file), mistakes))
}

/// What is given wins over the file.
fn over(given: Options, file: Options) -> Options {
    let mut origin = file.origin;
    for limit in given.limits.given() {
        origin.overruled(&format!("limits.{limit}"));
    }
    macro_rules! either {
        ($($key:ident),* $(,)?) => {
            Options {
                $($key: match given.$key {
                    Some(value) => {
                        origin.overruled(stringify!($key));
                        Some(value)
                    }
                    None => file.$key,
                },)*
                limits: given.limits.or(file.limits),
                slots: file.slots,
                origin,
            }
        };
    }
    either!(
        runtime_dir,
        data_dir,
        listen,
        allow_remote,
        shard_count,
        max_concurrency,
        api_url,
        token_file,
        admin_listen,
        admin_token_file,
        standbys,
        late_seal,
        fail_on_error,
        legacy,
        log,
        log_format,
    )
}

impl Config {
    /// Checks the options; `command` is the first slot's command, where the
    /// command line gave one.
    ///
    /// # Errors
    /// [`Error::Configuration`], naming the key and what to change.
    pub fn check(options: Options, command: Option<Vec<String>>) -> Result<Self, Error> {
        Self::check_all(options, command).map_err(|mistakes| as_error(&mistakes))
    }

    /// As [`check`](Self::check).
    ///
    /// # Errors
    /// Everything that is wrong, at least one.
    pub fn check_all(options: Options, command: Option<Vec<String>>) -> Result<Self, Vec<Mistake>> {
        let mut found = Found {
            origin: options.origin,
            mistakes: Vec::new(),
        };
        let runtime_dir = options
            .runtime_dir
            .unwrap_or_else(crate::runtime_dir::default_path);
        let listen = listen(options.listen, options.allow_remote.unwrap_or(false));
        let listen = found.or("listen", listen);
        let legacy = options.legacy.unwrap_or(false);
        if let Some(listen) = listen.filter(|listen| legacy && !listen.ip().is_loopback()) {
            found.add("legacy", format!(
                "legacy: {listen} can be reached from other hosts, and the ancestor's slaves prove nothing; listen on a loopback address"
            ));
        }
        let limits = options.limits.resolve();
        for name in limits.zeroes() {
            let key = format!("limits.{name}");
            found.add(&key, format!("{key} is zero: it must be greater than zero"));
        }
        if limits.hang < limits.ping {
            found.add(
                "limits.hang",
                "limits.hang is shorter than limits.ping: no slave could answer in time",
            );
        }
        let count = options.shard_count;
        if count.is_some_and(|count| count == 0 || count > MAX_SHARDS) {
            found.add(
                "shard_count",
                format!("shard_count must be between 1 and {MAX_SHARDS}"),
            );
        }
        if options.max_concurrency == Some(0) {
            found.add(
                "max_concurrency",
                "max_concurrency is zero: Discord gives 1 to every bot",
            );
        }
        let standbys = options.standbys.unwrap_or(0);
        if standbys > MAX_STANDBYS {
            found.add(
                "standbys",
                format!("standbys must be between 0 and {MAX_STANDBYS}"),
            );
        }
        let api_url = found.or("api_url", api_url(options.api_url));
        let token = found.or("token_file", token(options.token_file.as_deref()));
        let admin_token = options.admin_token_file.as_deref();
        let admin_token = admin_token.map(|path| token_in("admin_token_file", path));
        let with_token = admin_token.is_some();
        let admin_token = found.or("admin_token_file", admin_token.transpose());
        let admin_listen = admin_listen(options.admin_listen, with_token);
        let admin_listen = found.or("admin_listen", admin_listen).flatten();
        let slots = slots(options.slots, command, count, &mut found);
        match (listen, api_url, token) {
            (Some(listen), Some(api_url), Some(token)) if found.mistakes.is_empty() => Ok(Self {
                data_dir: options.data_dir.unwrap_or_else(|| runtime_dir.clone()),
                runtime_dir,
                listen,
                shard_count: options.shard_count,
                max_concurrency: options.max_concurrency,
                api_url,
                token,
                admin_listen,
                admin_token: admin_token.flatten(),
                standbys,
                late_seal: options.late_seal.unwrap_or(false),
                fail_on_error: options.fail_on_error.unwrap_or(false),
                legacy,
                limits,
                slots,
            }),
            _ => Err(found.mistakes),
        }
    }

    /// What the core is to keep to, with `shard_count` shards.
    #[must_use]
    pub fn settings(&self, shard_count: u32) -> Settings {
        let limits = &self.limits;
        Settings {
            slots: self
                .slots
                .iter()
                .map(|slot| SlotSettings {
                    name: slot.name.clone(),
                    shards: slot.shards,
                    launches: slot.command.is_some(),
                })
                .collect(),
            shard_count,
            pinned: None,
            contact: limits.contact,
            adopt_grace: limits.adopt_grace,
            ready: limits.ready,
            seal: limits.seal,
            drain: limits.drain,
            no_progress: limits.no_progress,
            copy: limits.copy,
            soak: limits.soak,
            replay_buffer: limits.replay_buffer,
            behind_gate: limits.behind_gate,
            silent: limits.silent,
            error_gate: limits.error_gate,
            error_gate_events: limits.error_gate_events,
            retire: limits.retire,
            canary: limits.canary,
            width: limits.width,
            standbys: self.standbys,
            late_seal: self.late_seal,
            resume_window: limits.resume_window,
            backoff: limits.backoff,
            backoff_max: limits.backoff_max,
            identify_window: limits.identify_window,
            max_concurrency: self.max_concurrency.unwrap_or(1),
            checkpoint_to_disk: limits.checkpoint_to_disk,
            // Five checkpoints: a session is not thought older by more.
            seen: limits.checkpoint_to_disk.saturating_mul(5),
            shard_in_hand: limits.shard_in_hand,
        }
    }

    /// Whether every slot's shards exist in a bot of `shard_count` shards, and
    /// every shard has exactly one slot.
    ///
    /// # Errors
    /// [`Error::Configuration`], naming the slot or the shard.
    pub fn check_shards(&self, shard_count: u32) -> Result<(), Error> {
        cover(&self.slots, shard_count).map_err(|(_, reason)| Error::Configuration(reason))
    }
}

/// What was found to be wrong.
struct Found {
    origin: Origin,
    mistakes: Vec<Mistake>,
}

impl Found {
    fn add(&mut self, key: &str, reason: impl Into<String>) {
        self.mistakes.push(Mistake {
            place: self.origin.place(key),
            reason: reason.into(),
        });
    }

    fn or<T>(&mut self, key: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|reason| self.add(key, reason)).ok()
    }
}

fn wrong<T>(reason: String) -> Result<T, String> {
    Err(reason)
}

fn listen(given: Option<String>, allow_remote: bool) -> Result<SocketAddr, String> {
    let text = given.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let Ok(address) = text.parse::<SocketAddr>() else {
        return wrong(format!(
            "listen: `{text}` is not an address with a port, such as {DEFAULT_LISTEN}"
        ));
    };
    if !address.ip().is_loopback() && !allow_remote {
        return wrong(format!(
            "listen: {address} can be reached from other hosts; use a loopback address, or set allow_remote = true"
        ));
    }
    Ok(address)
}

fn api_url(given: Option<String>) -> Result<String, String> {
    let url = given.unwrap_or_else(|| DEFAULT_API_URL.to_owned());
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    if host.is_none_or(|host| host.trim_end_matches('/').is_empty()) {
        return wrong(format!(
            "api_url: `{url}` is not an http:// or https:// address"
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn token(file: Option<&Path>) -> Result<Option<Token>, String> {
    if let Some(token) = env::var("DISCORD_TOKEN")
        .ok()
        .as_deref()
        .and_then(Token::new)
    {
        return Ok(Some(token));
    }
    file.map(|path| token_in("token_file", path)).transpose()
}

fn token_in(key: &str, path: &Path) -> Result<Token, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{key}: {} cannot be read: {error}", path.display()))?;
    match Token::new(&text) {
        Some(token) => Ok(token),
        None => wrong(format!("{key}: {} is empty", path.display())),
    }
}

fn admin_listen(given: Option<String>, with_token: bool) -> Result<Option<SocketAddr>, String> {
    let Some(text) = given else {
        return Ok(None);
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        return wrong(format!(
            "admin_listen: `{text}` is not an address with a port, such as 127.0.0.1:7448"
        ));
    };
    if !address.ip().is_loopback() && !with_token {
        return wrong(format!(
            "admin_listen: {address} can be reached from other hosts; use a loopback address, or set admin_token_file to a file with a secret that requests must carry"
        ));
    }
    Ok(Some(address))
}

fn slots(
    given: Vec<SlotOptions>,
    command: Option<Vec<String>>,
    shard_count: Option<u32>,
    found: &mut Found,
) -> Vec<Slot> {
    let overruled = command.is_some();
    let mut slots: Vec<Slot> = given
        .into_iter()
        .map(|slot| Slot {
            name: slot.name,
            command: (!slot.command.is_empty()).then_some(slot.command),
            shards: slot.shards,
            env: slot.env,
            log: slot.log,
        })
        .collect();
    if slots.is_empty() {
        slots.push(Slot {
            name: "main".to_owned(),
            command: None,
            shards: None,
            env: BTreeMap::new(),
            log: None,
        });
    }
    if command.is_some() {
        slots[0].command = command;
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, slot) in slots.iter().enumerate() {
        let name = &slot.name;
        let key = |key: &str| format!("slot[{index}].{key}");
        if name.is_empty() || name.len() > MAX_NAME {
            found.add(
                &key("name"),
                format!("slot `{name}`: a name has 1 to {MAX_NAME} characters"),
            );
        }
        if !names.insert(name.as_str()) {
            found.add(
                &key("name"),
                format!("slot `{name}`: two slots have this name; rename one"),
            );
        }
        if let Some(command) = &slot.command
            && let Err(reason) = check_command(command)
        {
            let reason = format!("slot `{name}`: {reason}");
            if overruled && index == 0 {
                found.mistakes.push(Mistake::anywhere(reason));
            } else {
                found.add(&key("command"), reason);
            }
        }
    }
    if let Some(shard_count) = shard_count.filter(|count| (1..=MAX_SHARDS).contains(count))
        && let Err((index, reason)) = cover(&slots, shard_count)
    {
        found.add(&format!("slot[{index}].shards"), reason);
    }
    slots
}

/// Which slot is wrong, and why.
fn cover(slots: &[Slot], shard_count: u32) -> Result<(), (usize, String)> {
    let mut owner: Vec<Option<&str>> = vec![None; shard_count as usize];
    for (index, slot) in slots.iter().enumerate() {
        let name = &slot.name;
        let (first, last) = slot.shards.unwrap_or((0, shard_count.saturating_sub(1)));
        if first > last || last >= shard_count {
            return Err((
                index,
                format!(
                    "slot `{name}`: shards = [{first}, {last}] is not a range of shards 0 to {}",
                    shard_count.saturating_sub(1)
                ),
            ));
        }
        for shard in first..=last {
            if let Some(other) = owner[shard as usize].replace(name) {
                return Err((
                    index,
                    format!(
                        "slots `{other}` and `{name}` both have shard {shard}; give each shard to one slot with `shards`"
                    ),
                ));
            }
        }
    }
    match owner.iter().position(Option::is_none) {
        Some(shard) => Err((
            0,
            format!("shard {shard} has no slot; extend the `shards` of one"),
        )),
        None => Ok(()),
    }
}
