//! Carries the Go master's flow out over real sockets: one task owns the flow,
//! one reads and one writes for each connection.

use std::{collections::BTreeMap, time::Duration};

use baton_core::event::Time;
use baton_protocol::{
    Connection, ConnectionError, DecodeError, LaunchId, Trust,
    connection::Sender,
    go::{ToMaster, ToSlave},
    handshake,
    message::{Refused, RefusedReason, Role},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::flow::{Flow, MOST_PEERS, Order, Peer};
use crate::process::Launcher;

/// The first frame comes within this time.
const HELLO: Duration = Duration::from_secs(5);

/// Frames that wait for one slave. A slave that takes none of so many for
/// [`PATIENCE`] loses its connection.
const OUTBOX: usize = 256;

/// See [`OUTBOX`].
const PATIENCE: Duration = Duration::from_secs(10);

/// What connections tell the loop; beyond it their readers wait.
const INBOX: usize = 64;

/// Waits between launches grow up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// What the runner is built of.
#[derive(Debug)]
pub struct Parts {
    /// Where slaves connect; loopback.
    pub listener: TcpListener,
    /// Starts slaves.
    pub launcher: Launcher,
    /// The one slot.
    pub slot: String,
    /// How long no slave may serve before one is started.
    pub contact: Duration,
    /// How long those who serve already may take to say so, before any slave gets work.
    pub grace: Duration,
    /// Each asks for a deploy: a new slave is started.
    pub deploys: mpsc::Receiver<()>,
    /// Ends the runner; slaves stay as they are.
    pub stop: CancellationToken,
}

enum Event {
    Said(Peer, ToMaster),
    Gone(Peer, String),
}

/// Runs until it is stopped.
pub async fn run(parts: Parts) {
    let Parts {
        listener,
        launcher,
        slot,
        contact,
        grace,
        mut deploys,
        stop,
    } = parts;
    let (events, mut inbox) = mpsc::channel(INBOX);
    let mut runner = Runner {
        flow: Flow::new(contact, grace, Time::default()),
        started: Instant::now(),
        outboxes: BTreeMap::new(),
        launcher,
        slot,
        launches: Launches::default(),
    };
    let mut connections = 0;
    loop {
        let wake = runner.wake();
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if runner.outboxes.len() < MOST_PEERS => {
                    connections += 1;
                    runner.take(Peer(connections), socket, events.clone());
                }
                Ok(_) => warn!("more than {MOST_PEERS} connections: the newest is closed"),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(event) = inbox.recv() => runner.happened(event),
            Some(()) = deploys.recv() => runner.launch("deploy"),
            () = sleep_until(wake) => runner.flow.tick(runner.now()),
        }
        runner.carry_out().await;
    }
}

struct Runner {
    flow: Flow,
    started: Instant,
    outboxes: BTreeMap<Peer, mpsc::Sender<ToSlave>>,
    launcher: Launcher,
    slot: String,
    launches: Launches,
}

/// Failed launches, so that a command that fails at once is not started in a
/// loop.
#[derive(Default)]
struct Launches {
    in_vain: u32,
    not_before: Option<Instant>,
}

impl Runner {
    fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    fn wake(&self) -> Instant {
        // Without a deadline an hour is as good as any time.
        let deadline = self
            .flow
            .deadline()
            .map_or(Duration::from_secs(3600), |time| time.0);
        (self.started + deadline).max(Instant::now() + Duration::from_millis(1))
    }

