//! Every key, once: as it stands in the TOML file, as a flag, and as an
//! environment variable. A flag wins over the environment, the environment over
//! the file, the file over the default.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{origin::Origin, shards::Shards};

/// The keys of the configuration as they were given; nothing is checked yet.
#[derive(Clone, Debug, Default, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// What the fleet is called on the page and in `status`, so that one master is
    /// told from another [default: the name of the host]
    #[arg(long, env = "BATON_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// What the fleet is connected to; one master serves one platform [default: discord]
    #[arg(long, env = "BATON_PLATFORM", value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Name of this host among those of the fleet [default: the name of the host]
    #[arg(long, env = "BATON_HOST", value_name = "NAME")]
    pub host: Option<String>,
    /// Directory of sockets and the secret [default: $XDG_RUNTIME_DIR/baton, else
    /// /run/baton]
    #[arg(long, env = "BATON_RUNTIME_DIR", value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// Directory of the journal [default: the runtime directory]
    #[arg(long, env = "BATON_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Servers of a store that several masters share, in the place of the journal in data_dir:
    /// nats://HOST:PORT,..., or tls:// [default: none]
    #[arg(long, env = "BATON_STORE", value_name = "ADDRESS")]
    pub store: Option<String>,
    /// Names what is declared in the store, one name a fleet [default: baton]
    #[arg(long, env = "BATON_STORE_NAME", value_name = "NAME")]
    pub store_name: Option<String>,
    /// File with what lets this master into the store: a credentials file of NATS,
    /// USER:PASSWORD, or a token
    #[arg(long, env = "BATON_STORE_CREDENTIALS_FILE", value_name = "FILE")]
    pub store_credentials_file: Option<PathBuf>,
    /// File with authorities that are trusted for the store, beside the system's
    #[arg(long, env = "BATON_STORE_CA_FILE", value_name = "FILE")]
    pub store_ca_file: Option<PathBuf>,
    /// File with the certificate that this master shows the store
    #[arg(long, env = "BATON_STORE_CERT_FILE", value_name = "FILE")]
    pub store_cert_file: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, env = "BATON_STORE_KEY_FILE", value_name = "FILE")]
    pub store_key_file: Option<PathBuf>,
    /// Servers of the store that have each row [default: 3 if three or more are named, else 1]
    #[arg(long, env = "BATON_STORE_REPLICAS", value_name = "N")]
    pub store_replicas: Option<u32>,
    /// TCP address for slaves; port 0 takes a free one [default: 127.0.0.1:7447]
    #[arg(long, env = "BATON_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Folder with this master's certificate (ca.pem, cert.pem, key.pem), as baton-master
    /// certs issue makes it: with it `listen` may be an address that other hosts reach, and
    /// whoever dials from there needs a certificate of the fleet [default: none]
    #[arg(long, env = "BATON_TLS_DIR", value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Shards of the whole bot; pinned at the first start [default: what GET
    /// /gateway/bot says]
    #[arg(long, env = "BATON_SHARD_COUNT", value_name = "N")]
    pub shard_count: Option<u32>,
    /// IDENTIFYs in one window [default: what GET /gateway/bot says, else 1]
    #[arg(long, env = "BATON_MAX_CONCURRENCY", value_name = "N")]
    pub max_concurrency: Option<u32>,
    /// Where Discord's HTTP interface is [default: Discord's own]
    #[arg(long, env = "BATON_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// File that holds the bot's token, alone or as DISCORD_TOKEN=...; it wins over the
    /// variable DISCORD_TOKEN, and is read again for each slave
    #[arg(long, env = "BATON_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// TCP address of the operator's HTTP interface, beside the unix socket; port 0
    /// takes a free one [default: none]
    #[arg(long, env = "BATON_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// File that holds what requests to `admin_listen` must carry as bearer token, so
    /// that they may change something; without a token it must be a loopback address
    #[arg(long, env = "BATON_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// File that holds a second token for `admin_listen`, with which one can look and
    /// change nothing
    #[arg(long, env = "BATON_ADMIN_READ_TOKEN_FILE", value_name = "FILE")]
    pub admin_read_token_file: Option<PathBuf>,
    /// Standbys that are kept in each slot with a command, ready to take over from
    /// a dead slave at once [default: 0]
    #[arg(long, env = "BATON_STANDBYS", value_name = "N")]
    pub standbys: Option<u32>,
    /// Slot whose slave does the once-per-bot work [default: the first one]
    #[arg(long, env = "BATON_WORK_SLOT", value_name = "NAME")]
    pub work_slot: Option<String>,
    /// Seal shards when Discord takes the session from their old connection, not
    /// before: for a Discord that takes a RESUME while the old connection is open
    /// [default: false]
    #[arg(long, env = "BATON_LATE_SEAL", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub late_seal: Option<bool>,
    /// For development: end with the reason at the first thing that goes wrong (an
    /// alarm, a lost session, a slave that dies with shards, a deploy that is not
    /// done), before it is healed; the slaves keep serving [default: false]
    #[arg(long, env = "BATON_FAIL_ON_ERROR", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub fail_on_error: Option<bool>,
    /// Serve unchanged Go slaves of 2018, and nothing else; loopback
    /// only
    #[arg(long, env = "BATON_LEGACY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub legacy: Option<bool>,
    /// What is logged, as in RUST_LOG [default: info]
    #[arg(long, env = "BATON_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is logged, on standard error [default: text]
    #[arg(long, env = "BATON_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Table `[limits]`.
    #[command(flatten)]
    pub limits: Limits,
    /// Tables `[[slot]]`.
    #[arg(skip)]
    #[serde(rename = "slot")]
    pub slots: Vec<SlotOptions>,
    /// Where in the file each of them stands.
    #[arg(skip)]
    #[serde(skip)]
    pub origin: Origin,
}

