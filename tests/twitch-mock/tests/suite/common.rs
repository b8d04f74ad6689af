//! Clients of the tests: a connection to IRC, a socket of EventSub, a caller of Helix.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream},
    time::timeout,
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use twitch_mock::{Config, Request, Twitch};

/// A while in which everything that is due comes: the clock jumps over it.
pub(crate) const A_WHILE: Duration = Duration::from_millis(100);

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn twitch(change: impl FnOnce(&mut Config)) -> Twitch {
    let mut config = Config::default();
    change(&mut config);
    Twitch::without_network(config).unwrap()
}

/// A connection to IRC.
pub(crate) struct Irc(BufReader<DuplexStream>);

impl Irc {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Logged in, with all capabilities.
    pub(crate) async fn login(twitch: &Twitch, nick: &str) -> Self {
        let mut irc = Self::new(twitch.irc());
        irc.say("CAP REQ :twitch.tv/tags twitch.tv/commands twitch.tv/membership")
            .await;
        irc.say("PASS oauth:secret").await;
        irc.say(&format!("NICK {nick}")).await;
        let text = irc.rest(A_WHILE).await.join("\n");
        assert!(text.contains("376"), "{text}");
        irc
    }

    /// Also joined.
    pub(crate) async fn joined(twitch: &Twitch, nick: &str, channels: &str) -> Self {
        let mut irc = Self::login(twitch, nick).await;
        irc.say(&format!("JOIN {channels}")).await;
        irc.rest(A_WHILE).await;
        irc
    }

    pub(crate) async fn say(&mut self, line: &str) {
        // Whoever was closed hears it by reading.
        let _ = self
            .0
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .await;
    }

    /// The next line; `None` at the end, or if none comes for an hour.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.within(seconds(3600)).await.ok().flatten()
    }

    async fn within(&mut self, wait: Duration) -> Result<Option<String>, ()> {
        let mut line = String::new();
        match timeout(wait, self.0.read_line(&mut line)).await {
            Ok(Ok(0) | Err(_)) => Ok(None),
            Ok(Ok(_)) => Ok(Some(line.trim_end().to_owned())),
            Err(_) => Err(()),
        }
    }

    /// All lines until none comes for so long.
    pub(crate) async fn rest(&mut self, wait: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(Some(line)) = self.within(wait).await {
            lines.push(line);
        }
        lines
    }

    /// What comes of a line.
    pub(crate) async fn ask(&mut self, line: &str) -> Vec<String> {
        self.say(line).await;
        self.rest(A_WHILE).await
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        loop {
            match self.within(A_WHILE).await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(()) => return false,
            }
        }
    }
}

/// The value of a tag.
pub(crate) fn tag<'a>(line: &'a str, name: &str) -> &'a str {
    let tags = line.strip_prefix('@').and_then(|rest| rest.split_once(' '));
    let mut pairs = tags
        .unwrap()
        .0
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name}: {line}"))
        .1
}

/// What a socket of EventSub got.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    Message(Value),
    Close(u16),
    End,
    Nothing,
}

impl Got {
    pub(crate) fn message(self) -> Value {
        match self {
            Self::Message(message) => message,
            Self::Close(_) | Self::End | Self::Nothing => panic!("no message: {self:?}"),
        }
    }
}

/// A socket of EventSub.
pub(crate) struct Socket {
    stream: WebSocketStream<DuplexStream>,
    pub(crate) id: String,
    pub(crate) welcome: Value,
}

