//! What a bot may do with a shard: send commands.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use baton_protocol::ShardId;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for a shard, at most.
pub(crate) const QUEUE: usize = 120;

/// Sends commands to one shard. Cheap to clone; stays valid over reconnects and
/// over being taken back after a migration.
#[derive(Clone)]
pub struct ShardHandle {
    shard: ShardId,
    commands: mpsc::Sender<Command>,
    user: Arc<AtomicU64>,
    application: Arc<AtomicU64>,
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
            user: Arc::default(),
            application: Arc::default(),
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
        self.user.load(Ordering::Relaxed)
    }

    /// The bot's application id; `0` before the first session is known.
    #[must_use]
    pub fn application_id(&self) -> u64 {
        self.application.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ids(&self, user: u64, application: u64) {
        self.user.store(user, Ordering::Relaxed);
        self.application.store(application, Ordering::Relaxed);
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
