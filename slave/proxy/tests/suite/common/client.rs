//! A client that does exactly what a test says.

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use super::soon;

pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    reader: Reader,
    /// The sequence that it received last.
    pub(crate) sequence: Option<u64>,
    /// Heartbeats that were not answered yet.
    unanswered: usize,
    pub(crate) manner: Manner,
}

/// What becomes of op 1 and op 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Op 1 is answered, as a library does. Both are not shown.
    Answers,
    /// Neither answered nor shown.
    Silent,
    /// Shown.
    Raw,
}

enum Reader {
    /// Text, or a zlib document each.
    Single,
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    Payload(Value),
    /// With its code and reason; 0: no close frame.
    End(u16, String),
}

impl Client {
    /// Opens a websocket, and reads nothing yet.
    pub(crate) async fn open(url: &str) -> Self {
        let builder = ClientBuilder::from_uri(url.parse().unwrap());
        let (ws, _) = soon(builder.connect()).await.unwrap();
        let reader = if url.contains("zlib-stream") {
            Reader::Zlib(Decompress::new(true))
        } else if url.contains("zstd-stream") {
            Reader::Zstd(DCtx::create())
        } else {
            Reader::Single
        };
        Self {
            ws,
            reader,
            sequence: None,
            unanswered: 0,
            manner: Manner::Answers,
        }
    }

    pub(crate) async fn send(&mut self, payload: Value) {
        self.unanswered += usize::from(payload["op"] == 1);
        self.send_text(payload.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        soon(self.ws.send(Message::text(text))).await.unwrap();
    }

    /// Closes with this code.
    pub(crate) async fn close(mut self, code: u16) {
        let code = CloseCode::try_from(code).unwrap();
        let frame = Message::close(Some(code), "");
        soon(self.ws.send(frame)).await.unwrap();
        while let Some(Ok(_)) = soon(self.ws.next()).await {}
    }

    /// What comes next. Op 1 is answered, if the client does that.
    pub(crate) async fn came(&mut self) -> Came {
        loop {
            let Some(Ok(message)) = soon(self.ws.next()).await else {
                return Came::End(0, String::new());
            };
            if let Some((code, reason)) = message.as_close() {
                return Came::End(code.into(), reason.to_owned());
            }
            if !message.is_text() && !message.is_binary() {
                continue;
            }
            let payload: Value = serde_json::from_slice(&self.read(&message)).unwrap();
            if let Some(sequence) = payload["s"].as_u64() {
                self.sequence = Some(sequence);
            }
            self.unanswered -= usize::from(payload["op"] == 11);
            let is_beat = payload["op"] == 1 || payload["op"] == 11;
            if !is_beat || self.manner == Manner::Raw {
                return Came::Payload(payload);
            }
            if payload["op"] == 1 && self.manner == Manner::Answers {
                self.beat().await;
            }
        }
    }

    /// The next payload.
    pub(crate) async fn payload(&mut self) -> Value {
        match self.came().await {
            Came::Payload(payload) => payload,
            Came::End(code, reason) => panic!("closed with {code} {reason}"),
        }
    }

    /// The code and the reason of the close that comes next.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.came().await {
            Came::Payload(payload) => panic!("a payload came: {payload}"),
            Came::End(code, reason) => (code, reason),
        }
    }

    pub(crate) async fn beat(&mut self) {
        self.send(json!({"op": 1, "d": self.sequence})).await;
    }

    /// READY and a GUILD_CREATE for each guild that it names and that has no outage.
    pub(crate) async fn greeting(&mut self) -> Vec<Value> {
        self.greeting_of(2).await
    }

    /// READY and so many dispatches behind it.
    pub(crate) async fn greeting_of(&mut self, more: usize) -> Vec<Value> {
        let mut greeting = vec![self.payload().await];
        assert_eq!(greeting[0]["t"], "READY", "{}", greeting[0]);
        for _ in 0..more {
            greeting.push(self.payload().await);
        }
        greeting
    }

    /// The next dispatches: their sequence and, of those events that a rig counts, the
    /// number.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<(u64, Option<u64>)> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let payload = self.payload().await;
            assert_eq!(payload["op"], 0, "{payload}");
            numbers.push((payload["s"].as_u64().unwrap(), payload["d"]["n"].as_u64()));
        }
        numbers
    }

    /// Nothing comes before the answer to a heartbeat, which follows those to all before it.
    pub(crate) async fn nothing(&mut self) {
        let manner = std::mem::replace(&mut self.manner, Manner::Raw);
        self.send(json!({"op": 1, "d": null})).await;
        loop {
            let came = self.payload().await;
            if came["op"] == 11 {
                if self.unanswered == 0 {
                    break;
                }
                continue;
            }
            assert_eq!(came["op"], 1, "{came}");
            if manner == Manner::Answers {
                self.beat().await;
            }
        }
        self.manner = manner;
    }

    fn read(&mut self, message: &Message) -> Vec<u8> {
        let part = message.as_payload();
        let mut out = Vec::with_capacity(4096);
        match &mut self.reader {
            Reader::Single if message.is_text() => out.extend_from_slice(part),
            Reader::Single => {
                let mut whole = Decompress::new(true);
                inflate(&mut whole, part, &mut out);
            }
            Reader::Zlib(stream) => {
                assert!(part.ends_with(&[0, 0, 0xff, 0xff]));
                inflate(stream, part, &mut out);
            }
            Reader::Zstd(stream) => {
                let mut input = InBuffer::around(part);
                while input.pos < part.len() {
                    out.reserve(4096);
                    let at = out.len();
                    let mut into = OutBuffer::around_pos(&mut out, at);
                    stream.decompress_stream(&mut into, &mut input).unwrap();
                }
                // What is left inside.
                loop {
                    out.reserve(4096);
                    let at = out.len();
                    let mut into = OutBuffer::around_pos(&mut out, at);
                    stream.decompress_stream(&mut into, &mut input).unwrap();
                    if into.pos() == at {
                        break;
                    }
                }
            }
        }
        out
    }
}

fn inflate(stream: &mut Decompress, mut part: &[u8], out: &mut Vec<u8>) {
    loop {
        out.reserve(4096);
        let (taken, before) = (stream.total_in(), out.len());
        let flush = FlushDecompress::Sync;
        stream.decompress_vec(part, out, flush).unwrap();
        part = &part[usize::try_from(stream.total_in() - taken).unwrap()..];
        if part.is_empty() && (out.len() == before || out.len() < out.capacity()) {
            return;
        }
    }
}
