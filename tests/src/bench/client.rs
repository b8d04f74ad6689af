//! A minimal gateway client: nothing but a websocket, the compression of the
//! slave's build, and the sequence of each dispatch. It is the floor beside which
//! handovers are measured.

use std::{fmt, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use crate::{
    demo::now_us,
    discord::{INTENTS, TOKEN},
    error::{Error, Result},
};

/// How it talks.
pub const WIRE: &str = "zstd-stream, no TLS";

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Up to so many members a guild comes with all of them: as much as can be asked for, and what
/// slaves ask for.
const LARGE: u32 = 250;

/// How a client and a gateway talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Each message is the text of a payload.
    Plain,
    /// `zstd-stream`.
    Zstd,
}

/// A connection behind HELLO. A gateway that asks what came (op 1) is answered.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    inflater: Option<Inflater>,
    /// The last sequence that came.
    last: Option<u64>,
}

/// One stream for each connection, flushed by the gateway after each payload.
struct Inflater {
    context: DCtx<'static>,
    text: Vec<u8>,
}

/// What is needed to go on with a session.
#[derive(Clone, Debug)]
pub struct Session {
    id: String,
    resume_url: String,
}

/// A dispatch as it came.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its sequence.
    pub sequence: u64,
    /// Its type.
    pub kind: String,
    /// When it came, in microseconds of the host's monotonic clock.
    pub at_us: u64,
    session: Option<Session>,
}

#[derive(Deserialize)]
struct Payload {
    op: u8,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default)]
    t: Option<String>,
}

#[derive(Deserialize)]
struct Ready {
    d: ReadyData,
}

#[derive(Deserialize)]
struct ReadyData {
    session_id: String,
    resume_gateway_url: String,
}

impl Client {
    /// Dials, up to HELLO.
    ///
    /// # Errors
    /// There is no gateway, or it says something else.
    pub async fn dial(url: &str) -> Result<Self> {
        Self::dial_as(url, Wire::Zstd).await
    }

    /// The same with or without compression.
    ///
    /// # Errors
    /// As [`dial`](Self::dial).
    pub async fn dial_as(url: &str, wire: Wire) -> Result<Self> {
        let compress = match wire {
            Wire::Plain => "",
            Wire::Zstd => "&compress=zstd-stream",
        };
        let url = url.trim_end_matches('/');
        let uri = format!("{url}/?v=10&encoding=json{compress}");
        let uri = uri
            .parse()
            .map_err(|error| Error::answer("the gateway's address", error))?;
        let connected = tokio::time::timeout(LIMIT, ClientBuilder::from_uri(uri).connect()).await;
        let (socket, _) = connected
            .map_err(|_| Error::Late(format!("no connection after {LIMIT:?}")))?
            .map_err(|error| Error::answer("the gateway", error))?;
        let mut client = Self {
            socket,
            inflater: (wire == Wire::Zstd).then(Inflater::new),
            last: None,
        };
        match client.payload().await?.0.op {
            10 => Ok(client),
            op => Err(Error::answer(
                "the gateway",
                format!("op {op} before HELLO"),
            )),
        }
    }

    /// Identifies a shard and waits for READY.
    ///
    /// # Errors
    /// The gateway refuses.
    pub async fn identify(&mut self, shard: u32, shards: u32) -> Result<Session> {
        self.send_identify(shard, shards).await?;
        loop {
            if let Some(session) = self.next().await?.session {
                return Ok(session);
            }
        }
    }

