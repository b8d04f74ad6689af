//! The configuration: one TOML file, each key also a flag and a `BATON_...`
//! variable. What is wrong with it is one line that names the key.

mod changes;
mod checks;
mod command;
mod file;
mod for_core;
mod lease;
mod options;
mod origin;
mod parts;
mod ruin;
mod shards;
mod store;
#[cfg(test)]
mod tests;

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::checks::token_in;
pub use self::{
    changes::{Change, Effect},
    command::{build_of, check_command, from_here, named, shown, whole_path, without_env},
    file::{Mistake, in_order},
    options::{LimitValue, Limits, LogFormat, Options, Platform, ResolvedLimits, SlotOptions},
    origin::Origin,
    parts::{DEFAULT_API_URL, DEFAULT_LISTEN, MAX_SHARDS, Slot, TOKEN_VARIABLE, Token},
    shards::Shards,
    store::{Access, SharedStore},
};
use self::{
    checks::{Found, LetsIn, admin_listen, api_url, certificate, listen, slots, token, work_slot},
    file::as_error,
    lease::leases,
};
use baton_core::event::{Beside, DeployOrder};
use baton_protocol::{HostName, host_name::MAX_HOST_NAME};

use crate::{certs::Held, error::Error, process::kernel_name};

/// More standbys of one slot than this are refused.
pub const MAX_STANDBYS: u32 = 16;

/// A longer name of a fleet is refused: it stands in the title of a page.
const MAX_NAME: usize = 64;

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MAX_NAME).contains(&length) && !name.chars().any(char::is_control)
}

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the fleet is called; `None`: like its host.
    pub name: Option<String>,
    /// What it is connected to.
    pub platform: Platform,
    /// This host's name among those of the fleet; `None`: as it calls itself.
    pub host: Option<String>,
    /// Directory of sockets and the secret.
    pub runtime_dir: PathBuf,
    /// Directory of the journal.
    pub data_dir: PathBuf,
    /// The store that the journal is in, where several masters share one; `None`: it is a file
    /// in `data_dir`.
    pub store: Option<SharedStore>,
    /// TCP address for slaves.
    pub listen: SocketAddr,
    /// The folder of the master's certificate.
    pub tls_dir: Option<PathBuf>,
    /// What stands in it. There is one unless `listen` is a loopback address.
    pub certificate: Option<Arc<Held>>,
    /// Shards of the whole bot, if configured.
    pub shard_count: Option<u32>,
    /// IDENTIFYs in one window, if configured.
    pub max_concurrency: Option<u32>,
    /// Where Discord's HTTP interface is.
    pub api_url: String,
    /// The files that hold tokens, by their keys.
    pub token_files: Vec<(&'static str, PathBuf)>,
    /// The bot's token, where one was given.
    pub token: Option<Token>,
    /// The file that it is read from, again for each slave.
    pub token_file: Option<PathBuf>,
    /// Where the operator's HTTP interface is, beside the unix socket.
    pub admin_listen: Option<SocketAddr>,
    /// What requests there must carry that change something. There is this or the next
    /// unless that is a loopback address.
    pub admin_token: Option<Token>,
    /// What requests there must carry that only look.
    pub admin_read_token: Option<Token>,
    /// Standbys of each slot that has a command.
    pub standbys: u32,
    /// The slot whose slave does the once-per-bot work; `None`: the first one.
    pub work_slot: Option<String>,
    /// Whether deploys seal late where they do not say it.
    pub late_seal: bool,
    /// Whether the master ends at the first thing that goes wrong.
    pub fail_on_error: bool,
    /// Whether unchanged Go slaves of 2018 are served, and nothing else.
    pub legacy: bool,
    /// The limits.
    pub limits: ResolvedLimits,
    /// The places of the fleet, at least one.
    pub slots: Vec<Slot>,
}

/// A shorter token for operators can be found by trying.
const LEAST_TOKEN: usize = 16;

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
        name,
        host,
        runtime_dir,
        data_dir,
        store,
        store_name,
        store_credentials_file,
        store_ca_file,
        store_cert_file,
        store_key_file,
        store_replicas,
        listen,
        tls_dir,
        shard_count,
        max_concurrency,
        api_url,
        token_file,
        admin_listen,
        admin_token_file,
        admin_read_token_file,
        standbys,
        work_slot,
        platform,
        late_seal,
        fail_on_error,
        legacy,
        log,
        log_format,
    )
}

