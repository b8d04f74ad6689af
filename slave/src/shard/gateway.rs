//! One gateway connection: the only module that names `twilight_gateway`.
//!
//! twilight prepares its answer to op 7, op 9 and a close while it yields them,
//! and sends it at the next poll: IDENTIFY without asking, RESUME without a
//! pause. So each yielded message is looked at first, and after one that ends the
//! connection the shard is never polled again: its owner decides, and dials again.

mod buffer;
mod connector;
mod hosts;
mod incoming;
mod refusal;
mod writing;

use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use baton_protocol::Sequence;
use futures_core::Stream;
use http::Uri;
use serde::Deserialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_websockets::upgrade;
use twilight_gateway::{
    CloseFrame, Message, Session as TwilightSession, Shard, ShardState,
    error::{ReceiveMessageError, ReceiveMessageErrorType},
};
use twilight_model::gateway::event::GatewayEventDeserializer;

use self::hosts::Hosts;
pub(crate) use self::{
    buffer::{Buffered, Most},
    connector::{Connector, Url},
    hosts::Paused,
    incoming::{End, Incoming},
    refusal::Refusal,
};
use crate::{
    bot::{Way, data},
    permits::Permits,
    state::Heartbeat,
};

/// How long the server may take to answer our close frame.
const CLOSE_DRAIN: Duration = Duration::from_secs(1);

/// Heartbeats are served that are as far apart as this. 120 payloads a minute may be
/// sent, and a connection that is dead is noticed by its heartbeats.
const HEARTBEATS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// Sequences may skip values, but not so many: behind one that is near the end of all
/// numbers every later one would be taken for a repeat.
const MOST_SKIPPED: u64 = 1 << 32;

/// One connection, from its dial to its end.
#[derive(Debug)]
pub(crate) struct Gateway {
    shard: Shard<Permits>,
    /// Whether the websocket was open once.
    opened: bool,
    helloed: bool,
    /// How often it says that it is alive, as HELLO asked.
    heartbeats: Option<Duration>,
    /// The last sequence that came, or from where it resumes.
    newest: Sequence,
    /// When the last heartbeat was sent, and which sequence it named at the most.
    named: Option<(std::time::Instant, Sequence)>,
    over: bool,
    /// The library was given it, and is not known to have written it.
    writing: Option<Way>,
    refused: Refused,
    /// Events that came before they were wanted.
    buffer: VecDeque<Incoming>,
    buffer_bytes: usize,
}

/// What becomes of a connection whose host opened no websocket.
#[derive(Debug)]
struct Refused {
    hosts: Arc<Hosts>,
    url: Option<Uri>,
    /// At most one, which asks the host why.
    asks: JoinSet<Refusal>,
}

/// What the library yields; `None`: the connection is gone.
type Received = Option<Result<Message, ReceiveMessageError>>;

/// The library panicked.
#[derive(Debug)]
struct Panicked;

impl Gateway {
    async fn read(&mut self) -> Incoming {
        if self.over {
            return std::future::pending().await;
        }
        if self.refused.asks.is_empty() {
            let message = self.message().await;
            let incoming = match message {
                Ok(message) => self.received(message),
                // The library is asked nothing more, no matter what it was doing.
                Err(Panicked) => Incoming::Ended(End::Garbled(
                    "the gateway library panicked over what came".to_owned(),
                )),
            };
            if self.refused.asks.is_empty() {
                self.over = matches!(incoming, Incoming::Ended(_));
                return incoming;
            }
        }
        // Nothing of it is lost if this is cancelled here.
        let end = match self.refused.asks.join_next().await {
            Some(Ok(refusal)) => End::Refused(refusal),
            Some(Err(error)) => End::Dial(error.to_string()),
            None => End::Dial("refused".to_owned()),
        };
        self.over = true;
        Incoming::Ended(end)
    }

