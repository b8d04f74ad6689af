//! Puts a bot and its settings together and runs them.

use std::sync::Arc;

use baton_protocol::message::{Clients, SinkReport};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "legacy")]
use crate::agent::legacy::LegacyAgent;
#[cfg(feature = "store")]
use crate::store::Guilds;
use crate::{
    agent::{Agent, Requests, Status},
    bot::{Ack, Bot, Event, ShardHandle, State, Work},
    config::SlaveConfig,
    error::Error,
    log, output,
    shard::{Context, OfClients, OfSink},
    state::stays::Stays,
    unit::{Office, Service},
};

/// A slave about to run. See [`Slave::builder`].
#[derive(Debug)]
pub struct Slave {
    _private: (),
}

/// Builds a slave.
pub struct Builder {
    bot: Arc<dyn Bot>,
    state: Option<Arc<dyn State>>,
    #[cfg(feature = "store")]
    store: Option<Guilds>,
    work: Option<Arc<dyn Work>>,
    clients: Option<Box<OfClients>>,
    sink: Option<Box<OfSink>>,
    service: Option<Arc<dyn Service>>,
    office: Option<Office>,
    config: Option<SlaveConfig>,
    stop: Option<CancellationToken>,
    requests: (mpsc::Sender<oneshot::Sender<Status>>, Requests),
}

/// Asks a running slave what it does.
#[derive(Clone, Debug)]
pub struct Monitor {
    requests: mpsc::Sender<oneshot::Sender<Status>>,
}

impl Slave {
    /// A slave for a bot that is built and ready for events. One that is shared with
    /// other parts of the process is given as an [`Arc`].
    ///
    /// From here on SIGHUP, SIGUSR1 and SIGUSR2 do not end the process, where this is
    /// called inside of a Tokio runtime; else from [`Builder::run`] on. A whole unit is
    /// sent them when they mean something to its master. A bot that listens for one of
    /// them besides hears it.
    #[must_use]
    pub fn builder(bot: impl Bot) -> Builder {
        if Handle::try_current().is_ok() {
            // Said at `run`, which does it again.
            let _ = bear_signals();
        }
        Builder {
            bot: Arc::new(bot),
            state: None,
            #[cfg(feature = "store")]
            store: None,
            work: None,
            clients: None,
            sink: None,
            service: None,
            office: None,
            config: None,
            stop: None,
            requests: mpsc::channel(16),
        }
    }
}

impl Slave {
    /// A slave that serves another service than Discord; what is no unit's goes by the
    /// office.
    #[must_use]
    pub fn serving(service: impl Service, office: Office) -> Builder {
        let mut builder = Self::builder(Nothing);
        builder.service = Some(Arc::new(service));
        builder.office = Some(office);
        builder
    }
}

/// The bot of a process that serves no shard of Discord.
struct Nothing;

impl Bot for Nothing {
    fn handle(&self, _: Event, _: Ack, _: &ShardHandle) {}
}

impl Builder {
    /// What the bot knows of its guilds, which moves with its shards: for example an
    /// `Arc` of a `cache::Cache` that the bot reads. Without it,
    /// nothing is copied, and a new owner applies nothing of what came before.
    #[must_use]
    pub fn state(mut self, state: impl State) -> Self {
        self.state = Some(Arc::new(state));
        self
    }

    /// What the bot knows of its guilds, which stays where it is when its shards move: a
    /// clone of the [`Guilds`] that the bot reads. There may be a [`state`](Self::state)
    /// beside it, for what is the bot's own.
    #[cfg(feature = "store")]
    #[must_use]
    pub fn store(mut self, store: Guilds) -> Self {
        self.store = Some(store);
        self
    }

    /// What one process of the fleet does, and not every one.
    #[must_use]
    pub fn work(mut self, work: impl Work) -> Self {
        self.work = Some(Arc::new(work));
        self
    }

    /// What the master is told of local clients that this bot serves, each time that it
    /// asks how the slave does: every few seconds. It must not wait for anything.
    #[must_use]
    pub fn clients(mut self, report: impl Fn() -> Clients + Send + Sync + 'static) -> Self {
        self.clients = Some(Box::new(report));
        self
    }

    /// What the master is told of the broker to which this bot publishes its events, each
    /// time that it asks how the slave does: every few seconds. It must not wait for anything.
    #[must_use]
    pub fn sink(mut self, report: impl Fn() -> SinkReport + Send + Sync + 'static) -> Self {
        self.sink = Some(Box::new(report));
        self
    }

    /// The settings; without them, those of [`SlaveConfig::from_env`].
    #[must_use]
    pub fn config(mut self, config: SlaveConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Leaves when `stop` is cancelled. Without it, at SIGTERM and SIGINT.
    #[must_use]
    pub fn stop(mut self, stop: CancellationToken) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Asks the slave what it does, while it runs.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            requests: self.requests.0.clone(),
        }
    }

    /// Runs until the master tells it to leave or the process is asked to stop;
    /// then every shard is sealed, what runs is finished within the drain
    /// deadline, and it returns.
    ///
    /// Installs rustls' ring provider if the process has none.
    ///
    /// # Errors
    /// A setting that cannot work, or the master refused a slave that owns
    /// nothing; [`Error::exit_code`] is what the process should end with.
    pub async fn run(mut self) -> Result<(), Error> {
        let config = match self.config.take() {
            Some(config) => config,
            None => SlaveConfig::from_env()?,
        };
        config.check()?;
        log::say_if_mute();
        output::keep_small();
        bear_signals()?;
        let stop = match self.stop.take() {
            Some(stop) => stop,
            None => stop_at_signals()?,
        };
        let stays = self.stays(&config)?;
        let mut context = Context::new(config, self.bot, self.state, stays, self.work)?;
        context.clients = self.clients;
        context.sink = self.sink;
        context.service = self.service;
        context.office = self.office;
        let context = Arc::new(context);
        #[cfg(feature = "legacy")]
        if let Some(legacy) = context.config.legacy {
            let agent = LegacyAgent::new(context, legacy, self.requests.1, stop)?;
            return agent.run().await;
        }
        Agent::new(context, self.requests.1, stop)?.run().await
    }
}

impl Builder {
    /// Where state is that stays there.
    #[cfg(feature = "store")]
    fn stays(&mut self, config: &SlaveConfig) -> Result<Option<Arc<dyn Stays>>, Error> {
        let Some(store) = self.store.take() else {
            return Ok(None);
        };
        store.settle(config)?;
        Ok(Some(Arc::new(store)))
    }

    #[cfg(not(feature = "store"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "with the feature it is"
    )]
    fn stays(&mut self, _: &SlaveConfig) -> Result<Option<Arc<dyn Stays>>, Error> {
        Ok(None)
    }
}

impl Monitor {
    /// What the slave does right now; `None`: it does not run.
    pub async fn status(&self) -> Option<Status> {
        let (request, answer) = oneshot::channel();
        self.requests.send(request).await.ok()?;
        answer.await.ok()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Signals that mean something to a master, or to nobody, and would end a process in
/// which nobody listens for them: from now on they do nothing.
fn bear_signals() -> Result<(), Error> {
    if mutant!("signals-end-slaves") {
        return Ok(());
    }
    for kind in [
        SignalKind::hangup(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ] {
        // Once listened for, a signal keeps its handler.
        let _ = signal(kind).map_err(|source| Error::System {
            what: "listen for signals",
            source,
        })?;
    }
    Ok(())
}

fn stop_at_signals() -> Result<CancellationToken, Error> {
    let system = |source| Error::System {
        what: "listen for signals",
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.cancel();
    });
    Ok(stop)
}
