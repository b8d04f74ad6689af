//! A running simulated Twitch.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
};

use crate::{
    chat,
    config::Config,
    control,
    distance::{Door, Line},
    error::Error,
    eventsub,
    faults::{self, Fault},
    helix::{self, Reply, Request},
    irc::{
        self,
        pipe::{Tcp, WebSocket},
    },
    ledger::{Delivery, Extents, Kind, LogLine, Message},
    state::{Counters, Shared},
    traffic::{self, Traffic},
    verdict::{self, Scope, Verdict},
};

/// Bytes on their way in a connection without a network.
const DUPLEX: usize = 1 << 20;

/// Where everything listens: what the program prints when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// IRC over TCP, `127.0.0.1:PORT`.
    pub irc: SocketAddr,
    /// IRC over websocket, a URL.
    pub irc_ws: String,
    /// EventSub, a URL.
    pub eventsub: String,
    /// Helix, a URL; its paths begin with `/helix`.
    pub helix: String,
    /// OAuth, a URL; its paths are `/token` and `/validate`.
    pub oauth: String,
    /// The control port, a URL.
    pub control: String,
}

/// What can be changed of a channel. What is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelChange {
    /// Twitch has suspended it: it cannot be joined.
    pub suspended: Option<bool>,
    /// Its broadcaster granted `channel:bot`.
    pub grants_bot: Option<bool>,
    /// These accounts are banned in it from now on.
    pub ban: Vec<String>,
    /// These no longer are.
    pub unban: Vec<String>,
    /// These are moderators of it from now on.
    pub moderators: Vec<String>,
}

/// A running simulated Twitch. It stops when it is dropped.
#[derive(Debug)]
pub struct Twitch {
    shared: Arc<Shared>,
}

impl Drop for Twitch {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Twitch {
    /// Starts it with its listeners.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a setting out of range, [`Error::Listen`] for an address
    /// that is taken.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let listen = [
            config.irc_listen,
            config.irc_ws_listen,
            config.eventsub_listen,
            config.helix_listen,
            config.control_listen,
        ];
        let twitch = Self::without_network(config)?;
        let mut bound = Vec::new();
        for address in listen {
            bound.push(bind(address).await?);
        }
        let Ok([irc, irc_ws, eventsub, helix, control]) = <[_; 5]>::try_from(bound) else {
            return Err(Error::invalid("five listeners are needed"));
        };
        let shared = &twitch.shared;
        let addresses = Addresses {
            irc: irc.1,
            irc_ws: format!("ws://{}", irc_ws.1),
            eventsub: format!("ws://{}/ws", eventsub.1),
            helix: format!("http://{}/helix", helix.1),
            oauth: format!("http://{}/oauth2", helix.1),
            control: format!("http://{}", control.1),
        };
        shared.addresses.get_or_init(|| addresses);
        twitch.accept(irc.0, |shared, stream, _| {
            let split = shared.config.irc.split;
            irc::serve(shared, Tcp::new(stream, split))
        });
        twitch.accept(irc_ws.0, |shared, stream, _| serve_irc_ws(shared, stream));
        twitch.accept(eventsub.0, |shared, stream, peer| {
            eventsub::serve(shared, stream, Some(peer.ip()))
        });
        let round_trip = shared.config.round_trip;
        twitch.serve_http(helix.0, round_trip, helix::router(Arc::clone(shared)));
        // Whoever runs the simulation is near.
        let near = Duration::ZERO;
        twitch.serve_http(control.0, near, control::router(Arc::clone(shared)));
        Ok(twitch)
    }

    /// Starts it without listeners: [`Twitch::irc`], [`Twitch::eventsub`] and
    /// [`Twitch::helix`] are the ways in. With a paused clock, all of it is stepped.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a setting out of range.
    pub fn without_network(config: Config) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(config)?);
        shared.tasks.spawn(traffic::run(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    fn accept<F>(
        &self,
        listener: TcpListener,
        serve: impl Fn(Arc<Shared>, Line<TcpStream>, SocketAddr) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            let accepting = async {
                loop {
                    let places = Arc::clone(&shared.places);
                    let Ok(place) = places.acquire_owned().await else {
                        return;
                    };
                    let Ok((stream, peer)) = listener.accept().await else {
                        // Mostly no file descriptor is free: somebody has to end first.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // Segments are what was written: the tests count on it.
                    let _ = stream.set_nodelay(true);
                    let stream = far(&shared, stream);
                    let serving = serve(Arc::clone(&shared), stream, peer);
                    shared.tasks.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
            };
            tokio::select! {
                () = accepting => {}
                () = shared.stop.cancelled() => {}
            }
        });
    }

    fn serve_http(&self, listener: TcpListener, round_trip: Duration, router: axum::Router) {
        let tasks = self.shared.tasks.clone();
        let door = Door {
            listener,
            round_trip,
            tasks,
        };
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            let serving = axum::serve(door, router);
            // Whoever keeps a connection open does not keep the server.
            tokio::select! {
                served = serving => if let Err(error) = served {
                    tracing::error!(%error, "a listener failed");
                },
                () = stop.cancelled() => {}
            }
        });
    }

    /// Where everything listens; `None` without network.
    pub fn addresses(&self) -> Option<&Addresses> {
        self.shared.addresses.get()
    }

    /// A new connection to IRC over TCP, without a network.
    pub fn irc(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(DUPLEX);
        let split = self.shared.config.irc.split;
        let server = far(&self.shared, server);
        let serving = irc::serve(Arc::clone(&self.shared), Tcp::new(server, split));
        self.shared.tasks.spawn(serving);
        client
    }

    /// A new connection to IRC over websocket, without a network: the request comes
    /// first.
    pub fn irc_ws(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(DUPLEX);
        let server = far(&self.shared, server);
        let serving = serve_irc_ws(Arc::clone(&self.shared), server);
        self.shared.tasks.spawn(serving);
        client
    }

    /// A new connection to EventSub, without a network: the request for a websocket comes
    /// first.
    pub fn eventsub(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(DUPLEX);
        let server = far(&self.shared, server);
        let serving = eventsub::serve(Arc::clone(&self.shared), server, None);
        self.shared.tasks.spawn(serving);
        client
    }

    /// A request to Helix or OAuth, without a network.
    pub fn helix(&self, request: &Request) -> Reply {
        helix::answer(&self.shared, request)
    }

    /// Makes something happen in a channel. `author` speaks, subscribes or raids, or is
    /// cleared.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a channel or a login there cannot be, or a text of several
    /// lines.
    pub fn happen(
        &self,
        kind: Kind,
        channel: &str,
        author: &str,
        text: &str,
    ) -> Result<Message, Error> {
        chat::happen(&self.shared, kind, channel, author, text)
    }

    /// Plays a fault, or lets it wait. How many connections it hit at once.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a value out of range.
    pub fn fault(&self, fault: Fault) -> Result<usize, Error> {
        faults::play(&self.shared, fault)
    }

    /// Changes what happens by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a value out of range.
    pub fn set_traffic(&self, traffic: Traffic) -> Result<(), Error> {
        set_traffic(&self.shared, traffic)
    }

    /// Changes a channel.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is no such channel or login.
    pub fn change_channel(&self, login: &str, change: &ChannelChange) -> Result<(), Error> {
        change_channel(&self.shared, login, change)
    }

    /// Judges a consumer by the ids that it saw, in its order.
    pub fn judge(&self, seen: &[String], scope: &Scope) -> Verdict {
        verdict::judge(&self.shared.ledger, seen, scope)
    }

    /// At most `limit` messages from place `from` on.
    pub fn messages(&self, from: usize, limit: usize) -> Vec<Message> {
        self.shared.ledger.messages(from, limit)
    }

    /// At most `limit` deliveries from place `from` on.
    pub fn deliveries(&self, from: usize, limit: usize) -> Vec<Delivery> {
        self.shared.ledger.deliveries(from, limit)
    }

    /// At most `limit` lines of the log from place `from` on.
    pub fn log(&self, from: usize, limit: usize) -> Vec<LogLine> {
        self.shared.ledger.lines(from, limit)
    }

    /// How large the ledger is, and whether anything was left out.
    pub fn extents(&self) -> Extents {
        self.shared.ledger.extents()
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.shared.state().counters.clone()
    }

    /// Ends all connections, and waits until they have ended.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// The end of a connection whose other end is as far away as is configured.