    /// The host is asked why. `false`: nobody knows where it is.
    fn asks_why(&mut self, status: u16) -> bool {
        debug_assert!(!self.opened, "{status} on a websocket that is open");
        let Some(url) = self.refused.url.take() else {
            return false;
        };
        let hosts = Arc::clone(&self.refused.hosts);
        let asks = async move { hosts.refused(url, status).await };
        self.refused.asks.spawn(asks);
        true
    }

    fn received(&mut self, message: Received) -> Incoming {
        match message {
            Some(Ok(Message::Text(json))) => self.text(json),
            Some(Ok(Message::Close(frame))) => Incoming::Ended(frame.map_or_else(
                || closed(1005, ""),
                |frame| closed(frame.code, &frame.reason),
            )),
            #[allow(clippy::wildcard_enum_match_arm, reason = "differs by feature")]
            Some(Err(error)) => Incoming::Ended(match error.kind() {
                ReceiveMessageErrorType::Reconnect => {
                    let source = error.into_source();
                    if let Some(status) = source.as_deref().and_then(|source| answered(source))
                        && self.asks_why(status)
                    {
                        // Its end comes with what it hears.
                        return Incoming::Alive;
                    }
                    End::Dial(source.map_or_else(|| "refused".to_owned(), |it| it.to_string()))
                }
                // The payload may hold anything: only its kind is logged.
                ReceiveMessageErrorType::Deserializing { .. } => {
                    End::Garbled("a payload that is no gateway event".to_owned())
                }
                _ => End::Garbled("a message that cannot be decompressed".to_owned()),
            }),
            None => Incoming::Ended(closed(1006, "")),
        }
    }

    /// The next message; `None`: the connection is gone. One that ends without a
    /// close frame is not yielded by twilight, which dials again by itself, at
    /// once and for ever. A payload over which it panics ends this connection, and
    /// not the shard: HELLO with a heartbeat interval of zero is one.
    async fn message(&mut self) -> Result<Received, Panicked> {
        poll_fn(|cx| {
            let counted = self.writing.is_some().then(|| self.counted());
            let poll = AssertUnwindSafe(|| Pin::new(&mut self.shard).poll_next(cx));
            let polled = if mutant!("library-panics-through") {
                poll()
            } else {
                match catch_unwind(poll) {
                    Ok(polled) => polled,
                    Err(_) => return Poll::Ready(Err(Panicked)),
                }
            };
            self.notes_heartbeat();
            if let Some(counted) = counted {
                self.notes_writing(counted, &polled);
            }
            let dials = matches!(self.shard.state(), ShardState::Disconnected { .. });
            if polled.is_pending() && dials && self.opened {
                return Poll::Ready(Ok(None));
            }
            self.opened |= !dials;
            polled.map(Ok)
        })
        .await
    }

    /// A heartbeat names the last sequence, perhaps one that came with the same poll.
    fn notes_heartbeat(&mut self) {
        let sent = self.shard.latency().sent();
        if let Some(sent) = sent.filter(|_| sent != self.named.map(|(at, _)| at)) {
            let newest = self.shard.session().map_or(0, TwilightSession::sequence);
            self.named = Some((sent, Sequence(newest)));
        }
    }

    fn text(&mut self, json: String) -> Incoming {
        let Some((op, sequence, kind)) = GatewayEventDeserializer::from_json(&json)
            .map(|head| head.into_parts())
            .map(|(op, sequence, kind)| (op, sequence, kind.map(|kind| Box::<str>::from(&*kind))))
        else {
            return Incoming::Ended(End::Garbled("a payload without an op".to_owned()));
        };
        match (op, sequence, kind) {
            (0, Some(sequence), _) if sequence > self.newest.get().saturating_add(MOST_SKIPPED) => {
                Incoming::Ended(End::Garbled(format!(
                    "a dispatch with sequence {sequence} behind {}",
                    self.newest
                )))
            }
            (0, Some(sequence), Some(kind)) => {
                self.newest = self.newest.max(Sequence(sequence));
                Incoming::Dispatch {
                    sequence: Sequence(sequence),
                    kind,
                    json,
                }
            }
            (0, _, _) => Incoming::Ended(End::Garbled("a dispatch without s or t".to_owned())),
            (7, _, _) => Incoming::Ended(End::Reconnect),
            (9, _, _) => Incoming::Ended(End::InvalidSession {
                resumable: data(&json).unwrap_or(false),
            }),
            (10, _, _) => {
                self.helloed = true;
                self.heartbeats = heartbeats(&json);
                match self.heartbeats {
                    Some(apart) if !HEARTBEATS.contains(&apart) => Incoming::Ended(End::Garbled(
                        format!("a HELLO that asks for a heartbeat every {apart:?}"),
                    )),
                    Some(_) | None => Incoming::Hello,
                }
            }
            _ => Incoming::Alive,
        }
    }

