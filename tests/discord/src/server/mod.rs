//! What all connections of a simulated Discord share: sessions, cells, budgets, faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::monotonic_us,
    commands::CommandLine,
    config::{
        DiscordConfig,
        traffic::{Orders, Traffic},
    },
    conn::command::Command,
    counters::{Count, SharedCounters},
    error::Error,
    faults::Book,
    id::{ConnId, Fingerprint},
    ledger::{Bounded, Ledger, Log, LogLine, What},
    limits::{Identifies, Permit, StartLimit},
    rest::{limits::RestLimits, record::Rest},
    session::Session,
    settings::{Settings, SettingsChange, SharedSettings},
    wire::{link::Graveyard, tls::Tls},
    world::cell::{Cell, Ids},
};

mod faults;
mod http;
pub(crate) mod listen;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod rtt_tests;

/// Payloads of clients that are written down.
const COMMANDS: usize = 500_000;
/// How often sessions that can never be resumed are removed.
const SWEEP: Duration = Duration::from_secs(1);

/// What all tasks of a simulated Discord share.
pub(crate) struct Shared {
    pub(crate) config: DiscordConfig,
    pub(crate) cells: Vec<CellSlot>,
    pub(crate) cell_wake: Vec<Notify>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
    pub(crate) counters: SharedCounters,
    pub(crate) commands: Bounded<CommandLine>,
    pub(crate) rest: Rest,
    pub(crate) faults: Book,
    pub(crate) settings: SharedSettings,
    /// Each how many dispatches a session leaves numbers out.
    pub(crate) skip_every: Arc<AtomicU32>,
    /// Rings when connections that are no websockets are to be cut.
    pub(crate) cut_rest: Notify,
    pub(crate) graveyard: Graveyard,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    identifies: Mutex<Identifies>,
    /// When all members of a guild were last asked for.
    member_requests: Mutex<BTreeMap<u64, Instant>>,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    reset_tokens: Mutex<BTreeSet<String>>,
    connections: Mutex<Connections>,
    pub(crate) orders: Vec<watch::Sender<Orders>>,
    /// Set once the listener is bound.
    pub(crate) address: OnceLock<SocketAddr>,
}

/// A cell, made when it is first needed: a large world costs nothing until it
/// is looked at.
pub(crate) struct CellSlot(OnceLock<Mutex<Cell>>);

#[derive(Default)]
struct Connections {
    last: ConnId,
    open: BTreeMap<ConnId, (Option<u32>, mpsc::Sender<Command>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// `orders` has one sender for each shard.
    pub(crate) fn new(config: DiscordConfig, orders: Vec<watch::Sender<Orders>>) -> Self {
        let shards = config.shards as usize;
        Self {
            cells: (0..shards).map(|_| CellSlot(OnceLock::new())).collect(),
            cell_wake: (0..shards).map(|_| Notify::new()).collect(),
            ids: Arc::default(),
            ledger: Arc::new(Ledger::new(config.ledger_limit)),
            log: Log::new(config.log_limit),
            counters: SharedCounters::default(),
            commands: Bounded::new(COMMANDS),
            rest: Rest::new(RestLimits::new(&config)),
            faults: Book::default(),
            settings: SharedSettings::new(&config),
            skip_every: Arc::new(AtomicU32::new(config.skip_every)),
            cut_rest: Notify::new(),
            graveyard: Graveyard::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            identifies: Mutex::new(Identifies::new(&config)),
            member_requests: Mutex::default(),
            sessions: Mutex::default(),
            reset_tokens: Mutex::default(),
            connections: Mutex::default(),
            orders,
            address: OnceLock::new(),
            config,
        }
    }

    /// The cell of a shard of the world.
    pub(crate) fn cell(&self, index: usize) -> MutexGuard<'_, Cell> {
        let cell = self.cells[index].0.get_or_init(|| {
            let number = u32::try_from(index).unwrap_or(0);
            let (ids, ledger) = (Arc::clone(&self.ids), Arc::clone(&self.ledger));
            Mutex::new(Cell::new(number, &self.config, ids, ledger))
        });
        lock(cell)
    }