/// How often it is noted that this master runs, and slaves with a lease hear of it.
const fn signs(limits: &ResolvedLimits) -> Duration {
    limits.checkpoint_to_disk.saturating_mul(5)
}

impl Config {
    /// This host's name among those of the fleet.
    #[must_use]
    pub fn host_name(&self) -> String {
        let own = || {
            let good =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            let name = kernel_name();
            let good = name.chars().filter(|c| good(*c));
            good.take(MAX_HOST_NAME).collect()
        };
        // If both say it, they say the same.
        let certified = self.certificate.as_ref();
        let certified = || certified.map(|held| held.host().as_str().to_owned());
        self.host.clone().or_else(certified).unwrap_or_else(own)
    }

    /// What a deploy is where nobody says it: the first slot, its own command.
    #[must_use]
    pub fn usual_deploy(&self) -> DeployOrder {
        let first = self.slots.first();
        DeployOrder {
            slot: first.map(|slot| slot.name.clone()).unwrap_or_default(),
            command: None,
            canary: self.limits.canary,
            width: self.limits.width,
            soak: self.limits.soak,
            late_seal: self.late_seal,
            beside: Beside::Nothing,
            expect: None,
        }
    }

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
            origin: options.origin.clone(),
            mistakes: Vec::new(),
        };
        let store = store::store(&options, &mut found);
        let runtime_dir = options
            .runtime_dir
            .unwrap_or_else(crate::runtime_dir::default_path);
        let certificate = certificate(options.tls_dir.as_deref());
        let certificate = found.or("tls_dir", certificate).flatten();
        if let (Some(held), Some(host)) = (&certificate, &options.host)
            && held.host().as_str() != host
        {
            found.add(
                "tls_dir",
                format!(
                    "tls_dir: the certificate is that of host {}, and this host is called {host} \
                     (host): issue one for it, or call it so",
                    held.host()
                ),
            );
        }
        let listen = listen(options.listen, options.tls_dir.is_some());
        let listen = found.or("listen", listen);
        let legacy = options.legacy.unwrap_or(false);
        if let Some(listen) = listen.filter(|listen| legacy && !listen.ip().is_loopback()) {
            found.add("legacy", format!(
                "legacy: {listen} can be reached from other hosts, and Go slaves prove nothing; listen on a loopback address"
            ));
        }
        ruin::sockets(&runtime_dir, &mut found);
        if let Some(filter) = &options.log
            && let Err(reason) = ruin::log(filter)
        {
            found.add("log", reason);
        }
        let limits = options.limits.resolve();
        for name in limits.zeroes() {
            let key = format!("limits.{name}");
            found.add(&key, format!("{key} is zero: it must be greater than zero"));
        }
        if options.store.is_some() && limits.ping > store::LONGEST_PING {
            found.add(
                "limits.ping",
                "limits.ping is over 5s: slaves that know several masters look for another one \
                 where one says nothing for 10s",
            );
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
        if options.name.as_deref().is_some_and(|name| !is_name(name)) {
            found.add(
                "name",
                format!(
                    "name must have 1 to {MAX_NAME} characters, none of them a control character"
                ),
            );
        }
        if let Some(host) = options
            .host
            .as_deref()
            .filter(|host| host.parse::<HostName>().is_err())
        {
            found.add("host", format!(
                "host: `{host}` is no name of a host: give up to {MAX_HOST_NAME} of a-z, 0-9, `-` and `.`, \
                 a letter or digit first"
            ));
        }
        if options.platform == Some(Platform::Twitch) && options.shard_count.is_none() {
            found.add(
                "platform",
                "shard_count: Twitch is not asked how many units there are; set shard_count"
                    .to_owned(),
            );
        }
        if options.platform == Some(Platform::Twitch) && options.legacy == Some(true) {
            found.add(
                "platform",
                "legacy: slaves of 2018 are Discord's; leave platform out, or legacy".to_owned(),
            );
        }
        let api_url = found.or("api_url", api_url(options.api_url));
        ruin::limits(&limits, api_url.as_deref(), &mut found);
        let token = found.or("token_file", token(options.token_file.as_deref()));
        let admin_token = options.admin_token_file.as_deref();
        let admin_token = admin_token.map(|path| token_in("admin_token_file", path));
        let read_token = options.admin_read_token_file.as_deref();
        let read_token = read_token.map(|path| token_in("admin_read_token_file", path));
        let lets_in = LetsIn {
            tls: options.tls_dir.is_some(),
            operators: admin_token.is_some(),
            readers: read_token.is_some(),
        };
        let admin_token = found.or("admin_token_file", admin_token.transpose());
        let admin_read_token = found.or("admin_read_token_file", read_token.transpose());
        ruin::tokens(
            [
                ("token_file", token.as_ref().and_then(Option::as_ref)),
                (
                    "admin_token_file",
                    admin_token.as_ref().and_then(Option::as_ref),
                ),
                (
                    "admin_read_token_file",
                    admin_read_token.as_ref().and_then(Option::as_ref),
                ),
            ],
            &mut found,
        );
        let admin_listen = admin_listen(options.admin_listen, lets_in);
        let admin_listen = found.or("admin_listen", admin_listen).flatten();
        if let (Some(listen), Some(admin)) = (listen, admin_listen) {
            ruin::addresses(listen, admin, &mut found);
        }
        let token_files = [
            ("token_file", options.token_file.clone()),
            ("admin_token_file", options.admin_token_file),
            ("admin_read_token_file", options.admin_read_token_file),
        ];
        let token_files = token_files
            .into_iter()
            .filter_map(|(key, file)| Some((key, file?)))
            .collect();
        let leases = leases(&options.slots, signs(&limits), &mut found);
        let counts = (count, options.max_concurrency);
        let mut slots = slots(options.slots, command, counts, &mut found);
        for (slot, lease) in slots.iter_mut().zip(leases) {
            slot.lease = lease;
        }
        work_slot(options.work_slot.as_deref(), &slots, &mut found);
        match (listen, api_url, token) {
            (Some(listen), Some(api_url), Some(token)) if found.mistakes.is_empty() => Ok(Self {
                name: options.name,
                platform: options.platform.unwrap_or_default(),
                host: options.host,
                data_dir: options.data_dir.unwrap_or_else(|| runtime_dir.clone()),
                store,
                runtime_dir,
                listen,
                tls_dir: options.tls_dir,
                certificate,
                shard_count: options.shard_count,
                max_concurrency: options.max_concurrency,
                api_url,
                token_files,
                token,
                token_file: options.token_file,
                admin_listen,
                admin_token: admin_token.flatten(),
                admin_read_token: admin_read_token.flatten(),
                standbys,
                work_slot: options.work_slot,
                late_seal: options.late_seal.unwrap_or(false),
                fail_on_error: options.fail_on_error.unwrap_or(false),
                legacy,
                limits,
                slots,
            }),
            _ => Err(in_order(found.mistakes)),
        }
    }

    /// What works, and should not stay as it is: tokens that others can read or guess.
    /// Looks at the files.
    #[must_use]
    pub fn worries(&self) -> Vec<String> {
        let mut worries = Vec::new();
        for (key, file) in &self.token_files {
            let mode = fs::metadata(file).map(|of| of.permissions().mode());
            if let Ok(mode) = mode
                && mode & 0o007 != 0
            {
                worries.push(format!(
                    "{key}: other users can read {} (mode {:03o}): chmod 600 it, and replace the \
                     token if another user may have read it",
                    file.display(),
                    mode & 0o777
                ));
            }
        }
        for (key, token) in [
            ("admin_token_file", &self.admin_token),
            ("admin_read_token_file", &self.admin_read_token),
        ] {
            let few = token.as_ref().map(|token| token.reveal().len());
            if let Some(few) = few.filter(|length| *length < LEAST_TOKEN) {
                worries.push(format!(
                    "{key}: a token of {few} characters can be guessed: make one with openssl rand \
                     -hex 32"
                ));
            }
        }
        worries
    }
}
