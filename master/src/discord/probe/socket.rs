//! A gateway client for one question at a time: plain JSON, every wait bounded.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};

/// An answer takes no longer.
const ANSWER: Duration = Duration::from_secs(20);

/// Events are waited for no longer than this, however many come.
const EVENTS: Duration = Duration::from_secs(20);

/// A close frame is answered within this time.
const CLOSE: Duration = Duration::from_secs(2);

/// `GUILDS`: what it brings is small, needs no approval, and READY is followed by an
/// event of each guild.
const INTENTS: u64 = 1;

/// What a session is resumed with.
pub(super) struct Session {
    id: String,
    pub(super) resume_url: String,
}

/// What became of a RESUME.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The sequences that came before RESUMED.
    Resumed { replayed: Vec<u64> },
    /// Op 9.
    Invalid,
    /// A close frame's code; 1006: none.
    Closed(u16),
}

/// A connection behind HELLO.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sequence: u64,
    /// The last dispatch that a replay could bring: neither READY nor RESUMED.
    last_event: Option<u64>,
}

/// What came.
enum Said {
    Dispatch { kind: String, data: Value },
    Acknowledged,
    Invalid,
    Closed(u16),
    Other,
}

#[derive(Deserialize)]
struct Payload {
    op: u8,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default)]
    t: Option<String>,
    #[serde(default)]
    d: Value,
}

impl Socket {
    /// Dials, up to HELLO.
    pub(super) async fn dial(url: &str) -> Result<Self, String> {
        let uri = format!("{}/?v=10&encoding=json", url.trim_end_matches('/'));
        let uri = uri
            .parse()
            .map_err(|error| format!("the gateway's address {url}: {error}"))?;
        let dialled = timeout(ANSWER, ClientBuilder::from_uri(uri).connect()).await;
        let (stream, _) = dialled
            .map_err(|_| format!("{url} does not answer"))?
            .map_err(|error| format!("cannot reach {url}: {error}"))?;
        let mut socket = Self {
            stream,
            sequence: 0,
            last_event: None,
        };
        match socket.payload().await? {
            Ok(Payload { op: 10, .. }) => Ok(socket),
            Ok(Payload { op, .. }) => Err(format!("op {op} came where HELLO was due")),
            Err(code) => Err(format!("it closed with {code} where HELLO was due")),
        }
    }

    /// The sequence of the last dispatch.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// That of the last one that was neither READY nor RESUMED.
    pub(super) const fn last_event(&self) -> Option<u64> {
        self.last_event
    }

    /// IDENTIFYs and waits for READY.
    pub(super) async fn identify(
        &mut self,
        token: &str,
        (shard, count): (u32, u32),
    ) -> Result<Session, String> {
        let identify = json!({"op": 2, "d": {
            "token": token, "intents": INTENTS, "shard": [shard, count],
            "properties": {"os": "linux", "browser": "baton", "device": "baton"},
        }});
        self.send(&identify).await?;
        let text = |data: &Value, key: &str| data[key].as_str().map(str::to_owned);
        loop {
            match self.said().await? {
                Said::Dispatch { kind, data } if kind == "READY" => {
                    let session = text(&data, "session_id").zip(text(&data, "resume_gateway_url"));
                    let (id, resume_url) = session.ok_or("READY names no session")?;
                    return Ok(Session { id, resume_url });
                }
                Said::Invalid => return Err("Discord refused the IDENTIFY: op 9".to_owned()),
                Said::Closed(code) => {
                    return Err(format!("Discord refused the IDENTIFY: close {code}"));
                }
                Said::Dispatch { .. } | Said::Acknowledged | Said::Other => {}
            }
        }
    }

    /// RESUMEs behind `sequence`.
    pub(super) async fn resume(
        &mut self,
        token: &str,
        session: &Session,
        sequence: u64,
    ) -> Result<Answer, String> {
        let resume = json!({"op": 6, "d": {
            "token": token, "session_id": session.id, "seq": sequence,
        }});
        self.sequence = sequence;
        self.send(&resume).await?;
        let mut replayed = Vec::new();
        loop {
            match self.said().await? {
                Said::Dispatch { kind, .. } if kind == "RESUMED" => {
                    return Ok(Answer::Resumed { replayed });
                }
                Said::Dispatch { .. } => replayed.push(self.sequence),
                Said::Invalid => return Ok(Answer::Invalid),
                Said::Closed(code) => return Ok(Answer::Closed(code)),
                Said::Acknowledged | Said::Other => {}
            }
        }
    }

    /// Sends a heartbeat that names `sequence`; whether it is answered.
    pub(super) async fn heartbeat(&mut self, sequence: u64) -> Result<bool, String> {
        self.send(&json!({"op": 1, "d": sequence})).await?;
        loop {
            match self.said().await? {
                Said::Acknowledged => return Ok(true),
                Said::Closed(_) | Said::Invalid => return Ok(false),
                Said::Dispatch { .. } | Said::Other => {}
            }
        }
    }

    /// Reads until nothing comes for so long.
    pub(super) async fn until_quiet(&mut self, quiet: Duration) -> Result<(), String> {
        let enough = Instant::now() + EVENTS;
        loop {
            match timeout_at(enough.min(Instant::now() + quiet), self.said()).await {
                Err(_) => return Ok(()),
                Ok(Ok(Said::Closed(code))) => return Err(format!("it closed with {code}")),
                Ok(Ok(Said::Invalid)) => return Err("the session is over: op 9".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// The code with which it is closed within this time; `None`: it stays open.
    pub(super) async fn end(&mut self, within: Duration) -> Option<u16> {
        let until = Instant::now() + within;
        loop {
            match timeout_at(until, self.said()).await {
                Err(_) => return None,
                Ok(Ok(Said::Closed(code))) => return Some(code),
                Ok(Err(_)) => return Some(1006),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Closes with 4000, which leaves the session resumable.
    pub(super) async fn close(mut self) {
        let closing = async {
            let code = CloseCode::try_from(4000).ok();
            // It may be closed already.
            let _ = self.stream.send(Message::close(code, "")).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let _ = timeout(CLOSE, closing).await;
    }

    async fn send(&mut self, payload: &Value) -> Result<(), String> {
        let sent = self.stream.send(Message::text(payload.to_string())).await;
        sent.map_err(|error| format!("the connection broke: {error}"))
    }

    async fn said(&mut self) -> Result<Said, String> {
        let payload = match self.payload().await? {
            Ok(payload) => payload,
            Err(code) => return Ok(Said::Closed(code)),
        };
        Ok(match (payload.op, payload.s, payload.t) {
            (0, Some(sequence), Some(kind)) => {
                self.sequence = sequence;
                if kind != "READY" && kind != "RESUMED" {
                    self.last_event = Some(sequence);
                }
                Said::Dispatch {
                    kind,
                    data: payload.d,
                }
            }
            (9, _, _) => Said::Invalid,
            (11, _, _) => Said::Acknowledged,
            _ => Said::Other,
        })
    }

    /// The next payload, or the code with which the connection was closed; 1006:
    /// without a close frame.
    async fn payload(&mut self) -> Result<Result<Payload, u16>, String> {
        let message = timeout(ANSWER, self.stream.next())
            .await
            .map_err(|_| format!("nothing came for {ANSWER:?}"))?;
        let Some(Ok(message)) = message else {
            return Ok(Err(1006));
        };
        if let Some((code, _)) = message.as_close() {
            return Ok(Err(code.into()));
        }
        // It may contain something secret.
        serde_json::from_str(message.as_text().unwrap_or_default())
            .map(Ok)
            .map_err(|_| "something came that is no gateway payload".to_owned())
    }
}
