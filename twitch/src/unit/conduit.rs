//! A unit that is a shard of a conduit.
//!
//! The subscriptions belong to the conduit, and each message goes to one session: that of the
//! shard that its channel falls to. So a unit moves by one request: the next owner connects while
//! the one before serves, and when it owns the unit it gives the shard to its session. What was
//! on its way to the session before comes there, and is handed out there.
//!
//! ```text
//! connect ─▶ Welcome ─▶ ready ─Take─▶ PATCH ─▶ live
//!               └── 8 s without Take: once more, for Twitch closes a session of no use
//! ```
//!
//! A unit above the number of the conduit's shards rests: so a fleet may have more units than
//! are needed, and a conduit is given more or fewer shards at any time.
//!
//! The shard is given away last, and by who owns the unit: if anything dies on the way, its
//! shard still has a session. No conduit is made or deleted here, and no shard is ever disabled.

mod asking;

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use baton_slave::unit::Office;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep, timeout},
};

use super::{
    irc::FromUnit,
    transport::{Cut, Item, Link, Opened, Order, Transport},
};
use crate::{
    eventsub::{Error, Incoming, Stream},
    helix::Helix,
};

/// Twitch closes a session 10 s after its Welcome that is of no use: a connection that waits
/// to take a unit over is made again in time.
const OF_NO_USE: Duration = Duration::from_secs(8);

/// How long connecting may take, up to the Welcome.
const DIAL: Duration = Duration::from_secs(10);

/// Items that wait for the unit. Behind them, the socket waits.
const WAITING: usize = 64;

/// How many shards the conduit has is asked so often, once for all units of a process.
const LOOK: Duration = Duration::from_secs(5);

/// A shard that the conduit has no more is heard on for so long: what was on its way comes.
const LAST: Duration = Duration::from_secs(10);

/// Shards of one conduit, as units: unit 3 is shard 3.
#[derive(Clone)]
pub struct Conduits(Arc<Inner>);

struct Inner {
    helix: Helix,
    conduit: String,
    office: Office,
    /// How many shards the conduit has, and when Twitch said so.
    shards: std::sync::Mutex<Option<(Instant, u32)>>,
    /// Held by the unit that asks for all.
    asks: Mutex<()>,
    opens: Opens,
}

/// Opens a session, up to its Welcome.
type Opens = Arc<dyn Fn() -> Pending<Result<Stream, Error>> + Send + Sync>;

/// Something that goes on while the session is read.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Conduits {
    /// Of this conduit; `eventsub` is where its sessions are opened.
    #[must_use]
    pub fn new(helix: Helix, conduit: &str, eventsub: &str, office: Office) -> Self {
        let eventsub: Arc<str> = eventsub.into();
        let opens: Opens = Arc::new(move || {
            let eventsub = Arc::clone(&eventsub);
            Box::pin(async move { Stream::connect(&eventsub, DIAL).await })
        });
        Self::of(helix, conduit, opens, office)
    }

    fn of(helix: Helix, conduit: &str, opens: Opens, office: Office) -> Self {
        Self(Arc::new(Inner {
            helix,
            conduit: conduit.to_owned(),
            office,
            shards: std::sync::Mutex::new(None),
            asks: Mutex::new(()),
            opens,
        }))
    }
}

impl std::fmt::Debug for Conduits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conduits").finish_non_exhaustive()
    }
}

impl Transport for Conduits {
    fn cut(&self) -> Cut {
        Cut::One
    }

    fn open(&self, opened: Opened) -> Link {
        let (items, heard) = mpsc::channel(WAITING);
        let (orders, told) = mpsc::channel(16);
        let connection = Connection {
            inner: Arc::clone(&self.0),
            shard: opened.unit.get(),
            items,
            told,
            is_ready: false,
            is_live: false,
            early: None,
        };
        let task = tokio::spawn(connection.run());
        Link::new(heard, orders, task)
    }
}

