//! The settings of this process: a flag wins over the environment, the environment over the
//! default.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use baton_slave::{Address, Error, SecretSource, SlaveConfig, parse_memory, parse_role};
use baton_twitch::{Accounts, Login, invite::Settings, scale::Rules};
use clap::{Parser, Subcommand, ValueEnum};

use super::output::Sink;

/// A process of a Twitch fleet: channels by EventSub conduits or IRC, whose connections
/// survive a deploy. Its events are JSON lines on standard output.
///
/// Exit codes: 0 told to leave, 1 the system failed, 2 wrong configuration or refused by the
/// master, 75 the master is busy: try again later.
#[derive(Debug, Parser)]
#[command(name = "baton-twitch", version, args_override_self = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// The masters, with commas between them: unix:PATH, tls://HOST:PORT, or HOST:PORT on
    /// this host
    #[arg(
        long,
        env = "BATON_MASTER",
        value_name = "ADDRESS,...",
        default_value = "127.0.0.1:7447"
    )]
    master: String,
    /// The master's runtime directory, for the fleet's secret [default:
    /// $XDG_RUNTIME_DIR/baton, else /run/baton]
    #[arg(long, env = "BATON_RUNTIME_DIR", value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// The folder with the certificate of this host's slaves (ca.pem, cert.pem, key.pem), for
    /// masters at tls://
    #[arg(long, env = "BATON_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// The slot that this process fills
    #[arg(long, env = "BATON_SLOT", value_name = "NAME", default_value = "main")]
    slot: String,
    /// candidate, standby or relaunch
    #[arg(long, env = "BATON_ROLE", default_value = "candidate")]
    role: String,
    /// What you call this build
    #[arg(long, env = "BATON_BUILD", value_name = "NAME", default_value = concat!("baton-twitch ", env!("CARGO_PKG_VERSION")))]
    build: String,
    /// The way to Twitch
    #[arg(long, env = "BATON_TWITCH_TRANSPORT", value_enum, default_value_t = Way::Conduit)]
    pub(crate) transport: Way,
    /// Client id of the application
    #[arg(long, env = "BATON_TWITCH_CLIENT_ID", value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// File that holds the application's client secret
    #[arg(long, env = "BATON_TWITCH_CLIENT_SECRET_FILE", value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The conduit whose shards are the units; it is never made or deleted by itself
    #[arg(long, env = "BATON_TWITCH_CONDUIT", value_name = "ID")]
    pub(crate) conduit: Option<String>,
    /// The bot's usual account. Without one, irc reads channels anonymously
    #[arg(long, env = "BATON_TWITCH_ACCOUNT", value_name = "LOGIN")]
    pub(crate) account: Option<Login>,
    /// The id of that account: as whom a conduit reads chat, and as whom the bot speaks
    #[arg(long, env = "BATON_TWITCH_ACCOUNT_ID", value_name = "ID")]
    pub(crate) account_id: Option<String>,
    /// File with the bot's accounts for irc, a login and its user token in each line
    #[arg(long, env = "BATON_TWITCH_ACCOUNTS_FILE", value_name = "FILE")]
    accounts_file: Option<PathBuf>,
    /// File with the channels that are wanted and authorised; made where it is missing. One
    /// file a fleet: whichever process runs the once-per-bot work has to reach it
    #[arg(long, env = "BATON_TWITCH_CHANNELS", value_name = "FILE")]
    pub(crate) channels: Option<PathBuf>,
    /// Let the bot be in every channel that is wanted, authorised or not
    #[arg(long, env = "BATON_TWITCH_ANYBODY")]
    pub(crate) anybody: bool,
    /// With irc: an account may be in so many channels at once; 0: no limit is known
    #[arg(
        long,
        env = "BATON_TWITCH_CHANNEL_CAP",
        value_name = "N",
        default_value_t = 0
    )]
    pub(crate) channel_cap: usize,
    /// Channels of one unit that is full, at most 100 with irc [default: 90 with irc, 500 with
    /// a conduit]
    #[arg(long, env = "BATON_TWITCH_CHANNELS_A_UNIT", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    channels_a_unit: Option<u32>,
    /// Never fewer units than this by themselves [default: 1 with irc, 2 with a conduit]
    #[arg(long, env = "BATON_TWITCH_UNITS_MIN", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    units_min: Option<u32>,
    /// Never more units than this by themselves, and never more than the master's shard_count
    /// [default: 100 with irc, shard_count with a conduit]
    #[arg(long, env = "BATON_TWITCH_UNITS_MAX", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    units_max: Option<u32>,
    /// How long the number of units stays after it changed
    #[arg(long, env = "BATON_TWITCH_UNITS_PAUSE", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    units_pause: Duration,
    /// With irc: how long two connections may be apart before a unit that moves is cut over
    #[arg(long, env = "BATON_TWITCH_SETTLE", value_name = "TIME", default_value = "4s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How a message goes that does not say how: by Helix, which says whether it was sent, or
    /// with irc by PRIVMSG, of which nobody hears
    #[arg(long, env = "BATON_TWITCH_SAY_BY", value_enum, default_value_t = SayBy::Helix)]
    pub(crate) say_by: SayBy,
    /// Helix in place of Twitch's own
    #[arg(
        long,
        env = "BATON_TWITCH_HELIX_URL",
        value_name = "URL",
        default_value = "https://api.twitch.tv/helix"
    )]
    pub(crate) helix_url: String,
    /// OAuth in place of Twitch's own
    #[arg(
        long,
        env = "BATON_TWITCH_OAUTH_URL",
        value_name = "URL",
        default_value = "https://id.twitch.tv/oauth2"
    )]
    pub(crate) oauth_url: String,
    /// EventSub in place of Twitch's own
    #[arg(
        long,
        env = "BATON_TWITCH_EVENTSUB_URL",
        value_name = "URL",
        default_value = "wss://eventsub.wss.twitch.tv/ws"
    )]
    pub(crate) eventsub_url: String,
    /// IRC in place of Twitch's own; tls://HOST:PORT, or HOST:PORT on this host
    #[arg(
        long,
        env = "BATON_TWITCH_IRC",
        value_name = "ADDRESS",
        default_value = "tls://irc.chat.twitch.tv:6697"
    )]
    pub(crate) irc: String,
    /// Address of this host for the invite page, 127.0.0.1:PORT; a proxy with the certificate
    /// stands in front of it
    #[arg(long, env = "BATON_TWITCH_INVITE", value_name = "ADDRESS")]
    pub(crate) invite: Option<SocketAddr>,
    /// The address of the page as browsers see it: https://HOST/invite/callback
    #[arg(long, env = "BATON_TWITCH_INVITE_REDIRECT", value_name = "URL")]
    pub(crate) invite_redirect: Option<String>,
    /// Where Twitch asks broadcasters, in place of its own
    #[arg(long, env = "BATON_TWITCH_AUTHORISE_URL", value_name = "URL", default_value = Settings::TWITCH)]
    pub(crate) authorise_url: String,
    /// File with the address of a webhook for notices (Slack and Discord understand them)
    #[arg(long, env = "BATON_TWITCH_WEBHOOK_FILE", value_name = "FILE")]
    pub(crate) webhook_file: Option<PathBuf>,
    /// Where events go: stdout, none, file:PATH, in which %p is the process id, or a broker:
    /// nats://HOST:PORT, amqp://HOST:PORT or redis://HOST:PORT
    #[arg(
        long,
        env = "BATON_SINK",
        value_name = "SINK",
        default_value = "stdout"
    )]
    pub(crate) sink: Sink,
    /// Names what is declared at the broker, one name a fleet
    #[arg(
        long,
        env = "BATON_SINK_NAME",
        value_name = "NAME",
        default_value = "baton"
    )]
    pub(crate) sink_name: String,
    /// File with which the broker lets this process in: USER:PASSWORD in one line, or what the
    /// broker's own tools write
    #[arg(long, env = "BATON_SINK_CREDENTIALS", value_name = "FILE")]
    pub(crate) sink_credentials: Option<PathBuf>,
    /// Memory that this process may have resident, 512M for example: above it for some time,
    /// the master is asked for a successor, which takes the units over as in a deploy [default:
    /// no limit]
    #[arg(long, env = "BATON_MEMORY_LIMIT", value_name = "SIZE", value_parser = parse_memory)]
    memory_limit: Option<u64>,
    /// What is logged, as in RUST_LOG
    #[arg(long, env = "BATON_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List what only a real account of Twitch can answer, and ask as far as the settings reach
    ///
    /// The options stand before this word. It changes nothing at Twitch, and logs in.
    Probe,
}

