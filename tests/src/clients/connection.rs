//! One shard of a bot, from its first IDENTIFY to its end: HELLO, IDENTIFY or RESUME,
//! heartbeats, op 7 and op 9, and again, as Discord's documentation says.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};

use super::{
    bot::{Act, Dies, Reads, Shared},
    follow::{Dispatch, Follower, read_stamp},
};
use crate::discord::{INTENTS, TOKEN};

/// Between two dials.
const REDIAL: Duration = Duration::from_millis(50);
/// Close codes after which a library does not come back.
const FATAL: [u16; 6] = [4004, 4010, 4011, 4012, 4013, 4014];
/// Until HELLO names an interval.
const FIRST_BEAT: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client has to know to go on.
#[derive(Clone, Debug)]
struct Session {
    id: String,
    url: String,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// It comes back, with its session if it has one.
    Again,
    /// It comes back after so long.
    After(Duration),
    /// It does not come back.
    Never,
}

/// See the [module](self).
pub(super) struct Connection {
    shared: Shared,
    shard: u32,
    told: mpsc::Receiver<Act>,
    session: Option<Session>,
    follower: Follower,
    /// Dispatches since RESUME, until RESUMED.
    replayed: Option<u32>,
    /// What a RESUME acknowledges, until it is accepted.
    unheard: Option<u64>,
    /// Sockets that nobody looks at any more.
    left_open: Vec<Socket>,
    beat: Duration,
}

impl Connection {
    pub(super) fn new(shared: Shared, shard: u32, told: mpsc::Receiver<Act>) -> Self {
        Self {
            follower: Follower::new(shared.journal.clone(), shared.life, shard),
            shared,
            shard,
            told,
            session: None,
            replayed: None,
            unheard: None,
            left_open: Vec::new(),
            beat: FIRST_BEAT,
        }
    }

    /// Comes as often as it has to.
    pub(super) async fn live(mut self) {
        loop {
            let pause = match self.once().await {
                End::Again => REDIAL,
                End::After(pause) => pause,
                End::Never => break,
            };
            self.shared.journal.breaks();
            sleep(pause).await;
        }
        self.shared.journal.breaks();
    }

    async fn once(&mut self) -> End {
        let base = match &self.session {
            Some(session) => session.url.clone(),
            None => format!("ws://{}", self.shared.gateway),
        };
        let url = format!("{}/?v=10&encoding=json", base.trim_end_matches('/'));
        let Ok(url) = url.parse() else {
            self.follower
                .strange(&format!("an address that is none: {base}"));
            return End::Never;
        };
        let Ok((socket, _)) = ClientBuilder::from_uri(url).connect().await else {
            return End::Again;
        };
        (self.replayed, self.unheard) = (None, None);
        self.talk(socket).await
    }

    async fn talk(&mut self, mut socket: Socket) -> End {
        let mut reads = self.shared.reads.clone();
        let mut due = Instant::now() + FIRST_BEAT;
        let mut is_acknowledged = true;
        let mut hear = true;
        loop {
            let how = *reads.borrow_and_update();
            tokio::select! {
                changed = reads.changed() => {
                    if changed.is_err() {
                        return End::Never;
                    }
                }
                act = self.told.recv(), if hear => match act {
                    None => hear = false,
                    Some(Act::Garbage) => {
                        let _ = socket.send(Message::text("{\"op\": 3, \"d\": ")).await;
                    }
                    Some(Act::HalfOpen) => {
                        self.left_open.push(socket);
                        return End::Again;
                    }
                    Some(Act::Away(pause)) => {
                        close(&mut socket).await;
                        return End::After(pause);
                    }
                },
                () = sleep_until(due) => {
                    if !is_acknowledged {
                        return End::Again;
                    }
                    is_acknowledged = false;
                    due = Instant::now() + self.beat;
                    if !self.heartbeat(&mut socket).await {
                        return End::Again;
                    }
                }
                message = socket.next(), if how != Reads::Nothing => {
                    let Some(Ok(message)) = message else {
                        return End::Again;
                    };
                    if let Some((code, reason)) = message.as_close() {
                        return self.closed(code.into(), reason);
                    }
                    let Some(text) = message.as_text() else {
                        continue;
                    };
                    let Ok(payload) = serde_json::from_str::<Value>(text) else {
                        self.follower.strange(&format!("no JSON: {text}"));
                        return End::Never;
                    };
                    if payload["op"] == 11 {
                        is_acknowledged = true;
                    }
                    if let Some(end) = self.payload(&mut socket, &payload).await {
                        return end;
                    }
                    if payload["op"] == 10 {
                        due = Instant::now() + self.beat;
                    }
                    if let Reads::Slowly(pause) = how {
                        sleep(pause).await;
                    }
                }
            }
        }
    }

