//! The way of a shard's events to its line.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Takes events from any thread, in their order. Bounded by the windows of the shards: an
/// event that is not finished is handed out once.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    waiting: Mutex<Vec<T>>,
    arrived: Notify,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn put(&self, event: T) {
        self.waiting().push(event);
        self.arrived.notify_one();
    }

    /// All that came since the last call.
    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.waiting())
    }

    /// Waits until something came since the last [`take`](Self::take), and may say so once
    /// too often.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    // Nothing panics in here.
    fn waiting(&self) -> MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
