//! What all parts of a simulated Twitch share: users, channels, connections, sessions,
//! conduits, tokens. One lock holds all of it, so that a rule sees one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    error::Error,
    eventsub::{
        conduit::{Conduit, Shift},
        session::Session,
        subscription::Subscriptions,
    },
    faults::Armed,
    helix::{authorize::Granted, tokens::Token},
    irc::Client,
    ledger::Ledger,
    limits::{Bucket, Window},
    traffic::Traffic,
    twitch::Addresses,
};

/// The id of the first channel; the others follow.
const FIRST_CHANNEL: u64 = 100_001;
/// Above all ids of channels: the users that are no channels.
const FIRST_USER: u64 = 500_000_000;
/// Accounts that are remembered.
const USERS: usize = 100_000;

/// What all tasks of a simulated Twitch share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) ledger: Ledger,
    pub(crate) traffic: watch::Sender<Traffic>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    /// Set once the listeners are bound.
    pub(crate) addresses: OnceLock<Addresses>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) users: BTreeMap<Arc<str>, User>,
    pub(crate) channels: Vec<Channel>,
    channel_of: BTreeMap<Arc<str>, usize>,
    pub(crate) last_conn: u64,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) sessions: BTreeMap<Arc<str>, Session>,
    /// What a `reconnect_url` stands for: the session.
    pub(crate) reconnects: BTreeMap<String, Arc<str>>,
    pub(crate) conduits: BTreeMap<Arc<str>, Conduit>,
    pub(crate) shifts: Vec<Shift>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) notifications: u64,
    pub(crate) tokens: BTreeMap<String, Token>,
    /// Refresh tokens that were given out: whose each is, and what its tokens may do.
    pub(crate) refreshes: BTreeMap<String, (String, Vec<String>)>,
    /// Codes that nobody has fetched a token for.
    pub(crate) codes: BTreeMap<String, Granted>,
    pub(crate) points: BTreeMap<String, Bucket>,
    pub(crate) faults: Vec<Armed>,
    pub(crate) counters: Counters,
}

/// A user who can log in.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) id: u64,
    /// Its token if it is a known account.
    pub(crate) token: Option<String>,
    /// Whether it is moderator of all channels.
    pub(crate) moderates_all: bool,
    pub(crate) moderates: BTreeSet<usize>,
    pub(crate) banned_in: BTreeSet<usize>,
    pub(crate) joins: Window,
    pub(crate) logins: Window,
    pub(crate) said: Window,
    pub(crate) ignored_until: Option<Instant>,
    /// What it said last, by channel.
    pub(crate) last_said: BTreeMap<usize, (String, Instant)>,
}