/// The ways to Twitch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Shards of a conduit of EventSub
    Conduit,
    /// Chat over IRC
    Irc,
}

impl Options {
    /// What the slave is told.
    pub(crate) fn slave(&self) -> Result<SlaveConfig, Error> {
        let masters = Address::list(&self.master)
            .map_err(|error| Error::Config(format!("master: {error}")))?;
        let runtime_dir = self.runtime_dir.clone().or_else(default_runtime_dir);
        let mut config = SlaveConfig::new("twitch")
            .with_masters(masters)
            .with_slot(&self.slot)
            .with_role(parse_role(&self.role).map_err(Error::Config)?)
            .with_build(&self.build)
            .with_memory_limit(self.memory_limit.unwrap_or(0))
            .with_secret(SecretSource::from_env(runtime_dir)?);
        if let Some(dir) = &self.tls_dir {
            config = config.with_tls_dir(dir);
        }
        Ok(config)
    }

    /// When units come and go.
    ///
    /// A shard has 500 channels by default: that fleet was measured. A conduit keeps two: a message
    /// for a shard without a session is tried on one other.
    pub(crate) fn rules(&self) -> Result<Rules, Error> {
        let (limit, min, max) = match self.transport {
            Way::Irc => (90, 1, 100),
            Way::Conduit => (500, 2, u32::MAX),
        };
        let rules = Rules {
            limit: self.channels_a_unit.unwrap_or(limit),
            min: self.units_min.unwrap_or(min),
            max: self.units_max.unwrap_or(max),
            cooldown: self.units_pause,
            ..Rules::default()
        };
        if self.transport == Way::Irc && rules.limit > 100 {
            return Err(Error::Config(format!(
                "channels_a_unit: {}: a connection of irc has at most 100",
                rules.limit
            )));
        }
        if let (Some(min), Some(max)) = (self.units_min, self.units_max)
            && min > max
        {
            return Err(Error::Config(format!(
                "units_min: {min} is more than units_max, which is {max}"
            )));
        }
        Ok(rules)
    }

