//! The connection of a player to Discord's voice gateway, version 8: everything but sound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{interval, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

use crate::{Shared, player::Voice};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long it may take to be let in.
const PATIENCE: Duration = Duration::from_secs(10);
/// The way of encryption that every voice server has to offer.
const MODE: &str = "aead_xchacha20_poly1305_rtpsize";

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A connection that takes sound. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Link {
    number: u64,
    ping_ms: Arc<AtomicI64>,
    _stops: DropGuard,
}

impl Link {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// -1: nothing was measured yet.
    pub(crate) fn ping_ms(&self) -> i64 {
        self.ping_ms.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self {
            number: 0,
            ping_ms: Arc::default(),
            _stops: CancellationToken::new().drop_guard(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) by_remote: bool,
}

impl Closed {
    /// Without a word of the other side.
    fn lost(reason: impl Into<String>) -> Self {
        Self {
            code: 1006,
            reason: reason.into(),
            by_remote: false,
        }
    }
}

/// Connects a player, and serves the connection until it ends; then the session hears of it.
pub(crate) async fn connect(
    shared: &Arc<Shared>,
    (session, guild): (&str, u64),
    user: u64,
    voice: &Voice,
) -> Result<Link, Closed> {
    let opened = timeout(PATIENCE, open(shared, guild, user, voice)).await;
    let (socket, every) = opened.unwrap_or_else(|_| Err(Closed::lost("no answer in time")))?;
    let stops = CancellationToken::new();
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let ping_ms = Arc::new(AtomicI64::new(-1));
    let (ended, ping) = (stops.clone(), Arc::clone(&ping_ms));
    let (shared, session) = (Arc::clone(shared), session.to_owned());
    tokio::spawn(async move {
        let closed = tokio::select! {
            closed = serve(socket, every, &ping) => closed,
            // Closed from here: nobody is told.
            () = ended.cancelled() => return,
            () = shared.stop.cancelled() => return,
        };
        shared
            .sessions()
            .voice_closed(&shared, &session, guild, number, &closed);
    });
    Ok(Link {
        number,
        ping_ms,
        _stops: stops.drop_guard(),
    })
}

/// Until the other side would take sound; and how often it wants a heartbeat.
async fn open(
    shared: &Shared,
    guild: u64,
    user: u64,
    voice: &Voice,
) -> Result<(Socket, Duration), Closed> {
    let uri = format!("{}://{}/?v=8", shared.config.voice_scheme, voice.endpoint);
    let uri = uri
        .parse::<http::Uri>()
        .map_err(|_| Closed::lost("no endpoint"))?;
    let connected = ClientBuilder::from_uri(uri).connect().await;
    let (mut socket, _) = connected.map_err(|error| Closed::lost(error.to_string()))?;
    let hello = until(&mut socket, 8).await?;
    let every = hello["heartbeat_interval"].as_f64().unwrap_or(0.0);
    if every < 1.0 {
        return Err(Closed::lost("a HELLO without an interval"));
    }
    let identify = json!({
        "server_id": guild.to_string(),
        "user_id": user.to_string(),
        "session_id": voice.session,
        "token": voice.token,
    });
    say(&mut socket, 0, &identify).await?;
    let ready = until(&mut socket, 2).await?;
    let data = json!({"address": ready["ip"], "port": ready["port"], "mode": MODE});
    say(&mut socket, 1, &json!({"protocol": "udp", "data": data})).await?;
    until(&mut socket, 4).await?;
    Ok((socket, Duration::from_millis(every as u64)))
}

async fn serve(mut socket: Socket, every: Duration, ping_ms: &AtomicI64) -> Closed {
    let mut beats = interval(every);
    let (mut nonce, mut sent, mut answered) = (0_u64, Instant::now(), true);
    loop {
        tokio::select! {
            _ = beats.tick() => {
                if !std::mem::take(&mut answered) {
                    return Closed::lost("no heartbeat was answered");
                }
                nonce += 1;
                sent = Instant::now();
                if let Err(closed) = say(&mut socket, 3, &json!({"t": nonce})).await {
                    return closed;
                }
            }
            payload = next(&mut socket) => match payload {
                Ok((6, _)) => {
                    answered = true;
                    let took = i64::try_from(sent.elapsed().as_millis()).unwrap_or(i64::MAX);
                    ping_ms.store(took, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(closed) => return closed,
            },
        }
    }
}

/// The `d` of the next payload with this opcode.
async fn until(socket: &mut Socket, wanted: u64) -> Result<Value, Closed> {
    loop {
        let (op, data) = next(socket).await?;
        if op == wanted {
            return Ok(data);
        }
    }
}

async fn next(socket: &mut Socket) -> Result<(u64, Value), Closed> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Closed::lost(error.to_string())),
            None => return Err(Closed::lost("the connection ended")),
        };
        if let Some((code, reason)) = message.as_close() {
            return Err(Closed {
                code: code.into(),
                reason: reason.to_owned(),
                by_remote: true,
            });
        }
        let Some(text) = message.as_text() else {
            continue;
        };
        let mut payload: Value =
            serde_json::from_str(text).map_err(|_| Closed::lost("no JSON came"))?;
        let op = payload["op"].as_u64();
        let op = op.ok_or_else(|| Closed::lost("a payload without an opcode"))?;
        return Ok((op, payload["d"].take()));
    }
}

async fn say(socket: &mut Socket, op: u64, data: &Value) -> Result<(), Closed> {
    let text = json!({"op": op, "d": data}).to_string();
    let sent = socket.send(Message::text(text)).await;
    sent.map_err(|error| Closed::lost(error.to_string()))
}
