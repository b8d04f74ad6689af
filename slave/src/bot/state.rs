//! What a bot knows of its guilds because of the events it saw.

use std::sync::Arc;

use baton_protocol::{Sequence, ShardId};
use bytes::Bytes;

use super::Event;

/// Whether a shard's state is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateStatus {
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

/// State that moves with its shards. Given to [`Builder::state`](crate::Builder::state);
/// `cache::Cache` (the feature `cache`) is one.
///
/// It is divided into *pieces*: for a cache one guild each, whose key is the guild's id.
/// Key `0` is the library's. At a migration the pieces are copied while the old process
/// serves. Each stands at the sequence at which it was exported, and the new process
/// applies only what is newer.
///
/// Except for [`import_piece`](State::import_piece) everything is called inside tokio and
/// should return soon.
pub trait State: Send + Sync + 'static {
    /// Bring the state up to this event. Called before
    /// [`Bot::handle`](super::Bot::handle), in sequence order, for every dispatch that
    /// the state does not hold already; also for those that another process handled.
    fn apply(&self, event: &Event);

    /// The piece that an event changes; `None`: none in particular.
    fn piece_of(&self, event: &Event) -> Option<u64> {
        event.guild_id().map(|guild| guild.get())
    }

    /// Keys of all pieces of a shard. Called while it serves.
    fn export(&self, shard: ShardId) -> Vec<u64>;

    /// One piece as it is now; `None` when it is gone. At most 16 MiB.
    fn export_piece(&self, shard: ShardId, key: u64) -> Option<Bytes>;

    /// Take one piece in. It stands at `sequence`. Its bytes may be part of a larger
    /// buffer: whoever keeps a small part of what it is given copies that.
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
    ) -> Result<(), ImportError>;

    /// Forget everything of a shard: it moved away for good, or starts from nothing.
    fn drop_shard(&self, shard: ShardId);
}

impl<S: State + ?Sized> State for Arc<S> {
    fn apply(&self, event: &Event) {
        (**self).apply(event);
    }

    fn piece_of(&self, event: &Event) -> Option<u64> {
        (**self).piece_of(event)
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        (**self).export(shard)
    }

    fn export_piece(&self, shard: ShardId, key: u64) -> Option<Bytes> {
        (**self).export_piece(shard, key)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        sequence: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        (**self).import_piece(shard, key, sequence, piece)
    }

    fn drop_shard(&self, shard: ShardId) {
        (**self).drop_shard(shard);
    }
}
