//! What a bot is: one trait, of which only [`Bot::handle`] must be written.

mod ack;
mod event;
mod handle;
mod reports;

use baton_protocol::{Sequence, ShardId};
use bytes::Bytes;

pub(crate) use self::event::data;
pub use self::{
    ack::Ack,
    event::{Event, Mark, ParseError},
    handle::{CommandError, Receipt, ShardHandle},
};
pub(crate) use self::{
    ack::{Finished, How},
    handle::Command,
    reports::Reports,
};

/// Whether a shard's state is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was copied, kept, or a new session's events build it.
    Complete,
    /// The owner before died without a copy: what the bot knew of this shard is
    /// gone, and no event of this session will bring it back.
    Lost,
}

/// State that cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(pub String);

/// A bot.
///
/// # Events
/// A shard calls [`apply`](Bot::apply) and then [`handle`](Bot::handle) in
/// sequence order, one event at a time; shards run beside each other. Both run
/// inside tokio and should return soon: long work goes into a task, together
/// with the [`Ack`].
///
/// # State
/// A bot that keeps something per shard or guild says so with
/// [`keeps_state`](Bot::keeps_state) and divides it into *pieces* (for a cache:
/// one guild each, its key the guild id; key `0` is the library's). At a
/// migration the pieces are copied while the old process serves; each stands at
/// the sequence at which it was exported, and the new process applies only what
/// is newer.
pub trait Bot: Send + Sync + 'static {
    /// Handle an event. It is finished when `ack` is dropped.
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle);

    /// Told before the first event of every owner, and before a new session's
    /// READY.
    fn state(&self, shard: &ShardHandle, state: State) {
        let _ = (shard, state);
    }

    /// Bring the state up to this event. Called for every dispatch that the
    /// state does not hold already, also for ones that another process handled.
    fn apply(&self, event: &Event) {
        let _ = event;
    }

    /// The piece of state that an event changes; `None`: none in particular.
    fn piece_of(&self, event: &Event) -> Option<u64> {
        event.guild_id()
    }

    /// Whether there is state to move.
    fn keeps_state(&self) -> bool {
        false
    }

    /// Keys of all pieces of a shard. Called while it serves.
    fn export(&self, shard: ShardId) -> Vec<u64> {
        let _ = shard;
        Vec::new()
    }

    /// One piece as it is now; `None` when it is gone. At most 16 MiB.
    fn export_piece(&self, shard: ShardId, key: u64) -> Option<Bytes> {
        let _ = (shard, key);
        None
    }

    /// Take one piece in. It stands at `sequence`. Its bytes may be part of a larger
    /// buffer: a bot that keeps a small part of what it is given copies that.
    /// Called on a blocking thread of tokio, for one piece of a shard after the other
    /// and before any event of that shard.
    ///
    /// # Errors
    /// It cannot be read; the migration of this shard is given up.
    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        sequence: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        let _ = (shard, key, sequence, piece);
        Ok(())
    }

    /// Forget everything of a shard: it moved away for good, or starts from nothing.
    fn drop_shard_state(&self, shard: ShardId) {
        let _ = shard;
    }

    /// Begin the work that one process of the fleet does (schedules, jobs), from
    /// what the process before wrote down. Called on a blocking thread of tokio.
    fn start_work(&self, ticket: Option<Bytes>) {
        let _ = ticket;
    }

    /// Stop that work, and write down what the next process needs, at most
    /// 256 KiB. Called on a blocking thread of tokio; nothing may run afterwards.
    fn stop_work(&self) -> Bytes {
        Bytes::new()
    }
}
