//! The handle that starts, steers and stops a simulated Discord.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    commands::CommandLine,
    config::{
        DiscordConfig,
        traffic::{Orders, Traffic},
    },
    control,
    counters::Counters,
    error::Error,
    faults::Fault,
    ledger::{Entry, LogLine},
    rest::record::RestLine,
    server::{Shared, listen},
    settings::{Settings, SettingsChange},
    traffic,
    wire::tls::{self, Tls},
};

/// How long a stop waits for connections.
const STOP: Duration = Duration::from_secs(3);

/// A running simulated Discord. Dropping it stops it; [`Discord::shutdown`] also waits.
pub struct Discord {
    shared: Arc<Shared>,
    control: SocketAddr,
    ca_pem: Option<String>,
}

impl Discord {
    /// Binds both ports and starts. When this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// A setting out of range, an address that is taken, a certificate that
    /// cannot be read.
    pub async fn start(config: DiscordConfig) -> Result<Self, Error> {
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
            .map(|shard| {
                let mut orders = orders.clone();
                orders.traffic.paused |= config.quiet_shards.contains(&shard);
                watch::channel(orders)
            })
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

    /// Changes the traffic of one shard or of all. When this returns, nothing more
    /// happens by the traffic before.
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
        self.shared.faults.clear(None);
        self.shared.graveyard.clear();
    }

    /// Changes what can be changed while it runs; all of it or nothing.
    ///
    /// # Errors
    ///
    /// A value out of its limits.
    pub fn change_settings(&self, change: &SettingsChange) -> Result<Settings, Error> {
        self.shared.change_settings(change)
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

    /// What clients sent over the gateway, from line `from` on.
    pub fn commands(&self, from: usize) -> Vec<CommandLine> {
        self.shared.commands.read(from, usize::MAX)
    }

    /// The REST requests, from line `from` on.
    pub fn rest(&self, from: usize) -> Vec<RestLine> {
        self.shared.rest.requests.read(from, usize::MAX)
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

impl Drop for Discord {
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