    /// The application's secret.
    pub(crate) fn client_secret(&self) -> Result<String, Error> {
        let file = wanted(self.client_secret_file.as_ref(), "--client-secret-file")?;
        secret_in(file, "client_secret_file")
    }

    /// The bot's accounts.
    pub(crate) fn accounts(&self) -> Result<Accounts, Error> {
        let Some(file) = &self.accounts_file else {
            return match &self.account {
                Some(_) => Err(Error::Config(
                    "give --accounts-file, with the token of --account".to_owned(),
                )),
                None => Ok(Accounts::new()),
            };
        };
        let wrong =
            |why: String| Error::Config(format!("accounts_file: {}: {why}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let mut accounts = Accounts::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // Not the line itself: it has a token.
            let (login, token) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong(format!("line {number} is not a login and a token")))?;
            let login = login.parse::<Login>();
            // Without the word: where the two are exchanged, it is the token.
            let login =
                login.map_err(|_| wrong(format!("line {number} does not begin with a login")))?;
            let token = token.trim().trim_start_matches("oauth:");
            accounts.insert(login, token.to_owned());
        }
        match &self.account {
            Some(account) if !accounts.contains_key(account) => {
                Err(wrong(format!("it has no token of {account}")))
            }
            Some(_) | None => Ok(accounts),
        }
    }
}

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SayBy {
    /// By the application
    Helix,
    /// By the connections that read
    Irc,
}

/// An option that the others make necessary.
pub(crate) fn wanted<'a, T>(given: Option<&'a T>, name: &str) -> Result<&'a T, Error> {
    given.ok_or_else(|| Error::Config(format!("give {name}; see baton-twitch --help")))
}

fn default_runtime_dir() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let dir = given.map_or_else(|| PathBuf::from("/run"), PathBuf::from);
    Some(dir.join("baton"))
}

fn secret_in(file: &PathBuf, key: &str) -> Result<String, Error> {
    let text = fs::read_to_string(file)
        .map_err(|error| Error::Config(format!("{key}: {}: {error}", file.display())))?;
    let text = text.trim().trim_start_matches("oauth:").to_owned();
    match text.is_empty() {
        true => Err(Error::Config(format!("{key}: {} is empty", file.display()))),
        false => Ok(text),
    }
}
