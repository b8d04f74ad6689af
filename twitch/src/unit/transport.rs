//! What a connection is to a unit.
//!
//! A transport runs each connection as a task of its own: what it hears comes as [`Item`]s, in
//! their order, and the unit tells it two things. So a unit knows no protocol, and its rules are
//! the same for conduits and for IRC.

use std::{fmt, time::Duration};

use baton_protocol::ShardId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{event::Event, name::Login};

/// A way to Twitch.
pub trait Transport: Send + Sync + 'static {
    /// How an event comes while two connections of a unit are open.
    fn cut(&self) -> Cut;

    /// What the work is answered to a letter that reached whoever does not serve the unit, if an
    /// answer is wanted.
    fn declines(&self, _letter: &[u8]) -> Option<Bytes> {
        None
    }

    /// Opens a connection for a unit, in a task of its own. Nothing is awaited here.
    fn open(&self, opened: Opened) -> Link;
}

/// How an event comes while two connections of a unit are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// On both. So the next owner keeps what comes until it goes live, and leaves out what the
    /// owner before handed out; that one hands nothing out behind its seal. How late one
    /// connection may be behind the other says how long the next owner waits before it is
    /// ready.
    Both {
        /// The longest that one connection is behind the other.
        settle: Duration,
    },
    /// On one of them: where Twitch sent it. So the owner before hands out what still comes on
    /// its connection, and the next one has what comes on its own.
    One,
}

/// For which unit a connection is opened.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub unit: ShardId,
    /// How many there are; 0: not known.
    pub units: u32,
    /// The channels that it is in, where the transport has a list of them.
    pub channels: Option<Channels>,
}

/// Channels of one account, as they travel with a unit and come from the work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// Grows with each change.
    pub version: u64,
    /// The account that reads them; `None`: no account is needed.
    pub account: Option<Login>,
    /// The channels.
    pub channels: Vec<Login>,
}

/// What is heard on a connection.
#[derive(Clone, Debug)]
pub enum Item {
    /// It gets further, before it is ready.
    Further,
    /// It is as far as it can be without taking the unit over: [`Order::Take`] is waited for.
    Ready,
    /// The unit is taken over: from now on its events come here.
    Live,
    /// Something happened.
    Event(Event),
    /// To the once-per-bot work.
    Letter(Bytes),
    /// It is over.
    Ended {
        /// Why, for a person.
        why: String,
        /// Whether another try would end like this.
        fatal: bool,
    },
}

/// What a connection is told.
#[derive(Clone, Debug)]
pub enum Order {
    /// Take the unit over.
    Take,
    /// These are its channels from now on.
    Channels(Channels),
    /// The once-per-bot work writes something else.
    Letter(Bytes),
}

/// A connection that runs. Its task ends when this is dropped.
pub struct Link {
    /// What is heard. Closed: the task is gone.
    pub items: mpsc::Receiver<Item>,
    /// What it is told.
    pub orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Link {
    /// Of a task with the other ends.
    #[must_use]
    pub const fn new(
        items: mpsc::Receiver<Item>,
        orders: mpsc::Sender<Order>,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            items,
            orders,
            task,
        }
    }

    /// The next item; a task that is gone has ended. Survives being cancelled.
    pub(crate) async fn next(&mut self) -> Item {
        self.items.recv().await.unwrap_or_else(|| Item::Ended {
            why: "the task of the connection is gone".to_owned(),
            fatal: false,
        })
    }

    /// Tells it something. One that reads no orders has too many waiting, and is told nothing:
    /// it says so itself, by its silence.
    pub(crate) fn tell(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