impl Options {
    /// The runtime directory, or where it is by default.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        let named = self.runtime_dir.clone();
        named.unwrap_or_else(crate::runtime_dir::default_path)
    }
}

/// What a fleet is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Discord's gateway.
    #[default]
    Discord,
    /// Twitch: EventSub conduits and IRC.
    Twitch,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One `[[slot]]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlotOptions {
    /// Its name.
    pub name: String,
    /// Program and arguments of its slave, the program by its name in `PATH` or with its
    /// whole path; empty: the master launches nothing.
    pub command: Vec<String>,
    /// The shards that it begins with; absent: every one that is left.
    pub shards: Option<Shards>,
    /// The host that its slaves run on, and whose agent starts, watches and kills them; absent:
    /// the master's own, and the master itself does.
    pub host: Option<String>,
    /// What becomes of shards whose slave says nothing and is not known to be dead: `alarm` or
    /// `lease`.
    pub on_silence: Option<String>,
    /// With `on_silence = "lease"`: a slave that had no word of a master for so long seals
    /// itself.
    #[serde(with = "humantime_serde::option")]
    pub lease: Option<Duration>,
    /// Further environment of its slave.
    pub env: BTreeMap<String, String>,
    /// File that its slave's output is appended to; absent: the master's own.
    pub log: Option<PathBuf>,
    /// Address at which its slave serves clients of its own.
    pub listen: Option<String>,
}

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident : $type:ty = $default:expr, $env:literal, $text:literal ; )*) => {
        /// Table `[limits]`, as it was given. Times are written with their unit.
        #[derive(Clone, Debug, Default, Deserialize, Args)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $(
                $(#[$doc])*
                #[arg(long, env = $env, value_parser = <$type as LimitValue>::parse, value_name = <$type as LimitValue>::NAME,
                      help = $text, help_heading = "Limits", hide_short_help = true)]
                #[serde(deserialize_with = "given")]
                pub $name: Option<$type>,
            )*
        }

        impl Limits {
            /// Every limit.
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The limits that are given here.
            pub(super) fn given(&self) -> Vec<&'static str> {
                let mut given = Vec::new();
                $(
                    if self.$name.is_some() {
                        given.push(stringify!($name));
                    }
                )*
                given
            }

            /// These, and those of `file` where nothing is given here.
            #[must_use]
            pub fn or(self, file: Self) -> Self {
                Self { $( $name: self.$name.or(file.$name), )* }
            }

            /// Each limit, its default where nothing was given.
            #[must_use]
            pub fn resolve(&self) -> ResolvedLimits {
                ResolvedLimits { $( $name: self.$name.unwrap_or($default), )* }
            }
        }

        /// Every limit with its value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct ResolvedLimits {
            $( $(#[$doc])* pub $name: $type, )*
        }

        impl ResolvedLimits {
            /// Which ones another says otherwise: name, this one's value and its.
            pub(super) fn changes(&self, other: &Self) -> Vec<(&'static str, String, String)> {
                let mut changes = Vec::new();
                $(
                    if self.$name != other.$name {
                        let (from, to) = (format!("{:?}", self.$name), format!("{:?}", other.$name));
                        changes.push((stringify!($name), from, to));
                    }
                )*
                changes
            }

            /// Those named of `next`, and the others of `now`.
            pub(super) fn some_of(now: &Self, next: &Self, names: &[&str]) -> Self {
                Self {
                    $($name: if names.contains(&stringify!($name)) { next.$name } else { now.$name },)*
                }
            }

            /// The limits that must not be zero and are.
            pub(super) fn zeroes(&self) -> Vec<&'static str> {
                let mut zeroes = Vec::new();
                $(
                    if self.$name == <$type>::default() && !MAY_BE_ZERO.contains(&stringify!($name)) {
                        zeroes.push(stringify!($name));
                    }
                )*
                zeroes
            }
        }
    };
}

limits! {
    /// An empty slot gets a slave after this time.
    contact: Duration = Duration::from_secs(15), "BATON_LIMITS_CONTACT", "An empty slot gets a slave after this time [default: 15s]";
    /// After a start, reports are collected for this long.
    adopt_grace: Duration = Duration::from_secs(10), "BATON_LIMITS_ADOPT_GRACE", "After a start, reports are collected for this long [default: 10s]";
    /// A new slave is ready within this time.
    ready: Duration = Duration::from_secs(60), "BATON_LIMITS_READY", "A new slave is ready within this time [default: 60s]";
    /// A seal is answered within this time.
    seal: Duration = Duration::from_secs(5), "BATON_LIMITS_SEAL", "A seal is answered within this time [default: 5s]";
    /// What is in doubt at a seal may run this long.
    drain: Duration = Duration::from_secs(10), "BATON_LIMITS_DRAIN", "What is in doubt at a seal may run this long [default: 10s]";
    /// A resume without progress for this long has failed.
    no_progress: Duration = Duration::from_secs(5), "BATON_LIMITS_NO_PROGRESS", "A resume without progress for this long has failed [default: 5s]";
    /// The copy of a shard's state makes progress within this time.
    copy: Duration = Duration::from_secs(10), "BATON_LIMITS_COPY", "The copy of a shard's state makes progress within this time [default: 10s]";
    /// The old slave stays ready this long after everything moved.
    soak: Duration = Duration::from_secs(10), "BATON_LIMITS_SOAK", "The old slave stays ready this long after everything moved [default: 10s]";
    /// A slave told to leave is dead within this time, or killed.
    retire: Duration = Duration::from_secs(20), "BATON_LIMITS_RETIRE", "A slave told to leave is dead within this time (behind the drain, where it had shards), or killed [default: 20s]";
    /// How long a session can be resumed after its connection ended.
    resume_window: Duration = Duration::from_secs(90), "BATON_LIMITS_RESUME_WINDOW", "How long a session can be resumed after its connection ended [default: 90s]";
    /// First wait after a failed launch.
    backoff: Duration = Duration::from_secs(1), "BATON_LIMITS_BACKOFF", "First wait after a failed launch; doubles [default: 1s]";
    /// Longest wait after failed launches.
    backoff_max: Duration = Duration::from_secs(60), "BATON_LIMITS_BACKOFF_MAX", "Longest wait after failed launches [default: 60s]";
    /// One IDENTIFY a bucket in each such window.
    identify_window: Duration = crate::discord::WINDOW, "BATON_LIMITS_IDENTIFY_WINDOW", "One IDENTIFY a bucket in each such window; Discord's 5 s and a margin for jitter [default: 5250ms]";
    /// How long a master that leaves waits for the shard in hand.
    shard_in_hand: Duration = Duration::from_secs(10), "BATON_LIMITS_SHARD_IN_HAND", "How long a master that leaves waits for the shard in hand [default: 10s]";
    /// A slave is pinged this often.
    ping: Duration = Duration::from_secs(5), "BATON_LIMITS_PING", "A slave is pinged this often [default: 5s]";
    /// A slave that answers no ping for this long hangs.
    hang: Duration = Duration::from_secs(30), "BATON_LIMITS_HANG", "A slave that answers no ping for this long hangs [default: 30s]";
    /// A slave sends its checkpoints this often.
    checkpoint: Duration = Duration::from_millis(10), "BATON_LIMITS_CHECKPOINT", "A slave sends its checkpoints this often [default: 10ms]";
    /// Checkpoints are written to the journal this often.
    checkpoint_to_disk: Duration = Duration::from_secs(1), "BATON_LIMITS_CHECKPOINT_TO_DISK", "Checkpoints are written to the journal this often [default: 1s]";
    /// Shards that move alone, first.
    canary: u32 = 1, "BATON_LIMITS_CANARY", "Shards that move alone, first [default: 1]";
    /// How long the master watches the canary before the rest moves.
    canary_time: Duration = Duration::from_secs(2), "BATON_LIMITS_CANARY_TIME", "The master watches the canary for this long before the rest moves, and for five times as long while its first events fail or do not finish; 0s: not at all [default: 2s]";
    /// Events that end this earlier.
    canary_events: u32 = 20, "BATON_LIMITS_CANARY_EVENTS", "Finished events of the new slave that end the watch of the canary earlier; 0: none do [default: 20]";
    /// A new slave that fails this many percentage points more events goes back.
    error_gate: u32 = 50, "BATON_LIMITS_ERROR_GATE", "A deploy goes back when its new slave fails this many percentage points more of its events than the old one; 100: never [default: 50]";
    /// Of at least so many events.
    error_gate_events: u32 = 5, "BATON_LIMITS_ERROR_GATE_EVENTS", "Events of the new slave before its failures are judged [default: 5]";
    /// Events of a shard that Discord replays at least.
    replay_buffer: u32 = 1000, "BATON_LIMITS_REPLAY_BUFFER", "Events of a shard that Discord replays at least; the time in which the busiest shard gets that many bounds the soak and how many move at once [default: 1000]";
    /// A new slave whose shards took nothing for so much more of the soak goes back.
    behind_gate: u32 = 50, "BATON_LIMITS_BEHIND_GATE", "A deploy goes back when its new slave could take nothing, its handlers being too slow, for this many percentage points more of its shards' time than the old one; 0: never [default: 50]";
    /// A new slave that does not finish what it is handed goes back.
    lag_gate: Duration = Duration::from_secs(5), "BATON_LIMITS_LAG_GATE", "A deploy goes back when its new slave has not finished half of what it was handed, and its oldest unfinished event is older than the old slave's was by this; 0s: never [default: 5s]";
    /// A shard whose connection is open and silent for this long is restarted.
    silent: Duration = Duration::from_secs(150), "BATON_LIMITS_SILENT", "A shard that hears nothing from Discord for this long on an open connection is restarted by RESUME, once in 10 minutes; 0s: never [default: 150s]";
    /// The longest pause after refused IDENTIFYs.
    identify_pause: Duration = Duration::from_secs(300), "BATON_LIMITS_IDENTIFY_PAUSE", "After an IDENTIFY that failed one shard tries for the whole fleet, after a pause that doubles up to this [default: 300s]";
    /// Percent of a day's IDENTIFYs that only an operator spends.
    identify_reserve: u32 = 5, "BATON_LIMITS_IDENTIFY_RESERVE", "Percent of a day's IDENTIFYs that are kept back until an operator runs baton-master identify; 0: none [default: 5]";
    /// Percent of the shards whose sessions end together in a storm.
    identify_storm: u32 = 25, "BATON_LIMITS_IDENTIFY_STORM", "When this percentage of the shards (4 at least) lose their sessions within a minute, one shard tries for the whole fleet until its session lasts; 0: never [default: 25]";
    /// Percent of a day's IDENTIFYs that are kept back after a storm or a loop.
    identify_storm_reserve: u32 = 50, "BATON_LIMITS_IDENTIFY_STORM_RESERVE", "After sessions ended again and again, this percentage of a day's IDENTIFYs is kept back for five hours, but for one shard at a time; 0: none [default: 50]";
    /// JOINs of a Twitch account in 10 s.
    twitch_joins: u32 = 20, "BATON_LIMITS_TWITCH_JOINS", "JOINs of one account of Twitch in 10 s: 20, or 2000 for a verified bot [default: 20]";
    /// Logins of a Twitch account in 10 s.
    twitch_logins: u32 = 20, "BATON_LIMITS_TWITCH_LOGINS", "Logins of one account of Twitch in 10 s: 20, or 200 for a verified bot [default: 20]";
    /// Points of Helix in a minute.
    twitch_helix: u32 = 700, "BATON_LIMITS_TWITCH_HELIX", "Points of Twitch's Helix that the fleet spends in a minute; Twitch gives an application 800 [default: 700]";
    /// Shards that move at once.
    width: u32 = 16, "BATON_LIMITS_WIDTH", "Shards that move at once, at most: busy ones are fewer [default: 16]";
}

/// Limits for which zero has a meaning.
const MAY_BE_ZERO: [&str; 15] = [
    "identify_reserve",
    "identify_storm",
    "identify_storm_reserve",
    "silent",
    "behind_gate",
    "adopt_grace",
    "soak",
    "canary",
    "canary_time",
    "canary_events",
    "lag_gate",
    "backoff",
    "drain",
    "error_gate",
    "error_gate_events",
];

/// Longest time that a limit may be.
const MAX_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// One value of a limit, in the file or on the command line.
pub trait LimitValue: Sized {
    /// What help calls it.
    const NAME: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// The text is no such value; the error says what one looks like.
    fn parse(text: &str) -> Result<Self, String>;
}

impl LimitValue for Duration {
    const NAME: &'static str = "TIME";

    fn parse(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text)
            .map_err(|_| format!("`{text}` is not a time with its unit, such as 15s or 250ms"))?;
        if time > MAX_LIMIT {
            return Err(format!("`{text}` is longer than a day"));
        }
        Ok(time)
    }
}

impl LimitValue for u32 {
    const NAME: &'static str = "N";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is not a number"))
    }
}

/// A time is written as a string with its unit, a count as a number.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: LimitValue,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(i64),
        Fraction(f64),
    }

    let text = match Written::deserialize(deserializer)? {
        Written::Text(text) => text,
        Written::Number(number) => number.to_string(),
        Written::Fraction(number) => number.to_string(),
    };
    T::parse(&text).map(Some).map_err(serde::de::Error::custom)
}
