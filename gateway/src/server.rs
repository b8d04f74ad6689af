//! The gateway as a whole: what its connections share, and the handle that
//! starts, steers and stops it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
    time::{interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::monotonic_us,
    config::{GatewayConfig, Tls},
    conn::Command,
    control,
    counters::{Count, Counters, SharedCounters},
    error::Error,
    faults::{Book, Fault, FaultName, When},
    ledger::{Entry, Ledger, Log, LogLine, What},
    limits::{Identifies, Permit, StartLimit},
    net::{link::Graveyard, listen, tls},
    session::{ConnId, Fingerprint, Session},
    traffic::{self, Orders, Traffic},
    world::cell::{Cell, Ids},
};

/// Shard counts a client may name.
pub(crate) const MAX_SHARD_COUNT: u32 = 65_536;
/// How often sessions that can never be resumed are removed.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a stop waits for connections.
const STOP: Duration = Duration::from_secs(3);

/// What all tasks of a gateway share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) cells: Vec<CellSlot>,
    pub(crate) cell_wake: Vec<Notify>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
    pub(crate) counters: SharedCounters,
    pub(crate) faults: Book,
    pub(crate) graveyard: Graveyard,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    identifies: Mutex<Identifies>,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    reset_tokens: Mutex<BTreeSet<String>>,
    connections: Mutex<Connections>,
    orders: Vec<watch::Sender<Orders>>,
    address: OnceLock<SocketAddr>,
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
    fn new(config: GatewayConfig, orders: Vec<watch::Sender<Orders>>) -> Self {
        let shards = config.shards as usize;
        Self {
            cells: (0..shards).map(|_| CellSlot(OnceLock::new())).collect(),
            cell_wake: (0..shards).map(|_| Notify::new()).collect(),
            ids: Arc::default(),
            ledger: Arc::new(Ledger::new(config.ledger_limit)),
            log: Log::new(config.log_limit),
            counters: SharedCounters::default(),
            faults: Book::default(),
            graveyard: Graveyard::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            identifies: Mutex::new(Identifies::new(&config)),
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
        lock(&self.identifies).ask(shard)
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

    fn sessions_of(&self, shard: Option<u32>) -> impl Iterator<Item = Arc<Session>> {
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

    fn connections_of(&self, shard: Option<u32>) -> Vec<mpsc::Sender<Command>> {
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

    /// Carries out a fault now, or lets it wait for its moment.
    pub(crate) fn fault(self: &Arc<Self>, fault: Fault) -> Result<(), Error> {
        fault.validate()?;
        if fault.moment() != When::Now {
            return self.faults.arm(fault);
        }
        if fault.delay_ms == 0 {
            self.fault_now(&fault);
            return Ok(());
        }
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(fault.delay_ms)) => {
                    shared.fault_now(&Fault { delay_ms: 0, ..fault });
                }
                () = shared.stop.cancelled() => {}
            }
        });
        Ok(())
    }

    pub(crate) fn fault_now(&self, fault: &Fault) {
        match fault.name {
            FaultName::AcceptAndClose => self.faults.close_at_accept(fault.duration()),
            FaultName::RefuseConnect => self.faults.refuse_connect(fault.duration()),
            FaultName::ResumeUrlDead => self.faults.kill_resume_url(fault.duration(), fault.shard),
            FaultName::ExpireSession => {
                self.sessions_of(fault.shard)
                    .for_each(|session| session.expire());
            }
            FaultName::Trim => {
                self.sessions_of(fault.shard)
                    .for_each(|session| session.trim_to(u64::MAX));
            }
            FaultName::Flood => {
                for index in 0..self.cells.len() {
                    if fault.shard.is_none_or(|shard| shard as usize == index) {
                        let traffic = self.orders[index].borrow().traffic.clone();
                        traffic::flood(&mut self.cell(index), &traffic, fault.events);
                    }
                }
            }
            FaultName::Op7
            | FaultName::Op7BeforeHello
            | FaultName::Op9True
            | FaultName::Op9False
            | FaultName::Close
            | FaultName::CloseOnResume
            | FaultName::Reset
            | FaultName::Drop
            | FaultName::NoHello
            | FaultName::NoResumed
            | FaultName::NoAck
            | FaultName::BadZstd
            | FaultName::BadJson
            | FaultName::UnknownOp
            | FaultName::HugeFrame
            | FaultName::Stall
            | FaultName::SlowReplay => {
                for commands in self.connections_of(fault.shard) {
                    let _ = commands.try_send(Command::Fault(fault.clone()));
                }
            }
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

    /// A guild as it is, with the last sequence by which each session was told
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
    async fn sweep(self: Arc<Self>) {
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
                    self.cell(index).forget(|other| other.id == session.id);
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

/// A running gateway. Dropping it stops it; [`Gateway::shutdown`] also waits.
pub struct Gateway {
    shared: Arc<Shared>,
    control: SocketAddr,
    ca_pem: Option<String>,
}

impl Gateway {
    /// Binds both ports and starts. When this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// A setting out of range, an address that is taken, a certificate that
    /// cannot be read.
    pub async fn start(config: GatewayConfig) -> Result<Self, Error> {
        config.validate()?;
        let tls = tls::setup(&config.tls)?;
        let listener = bind(config.listen).await?;
        let control_listener = bind(config.control).await?;
        let address = local(&listener, config.listen)?;
        let control = local(&control_listener, config.control)?;
        let orders = Orders {
            traffic: config.traffic.clone(),
            probe_every: None,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..config.shards)
            .map(|_| watch::channel(orders.clone()))
            .unzip();
        let shared = Arc::new(Shared::new(config, senders));
        let _ = shared.address.set(address);
        let (acceptor, ca_pem) = match tls {
            Some(setup) => (Some(setup.acceptor), setup.ca_pem),
            None => (None, None),
        };
        for (index, receiver) in receivers.into_iter().enumerate() {
            let (task, stop) = (Arc::clone(&shared), shared.stop.clone());
            shared.tasks.spawn(async move {
                tokio::select! {
                    () = traffic::run(task, index, receiver) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        shared.tasks.spawn(Arc::clone(&shared).sweep());
        shared.tasks.spawn(listen::run(
            Arc::clone(&shared),
            listener,
            address,
            acceptor,
        ));
        shared
            .tasks
            .spawn(control::serve(Arc::clone(&shared), control_listener));
        Ok(Self {
            shared,
            control,
            ca_pem,
        })
    }

    /// Where websockets and REST are served.
    pub fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The gateway URL: `ws://127.0.0.1:PORT`, or `wss://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.shared.scheme(), self.named_address())
    }

    /// The REST URL, without a path.
    pub fn rest_url(&self) -> String {
        let scheme = if self.shared.config.tls == Tls::Off {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{}", self.named_address())
    }

    /// The control URL.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// What clients must trust when the certificate was made at the start.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Changes the traffic of one shard or of all.
    ///
    /// # Errors
    ///
    /// Traffic out of its limits, or a shard that the world does not have.
    pub fn set_traffic(&self, shard: Option<u32>, traffic: &Traffic) -> Result<(), Error> {
        self.shared.change_traffic(shard, |_| traffic.clone())
    }

    /// Sends a cheap dispatch (a `MESSAGE_CREATE` with the content `probe`) on
    /// one shard or on all, each `every`, until told `None`.
    ///
    /// # Errors
    ///
    /// An interval below 100 µs, or a shard that the world does not have.
    pub fn set_probe(&self, shard: Option<u32>, every: Option<Duration>) -> Result<(), Error> {
        self.shared.set_probe(shard, every)
    }

    /// Carries out a fault, or lets it wait for its moment.
    ///
    /// # Errors
    ///
    /// A fault out of its limits, or at a moment that makes no sense for it.
    pub fn fault(&self, fault: Fault) -> Result<(), Error> {
        self.shared.fault(fault)
    }

    /// Ends all faults that wait or last, and closes half-open sockets.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
        self.shared.graveyard.clear();
    }

    /// At most `limit` ledger entries from number `from` on.
    pub fn ledger(&self, from: usize, limit: usize) -> Vec<Entry> {
        self.shared.ledger.read(from, limit)
    }

    /// Ledger entries held, and entries dropped because it was full.
    pub fn ledger_counts(&self) -> (usize, u64) {
        self.shared.ledger.counts()
    }

    /// The connection log from line `from` on.
    pub fn log(&self, from: usize) -> Vec<LogLine> {
        self.shared.log.read(from, usize::MAX)
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.snapshot()
    }

    /// Sessions that a connection serves.
    pub fn sessions_connected(&self) -> usize {
        self.shared
            .sessions()
            .iter()
            .filter(|session| session.is_connected())
            .count()
    }

    /// Ids of the guilds of a shard of the world; `None` when there is none.
    pub fn truth_guilds(&self, shard: u32) -> Option<Vec<u64>> {
        self.shared.truth_guilds(shard)
    }

    /// A guild as it is now, as JSON:
    /// `{"sequence_by_session": {fingerprint: seq}, "guild": {...}}`.
    pub fn truth_guild(&self, guild: u64) -> Option<String> {
        self.shared.truth_guild(guild)
    }

    /// The same as `GET /status`.
    pub fn status(&self) -> serde_json::Value {
        control::status(&self.shared)
    }

    /// Closes every connection and waits for the tasks, at most 3 s.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let _ = timeout(STOP, self.shared.tasks.wait()).await;
        self.shared.graveyard.clear();
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn named_address(&self) -> String {
        let address = self.address();
        if self.shared.config.tls != Tls::Off && address.ip().is_loopback() {
            return format!("localhost:{}", address.port());
        }
        address.to_string()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen {
            address: address.to_string(),
            source,
        })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen {
        address: asked.to_string(),
        source,
    })
}