impl Socket {
    /// Has its Welcome.
    pub(crate) async fn open(twitch: &Twitch, query: &str) -> Self {
        let mut socket = Self::raw(twitch, query).await;
        socket.welcome = socket.next().await.message();
        assert_eq!(
            socket.welcome["metadata"]["message_type"],
            "session_welcome"
        );
        socket.id = socket.welcome["payload"]["session"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        socket
    }

    pub(crate) async fn raw(twitch: &Twitch, query: &str) -> Self {
        let uri = format!("ws://localhost/ws{query}");
        let builder = ClientBuilder::new().uri(&uri).unwrap();
        let (stream, _) = builder.connect_on(twitch.eventsub()).await.unwrap();
        Self {
            stream,
            id: String::new(),
            welcome: Value::Null,
        }
    }

    /// The next that is no Ping, within an hour.
    pub(crate) async fn next(&mut self) -> Got {
        self.within(seconds(3600)).await
    }

    pub(crate) async fn within(&mut self, wait: Duration) -> Got {
        let next = async {
            loop {
                match self.stream.next().await {
                    None | Some(Err(_)) => return Got::End,
                    Some(Ok(message)) => {
                        if let Some(text) = message.as_text() {
                            return Got::Message(serde_json::from_str(text).unwrap());
                        }
                        if let Some((code, _)) = message.as_close() {
                            return Got::Close(code.into());
                        }
                    }
                }
            }
        };
        timeout(wait, next).await.unwrap_or(Got::Nothing)
    }

    /// Every message until nothing comes for a while, but keepalives.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Got::Message(message) = self.within(A_WHILE).await {
            if message["metadata"]["message_type"] != "session_keepalive" {
                all.push(message);
            }
        }
        all
    }

    /// The next message of this type, passing over some others.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        for _ in 0..100 {
            let message = self.next().await.message();
            if message["metadata"]["message_type"] == kind {
                return message;
            }
        }
        panic!("no {kind}");
    }

    /// The code with which it is closed, passing over some messages.
    pub(crate) async fn close_code(&mut self) -> u16 {
        for _ in 0..100 {
            match self.next().await {
                Got::Message(_) => {}
                Got::Close(code) => return code,
                other @ (Got::End | Got::Nothing) => panic!("{other:?}"),
            }
        }
        panic!("it goes on and on");
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    pub(crate) async fn close(mut self) {
        let _ = self.stream.close().await;
    }
}

/// The status and the body of an answer.
pub(crate) fn ask(twitch: &Twitch, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask_as(twitch, &app_token(twitch), method, path, body)
}

pub(crate) fn ask_as(
    twitch: &Twitch,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let reply = twitch.helix(&Request::new(method, path, token, body));
    (reply.status, reply.body)
}

/// A token of the application.
pub(crate) fn app_token(twitch: &Twitch) -> String {
    let target = "/oauth2/token?client_id=client&client_secret=x&grant_type=client_credentials";
    let reply = twitch.helix(&Request::new("POST", target, "", &Value::Null));
    reply.body["access_token"].as_str().unwrap().to_owned()
}

/// A conduit with so many shards.
pub(crate) fn conduit(twitch: &Twitch, shards: u32) -> String {
    let body = json!({ "shard_count": shards });
    let (status, body) = ask(twitch, "POST", "/helix/eventsub/conduits", &body);
    assert_eq!(status, 200, "{body}");
    body["data"][0]["id"].as_str().unwrap().to_owned()
}

/// Gives a shard to a session.
pub(crate) fn assign(twitch: &Twitch, conduit: &str, shard: u32, session: &str) -> Value {
    let transport = json!({ "method": "websocket", "session_id": session });
    let body = json!({
        "conduit_id": conduit,
        "shards": [{ "id": shard.to_string(), "transport": transport }],
    });
    let (status, body) = ask(twitch, "PATCH", "/helix/eventsub/conduits/shards", &body);
    assert_eq!(status, 202, "{body}");
    body
}

/// Who a conduit's subscription to the chat of channel N is for.
pub(crate) fn chat_body(channel: u32, transport: &Value) -> Value {
    json!({
        "type": "channel.chat.message",
        "version": "1",
        "condition": {
            "broadcaster_user_id": (100_000 + channel).to_string(),
            "user_id": "100001",
        },
        "transport": transport,
    })
}

/// A conduit's subscription to the chat of channel N.
pub(crate) fn subscribe(twitch: &Twitch, conduit: &str, channel: u32) -> (u16, Value) {
    let transport = json!({ "method": "conduit", "conduit_id": conduit });
    let path = "/helix/eventsub/subscriptions";
    ask(twitch, "POST", path, &chat_body(channel, &transport))
}

/// A session's subscription to the chat of channel N, by `channel1`.
pub(crate) fn subscribe_session(twitch: &Twitch, session: &str, channel: u32) -> (u16, Value) {
    let transport = json!({ "method": "websocket", "session_id": session });
    let path = "/helix/eventsub/subscriptions";
    ask_as(
        twitch,
        "user-channel1",
        "POST",
        path,
        &chat_body(channel, &transport),
    )
}

pub(crate) fn speak(twitch: &Twitch, channel: &str, text: &str) -> String {
    let kind = twitch_mock::Kind::Message;
    let message = twitch.happen(kind, channel, "viewer1", text).unwrap();
    message.id.to_string()
}
