//! EventSub over websocket: one task for each socket.

pub(crate) mod conduit;
pub(crate) mod frames;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod subscription;

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tokio_websockets::{CloseCode, Limits, Message, ServerBuilder, WebSocketStream};

use crate::{
    irc::pipe::Stream,
    state::Shared,
    wire::{DelayLine, Handle, Order, Out},
};

use self::session::Opened;

/// How long the request for a websocket may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to read, and to answer a close.
const WRITE: Duration = Duration::from_secs(10);
/// How long a client may take to answer a close when the server stops.
const FAREWELL: Duration = Duration::from_millis(100);
/// The longest message of a client: it must send none.
const LONGEST: usize = 16 * 1024;
/// Far enough away to be never.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// How a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The server closes with a code and a reason.
    Close(u16, &'static str),
    /// The client closed.
    Closed,
    /// Without a close of either.
    Lost,
    Reset,
}

impl End {
    /// The status of what the session had.
    const fn status(self) -> &'static str {
        match self {
            Self::Close(4001, _) => "websocket_received_inbound_traffic",
            Self::Close(4002, _) => "websocket_failed_ping_pong",
            Self::Close(4003, _) => "websocket_connection_unused",
            Self::Close(4004, _) => "websocket_failed_to_reconnect",
            Self::Close(4005, _) => "websocket_network_timeout",
            Self::Close(4006, _) | Self::Lost | Self::Reset => "websocket_network_error",
            Self::Close(_, _) => "websocket_internal_error",
            Self::Closed => "websocket_disconnected",
        }
    }
}

