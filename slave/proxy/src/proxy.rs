//! A proxy as a whole: what its connections share, and how it is started and stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_protocol::{ShardId, message::Clients};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::ProxyConfig,
    error::Error,
    input::Input,
    server::{self, Admission, Socket},
    shard::{Budget, Shard},
    status::{Ends, Kept, Status, Totals},
    upstream::Upstream,
};

/// How often shards look after those who are away, and after room that others gave back.
const LOOK: Duration = Duration::from_millis(200);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) upstream: Arc<dyn Upstream>,
    /// One for each connection that may be open.
    pub(crate) slots: Arc<Semaphore>,
    /// Rings when a shard came, began or left.
    pub(crate) arrivals: Notify,
    /// Who is let in.
    pub(crate) admission: watch::Sender<Admission>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    budget: Budget,
    shards: Mutex<BTreeMap<ShardId, Arc<Shard>>>,
    pub(crate) ends: Ends,
    /// What happened at shards that have left.
    past: Mutex<Totals>,
    listens: AtomicBool,
    /// Whether its socket was passed on to it.
    passed: bool,
    /// Shards that were here and are another process'.
    gone: Mutex<BTreeSet<ShardId>>,
    last_connection: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(config: ProxyConfig, upstream: Arc<dyn Upstream>, passed: bool) -> Self {
        Self {
            upstream,
            slots: Arc::new(Semaphore::new(config.limits.connections)),
            arrivals: Notify::new(),
            admission: watch::Sender::new(Admission::Open),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            budget: Budget::new(config.limits.rings),
            shards: Mutex::default(),
            ends: Ends::default(),
            past: Mutex::default(),
            listens: AtomicBool::new(false),
            passed,
            gone: Mutex::default(),
            last_connection: AtomicU64::new(0),
            config,
        }
    }

    /// Whether clients come with this token.
    pub(crate) fn admits(&self, token: &str) -> bool {
        self.config.token().is_some_and(|known| known.is(token))
    }

    /// Whether a shard that is not here may be on its way: it is not, if it was here, or if
    /// clients are to go elsewhere.
    pub(crate) fn may_come(&self, shard: ShardId) -> bool {
        *self.admission.borrow() == Admission::Open && !lock(&self.gone).contains(&shard)
    }

    /// Looks after all shards that are here: one timer for all, as most of the time nothing is to
    /// be done.
    async fn look_after(&self) -> Infallible {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let shards: Vec<_> = lock(&self.shards).values().cloned().collect();
            let now = Instant::now();
            shards.iter().for_each(|shard| shard.look_after(now));
        }
    }

    /// A shard that is here.
    pub(crate) fn shard(&self, shard: ShardId) -> Option<Arc<Shard>> {
        lock(&self.shards).get(&shard).cloned()
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Clients can connect from now on.
    pub(crate) fn listens(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// It is here from now on. One of the same number leaves.
    fn comes(&self, shard: &Arc<Shard>) {
        let mut shards = lock(&self.shards);
        lock(&self.gone).remove(&shard.id);
        let before = shards.insert(shard.id, Arc::clone(shard));
        if let Some(before) = &before {
            self.is_past(before);
        }
        drop(shards);
        if let Some(before) = before {
            before.gives_way();
        }
    }

    /// It is another process' from now on, and who wants it is sent there, unless another took
    /// its place.
    pub(crate) fn leaves(&self, shard: &Arc<Shard>) {
        let mut shards = lock(&self.shards);
        let here = shards.get(&shard.id);
        if here.is_some_and(|here| Arc::ptr_eq(here, shard)) {
            shards.remove(&shard.id);
            self.is_past(shard);
            lock(&self.gone).insert(shard.id);
        }
    }

    /// What happened at it counts on. Under the lock of those that are here, in which both are
    /// read: nothing counts twice, or not at all.
    fn is_past(&self, shard: &Shard) {
        *lock(&self.past) += shard.status().totals;
    }
}

/// Discord's gateway for local clients. See the [crate](crate).
///
/// Dropped, it goes on until the runtime ends; [`stop`](Self::stop) ends it.
pub struct Proxy(Arc<Shared>);

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proxy").field(&self.address()).finish()
    }
}