fn far<S: irc::pipe::Stream + 'static>(shared: &Shared, stream: S) -> Line<S> {
    Line::new(stream, shared.config.round_trip, &shared.tasks)
}

async fn serve_irc_ws<S: irc::pipe::Stream>(shared: Arc<Shared>, stream: S) {
    let within = shared.config.irc.login_timeout;
    match tokio::time::timeout(within, WebSocket::accept(stream)).await {
        Ok(Ok(pipe)) => irc::serve(shared, pipe).await,
        Ok(Err(_)) | Err(_) => shared.ledger.log("irc", "refused", "no websocket"),
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let error = |source| Error::Listen {
        address: address.to_string(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

pub(crate) fn set_traffic(shared: &Shared, traffic: Traffic) -> Result<(), Error> {
    traffic.validate()?;
    shared.traffic.send_replace(traffic);
    Ok(())
}

pub(crate) fn change_channel(
    shared: &Shared,
    login: &str,
    change: &ChannelChange,
) -> Result<(), Error> {
    let mut state = shared.state();
    let channel = state.known_channel(login)?;
    let logins = [&change.ban, &change.unban, &change.moderators];
    for login in logins.into_iter().flatten() {
        if !crate::config::is_login(login) || state.user(login).is_none() {
            return Err(Error::invalid(format!("{login:?} is no login")));
        }
    }
    for login in &change.ban {
        state.user(login).map(|user| user.banned_in.insert(channel));
    }
    for login in &change.unban {
        state
            .user(login)
            .map(|user| user.banned_in.remove(&channel));
    }
    for login in &change.moderators {
        state.user(login).map(|user| user.moderates.insert(channel));
    }
    let of = &mut state.channels[channel];
    of.suspended = change.suspended.unwrap_or(of.suspended);
    of.grants_bot = change.grants_bot.unwrap_or(of.grants_bot);
    Ok(())
}

/// Addresses, counters, and the size of everything.
pub(crate) fn status(shared: &Shared) -> Value {
    let state = shared.state();
    json!({
        "addresses": shared.addresses.get(),
        "config": shared.config,
        "traffic": &*shared.traffic.borrow(),
        "counters": state.counters,
        "ledger": shared.ledger.extents(),
        "irc": state.clients.iter().map(|(id, client)| json!({
            "conn": id,
            "login": &*client.login,
            "channels": client.joined.len(),
        })).collect::<Vec<_>>(),
        "sessions": state.sessions.iter().map(|(id, session)| json!({
            "session": &**id,
            "subscriptions": session.subscriptions.len(),
            "shards": session.shards.iter().map(|(_, shard)| shard).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "conduits": state.conduits.values().map(|conduit| conduit.json()).collect::<Vec<_>>(),
    })
}
