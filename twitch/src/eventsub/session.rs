//! One session of EventSub: a websocket, from its Welcome to its end.
//!
//! Nothing is sent on it but answers to Pings: Twitch closes a session whose client says
//! something.

use std::{fmt, time::Duration};

use futures_util::StreamExt;
use http::Uri;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_websockets::{
    ClientBuilder, Connector, Limits, MaybeTlsStream, Message, WebSocketStream,
};

use super::{
    Incoming,
    frame::{self, Frame},
};
use crate::tls;

/// Longer messages end the session. A chat message has some KiB.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Of the keepalive time so much more is waited.
const GRACE: Duration = Duration::from_secs(5);

/// A session that is open.
pub struct Session {
    socket: Socket,
    id: String,
    keepalive: Duration,
    heard: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

enum Socket {
    Network(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    #[cfg(test)]
    Memory(Box<WebSocketStream<tokio::io::DuplexStream>>),
}

impl Socket {
    async fn next(&mut self) -> Option<Result<Message, tokio_websockets::Error>> {
        match self {
            Self::Network(socket) => socket.next().await,
            #[cfg(test)]
            Self::Memory(socket) => socket.next().await,
        }
    }
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("EventSub: {0}")]
    Address(String),
    /// It could not be opened.
    #[error("EventSub cannot be reached: {0}")]
    Unreachable(String),
    /// It was opened, and ended without a Welcome.
    #[error("EventSub says no Welcome: {0}")]
    NoWelcome(String),
}

/// What is heard on a session.
#[derive(Debug)]
pub(super) enum Heard {
    Incoming(Incoming),
    /// Twitch wants another session in its place.
    Reconnect(String),
}

impl Session {
    /// Opens a session, up to its Welcome, within `within`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(url: &str, within: Duration) -> Result<Self, Error> {
        let uri = address(url)?;
        let opens = async {
            let failed = |error: &dyn std::error::Error| Error::Unreachable(error.to_string());
            let connector = match uri.scheme_str() {
                Some("wss") => {
                    let connector = tls::connector().await;
                    Connector::Rustls(connector.map_err(|error| failed(&error))?)
                }
                _ => Connector::Plain,
            };
            let builder = builder(uri).connector(&connector);
            let (socket, _) = builder.connect().await.map_err(|error| failed(&error))?;
            Self::begins(Socket::Network(Box::new(socket)), within).await
        };
        timeout(within, opens)
            .await
            .unwrap_or_else(|_| Err(Error::Unreachable(format!("nothing within {within:?}"))))
    }

    async fn begins(socket: Socket, within: Duration) -> Result<Self, Error> {
        let mut session = Self {
            socket,
            id: String::new(),
            keepalive: within,
            heard: Instant::now(),
        };
        session.welcome().await?;
        Ok(session)
    }

    /// Over a stream in memory, within 5 s.
    #[cfg(test)]
    pub(super) async fn over(stream: tokio::io::DuplexStream, path: &str) -> Result<Self, Error> {
        let failed = |error: tokio_websockets::Error| Error::Unreachable(error.to_string());
        let opens = async {
            let uri: Uri = format!("ws://localhost{path}")
                .parse()
                .map_err(|_| Error::Address("the path is none".to_owned()))?;
            let (socket, _) = builder(uri).connect_on(stream).await.map_err(failed)?;
            Self::begins(Socket::Memory(Box::new(socket)), Duration::from_secs(5)).await
        };
        let late = |_| Err(Error::Unreachable("nothing within 5 s".to_owned()));
        timeout(Duration::from_secs(5), opens)
            .await
            .unwrap_or_else(late)
    }

    async fn welcome(&mut self) -> Result<(), Error> {
        loop {
            match self.frame().await {
                Ok(Frame::Welcome { id, keepalive }) => {
                    (self.id, self.keepalive) = (id, keepalive);
                    return Ok(());
                }
                Ok(_) => {}
                Err(Incoming::Ended { code, why }) => {
                    let code = code.map_or_else(String::new, |code| format!("close code {code}: "));
                    return Err(Error::NoWelcome(format!("{code}{why}")));
                }
                Err(Incoming::Event(_) | Incoming::Revoked(_)) => {}
            }
        }
    }

    /// What it is called at Twitch.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is heard next. Survives being cancelled. A session that says nothing for longer than
    /// it said has ended.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            match self.frame().await {
                Ok(Frame::Event(event)) => return Heard::Incoming(Incoming::Event(event)),
                Ok(Frame::Revoked(revoked)) => return Heard::Incoming(Incoming::Revoked(revoked)),
                Ok(Frame::Reconnect { url }) => return Heard::Reconnect(url),
                Ok(Frame::Welcome { .. } | Frame::Keepalive | Frame::Other) => {}
                Err(ended) => return Heard::Incoming(ended),
            }
        }
    }

    /// The next frame that can be read, or the end.
    async fn frame(&mut self) -> Result<Frame, Incoming> {
        let ended = |code, why: String| Incoming::Ended { code, why };
        loop {
            let silent = self.heard + self.keepalive + GRACE;
            // What has come is looked at before the time.
            let message = match timeout_at(silent, self.socket.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(ended(None, error.to_string())),
                Ok(None) => return Err(ended(None, "the connection ended".to_owned())),
                Err(_) => {
                    let span = self.keepalive + GRACE;
                    return Err(ended(None, format!("it said nothing for {span:?}")));
                }
            };
            if let Some((code, why)) = message.as_close() {
                return Err(ended(Some(code.into()), why.to_owned()));
            }
            // A Ping says that the connection is there, and not that Twitch sends what happens:
            // that is what its keepalives are for.
            let Some(text) = message.as_text() else {
                if mutant!("silence-unseen") {
                    self.heard = Instant::now();
                }
                continue;
            };
            self.heard = Instant::now();
            match frame::read(text) {
                Ok(frame) => return Ok(frame),
                // Without its text: events are never logged.
                Err(why) => tracing::warn!(why, bytes = text.len(), "a message cannot be read"),
            }
        }
    }
}

fn builder<'a>(uri: Uri) -> ClientBuilder<'a> {
    let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
    ClientBuilder::from_uri(uri).limits(limits)
}

/// An address of sessions: with TLS, or on this host.
fn address(url: &str) -> Result<Uri, Error> {
    // Without its query, which lets whoever knows it into the session.
    let shown: String = url
        .split('?')
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    let wrong = |why: &str| Error::Address(format!("{shown:?}: {why}"));
    let uri: Uri = url.parse().map_err(|_| wrong("this is no address"))?;
    let host = uri.host().unwrap_or_default();
    let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match uri.scheme_str() {
        Some("wss") => Ok(uri),
        Some("ws") if is_here => Ok(uri),
        Some("ws") => Err(wrong("another host is dialled with TLS: give wss://")),
        _ => Err(wrong("give wss://HOST/PATH")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod tests;