impl Proxy {
    /// Listens, and serves whoever comes. It has no shard yet: see [`open`](Self::open).
    ///
    /// # Errors
    /// The configuration cannot be, or the address is not to be had.
    pub async fn start(
        mut config: ProxyConfig,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Self, Error> {
        config.check()?;
        let address = config.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        config.listen = listener.local_addr().map_err(listen)?;
        Ok(Self::serve(config, upstream, Socket::Own(Some(listener))))
    }

    /// The same, and if another process has the address, it is taken as soon as that one lets
    /// go of it. Until then clients are that one's.
    ///
    /// # Errors
    /// The configuration cannot be.
    pub fn start_when_free(
        config: ProxyConfig,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Self, Error> {
        config.check()?;
        Ok(Self::serve(config, upstream, Socket::Own(None)))
    }

    /// The same on a socket that listens already, and that other processes have too: one that
    /// a supervisor passes on. Nobody is let in before [`admit`](Self::admit).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        mut config: ProxyConfig,
        upstream: Arc<dyn Upstream>,
        listener: TcpListener,
    ) -> Result<Self, Error> {
        let listen = config.listen;
        let local = listener.local_addr();
        config.listen = local.map_err(|source| Error::Listen {
            address: listen,
            source,
        })?;
        config.check()?;
        let proxy = Self::serve(config, upstream, Socket::Passed(listener));
        proxy.0.admission.send_replace(Admission::Shut);
        Ok(proxy)
    }

    fn serve(config: ProxyConfig, upstream: Arc<dyn Upstream>, socket: Socket) -> Self {
        let passed = matches!(socket, Socket::Passed(_));
        let shared = Arc::new(Shared::new(config, upstream, passed));
        let serving = server::serve(Arc::clone(&shared), socket);
        shared.tasks.spawn(serving);
        let one = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            tokio::select! {
                never = one.look_after() => match never {},
                () = one.stop.cancelled() => {}
            }
        });
        Self(shared)
    }

    /// Clients are let in from now on: their shards are here, or on their way.
    pub fn admit(&self) {
        self.0.admission.send_replace(Admission::Open);
    }

    /// Nobody is let in from now on: shards go to another process. Who connects meanwhile
    /// waits for it, or for [`admit`](Self::admit). Who is here and wants a shard that is not
    /// is asked to reconnect.
    pub fn shut(&self) {
        self.0.admission.send_replace(Admission::Shut);
        self.0.arrivals.notify_waiters();
    }

    /// As [`shut`](Self::shut), and an address that this process has for itself is let go of,
    /// so that the next one can have it.
    pub fn leave(&self) {
        self.0.admission.send_replace(Admission::Left);
        self.0.arrivals.notify_waiters();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.config.listen
    }

    /// A shard comes. Its events go into what this gives; dropped, the shard has left, and
    /// its clients are asked to reconnect; see [`Input::parts`] for how they go on elsewhere.
    /// One of the same number that is here leaves first.
    #[must_use = "dropped, the shard leaves at once"]
    pub fn open(&self, shard: ShardId) -> Input {
        let shared = &self.0;
        let (limits, timings) = (shared.config.limits, shared.config.timings);
        let upstream = Arc::clone(&shared.upstream);
        shared.budget.is_for(upstream.fleet().shards);
        let new = Shard::new(shard, upstream, limits, timings, shared.budget.clone());
        shared.comes(&new);
        Input::new(Arc::clone(shared), new)
    }

    /// What it says about itself.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.0;
        let free = shared.slots.available_permits();
        let (open_bytes, history_bytes) = shared.budget.used();
        let ProxyConfig {
            limits, timings, ..
        } = &shared.config;
        let here = lock(&shared.shards);
        let shards: Vec<_> = here.values().map(|shard| shard.status()).collect();
        let mut totals = *lock(&shared.past);
        drop(here);
        for shard in &shards {
            totals += shard.totals;
        }
        Status {
            address: shared.config.listen.to_string(),
            listening: shared.listens.load(Ordering::Relaxed),
            passed: shared.passed,
            connections: limits.connections.saturating_sub(free),
            kept: Kept::of(limits, timings),
            open_bytes,
            ring_bytes: open_bytes + history_bytes,
            closed: shared.ends.counts(),
            refused: shared.ends.refused(),
            totals,
            shards,
        }
    }

    /// The same for a master: short, however many shards and clients there are.
    #[must_use]
    pub fn report(&self) -> Clients {
        self.status().report()
    }

    /// Asks all clients to reconnect, closes their connections and ends.
    pub async fn stop(self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
