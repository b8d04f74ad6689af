//! A websocket client that does exactly what a test says.

pub(crate) mod process;

use std::time::Duration;

use baton_discord::{Discord, DiscordConfig};
use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_websockets::{ClientBuilder, CloseCode, MaybeTlsStream, Message, WebSocketStream};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Every intent of v10.
pub(crate) const ALL: u64 = baton_discord::intents::ALL;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    reader: Reader,
}

enum Reader {
    Plain,
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

/// What came: a payload, or the end with the close code (0 = none).
#[derive(Debug)]
pub(crate) enum Came {
    Payload(Value),
    End(u16),
}

pub(crate) async fn start(config: DiscordConfig) -> Discord {
    Discord::start(config).await.unwrap()
}

impl Client {
    /// Opens a websocket without reading HELLO.
    pub(crate) async fn open(url: &str, compress: &str) -> Self {
        let compress_query = if compress.is_empty() {
            String::new()
        } else {
            format!("&compress={compress}")
        };
        Self::open_url(
            &format!("{url}/?v=10&encoding=json{compress_query}"),
            compress,
        )
        .await
    }

    pub(crate) async fn open_url(url: &str, compress: &str) -> Self {
        let uri = url.parse().unwrap();
        let builder = ClientBuilder::from_uri(uri);
        let (ws, _) = timeout(PATIENCE, builder.connect()).await.unwrap().unwrap();
        let reader = match compress {
            "zlib-stream" => Reader::Zlib(Decompress::new(true)),
            "zstd-stream" => Reader::Zstd(DCtx::create()),
            _ => Reader::Plain,
        };
        Self { ws, reader }
    }

    /// Opens a websocket and reads HELLO.
    pub(crate) async fn hello(url: &str) -> Self {
        let mut client = Self::open(url, "").await;
        assert_eq!(client.payload().await["op"], 10);
        client
    }

    /// Opens, identifies, and reads READY and one `GUILD_CREATE` for each guild.
    pub(crate) async fn ready(url: &str, shard: (u32, u32)) -> (Self, Value) {
        let mut client = Self::hello(url).await;
        client.send(identify(shard)).await;
        let ready = client.event("READY").await;
        for _ in ready["d"]["guilds"].as_array().unwrap() {
            client.event("GUILD_CREATE").await;
        }
        (client, ready)
    }

    pub(crate) async fn send(&mut self, payload: Value) {
        self.ws
            .send(Message::text(payload.to_string()))
            .await
            .unwrap();
    }

    /// The next payload or the end.
    pub(crate) async fn next(&mut self) -> Came {
        loop {
            let came = timeout(PATIENCE, self.ws.next()).await;
            let Some(Ok(message)) = came.expect("nothing came") else {
                return Came::End(0);
            };
            if let Some((code, _)) = message.as_close() {
                return Came::End(code.into());
            }
            if message.is_text() || message.is_binary() {
                let text = self.reader.read(message.as_payload());
                return Came::Payload(serde_json::from_slice(&text).unwrap());
            }
        }
    }

    pub(crate) async fn payload(&mut self) -> Value {
        match self.next().await {
            Came::Payload(payload) => payload,
            Came::End(code) => panic!("closed with {code}"),
        }
    }

    /// The next payload, which must be this dispatch.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        let payload = self.payload().await;
        assert_eq!(payload["t"], kind, "{payload}");
        payload
    }

    /// The code with which the connection ends; everything before is skipped.
    pub(crate) async fn end(&mut self) -> u16 {
        loop {
            if let Came::End(code) = self.next().await {
                return code;
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn silent(&mut self, duration: Duration) {
        if let Ok(came) = timeout(duration, self.ws.next()).await {
            panic!("{came:?}");
        }
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = Message::close(Some(CloseCode::try_from(code).unwrap()), "");
        self.ws.send(frame).await.unwrap();
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.ws.next()).await {}
    }
}

impl Reader {
    fn read(&mut self, packed: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => packed.to_vec(),
            Self::Zlib(reader) => {
                let mut out = Vec::with_capacity(4096);
                let before = reader.total_in();
                loop {
                    let at = usize::try_from(reader.total_in() - before).unwrap();
                    if at == packed.len() && out.len() < out.capacity() {
                        return out;
                    }
                    out.reserve(out.capacity());
                    reader
                        .decompress_vec(&packed[at..], &mut out, FlushDecompress::Sync)
                        .unwrap();
                }
            }
            Self::Zstd(reader) => {
                let mut out = Vec::with_capacity(4096);
                let mut input = InBuffer::around(packed);
                loop {
                    let written = out.len();
                    let mut output = OutBuffer::around_pos(&mut out, written);
                    reader.decompress_stream(&mut output, &mut input).unwrap();
                    if input.pos == packed.len() && out.len() < out.capacity() {
                        return out;
                    }
                    out.reserve(out.capacity());
                }
            }
        }
    }
}

pub(crate) fn identify(shard: (u32, u32)) -> Value {
    identify_with(shard, ALL)
}

pub(crate) fn identify_with(shard: (u32, u32), intents: u64) -> Value {
    json!({"op": 2, "d": {
        "token": "Bot abc", "intents": intents, "shard": [shard.0, shard.1],
        "properties": {"os": "linux", "browser": "test", "device": "test"},
    }})
}

pub(crate) fn resume(session: &str, seq: u64) -> Value {
    json!({"op": 6, "d": {"token": "abc", "session_id": session, "seq": seq}})
}

pub(crate) fn session_of(ready: &Value) -> String {
    ready["d"]["session_id"].as_str().unwrap().to_owned()
}

pub(crate) fn resume_url(ready: &Value) -> String {
    ready["d"]["resume_gateway_url"]
        .as_str()
        .unwrap()
        .to_owned()
}
