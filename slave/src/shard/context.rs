//! What every shard of the process shares.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::available_parallelism,
};

use baton_protocol::{
    FleetId,
    discord::SessionParameters,
    message::{Clients, SinkReport},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::gateway::Connector;
use crate::{
    bot::{Bot, State, Work},
    config::SlaveConfig,
    error::Error,
    lease::Gate,
    state::{snapshot::Store, stays::Stays},
    telemetry::{Checkpoints, Counters, Fullness, Hearing, Lag, Memory, Stores},
    unit::{Office, Service},
};

/// Says how the local clients of a bot do.
pub(crate) type OfClients = dyn Fn() -> Clients + Send + Sync;

/// Says how the broker of a bot does.
pub(crate) type OfSink = dyn Fn() -> SinkReport + Send + Sync;

/// What every shard of the process shares.
pub(crate) struct Context {
    pub(crate) bot: Arc<dyn Bot>,
    /// What the bot knows of its guilds; `None`: it says that it keeps nothing.
    pub(crate) state: Option<Arc<dyn State>>,
    /// Where state is that stays there; `None`: there is none.
    pub(crate) stays: Option<Arc<dyn Stays>>,
    /// What one process of the fleet does; `None`: there is no such work.
    pub(crate) work: Option<Arc<dyn Work>>,
    /// How its local clients do; `None`: it has none.
    pub(crate) clients: Option<Box<OfClients>>,
    /// How the broker does to which it publishes; `None`: it publishes to none.
    pub(crate) sink: Option<Box<OfSink>>,
    /// What it serves, where that is another service than Discord, and what is no unit's.
    pub(crate) service: Option<Arc<dyn Service>>,
    pub(crate) office: Option<Office>,
    pub(crate) config: SlaveConfig,
    pub(crate) connector: Connector,
    pub(crate) snapshots: Option<Store>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fullness: Fullness,
    pub(crate) lag: Lag,
    pub(crate) hearing: Hearing,
    pub(crate) stores: Stores,
    /// How much memory the process has.
    pub(crate) memory: Memory,
    /// Whose fleet this process is in.
    fleet: Mutex<FleetId>,
    /// Shards of the whole bot.
    pub(crate) shard_count: AtomicU32,
    pub(crate) checkpoints: Checkpoints,
    /// Whether this process may act for its shards.
    pub(crate) lease: Gate,
    pub(super) imports: Imports,
    /// Whose turn it is to try an event: one at a time in the process.
    pub(crate) trials: Arc<Semaphore>,
}

/// Who may take state in: as many at once as there are processors. More would only
/// take them from events.
#[derive(Debug)]
pub(super) struct Imports(Semaphore);

impl Imports {
    fn new() -> Self {
        Self(Semaphore::new(
            available_parallelism().map_or(1, usize::from),
        ))
    }

    /// Waits for a turn, which ends when it is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}

impl Context {
    /// # Errors
    /// The system's TLS certificates cannot be loaded.
    pub(crate) fn new(
        config: SlaveConfig,
        bot: Arc<dyn Bot>,
        state: Option<Arc<dyn State>>,
        stays: Option<Arc<dyn Stays>>,
        work: Option<Arc<dyn Work>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            bot,
            state,
            stays,
            work,
            clients: None,
            sink: None,
            service: None,
            office: None,
            connector: Connector::new(&config)?,
            snapshots: Store::new(config.snapshots.as_ref()),
            config,
            counters: Arc::new(Counters::default()),
            fullness: Fullness::default(),
            lag: Lag::default(),
            hearing: Hearing::default(),
            stores: Stores::default(),
            memory: Memory::default(),
            checkpoints: Checkpoints::default(),
            lease: Gate::default(),
            imports: Imports::new(),
            trials: Arc::new(Semaphore::new(1)),
            fleet: Mutex::default(),
            shard_count: AtomicU32::new(0),
        })
    }

    /// What the sessions of this process are made with.
    pub(crate) fn parameters(&self) -> SessionParameters {
        match &self.service {
            Some(service) => SessionParameters::of_service(service.name()),
            None => self.config.parameters(0),
        }
    }

    /// Whether there is state that travels.
    pub(crate) const fn keeps_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whose fleet this process is in; zero under a master that names none.
    pub(crate) fn fleet(&self) -> FleetId {
        *self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A master of this fleet gives orders from now on.
    pub(crate) fn set_fleet(&self, fleet: FleetId) {
        *self.fleet.lock().unwrap_or_else(PoisonError::into_inner) = fleet;
    }

    pub(crate) fn shard_count(&self) -> u32 {
        self.shard_count.load(Ordering::Relaxed)
    }

    /// Calls what keeps the state of a shard; `None`: there is none, or it panicked.
    pub(super) fn with_state<T>(&self, call: impl FnOnce(&dyn State) -> T) -> Option<T> {
        let state = self.state.as_deref()?;
        self.guarded(|| call(state))
    }

    /// Calls the bot about the state of a shard. A panic there is the bot's, not the
    /// shard's: it is counted and told.
    pub(super) fn guarded<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(call)).ok();
        if result.is_none() {
            self.counters.state_errors.add();
            tracing::error!("the bot panicked over its state");
        }
        result
    }
}