    /// The cells that have guilds of shard `shard` of `count`: those whose
    /// number is the same modulo the greatest common divisor of both counts.
    pub(crate) fn cells_of(&self, shard: u32, count: u32) -> impl Iterator<Item = usize> + use<> {
        let step = gcd(count, self.config.shards);
        ((shard % step)..self.config.shards)
            .step_by(step as usize)
            .map(|cell| cell as usize)
    }

    /// Takes `Bot X` and `X`.
    pub(crate) fn accepts_token(&self, token: &str) -> bool {
        let token = bare_token(token);
        let known = match &self.config.token {
            Some(only) => token == only,
            None => !token.is_empty(),
        };
        known && !lock(&self.reset_tokens).contains(token)
    }

    pub(crate) fn ask_identify(&self, shard: u32) -> Permit {
        let counts = self.settings.get().refused_identify_counts;
        lock(&self.identifies).ask(shard, counts)
    }

    /// An IDENTIFY is refused by a fault.
    pub(crate) fn count_refused_identify(&self) -> Permit {
        if self.settings.get().refused_identify_counts {
            lock(&self.identifies).count_refused()
        } else {
            Permit::Granted
        }
    }

    /// Changes what can be changed while it runs.
    pub(crate) fn change_settings(&self, change: &SettingsChange) -> Result<Settings, Error> {
        change.validate()?;
        if let Some(left) = change.identifies_left {
            lock(&self.identifies).leave(left)?;
        }
        let settings = self.settings.change(change);
        self.skip_every
            .store(settings.skip_every, Ordering::Relaxed);
        Ok(settings)
    }

    /// Whether all members of a guild may be asked for; else how long not yet.
    pub(crate) fn ask_members(&self, guild: u64) -> Result<(), Duration> {
        let window = self.config.member_request_window;
        let mut requests = lock(&self.member_requests);
        if let Some(at) = requests.get(&guild).filter(|at| at.elapsed() < window) {
            return Err(window.saturating_sub(at.elapsed()));
        }
        if !window.is_zero() {
            requests.retain(|_, at| at.elapsed() < window);
            requests.insert(guild, Instant::now());
        }
        Ok(())
    }

    pub(crate) fn start_limit(&self) -> StartLimit {
        lock(&self.identifies).start_limit()
    }

    /// The session start limit was exceeded: every session ends and the token
    /// is of no more use.
    pub(crate) fn reset_token(&self, token: &str) {
        tracing::error!("session start limit exceeded: all sessions ended, token reset");
        self.counters.add(None, Count::TokenReset);
        lock(&self.reset_tokens).insert(bare_token(token).to_owned());
        for session in self.sessions() {
            session.end(None, || Command::TokenReset);
        }
    }

    pub(crate) fn add_session(&self, session: Arc<Session>) {
        lock(&self.sessions).insert(session.id.clone(), session);
    }

