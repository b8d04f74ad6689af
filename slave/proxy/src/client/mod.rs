//! One connection of a client, from HELLO to its end.
//!
//! ```text
//!            IDENTIFY                            READY, guilds
//! Waiting ─────┬────▶ Arriving ────▶ Settling ────▶ Greeting ────▶ Live ────▶ Leaving ──▶ closed
//!    ▲         │      the shard is   the one before                 │  ▲
//!    │         │      on its way     acknowledges                   │  │
//!    │  RESUME └────────────────────────────────────────────────────┼──┘
//!    └───────────────────────── op 9 ───────────────────────────────┘
//! ```
//!
//! One task owns the socket. It is woken when its shard has something, and fetches it: no
//! other task ever waits for a client.

mod beat;
mod commands;
mod greeting;
mod identify;
mod live;
mod receive;
mod resume;
mod send;

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_websockets::WebSocketStream;

use self::{
    beat::Asked,
    greeting::Greeting,
    identify::{Entry, New},
    receive::Pace,
};
use crate::{
    proxy::Shared,
    shard::{Attachment, Fewer, Shard},
    wire::{
        encode::{Compression, Effort, Encoder},
        end::{End, gives_up},
        opening::Opening,
        websocket,
    },
};

/// How often a client looks for a shard that is on its way.
const LOOK: Duration = Duration::from_millis(200);

/// HELLO follows the answer to the handshake after this. Discord's is a while on its way, and
/// some libraries (cloudstorm) drop what comes in one piece with the answer.
const BEFORE_HELLO: Duration = Duration::from_millis(25);

type Socket = TokioIo<Upgraded>;

/// A session that a connection serves.
#[derive(Clone)]
struct At {
    shard: Arc<Shard>,
    key: u64,
}

/// See the picture above.
enum Phase {
    Waiting,
    /// Until then the shard may come.
    Arriving(Entry, Instant),
    /// Until then the one before may acknowledge.
    Settling(New, Arc<Shard>, Instant),
    Greeting(Box<Greeting>),
    Live(At),
    /// The client may finish what it has, then it is closed.
    Leaving {
        until: Instant,
        end: (u16, &'static str),
    },
}

/// See the module. `Err` of any step is the end of the connection.
struct Connection {
    shared: Arc<Shared>,
    id: u64,
    ws: WebSocketStream<Socket>,
    encoder: Encoder,
    opening: Opening,
    phase: Phase,
    wake: Arc<Notify>,
    /// There is more to send at once.
    more: bool,
    /// Rings when the client was silent for too long.
    beat: Pin<Box<Sleep>>,
    /// When it has to have said who it is.
    nameless_until: Instant,
    asked: Asked,
    pace: Pace,
    /// Which events its client gets and what it sees of them, where it asked for fewer intents
    /// than there are, and who the bot is.
    sight: Option<(Fewer, Option<u64>)>,
}

/// Serves one websocket to its end.
pub(crate) async fn serve(shared: Arc<Shared>, stream: Socket, opening: Opening, effort: Effort) {
    let compression = opening.compression.unwrap_or(Compression::None);
    let timings = shared.config.timings;
    let now = Instant::now();
    let mut connection = Connection {
        id: shared.next_connection(),
        ws: websocket::serve(stream),
        encoder: Encoder::new(compression, effort),
        opening,
        phase: Phase::Waiting,
        wake: Arc::default(),
        more: false,
        beat: Box::pin(sleep_until(now + beat::patience(timings.heartbeat))),
        nameless_until: now + timings.nameless,
        asked: Asked::default(),
        pace: Pace::default(),
        sight: None,
        shared,
    };
    tracing::debug!(
        connection = connection.id,
        compression = compression.name(),
        "a client connects"
    );
    let end = match connection.live().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    connection.finish(end).await;
}

impl Connection {
    async fn live(&mut self) -> Result<Infallible, End> {
        sleep(BEFORE_HELLO).await;
        self.hello().await?;
        let shared = Arc::clone(&self.shared);
        // This runs for each event. To wait for the common token, or to begin a timer, is to
        // take a lock that all connections share.
        let stop = shared.stop.child_token();
        let mut alarm = pin!(sleep_until(self.nameless_until));
        loop {
            let arrivals = shared.arrivals.notified();
            let due = self.due();
            if let Some(due) = due
                && alarm.deadline() != due
            {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                message = self.ws.next() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
                    Some(Err(_)) => return Err(End::Lost("a broken connection or frame")),
                    None => return Err(End::Lost("the end of the stream")),
                },
                () = self.wake.notified() => self.step().await?,
                () = std::future::ready(()), if self.more => self.step().await?,
                () = &mut alarm, if due.is_some() => self.on_time().await?,
                () = arrivals, if matches!(self.phase, Phase::Arriving(..)) => self.step().await?,
                () = &mut self.beat => {
                    return Err(End::close(4009, "session timed out: no heartbeat came"));
                }
                () = stop.cancelled() => {
                    self.send_plain(7, "null").await?;
                    return Err(End::close(4000, "the proxy stops"));
                }
            }
        }
    }

