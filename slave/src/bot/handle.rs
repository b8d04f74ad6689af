//! What a bot may do with a shard: send commands.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use baton_protocol::{Epoch, ShardId};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::shard::session::Session;

/// Commands that wait for a shard, at most.
pub(crate) const QUEUE: usize = 120;

/// Sends commands to one shard. Cheap to clone; stays valid over reconnects and
/// over being taken back after a migration.
#[derive(Clone)]
pub struct ShardHandle {
    shard: ShardId,
    commands: mpsc::Sender<Command>,
    now: Arc<Now>,
}

/// What the shard says about itself.
#[derive(Debug, Default)]
struct Now {
    user: AtomicU64,
    application: AtomicU64,
    epoch: AtomicU64,
    session: Mutex<Arc<str>>,
}

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) json: String,
    pub(crate) sent: oneshot::Sender<()>,
}

/// Why a command was not taken, or not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 120 commands wait already; Discord takes 120 a minute.
    #[error("120 commands wait for this shard already: send fewer, or later")]
    Full,
    /// The shard has moved to another process for good.
    #[error("the shard has moved to another process")]
    Moved,
    /// It is no payload of a gateway command.
    #[error("the command cannot be encoded")]
    Encoding,
}

/// Resolves when the command was given to the connection. May be dropped.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<()>);

impl Receipt {
    /// Waits until the command was given to the connection.
    ///
    /// # Errors
    /// [`CommandError::Moved`]: the shard went away first.
    pub async fn sent(self) -> Result<(), CommandError> {
        self.0.await.map_err(|_| CommandError::Moved)
    }
}

impl ShardHandle {
    pub(crate) fn new(shard: ShardId) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let handle = Self {
            shard,
            commands,
            now: Arc::default(),
        };
        (handle, receiver)
    }

    /// Which shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The bot's user id; `0` before the first session is known.
    #[must_use]
    pub fn user_id(&self) -> u64 {
        self.now.user.load(Ordering::Relaxed)
    }

    /// The bot's application id; `0` before the first session is known.
    #[must_use]
    pub fn application_id(&self) -> u64 {
        self.now.application.load(Ordering::Relaxed)
    }

    /// The epoch at which this process owns the shard, or owned it last.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.now.epoch.load(Ordering::Relaxed))
    }

    /// Names the shard's session as [`Event::session`](super::Event::session)
    /// does; empty before the first one.
    #[must_use]
    pub fn session(&self) -> Arc<str> {
        let session = self.now.session.lock();
        session.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn serves(&self, epoch: Epoch, session: &Session) {
        let now = &self.now;
        now.user.store(session.user_id, Ordering::Relaxed);
        now.application
            .store(session.application_id, Ordering::Relaxed);
        now.epoch.store(epoch.get(), Ordering::Relaxed);
        *now.session.lock().unwrap_or_else(PoisonError::into_inner) = session.tag.clone();
    }

    /// Queues a gateway command (op 3, 4, 8 or 31), for example one of
    /// `twilight_model::gateway::payload::outgoing`. It is sent when the shard is
    /// connected and Discord's 120 a minute allow it; while the shard reconnects
    /// or migrates it waits.
    ///
    /// # Errors
    /// The queue is full, or the shard has moved away for good.
    pub fn command(&self, command: &impl Serialize) -> Result<Receipt, CommandError> {
        let json = serde_json::to_string(command).map_err(|_| CommandError::Encoding)?;
        let (sent, receipt) = oneshot::channel();
        match self.commands.try_send(Command { json, sent }) {
            Ok(()) => Ok(Receipt(receipt)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(CommandError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CommandError::Moved),
        }
    }
}

impl fmt::Debug for ShardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShardHandle").field(&self.shard).finish()
    }
}
