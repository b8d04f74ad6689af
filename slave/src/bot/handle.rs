//! What a bot may do with a shard: send commands.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use baton_protocol::{Epoch, Sequence, ShardId, Ticket};
use serde::Serialize;
use tokio::sync::mpsc;
use twilight_model::id::{
    Id,
    marker::{ApplicationMarker, UserMarker},
};

use super::{
    command::{Command, Receipt},
    hold::{Hold, Holds},
};
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
    shards: AtomicU32,
    /// One more than the sequence; 0: its session began here.
    resumed_behind: AtomicU64,
    session: Mutex<Arc<str>>,
    holds: Arc<Holds>,
    luggage: Mutex<Arc<str>>,
    /// Whether the bot changed it, and no ticket says so.
    has_new_luggage: AtomicBool,
    is_connected: AtomicBool,
}

impl Now {
    fn resumes_behind(&self, handled: Sequence) {
        let behind = handled.get().saturating_add(1);
        self.resumed_behind.store(behind, Ordering::Relaxed);
    }

    fn is_of(&self, session: Arc<str>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }
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

/// So much cannot be given along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes cannot be given along to the next owner of a shard: at most 4096 can")]
pub struct LuggageError(pub usize);

/// The commands of [`ShardHandle::for_test`], in the place of Discord: one that is taken
/// from here was sent. Dropped: the shard has moved away.
#[derive(Debug)]
pub struct Commands {
    commands: mpsc::Receiver<Command>,
    now: Arc<Now>,
}

impl Commands {
    /// Waits for the next command, as JSON; `None`: each handle was dropped. Survives
    /// being cancelled.
    pub async fn recv(&mut self) -> Option<String> {
        loop {
            let command = self.commands.recv().await?;
            if command.give().is_some() {
                return Some(command.into_sent());
            }
        }
    }

    /// The next command that waits, as JSON; `None`: none does.
    pub fn try_recv(&mut self) -> Option<String> {
        loop {
            let command = self.commands.try_recv().ok()?;
            if command.give().is_some() {
                return Some(command.into_sent());
            }
        }
    }

    /// The shard goes on with a session of this name, as another process handled it up to this
    /// event. A bot is told of it with [`Bot::state_changed`](super::Bot::state_changed).
    pub fn resumes(&self, session: &str, handled: Sequence) {
        self.now.shards.store(1, Ordering::Relaxed);
        self.now.is_connected.store(true, Ordering::Relaxed);
        self.now.is_of(session.into());
        self.now.resumes_behind(handled);
    }

    /// Whether its connection is there.
    pub fn is_connected(&self, is_connected: bool) {
        self.now.is_connected.store(is_connected, Ordering::Relaxed);
    }

    /// The bot's user.
    pub fn is_user(&self, user: u64) {
        self.now.user.store(user, Ordering::Relaxed);
    }

    /// This process owns the shard at this epoch.
    pub fn is_owned_at(&self, epoch: Epoch) {
        self.now.epoch.store(epoch.get(), Ordering::Relaxed);
    }

    /// Whether the bot [holds](ShardHandle::hold) the shard.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.now.holds.any()
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

    /// A handle of shard 0 that no gateway is behind, for a bot's own tests, and the
    /// commands that are sent by it.
    #[must_use]
    pub fn for_test() -> (Self, Commands) {
        let (handle, commands) = Self::new(ShardId(0));
        let now = Arc::clone(&handle.now);
        (handle, Commands { commands, now })
    }

    /// Which shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The bot's user; `None` before the first session is known.
    #[must_use]
    pub fn user_id(&self) -> Option<Id<UserMarker>> {
        Id::new_checked(self.now.user.load(Ordering::Relaxed))
    }

    /// The bot's application; `None` before the first session is known.
    #[must_use]
    pub fn application_id(&self) -> Option<Id<ApplicationMarker>> {
        Id::new_checked(self.now.application.load(Ordering::Relaxed))
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

    /// Shards of the whole bot, as the session was identified with; 0 before the first one.
    #[must_use]
    pub fn shard_count(&self) -> u32 {
        self.now.shards.load(Ordering::Relaxed)
    }

    /// Whether the shard serves here, and its connection is there: a command is written at once,
    /// as far as Discord's limit allows it.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.now.is_connected.load(Ordering::Relaxed)
    }

    /// Its connection is there, or is not there any more.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.now.is_connected.store(is_connected, Ordering::Relaxed);
    }

    /// Up to which event the session was handled when this process became the shard's owner:
    /// only those above are handed out. `None`: the session began at this process, or there
    /// is none. Right from [`Bot::state_changed`](super::Bot::state_changed) on, which is
    /// called before the first event.
    #[must_use]
    pub fn resumed_behind(&self) -> Option<Sequence> {
        let behind = self.now.resumed_behind.load(Ordering::Relaxed);
        behind.checked_sub(1).map(Sequence)
    }

    /// The bot has no room for more: the shard takes nothing from Discord as long as what
    /// this gives lives. Discord keeps what comes meanwhile. After 15 s the connection is
    /// closed, and the session is resumed when the bot has room again; a session that was
    /// not resumed for a minute or two is over.
    ///
    /// Called in [`Bot::handle`](super::Bot::handle), the event that is handled there is the
    /// last one. Called elsewhere, some more may be on their way. What was taken before and is
    /// not finished is not held: an event that was given back, or that the shard's former
    /// owner did not finish, comes all the same.
    pub fn hold(&self) -> Hold {
        self.now.holds.begin()
    }