    /// Identifies a shard, and waits for nothing.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_identify(&mut self, shard: u32, shards: u32) -> Result<()> {
        let identify = json!({"op": 2, "d": {
            "token": TOKEN, "intents": INTENTS, "shard": [shard, shards],
            "large_threshold": LARGE,
            "properties": {"os": "linux", "browser": "bench", "device": "bench"},
        }});
        self.send(identify.to_string()).await
    }

    /// Sends RESUME.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn resume(&mut self, session: &Session, sequence: u64) -> Result<()> {
        let resume = json!({"op": 6, "d": {
            "token": TOKEN, "session_id": session.id, "seq": sequence,
        }});
        self.send(resume.to_string()).await
    }

    /// The next dispatch.
    ///
    /// # Errors
    /// The connection is gone, or nothing comes for 30 s.
    pub async fn next(&mut self) -> Result<Got> {
        loop {
            let (payload, text) = self.payload().await?;
            let at_us = now_us();
            match (payload.op, payload.s, payload.t) {
                (0, Some(sequence), Some(kind)) => {
                    let session = if kind == "READY" {
                        Some(ready(&text)?)
                    } else {
                        None
                    };
                    return Ok(Got {
                        sequence,
                        kind,
                        at_us,
                        session,
                    });
                }
                (9, _, _) => return Err(Error::answer("the gateway", "op 9")),
                _ => {}
            }
        }
    }

    /// The next dispatch, as it came.
    ///
    /// # Errors
    /// The connection is gone, or nothing comes for 30 s.
    pub async fn next_text(&mut self) -> Result<String> {
        loop {
            let (payload, text) = self.payload().await?;
            if payload.op == 0 {
                return Ok(text);
            }
        }
    }

    /// Closes with 4000: the session stays resumable.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn close(mut self) -> Result<()> {
        let code = CloseCode::try_from(4000)
            .map_err(|error| Error::answer("a close code", format!("{error:?}")))?;
        self.socket
            .send(Message::close(Some(code), ""))
            .await
            .map_err(|error| Error::answer("the gateway", error))
    }

    async fn send(&mut self, text: String) -> Result<()> {
        self.socket
            .send(Message::text(text))
            .await
            .map_err(|error| Error::answer("the gateway", error))
    }

    async fn payload(&mut self) -> Result<(Payload, String)> {
        let message = tokio::time::timeout(LIMIT, self.socket.next())
            .await
            .map_err(|_| Error::Late(format!("nothing came for {LIMIT:?}")))?
            .ok_or_else(|| Error::answer("the gateway", "it closed"))?
            .map_err(|error| Error::answer("the gateway", error))?;
        let text = match &mut self.inflater {
            Some(inflater) => inflater.read(message.as_payload())?.to_owned(),
            None => {
                let text = message.as_text();
                text.ok_or_else(|| Error::answer("the gateway", "bytes"))?
                    .to_owned()
            }
        };
        let payload: Payload =
            serde_json::from_str(&text).map_err(|error| Error::answer("the gateway", error))?;
        self.last = payload.s.or(self.last);
        if payload.op == 1 {
            let answer = json!({"op": 1, "d": self.last});
            self.send(answer.to_string()).await?;
        }
        Ok((payload, text))
    }
}

impl Inflater {
    fn new() -> Self {
        Self {
            context: DCtx::create(),
            text: Vec::with_capacity(DCtx::out_size()),
        }
    }

    /// The payload of one message.
    fn read(&mut self, message: &[u8]) -> Result<&str> {
        self.text.clear();
        let mut input = InBuffer::around(message);
        loop {
            let written = self.text.len();
            let mut output = OutBuffer::around_pos(&mut self.text, written);
            let stream = self.context.decompress_stream(&mut output, &mut input);
            stream.map_err(|code| Error::answer("zstd", zstd_safe::get_error_name(code)))?;
            // Spare room means that nothing of the message is left inside.
            if input.pos == message.len() && self.text.len() < self.text.capacity() {
                break;
            }
            self.text.reserve(self.text.capacity());
        }
        std::str::from_utf8(&self.text).map_err(|error| Error::answer("a payload", error))
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Session {
    /// Where it is resumed.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.resume_url
    }
}

fn ready(text: &str) -> Result<Session> {
    let ready: Ready = serde_json::from_str(text).map_err(|error| Error::answer("READY", error))?;
    Ok(Session {
        id: ready.d.session_id,
        resume_url: ready.d.resume_gateway_url,
    })
}
