//! How a shard gives its events to a proxy.

use std::sync::Arc;

use crate::{
    proxy::Shared,
    shard::Shard,
    upstream::{Begin, Dispatch},
};

/// How a shard gives its events to a proxy. Dropped, the shard has left.
pub struct Input {
    shared: Arc<Shared>,
    shard: Arc<Shard>,
}

impl Input {
    pub(crate) const fn new(shared: Arc<Shared>, shard: Arc<Shard>) -> Self {
        Self { shared, shard }
    }

    /// The shard has a session, from here on. Before its first event, and where it begins
    /// another one.
    pub fn begin(&self, begin: &Begin) {
        self.shard.begin(begin);
        self.shared.arrivals.notify_waiters();
    }

    /// One dispatch, in the order of the sequences. It is taken, whether there is
    /// [room](Self::has_room) for it or not: an upstream that gives more than there is room
    /// for makes the proxy larger than it is configured to be.
    pub fn push(&self, dispatch: &Dispatch) {
        self.shard.push(dispatch);
    }

    /// Whether one more event is within what the shard and all shards may have. Another word
    /// follows each [`Upstream::room_changed`](crate::Upstream::room_changed).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shard.has_room()
    }

    /// The next dispatch, as soon as there is room for it: whoever waits here does not read
    /// what follows.
    pub async fn event(&self, dispatch: Dispatch) {
        self.shard.room().await;
        self.shard.push(&dispatch);
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Input").field(&self.shard.id).finish()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.shard.leave();
        self.shared.leaves(&self.shard);
        self.shared.arrivals.notify_waiters();
    }
}
