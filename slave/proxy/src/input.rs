//! How a shard gives its events to a proxy.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::timeout};

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

/// A shard that is about to leave, see [`Input::parts`]. Dropped, it has left.
#[must_use = "dropped, the shard leaves at once"]
pub struct Parting {
    shared: Arc<Shared>,
    shard: Arc<Shard>,
    wake: Arc<Notify>,
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

impl Input {
    /// The shard is about to leave: from now on its clients are sent nothing more, and are
    /// asked what they have received.
    pub fn parts(&self) -> Parting {
        let wake = Arc::new(Notify::new());
        self.shard.with(|core| core.parts(Arc::clone(&wake)));
        Parting {
            shared: Arc::clone(&self.shared),
            shard: Arc::clone(&self.shard),
            wake,
        }
    }
}

impl Parting {
    /// Whether its clients have said everything: there is nothing to wait for.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.shard.with(|core| core.is_at_rest())
    }

    /// Waits until they have, or for so long.
    pub async fn rest(&self, patience: Duration) {
        let resting = async {
            while !self.is_at_rest() {
                self.wake.notified().await;
            }
        };
        // Out of patience: what they did not say comes again, unless they resume.
        let _ = timeout(patience, resting).await;
    }
}

impl Drop for Parting {
    /// What goes along is said ([`clients_changed`](crate::Upstream::clients_changed)), and
    /// the clients are asked to reconnect.
    fn drop(&mut self) {
        self.shard.departs();
        self.shared.leaves(&self.shard);
        self.shared.arrivals.notify_waiters();
    }
}

impl std::fmt::Debug for Parting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parting").field(&self.shard.id).finish()
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