struct Socket {
    shared: Arc<Shared>,
    opened: Opened,
    line: DelayLine,
    keepalive_at: Instant,
    unused_by: Option<Instant>,
    next_ping: Instant,
    pong_by: Option<Instant>,
    close_at: Option<(Instant, u16, &'static str)>,
    stalled_until: Option<Instant>,
    half_open: bool,
    silent: bool,
}

/// Serves a socket until it ends.
pub(crate) async fn serve<S: Stream>(shared: Arc<Shared>, stream: S, peer: Option<IpAddr>) {
    let builder = ServerBuilder::new().limits(Limits::default().max_payload_len(Some(LONGEST)));
    let Ok(Ok((request, mut socket))) = timeout(HANDSHAKE, builder.accept(stream)).await else {
        shared.ledger.log("eventsub", "refused", "no websocket");
        return;
    };
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let (handle, mut orders) = Handle::new(shared.config.backlog);
    let kill = handle.kill.clone();
    let opened = {
        let mut state = shared.state();
        match value("reconnect") {
            Some(token) => session::take_over(&shared, &mut state, token, handle, peer),
            None => {
                let asked = value("keepalive_timeout_seconds").and_then(|text| text.parse().ok());
                let keepalive = asked
                    .map_or(shared.config.eventsub.keepalive_seconds, |asked: i64| {
                        u64::try_from(asked.clamp(10, 600)).unwrap_or(10)
                    });
                Some(session::open(&mut state, handle, peer, keepalive))
            }
        }
    };
    let Some(opened) = opened else {
        *shared.state().counters.closes.entry(4007).or_default() += 1;
        shared
            .ledger
            .log("eventsub", "close", "4007 invalid reconnect");
        close(&mut socket, &shared.stop, 4007, "invalid reconnect").await;
        return;
    };
    let stop = shared.stop.clone();
    let mut own = Socket::new(shared, opened);
    let end = tokio::select! {
        end = own.run(&mut socket, &mut orders) => end,
        () = kill.cancelled() => End::Close(4005, "network timeout"),
        () = stop.cancelled() => End::Close(4000, "internal server error"),
    };
    own.leave(end, &mut orders);
    if own.half_open {
        // Twitch has given it up; the client cannot know.
        stop.cancelled().await;
        return;
    }
    match end {
        End::Close(code, why) => close(&mut socket, &stop, code, why).await,
        End::Closed | End::Lost => {
            let _ = timeout(WRITE, socket.close()).await;
        }
        End::Reset => socket.get_ref().reset(),
    }
}

/// Some time after the server was told to stop: enough for a close that was sent.
async fn ending(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(FAREWELL).await;
}

/// Closes and reads on until the client closes, too: an unread message would turn the
/// end into a RST, and the code would be lost.
async fn close<S: Stream>(
    socket: &mut WebSocketStream<S>,
    stop: &CancellationToken,
    code: u16,
    why: &str,
) {
    let code = CloseCode::try_from(code).ok();
    let closing = async {
        if socket.send(Message::close(code, why)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    tokio::select! {
        _ = timeout(WRITE, closing) => {}
        // A client that does not answer holds up no shutdown.
        () = ending(stop) => {}
    }
}

impl Socket {
    fn new(shared: Arc<Shared>, opened: Opened) -> Self {
        let now = Instant::now();
        let config = &shared.config.eventsub;
        let unused = if shared.config.unknown.unused_follows_keepalive {
            opened.keepalive
        } else {
            config.unused_for
        };
        let mut line = DelayLine::default();
        line.push(Out {
            due: now,
            text: opened.welcome.as_str().into(),
            note: None,
        });
        Self {
            line,
            keepalive_at: now + opened.keepalive,
            unused_by: Some(now + unused),
            next_ping: now + config.ping_every,
            pong_by: None,
            close_at: None,
            stalled_until: None,
            half_open: false,
            silent: false,
            opened,
            shared,
        }
    }

    fn wake(&self) -> Instant {
        if let Some(until) = self.stalled_until {
            return until;
        }
        let far = Instant::now() + NEVER;
        let times = [
            self.line.due(),
            Some(self.keepalive_at).filter(|_| !self.silent),
            self.unused_by,
            Some(self.pong_by.unwrap_or(self.next_ping)),
            self.close_at.map(|(at, _, _)| at),
        ];
        times.into_iter().flatten().min().unwrap_or(far)
    }

    async fn run<S: Stream>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> End {
        let room = self.shared.config.backlog;
        let mut alone = false;
        loop {
            let listens = !self.half_open && self.stalled_until.is_none();
            let end = tokio::select! {
                order = orders.recv(), if !alone && self.line.len() < room => match order {
                    Some(order) => self.obey(order),
                    // Another socket has the session; this one only waits for its end.
                    None => { alone = true; None }
                },
                () = sleep_until(self.wake()) => self.tick(socket).await,
                message = socket.next(), if listens => match message {
                    Some(Ok(message)) => self.hear(&message),
                    Some(Err(_)) | None => Some(End::Lost),
                },
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn hear(&mut self, message: &Message) -> Option<End> {
        if message.is_pong() {
            self.pong_by = None;
            return None;
        }
        if message.is_close() {
            return Some(End::Closed);
        }
        let allowed = message.is_ping() && !self.shared.config.unknown.ping_is_a_message;
        (!allowed).then_some(End::Close(4001, "client sent inbound traffic"))
    }

    fn obey(&mut self, order: Order) -> Option<End> {
        let now = Instant::now();
        match order {
            Order::Out(out) => self.line.push(out),
            Order::Close(code, why) => return Some(End::Close(code, why)),
            Order::CloseIn(after, code, why) => self.close_at = Some((now + after, code, why)),
            Order::HalfOpen => self.half_open = true,
            Order::Reset => return Some(End::Reset),
            Order::Stall(time) => self.stalled_until = Some(now + time),
            Order::Silence => self.silent = true,
            Order::Unused => self.unused_by = Some(now + self.shared.config.eventsub.unused_for),
        }
        None
    }

    async fn tick<S: Stream>(&mut self, socket: &mut WebSocketStream<S>) -> Option<End> {
        let now = Instant::now();
        if let Some(until) = self.stalled_until {
            if now < until {
                return None;
            }
            self.stalled_until = None;
        }
        if let Some((_, code, why)) = self.close_at.filter(|(at, _, _)| *at <= now) {
            return Some(End::Close(code, why));
        }
        if self.unused_by.is_some_and(|by| by <= now) {
            self.unused_by = None;
            if self.is_unused() {
                return Some(End::Close(4003, "connection unused"));
            }
        }
        if self.pong_by.is_some_and(|by| by <= now) {
            return Some(End::Close(4002, "client failed ping-pong"));
        }
        if self.pong_by.is_none() && self.next_ping <= now {
            let config = &self.shared.config.eventsub;
            self.pong_by = Some(now + config.pong_within);
            self.next_ping = now + config.ping_every;
            if !self.half_open && self.write(socket, Message::ping("")).await.is_err() {
                return Some(End::Lost);
            }
        }
        while let Some(out) = self.line.pop(now) {
            if self.half_open {
                if let Some(note) = out.note {
                    self.shared.ledger.dropped(note.number, Some(note.to));
                }
                continue;
            }
            if let Err(end) = self
                .write(socket, Message::text(out.text.to_string()))
                .await
            {
                // It counts as not sent: another shard may get it.
                self.line.push(out);
                return Some(end);
            }
            if let Some(note) = out.note {
                self.shared.ledger.delivered(note.number, note.to);
            }
            self.keepalive_at = now + self.opened.keepalive;
        }
        if self.keepalive_at <= now && !self.silent {
            self.keepalive_at = now + self.opened.keepalive;
            let id = self.shared.state().uuid();
            let text = Message::text(frames::keepalive(&id));
            if !self.half_open
                && let Err(end) = self.write(socket, text).await
            {
                return Some(end);
            }
        }
        None
    }

    async fn write<S: Stream>(
        &self,
        socket: &mut WebSocketStream<S>,
        message: Message,
    ) -> Result<(), End> {
        match timeout(WRITE, socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Lost),
            Err(_) => Err(End::Close(4005, "network timeout")),
        }
    }

    /// Whether nothing uses the session. One that another socket has is used.
    fn is_unused(&self) -> bool {
        let state = self.shared.state();
        let session = state.sessions.get(&self.opened.id);
        session.is_some_and(|one| one.socket == self.opened.socket && !one.is_used())
    }

    fn leave(&mut self, end: End, orders: &mut mpsc::Receiver<Order>) {
        // Under the lock, so that nothing more is sent to it meanwhile.
        let mut state = self.shared.state();
        while let Ok(order) = orders.try_recv() {
            if let Order::Out(out) = order {
                self.line.push(out);
            }
        }
        let who = format!("eventsub/{}", self.opened.id);
        let detail = match end {
            End::Close(code, why) => {
                *state.counters.closes.entry(code).or_default() += 1;
                format!("{code} {why}")
            }
            End::Closed | End::Lost | End::Reset => format!("{end:?}"),
        };
        self.shared.ledger.log(who, "close", detail);
        let socket = (&self.opened.id, self.opened.socket);
        let left = self.line.drain();
        session::end(&self.shared, &mut state, socket, end.status(), left);
    }
}