    /// Does what there is to do now.
    async fn step(&mut self) -> Result<(), End> {
        self.more = false;
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Waiting => Ok(()),
            Phase::Arriving(entry, until) => self.enter(entry, Some(until)).await,
            Phase::Settling(new, shard, until) => self.identified(new, shard, Some(until)).await,
            Phase::Greeting(greeting) => self.greet(greeting).await,
            Phase::Live(at) => self.serve(at).await,
            leaving @ Phase::Leaving { .. } => {
                self.phase = leaving;
                Ok(())
            }
        }
    }

    /// When something is due, if anything is.
    fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting => Some(self.nameless_until),
            // It may have come between a look and the wait for it.
            Phase::Arriving(_, until) => Some((*until).min(Instant::now() + LOOK)),
            Phase::Settling(_, _, until) | Phase::Leaving { until, .. } => Some(*until),
            Phase::Greeting(greeting) => greeting.patient_until(),
            Phase::Live(_) => self.asked.next(),
        }
    }

    async fn on_time(&mut self) -> Result<(), End> {
        match &self.phase {
            Phase::Waiting if Instant::now() >= self.nameless_until => Err(End::close(
                4003,
                "not authenticated: neither IDENTIFY nor RESUME came in time",
            )),
            Phase::Waiting => Ok(()),
            Phase::Leaving { until, end } if Instant::now() >= *until => {
                Err(End::close(end.0, end.1))
            }
            Phase::Leaving { .. } => Ok(()),
            Phase::Arriving(..) | Phase::Settling(..) | Phase::Greeting(_) => self.step().await,
            Phase::Live(at) => {
                let at = at.clone();
                self.ask(&at).await
            }
        }
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            connection: self.id,
            wake: Arc::clone(&self.wake),
        }
    }

    /// The session that this connection serves.
    fn at(&self) -> Option<At> {
        match &self.phase {
            Phase::Greeting(greeting) => Some(greeting.at.clone()),
            Phase::Live(at) => Some(at.clone()),
            Phase::Waiting | Phase::Arriving(..) | Phase::Settling(..) | Phase::Leaving { .. } => {
                None
            }
        }
    }

    /// Leaves the session as the end requires, then closes.
    async fn finish(mut self, end: End) {
        let gives_up = matches!(end, End::Client(code) if gives_up(code));
        if let Phase::Settling(_, shard, _) = &self.phase {
            shard.with(|core| core.waits_no_more(self.id));
        }
        if let Some(at) = self.at() {
            at.shard.with(|core| core.detach(at.key, self.id, gives_up));
        }
        match &end {
            // Somebody has to change something.
            End::Close(code @ (4004 | 4010..=4014), reason) => {
                tracing::warn!(connection = self.id, code, %reason, "a client is refused");
            }
            End::Close(code, reason) => {
                tracing::info!(connection = self.id, code, %reason, "a client is closed");
            }
            End::Client(code) => tracing::debug!(connection = self.id, code, "a client closes"),
            End::Lost(why) => tracing::debug!(connection = self.id, why, "a client is lost"),
        }
        self.close(end).await;
    }
}