/// A channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) login: Arc<str>,
    pub(crate) id: u64,
    pub(crate) joined: BTreeSet<u64>,
    pub(crate) suspended: bool,
    /// The broadcaster granted `channel:bot`: such a channel costs nothing and does not
    /// count against the cap of EventSub.
    pub(crate) grants_bot: bool,
    /// The id and the author of its last message, which a CLEARMSG can name.
    pub(crate) last_message: Option<(Arc<str>, String)>,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Logins to IRC that succeeded.
    pub logins: u64,
    /// Logins to IRC that were refused.
    pub refused_logins: u64,
    /// Channels that were joined.
    pub joins: u64,
    /// JOINs that were refused, by the `msg-id` of the NOTICE.
    pub refused_joins: BTreeMap<&'static str, u64>,
    /// PARTs.
    pub parts: u64,
    /// Connections closed because their account joined or logged in too often.
    pub kicks: u64,
    /// PRIVMSGs and chat messages that were taken.
    pub said: u64,
    /// PRIVMSGs and chat messages that were refused or passed over.
    pub unsaid: u64,
    /// How often an account came to be ignored.
    pub ignored: u64,
    /// Sessions of EventSub that got a Welcome.
    pub sessions: u64,
    /// Sessions that were closed, by the code.
    pub closes: BTreeMap<u16, u64>,
    /// Shards that got a session.
    pub shards_set: u64,
    /// Shards that were disabled.
    pub shards_disabled: u64,
    /// Notifications that another shard than their own got.
    pub retried: u64,
    /// Notifications that no shard would take.
    pub dropped: u64,
    /// Requests to Helix, by method and path.
    pub requests: BTreeMap<String, u64>,
    /// Requests that cost more points than there were.
    pub limited: u64,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let state = State::new(&config)?;
        Ok(Self {
            ledger: Ledger::new(
                config.messages_limit,
                config.deliveries_limit,
                config.log_limit,
            ),
            traffic: watch::Sender::new(config.traffic.clone()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(
                config.connections.min(Semaphore::MAX_PERMITS),
            )),
            addresses: OnceLock::new(),
            state: Mutex::new(state),
            config,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(config: &Config) -> Result<Self, Error> {
        let channels: Vec<Channel> = (0..u64::from(config.channels))
            .map(|index| Channel {
                login: format!("channel{}", index + 1).into(),
                id: FIRST_CHANNEL + index,
                joined: BTreeSet::new(),
                suspended: false,
                grants_bot: true,
                last_message: None,
            })
            .collect();
        let names = channels.iter().enumerate();
        let mut state = Self {
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            users: BTreeMap::new(),
            channel_of: names.map(|(at, c)| (Arc::clone(&c.login), at)).collect(),
            channels,
            last_conn: 0,
            clients: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reconnects: BTreeMap::new(),
            conduits: BTreeMap::new(),
            shifts: Vec::new(),
            subscriptions: Subscriptions::default(),
            notifications: 0,
            tokens: BTreeMap::new(),
            refreshes: BTreeMap::new(),
            codes: BTreeMap::new(),
            points: BTreeMap::new(),
            faults: Vec::new(),
            counters: Counters::default(),
        };
        for account in &config.accounts {
            let mut user = User {
                id: state.id_of(&account.login),
                token: Some(account.token.clone()),
                moderates_all: account.moderates.iter().any(|name| name == "*"),
                ..User::default()
            };
            for name in account.moderates.iter().filter(|name| *name != "*") {
                user.moderates.insert(state.known_channel(name)?);
            }
            for name in &account.banned_in {
                user.banned_in.insert(state.known_channel(name)?);
            }
            state.users.insert(account.login.as_str().into(), user);
        }
        Ok(state)
    }

    /// The place of a channel, by its login.
    pub(crate) fn channel(&self, login: &str) -> Option<usize> {
        self.channel_of.get(login).copied()
    }

    /// The place of a channel, by its id.
    pub(crate) fn channel_by_id(&self, id: &str) -> Option<usize> {
        let index = id.parse::<u64>().ok()?.checked_sub(FIRST_CHANNEL)?;
        let index = usize::try_from(index).ok()?;
        (index < self.channels.len()).then_some(index)
    }

    /// The place of a channel that must be there.
    pub(crate) fn known_channel(&self, login: &str) -> Result<usize, Error> {
        self.channel(login).ok_or_else(|| {
            let last = self.channels.len();
            Error::invalid(format!("{login} is no channel: channel1 to channel{last}"))
        })
    }

    /// The id of a user: the same in each run.
    pub(crate) fn id_of(&self, login: &str) -> u64 {
        self.channel(login).map_or_else(
            || FIRST_USER + hash(login.as_bytes()) % 400_000_000,
            |index| self.channels[index].id,
        )
    }

    /// The user of this login, remembered from now on. `None`: too many are.
    pub(crate) fn user(&mut self, login: &str) -> Option<&mut User> {
        if !self.users.contains_key(login) {
            if self.users.len() >= USERS {
                return None;
            }
            let id = self.id_of(login);
            let user = User {
                id,
                ..User::default()
            };
            self.users.insert(login.into(), user);
        }
        self.users.get_mut(login)
    }

    /// The login of a user who is known, by its id.
    pub(crate) fn login_of(&self, id: &str) -> Option<Arc<str>> {
        if let Some(index) = self.channel_by_id(id) {
            return Some(Arc::clone(&self.channels[index].login));
        }
        let id: u64 = id.parse().ok()?;
        let of = self.users.iter().find(|(_, user)| user.id == id);
        of.map(|(login, _)| Arc::clone(login))
    }

    /// Whether the user is broadcaster or moderator there.
    pub(crate) fn is_privileged(&self, login: &str, channel: usize) -> bool {
        *self.channels[channel].login == *login
            || self
                .users
                .get(login)
                .is_some_and(|user| user.moderates_all || user.moderates.contains(&channel))
    }

    /// A new id in the form of a UUID, of the seed.
    pub(crate) fn uuid(&mut self) -> Arc<str> {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            0x8000 | b >> 48 & 0x3fff,
            b & 0xffff_ffff_ffff,
        )
        .into()
    }

    /// An event's way to a connection.
    pub(crate) fn travel(&mut self, delay: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return delay;
        }
        let most = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX);
        delay + Duration::from_micros(self.rng.random_range(0..=most))
    }
}

/// FNV-1a with a finish, so that neighbouring ids fall apart. Chooses shards and ids,
/// never secrets.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}
