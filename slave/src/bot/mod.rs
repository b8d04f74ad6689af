//! What a bot's author writes: [`Bot`] for its events, [`State`] for what it knows of
//! its guilds, [`Work`] for what one process of the fleet does.

mod ack;
mod command;
mod event;
mod from_fn;
mod handle;
mod hold;
mod reports;
mod settling;
mod state;
mod work;

use std::sync::Arc;

pub(crate) use self::event::{data, guild_of};
pub use self::{
    ack::Ack,
    command::Receipt,
    event::{Event, Mark, ParseError},
    from_fn::{FromFn, FromFnWith, from_fn, from_fn_with},
    handle::{CommandError, Commands, LuggageError, ShardHandle},
    hold::Hold,
    settling::Settling,
    state::{ImportError, State, StateStatus},
    work::Work,
};
pub(crate) use self::{
    command::{Command, Way},
    reports::{Finished, How, Reports},
    settling::Settles,
};

/// Handles the events of the shards that this process serves.
///
/// [`from_fn`] makes a bot of an `async` function, and finishes each event when the
/// function ends. Implement this trait where an event is finished by something else.
///
/// A shard hands its events out in sequence order, one at a time; shards run beside each
/// other. All methods are called inside tokio and should return soon: long work goes
/// into a task, together with the [`Ack`].
pub trait Bot: Send + Sync + 'static {
    /// Handle an event. It is finished when `ack` is dropped.
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle);

    /// Told before the first event of every owner, and before a new session's READY,
    /// whether the shard's [`State`] is whole. Also where there is none.
    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        let _ = (shard, status);
    }

    /// Told before the shard leaves this process: in a deploy or a rollback, when the process
    /// ends, or because another one owns the shard. Nothing more is handed out. The bot may
    /// come to rest first: the ticket waits until `settling` is dropped, at most
    /// [`Settling::LONGEST`]. If the shard comes back, [`state_changed`](Self::state_changed)
    /// is called again.
    ///
    /// A bot that needs no such moment leaves this as it is, and pays nothing.
    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        let _ = (shard, settling);
    }
}

impl<B: Bot + ?Sized> Bot for Arc<B> {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        (**self).handle(event, ack, shard);
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        (**self).state_changed(shard, status);
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        (**self).shard_leaves(shard, settling);
    }
}