/// One connection of a unit.
struct Connection {
    inner: Arc<Inner>,
    shard: u32,
    items: mpsc::Sender<Item>,
    told: mpsc::Receiver<Order>,
    is_ready: bool,
    /// Whether it is to take the shard over.
    is_live: bool,
    /// A session for a shard that the conduit is about to have.
    early: Option<Stream>,
}

/// What the once-per-bot work writes to a unit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToUnit {
    /// The conduit is about to have so many shards.
    WillBe(u32),
    /// It has so many shards.
    Are(u32),
    /// The unit is to say whether it serves.
    Tell,
}

/// Why a connection is over.
struct Over {
    why: String,
    fatal: bool,
}

impl Connection {
    async fn run(mut self) {
        let Err(Over { why, fatal }) = self.connected().await;
        // The unit listens no more: it has another connection, or is gone.
        let _ = self.items.send(Item::Ended { why, fatal }).await;
    }

    async fn connected(&mut self) -> Result<Infallible, Over> {
        loop {
            self.rests().await?;
            self.serves().await?;
        }
    }

    /// While the conduit has no such shard, there is nothing to connect for.
    async fn rests(&mut self) -> Result<(), Over> {
        while !self.inner.has(self.shard).await? {
            if !self.is_ready {
                self.is_ready = true;
                self.says(Item::Ready).await?;
            }
            tokio::select! {
                order = self.told.recv() => match order {
                    Some(Order::Take) => {
                        self.is_live = true;
                        self.says(Item::Live).await?;
                    }
                    Some(Order::Letter(letter)) => self.letter(&letter).await?,
                    Some(Order::Channels(_)) => {}
                    None => return Err(over("the unit is gone", false)),
                },
                () = sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// The work changes the number of the conduit's shards. Where this one comes, it has a
    /// session before: so no message ever falls to a shard without one.
    async fn letter(&mut self, letter: &[u8]) -> Result<(), Over> {
        match serde_json::from_slice(letter) {
            Ok(ToUnit::WillBe(shards)) if self.shard < shards => {
                let stream = self.dial().await?;
                let session = FromUnit::Session(stream.id());
                self.early = Some(stream);
                let letter = serde_json::to_vec(&session).unwrap_or_default();
                self.says(Item::Letter(letter.into())).await
            }
            Ok(ToUnit::Are(shards)) => {
                self.inner.knows(shards);
                Ok(())
            }
            Ok(ToUnit::Tell) => self.tells(false).await,
            // Nothing of interest, or of a later build.
            Ok(ToUnit::WillBe(_)) | Err(_) => Ok(()),
        }
    }

    /// Has the shard, until the conduit has it no more.
    async fn serves(&mut self) -> Result<(), Over> {
        let mut stream = match self.early.take() {
            Some(stream) => stream,
            None => self.dial().await?,
        };
        if !self.is_ready {
            self.is_ready = true;
            self.says(Item::Ready).await?;
        }
        // Until it is to take the shard over, and may.
        let mut leave = None;
        loop {
            match timeout(OF_NO_USE, self.waits(&mut stream, &mut leave)).await {
                Ok(waited) => break waited?,
                Err(_) => stream = self.dial().await?,
            }
        }
        self.inner.assign(self.shard, &stream.id()).await?;
        self.says(Item::Live).await?;
        self.reads(stream).await
    }

    /// Reads its session. Whatever is asked meanwhile goes on beside that: while there is no
    /// master it waits for any time, and what happens in the channels does not.
    async fn reads(&mut self, mut stream: Stream) -> Result<(), Over> {
        let mut looks = self.looks(LOOK);
        let mut takes: Option<Pending<Result<(), Over>>> = None;
        let mut ends = None;
        loop {
            tokio::select! {
                biased;
                order = self.told.recv() => match order {
                    // The unit comes back to this session.
                    Some(Order::Take) => takes = Some(self.takes(&stream)),
                    Some(Order::Letter(letter)) => match serde_json::from_slice(&letter) {
                        Ok(ToUnit::Are(shards)) => {
                            self.inner.knows(shards);
                            looks = self.looks(Duration::ZERO);
                        }
                        Ok(ToUnit::Tell) => self.tells(true).await?,
                        Ok(ToUnit::WillBe(_)) | Err(_) => {}
                    },
                    Some(Order::Channels(_)) => {}
                    None => return Err(over("the unit is gone", false)),
                },
                taken = pending(takes.as_mut()) => {
                    takes = None;
                    taken?;
                    self.says(Item::Live).await?;
                }
                incoming = stream.next() => self.heard(incoming).await?,
                is_needed = &mut looks => {
                    looks = self.looks(LOOK);
                    // Where Twitch cannot be asked, the shard is what it was.
                    let ends = match is_needed.unwrap_or(true) {
                        true => { ends = None; None }
                        false => Some(*ends.get_or_insert(Instant::now() + LAST)),
                    };
                    if ends.is_some_and(|ends| ends <= Instant::now()) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether the conduit has this shard, asked in a while.
    fn looks(&self, pause: Duration) -> Pending<Result<bool, Over>> {
        let (inner, shard) = (Arc::clone(&self.inner), self.shard);
        Box::pin(async move {
            sleep(pause).await;
            inner.has(shard).await
        })
    }

    /// Gives the shard to this session, with the master's leave.
    fn takes(&self, stream: &Stream) -> Pending<Result<(), Over>> {
        let (inner, shard, session) = (Arc::clone(&self.inner), self.shard, stream.id());
        Box::pin(async move {
            inner.leave().await?;
            inner.assign(shard, &session).await
        })
    }

    async fn dial(&self) -> Result<Stream, Over> {
        let dialled = (self.inner.opens)().await;
        dialled.map_err(|error| over(error, false))
    }

    /// Until it is to take the shard over and has the master's leave for that. Nothing comes
    /// on a session of no use meanwhile, but its end.
    async fn waits(
        &mut self,
        stream: &mut Stream,
        leave: &mut Option<Pending<Result<(), Over>>>,
    ) -> Result<(), Over> {
        loop {
            if self.is_live && leave.is_none() {
                let inner = Arc::clone(&self.inner);
                *leave = Some(Box::pin(async move { inner.leave().await }));
            }
            tokio::select! {
                order = self.told.recv() => match order {
                    Some(Order::Take) => self.is_live = true,
                    Some(Order::Channels(_) | Order::Letter(_)) => {}
                    None => return Err(over("the unit is gone", false)),
                },
                granted = pending(leave.as_mut()) => {
                    *leave = None;
                    return granted;
                }
                incoming = stream.next() => self.heard(incoming).await?,
            }
        }
    }

    async fn heard(&self, incoming: Incoming) -> Result<(), Over> {
        match incoming {
            Incoming::Event(event) => self.says(Item::Event(event)).await,
            Incoming::Revoked(revoked) => {
                tracing::warn!(?revoked, "a subscription was revoked");
                match serde_json::to_vec(&revoked) {
                    Ok(letter) => self.says(Item::Letter(letter.into())).await,
                    Err(_) => Ok(()),
                }
            }
            Incoming::Ended { code, why } => Err(over(
                match code {
                    Some(code) => format!("Twitch closed the session with {code}: {why}"),
                    None => why,
                },
                false,
            )),
        }
    }

    /// Tells the work whether this unit serves.
    async fn tells(&self, serves: bool) -> Result<(), Over> {
        let letter = serde_json::to_vec(&FromUnit::Serves(serves)).unwrap_or_default();
        self.says(Item::Letter(letter.into())).await
    }

    async fn says(&self, item: Item) -> Result<(), Over> {
        let said = self.items.send(item).await;
        said.map_err(|_| over("the unit is gone", false))
    }
}

async fn pending<T>(what: Option<&mut Pending<T>>) -> T {
    match what {
        Some(what) => what.await,
        None => std::future::pending().await,
    }
}

fn over(why: impl ToString, fatal: bool) -> Over {
    Over {
        why: why.to_string(),
        fatal,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod tests;