    /// When the last heartbeat was sent, and when the next one is due; `None`: not
    /// known before the first one.
    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        let sent = Instant::from_std(self.shard.latency().sent()?);
        let due = sent + self.heartbeats?;
        Some(Heartbeat { sent, due })
    }

    /// Whether the websocket was open once.
    pub(crate) const fn is_open(&self) -> bool {
        self.opened
    }

    /// The highest sequence that a heartbeat has named.
    pub(crate) fn named(&self) -> Sequence {
        self.named.map_or(Sequence(0), |(_, newest)| newest)
    }

    /// How long the answer to the last heartbeat took.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.shard.latency().recent().first().copied()
    }

    /// Closes with 4000, which leaves the session resumable. The frame is on its
    /// way when this returns; what the server still sends is dropped.
    pub(crate) async fn close(mut self) {
        // A socket that takes no command takes no close frame, and a command that is on its
        // way would not be known to be written.
        if self.over || !self.helloed || !self.has_written().await {
            return;
        }
        // It may have ended while the command was written.
        if self.over {
            return;
        }
        let frame = if mutant!("close-1000") {
            CloseFrame::NORMAL
        } else {
            CloseFrame::RESUME
        };
        self.shard.close(frame);
        // The first poll sends the frame, no matter what it yields.
        let first = poll_fn(|cx| {
            let poll = AssertUnwindSafe(|| Pin::new(&mut self.shard).poll_next(cx));
            Poll::Ready(catch_unwind(poll))
        });
        match first.await {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(item)) if !self.closing_is_over(item.as_ref()) => {}
            Ok(Poll::Ready(_)) | Err(_) => return,
        }
        tokio::spawn(timeout(CLOSE_DRAIN, async move {
            loop {
                let item = poll_fn(|cx| Pin::new(&mut self.shard).poll_next(cx)).await;
                if self.closing_is_over(item.as_ref()) {
                    return;
                }
            }
        }));
    }

    /// Whether the shard must not be polled again: the close was answered, or
    /// twilight began a second connection.
    fn closing_is_over<E>(&self, item: Option<&Result<Message, E>>) -> bool {
        let connecting = matches!(
            self.shard.state(),
            ShardState::Identifying | ShardState::FatallyClosed
        );
        match item {
            Some(Ok(Message::Text(json))) => connecting || json.contains(r#""op":10"#),
            Some(Ok(Message::Close(_)) | Err(_)) | None => !mutant!("polled-after-close"),
        }
    }
}

/// The status of an answer that is no websocket.
fn answered(error: &(dyn std::error::Error + 'static)) -> Option<u16> {
    let error = error.downcast_ref::<tokio_websockets::Error>()?;
    if let tokio_websockets::Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status)) = error {
        return Some(*status);
    }
    None
}

fn closed(code: u16, reason: &str) -> End {
    End::Closed {
        code,
        reason: reason.chars().take(200).collect(),
    }
}

/// What HELLO asks for.
fn heartbeats(json: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Hello {
        heartbeat_interval: u64,
    }
    let hello: Hello = data(json).ok()?;
    Some(Duration::from_millis(hello.heartbeat_interval))
}