    fn take(&mut self, peer: Peer, socket: TcpStream, events: mpsc::Sender<Event>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        self.outboxes.insert(peer, outbox);
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        tokio::spawn(async move {
            let (mut receiver, sender) = {
                let mut connection = Connection::new(socket);
                match hello(&mut connection).await {
                    Ok(message) => {
                        let _ = events.send(Event::Said(peer, message)).await;
                    }
                    Err(reason) => {
                        let _ = events.send(Event::Gone(peer, reason)).await;
                        return;
                    }
                }
                connection.split()
            };
            tokio::spawn(write(sender, messages));
            let reason = loop {
                match receiver
                    .recv()
                    .await
                    .map(|frame| frame.map(ToMaster::from_frame))
                {
                    Ok(Some(Ok(message))) => {
                        if events.send(Event::Said(peer, message)).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(Err(error))) => break error.to_string(),
                    Ok(None) => break "closed".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            let _ = events.send(Event::Gone(peer, reason)).await;
        });
    }

    fn happened(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Said(peer, message) => {
                self.launches = Launches::default();
                self.flow.said(now, peer, message);
            }
            Event::Gone(peer, reason) => {
                info!(connection = peer.0, reason, "connection ended");
                self.outboxes.remove(&peer);
                self.flow.gone(now, peer);
            }
        }
    }

    async fn carry_out(&mut self) {
        while let Some(order) = self.flow.poll_order() {
            match order {
                Order::Send(peer, message) => {
                    let Some(outbox) = self.outboxes.get(&peer) else {
                        continue;
                    };
                    // Waiting here makes the sender of guild states wait, by TCP.
                    if timeout(PATIENCE, outbox.send(message)).await.is_err() {
                        warn!(
                            connection = peer.0,
                            "takes nothing: its connection is closed"
                        );
                        self.outboxes.remove(&peer);
                        self.flow.gone(self.now(), peer);
                    }
                }
                Order::Launch => self.launch("no slave serves"),
                Order::Tell(text) => info!("{text}"),
                Order::Alarm(text) => error!("{text}"),
            }
        }
    }

    fn launch(&mut self, why: &str) {
        let now = Instant::now();
        if self
            .launches
            .not_before
            .is_some_and(|instant| now < instant)
        {
            return;
        }
        let wait = Duration::from_secs(1 << self.launches.in_vain.min(6)).min(MAX_BACKOFF);
        self.launches.in_vain += 1;
        self.launches.not_before = Some(now + wait);
        let launch = LaunchId::default();
        let plan = self
            .launcher
            .plan(&self.slot, Role::Candidate, None, None, launch);
        let why = why.to_owned();
        tokio::spawn(async move {
            let started = match plan {
                Ok(plan) => plan.start().await,
                Err(reason) => Err(reason),
            };
            match started {
                Ok((pid, mut child)) => {
                    info!(pid, why, "slave started");
                    let (ending, _) = child.wait().await;
                    info!(pid, how = %ending, "slave ended");
                }
                Err(reason) => warn!(why, "no slave started: {reason}"),
            }
        });
    }
}

/// The first frame: a hello in the Go form, or nothing.
async fn hello(connection: &mut Connection) -> Result<ToMaster, String> {
    let frame = match timeout(HELLO, connection.recv()).await {
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None)) => return Err("closed before a hello".to_owned()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no hello within {HELLO:?}")),
    };
    match handshake::ToMaster::from_frame(frame.clone()) {
        Ok(handshake::ToMaster::Hello { .. }) => {}
        Err(DecodeError::NoBaton { .. }) => {
            connection.trust(Trust::Known);
            return ToMaster::from_frame(frame).map_err(|error| error.to_string());
        }
        Ok(handshake::ToMaster::Proof(_) | handshake::ToMaster::Report(_)) => {
            return Err("the first frame is no hello".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    }
    let refused = handshake::ToSlave::Refused(Refused {
        reason: RefusedReason::Version,
        detail: "this master runs with `legacy`: it takes Go slaves only".to_owned(),
    });
    let sent: Result<(), ConnectionError> = connection.send(&refused.to_frame()).await;
    sent.map_err(|error| error.to_string())?;
    Err("a slave of today, refused: this master runs with `legacy`".to_owned())
}

async fn write(mut sender: Sender, mut messages: mpsc::Receiver<ToSlave>) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = sender.send(&message.to_frame()).await {
            debug!(%error, "cannot send");
            return;
        }
    }
    // The runner dropped this connection.
    let _ = sender.close().await;
}