    pub(crate) fn session(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.sessions).get(id).cloned()
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).values().cloned().collect()
    }

    pub(crate) fn sessions_of(&self, shard: Option<u32>) -> impl Iterator<Item = Arc<Session>> {
        self.sessions()
            .into_iter()
            .filter(move |session| shard.is_none_or(|shard| session.params.shard == shard))
    }

    pub(crate) fn open_connection(&self, commands: mpsc::Sender<Command>) -> ConnId {
        let mut connections = lock(&self.connections);
        connections.last += 1;
        let conn = connections.last;
        connections.open.insert(conn, (None, commands));
        conn
    }

    pub(crate) fn name_shard(&self, conn: ConnId, shard: u32) {
        if let Some((of, _)) = lock(&self.connections).open.get_mut(&conn) {
            *of = Some(shard);
        }
    }

    pub(crate) fn close_connection(&self, conn: ConnId) {
        lock(&self.connections).open.remove(&conn);
    }

    pub(crate) fn connections_of(&self, shard: Option<u32>) -> Vec<mpsc::Sender<Command>> {
        lock(&self.connections)
            .open
            .values()
            .filter(|(of, _)| shard.is_none() || *of == shard)
            .map(|(_, commands)| commands.clone())
            .collect()
    }

    pub(crate) fn connection_count(&self) -> usize {
        lock(&self.connections).open.len()
    }

    /// Writes a line into the connection log.
    pub(crate) fn note(
        &self,
        conn: ConnId,
        shard: Option<u32>,
        session: Option<Fingerprint>,
        what: What,
        detail: String,
    ) {
        self.log.push(LogLine {
            at_us: monotonic_us(),
            conn,
            shard,
            session,
            what,
            detail,
        });
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.get().copied().unwrap_or(self.config.listen)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.config.tls == Tls::Off {
            "ws"
        } else {
            "wss"
        }
    }

    pub(crate) fn change_traffic(
        &self,
        shard: Option<u32>,
        change: impl Fn(&Traffic) -> Traffic,
    ) -> Result<(), Error> {
        for orders in self.orders_of(shard)? {
            let traffic = change(&orders.borrow().traffic);
            traffic.validate()?;
            orders.send_modify(|orders| orders.traffic = traffic);
        }
        // Whoever made an event by the orders before has made it when this returns.
        let first = shard.map_or(0, |shard| shard as usize);
        let made = self.cells[first..]
            .iter()
            .take(shard.map_or(usize::MAX, |_| 1));
        made.filter_map(|cell| cell.0.get())
            .for_each(|cell| drop(lock(cell)));
        Ok(())
    }

    pub(crate) fn set_probe(
        &self,
        shard: Option<u32>,
        every: Option<Duration>,
    ) -> Result<(), Error> {
        if every.is_some_and(|every| every < Duration::from_micros(100)) {
            return Err(Error::invalid("a probe comes at most every 100us"));
        }
        for orders in self.orders_of(shard)? {
            orders.send_modify(|orders| orders.probe_every = every);
        }
        Ok(())
    }

    fn orders_of(&self, shard: Option<u32>) -> Result<&[watch::Sender<Orders>], Error> {
        let Some(shard) = shard else {
            return Ok(&self.orders);
        };
        let at = shard as usize;
        self.orders.get(at..=at).ok_or_else(|| {
            Error::invalid(format!(
                "shard {shard}: the world has {}",
                self.config.shards
            ))
        })
    }

    /// Ids of the guilds of a shard of the world.
    pub(crate) fn truth_guilds(&self, shard: u32) -> Option<Vec<u64>> {
        let index = shard as usize;
        (index < self.cells.len()).then(|| self.cell(index).order.clone())
    }

    /// A guild as it is, with the last sequence by which each session heard
    /// about it.
    pub(crate) fn truth_guild(&self, guild: u64) -> Option<String> {
        let index = (guild >> 22) % u64::from(self.config.shards);
        let cell = self.cell(usize::try_from(index).ok()?);
        let whole = cell.truth(guild)?;
        let told: BTreeMap<String, u64> = cell
            .sessions_of(guild)
            .filter_map(|s| Some((s.fingerprint.to_string(), s.touched(guild)?)))
            .collect();
        let told = serde_json::to_string(&told).ok()?;
        Some(format!(
            r#"{{"sequence_by_session":{told},"guild":{whole}}}"#
        ))
    }

    /// Removes sessions that can never be resumed.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut ticks = interval(SWEEP);
        let window = self.config.resume_window;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            let gone: Vec<Arc<Session>> = self
                .sessions()
                .into_iter()
                .filter(|s| s.is_gone(window))
                .collect();
            for session in gone {
                lock(&self.sessions).remove(&session.id);
                for index in self.cells_of(session.params.shard, session.params.count) {
                    self.cell(index).forget(&session);
                }
            }
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A token without the `Bot ` that some clients put before it.
pub(crate) fn bare_token(token: &str) -> &str {
    token.strip_prefix("Bot ").unwrap_or(token).trim()
}
