#![doc = include_str!("../README.md")]

mod answer;
mod discord;
mod http;
mod ledger;
mod player;
mod routes;
mod session;
mod track;
mod update;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::ledger::{Line, What};
use self::{ledger::Ledger, session::Sessions};

/// How often it looks what has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How often a session is told of the server, as the original does.
const STATS: Duration = Duration::from_secs(60);

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 is one that is free.
    pub listen: SocketAddr,
    /// What clients have to know.
    pub password: String,
    /// How often players that play say where they are.
    pub player_update: Duration,
    /// `wss`, or `ws` for a voice gateway without TLS.
    pub voice_scheme: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            password: "youshallnotpass".to_owned(),
            player_update: Duration::from_secs(5),
            voice_scheme: "wss",
        }
    }
}

/// A running server. Dropped, it ends.
#[derive(Debug)]
pub struct Lavalink {
    shared: Arc<Shared>,
    address: SocketAddr,
    _stops: DropGuard,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) ledger: Ledger,
    pub(crate) stop: CancellationToken,
    sessions: Mutex<Sessions>,
}

impl Shared {
    // Nothing panics while it is locked.
    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lavalink {
    /// Listens, and serves in the background.
    ///
    /// Must be called inside tokio.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            config,
            started: Instant::now(),
            ledger: Ledger::default(),
            stop: stop.clone(),
            sessions: Mutex::default(),
        });
        tokio::spawn(http::run(Arc::clone(&shared), listener));
        tokio::spawn(keep_time(Arc::clone(&shared)));
        Ok(Self {
            shared,
            address,
            _stops: stop.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened, oldest first.
    #[must_use]
    pub fn ledger(&self) -> Vec<Line> {
        self.shared.ledger.lines()
    }

    /// Where the track of a guild's player is, in milliseconds: it goes on only while
    /// Discord's voice gateway is connected. `None`: nothing plays there.
    #[must_use]
    pub fn position(&self, guild: u64) -> Option<u64> {
        self.shared.sessions().position(guild)
    }
}

/// Ends what has to end, and tells clients what they are told again and again.
async fn keep_time(shared: Arc<Shared>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut updated, mut counted) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shared.stop.cancelled() => return,
        }
        let now = Instant::now();
        let updates = now.duration_since(updated) >= shared.config.player_update;
        let counts = now.duration_since(counted) >= STATS;
        shared.sessions().look(&shared, now, updates, counts);
        if updates {
            updated = now;
        }
        if counts {
            counted = now;
        }
    }
}
