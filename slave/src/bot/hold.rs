//! A shard takes nothing from Discord as long as its bot has no room.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Of one shard: how many holds there are.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    count: AtomicUsize,
    ended: Notify,
}

/// As long as it lives, its shard takes nothing from Discord, and hands out nothing that it
/// has not taken yet: see [`ShardHandle::hold`](super::ShardHandle::hold). Dropped, it goes on.
#[must_use = "dropped, the shard goes on"]
pub struct Hold(Arc<Holds>);

impl Holds {
    pub(crate) fn begin(self: &Arc<Self>) -> Hold {
        self.count.fetch_add(1, Ordering::AcqRel);
        Hold(Arc::clone(self))
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Until there may be none any more. The shard alone waits here. Survives being cancelled.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Kept for a shard that is about to wait.
            self.0.ended.notify_one();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