    fn closed(&mut self, code: u16, reason: &str) -> End {
        match code {
            _ if FATAL.contains(&code) => {
                // Who was taken over from, and comes back, is told to stay away.
                if code != 4004 {
                    self.follower
                        .strange(&format!("closed with {code} {reason}"));
                }
                End::Never
            }
            4007 => {
                self.follower
                    .strange(&format!("closed with {code} {reason}"));
                self.session = None;
                End::Again
            }
            _ => End::Again,
        }
    }

    /// Obeys one payload; an end is the connection's.
    async fn payload(&mut self, socket: &mut Socket, payload: &Value) -> Option<End> {
        match payload["op"].as_u64() {
            Some(0) => return self.dispatch(payload).then_some(End::Never),
            Some(1) if self.heartbeat(socket).await => {}
            Some(1) => return Some(End::Again),
            Some(7) => {
                close(socket).await;
                return Some(End::Again);
            }
            Some(9) if payload["d"] == true => {
                close(socket).await;
                return Some(End::Again);
            }
            Some(9) => {
                (self.session, self.unheard) = (None, None);
                return self.enter(socket).await;
            }
            Some(10) => {
                let interval = payload["d"]["heartbeat_interval"].as_u64();
                self.beat = Duration::from_millis(interval.unwrap_or(41_250));
                return self.enter(socket).await;
            }
            Some(11) => {}
            _ => self
                .follower
                .strange(&format!("an unknown payload: {payload}")),
        }
        None
    }

    /// IDENTIFY or RESUME.
    async fn enter(&mut self, socket: &mut Socket) -> Option<End> {
        let payload = match &self.session {
            Some(session) => {
                self.replayed = Some(0);
                let sequence = self.follower.sequence();
                self.unheard = Some(sequence);
                json!({"op": 6, "d": {
                    "token": TOKEN, "session_id": session.id, "seq": sequence,
                }})
            }
            None => json!({"op": 2, "d": {
                "token": TOKEN, "intents": INTENTS, "shard": [self.shard, self.shared.shards],
                "properties": {"os": "linux", "browser": "tests", "device": "tests"},
            }}),
        };
        let sent = socket.send(Message::text(payload.to_string())).await;
        sent.is_err().then_some(End::Again)
    }

    async fn heartbeat(&self, socket: &mut Socket) -> bool {
        let session = self.session.as_ref();
        let sequence = session.map(|_| self.follower.sequence());
        let beat = json!({"op": 1, "d": sequence});
        let sent = socket.send(Message::text(beat.to_string())).await.is_ok();
        if let Some(sequence) = sequence.filter(|_| sent) {
            self.follower.says(sequence);
        }
        sent
    }

    /// Takes a dispatch in; true: this is where the bot dies.
    fn dispatch(&mut self, payload: &Value) -> bool {
        let (kind, d) = (payload["t"].as_str().unwrap_or_default(), &payload["d"]);
        if let Some(sequence) = self.unheard.take().filter(|_| kind != "READY") {
            self.follower.says(sequence);
        }
        let guilds = d["guilds"].as_array().into_iter().flatten();
        let guilds = guilds.filter_map(|guild| guild["id"].as_str().map(str::to_owned));
        self.follower.dispatch(Dispatch {
            kind,
            sequence: payload["s"].as_u64(),
            stamp: d["_stamp"].as_str().and_then(read_stamp),
            guild: d["id"].as_str(),
            guilds: guilds.collect(),
        });
        match kind {
            "READY" => {
                let text = |name: &str| d[name].as_str().unwrap_or_default().to_owned();
                let (id, url) = (text("session_id"), text("resume_gateway_url"));
                if id.is_empty() || url.is_empty() || d["user"]["id"].is_null() {
                    self.follower
                        .strange(&format!("READY without what belongs to it: {d}"));
                }
                self.session = Some(Session { id, url });
                return false;
            }
            "RESUMED" => {
                self.replayed = None;
                return false;
            }
            _ => {}
        }
        if let Some(replayed) = &mut self.replayed {
            *replayed += 1;
            if let Dies::InReplay(after) = self.shared.dies {
                return *replayed >= after;
            }
        }
        self.shared.dies == Dies::InReady && self.follower.is_being_greeted()
    }
}

/// Closes so that the session stays.
async fn close(socket: &mut Socket) {
    if let Ok(code) = CloseCode::try_from(4000) {
        let _ = socket.send(Message::close(Some(code), "")).await;
    }
}