    /// Whether the bot has no room.
    pub(crate) fn is_held(&self) -> bool {
        self.now.holds.any()
    }

    /// Until it may have some. Survives being cancelled.
    pub(crate) async fn hold_ends(&self) {
        self.now.holds.ended().await;
    }

    /// What goes along with the shard: text that reaches its next owner with the ticket. From
    /// [`Bot::state_changed`](super::Bot::state_changed) on it is what the owner before gave
    /// along, until [`set_luggage`](Self::set_luggage) changes it. Empty: nothing, or a new
    /// session.
    #[must_use]
    pub fn luggage(&self) -> Arc<str> {
        let luggage = self.now.luggage.lock();
        luggage.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives this along, in the place of what is given along now. The next owner has what was
    /// set before the ticket was made. If this process is killed, it has what was set up to
    /// the last checkpoint.
    ///
    /// The master keeps it in its journal and sends it on, and every change is a message: it
    /// is meant for what changes seldom.
    ///
    /// # Errors
    /// It has more than 4,096 bytes, and nothing is changed.
    pub fn set_luggage(&self, luggage: &str) -> Result<(), LuggageError> {
        if luggage.len() > Ticket::MAX_LUGGAGE {
            return Err(LuggageError(luggage.len()));
        }
        let now = &self.now;
        let mut kept = now.luggage.lock().unwrap_or_else(PoisonError::into_inner);
        if **kept != *luggage {
            *kept = luggage.into();
            now.has_new_luggage.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether the luggage was changed since the last call.
    pub(crate) fn takes_new_luggage(&self) -> bool {
        let is_new = &self.now.has_new_luggage;
        is_new.load(Ordering::Relaxed) && is_new.swap(false, Ordering::Acquire)
    }

    /// This came along.
    pub(crate) fn brings(&self, luggage: &str) {
        let now = &self.now;
        let mut kept = now.luggage.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = luggage.into();
        now.has_new_luggage.store(false, Ordering::Relaxed);
    }

    pub(crate) fn resumes_behind(&self, handled: Sequence) {
        self.now.resumes_behind(handled);
    }

    /// A session begins, or goes on with what its former owner gave along.
    pub(crate) fn serves(&self, epoch: Epoch, session: &Session, luggage: &str) {
        let now = &self.now;
        let shards = session.said.parameters.shard_count;
        now.shards.store(shards, Ordering::Relaxed);
        now.resumed_behind.store(0, Ordering::Relaxed);
        now.user.store(session.said.user_id, Ordering::Relaxed);
        now.application
            .store(session.said.application_id, Ordering::Relaxed);
        now.epoch.store(epoch.get(), Ordering::Relaxed);
        now.is_of(session.tag.clone());
        self.brings(luggage);
    }

    /// Queues a gateway command (op 3, 4, 8, 31 or 43), for example one of
    /// `twilight_model::gateway::payload::outgoing`. It is sent when the shard is
    /// connected and Discord's 120 a minute allow it; while the shard reconnects
    /// or migrates it waits.
    ///
    /// # Errors
    /// The queue is full, or the shard has moved away for good.
    pub fn command(&self, command: &impl Serialize) -> Result<Receipt, CommandError> {
        let json = serde_json::to_string(command).map_err(|_| CommandError::Encoding)?;
        let (command, receipt) = Command::new(json);
        match self.commands.try_send(command) {
            Ok(()) => Ok(receipt),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn luggage_is_what_came_until_it_is_changed_and_has_a_limit() {
        let (shard, _commands) = ShardHandle::for_test();
        assert!(shard.luggage().is_empty());
        shard.brings("from before");
        assert_eq!(&*shard.luggage(), "from before");
        assert!(!shard.takes_new_luggage(), "no ticket has to say it");
        shard.set_luggage("from before").unwrap();
        assert!(!shard.takes_new_luggage(), "nothing changed");
        shard.set_luggage("ours").unwrap();
        assert!(shard.takes_new_luggage());
        assert!(!shard.takes_new_luggage(), "once");
        let too_much = "x".repeat(Ticket::MAX_LUGGAGE + 1);
        assert_eq!(
            shard.set_luggage(&too_much),
            Err(LuggageError(Ticket::MAX_LUGGAGE + 1))
        );
        assert_eq!(&*shard.luggage(), "ours");
    }

    #[tokio::test]
    async fn a_test_sees_the_commands_of_its_handle_in_the_place_of_discord() {
        let (shard, mut commands) = ShardHandle::for_test();
        assert_eq!((shard.user_id(), shard.application_id()), (None, None));
        assert_eq!(commands.try_recv(), None);
        let mut receipt = shard.command(&[1, 2]).unwrap();
        assert_eq!(commands.recv().await.as_deref(), Some("[1,2]"));
        assert_eq!(receipt.sent().await, Ok(()));
        assert!(shard.command(&[3]).unwrap().withdraw());
        assert_eq!(commands.try_recv(), None);
        for _ in 0..QUEUE {
            shard.command(&"more").unwrap();
        }
        assert_eq!(
            shard.command(&"one too many").err(),
            Some(CommandError::Full)
        );
        drop(commands);
        assert_eq!(shard.command(&"late").err(), Some(CommandError::Moved));
    }
}
