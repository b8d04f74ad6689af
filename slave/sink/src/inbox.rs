//! The way of a shard's events to its line.

use std::sync::{Mutex, MutexGuard, PoisonError};

use baton_slave::Settling;
use tokio::sync::Notify;

/// Takes events from any thread, in their order, and the word that the shard leaves. Bounded
/// by the windows of the shards: an event that is not finished is handed out once.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    waiting: Mutex<Queue<T>>,
    arrived: Notify,
    leaves: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    events: Vec<T>,
    /// The shard leaves behind these events.
    leaves: Option<Settling>,
    /// It came back before the line heard of that.
    later: Vec<T>,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Queue {
                events: Vec::new(),
                leaves: None,
                later: Vec::new(),
            }),
            arrived: Notify::new(),
            leaves: Notify::new(),
        }
    }

    pub(crate) fn put(&self, event: T) {
        let mut waiting = self.waiting();
        if waiting.leaves.is_some() {
            waiting.later.push(event);
        } else {
            waiting.events.push(event);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The shard leaves.
    pub(crate) fn leave(&self, settling: Settling) {
        let mut waiting = self.waiting();
        let later = std::mem::take(&mut waiting.later);
        waiting.events.extend(later);
        let before = waiting.leaves.replace(settling);
        drop(waiting);
        drop(before);
        self.arrived.notify_one();
        self.leaves.notify_one();
    }

    /// All that came since the last call, up to the word that the shard leaves.
    pub(crate) fn take(&self) -> (Vec<T>, Option<Settling>) {
        let mut waiting = self.waiting();
        let later = std::mem::take(&mut waiting.later);
        if !later.is_empty() {
            self.arrived.notify_one();
        }
        let events = std::mem::replace(&mut waiting.events, later);
        (events, waiting.leaves.take())
    }

    /// Waits until something came since the last [`take`](Self::take), and may say so once
    /// too often.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until the shard leaves, which [`take`](Self::take) has not told yet.
    pub(crate) async fn leaves(&self) {
        while self.waiting().leaves.is_none() {
            self.leaves.notified().await;
        }
    }

    // Nothing panics in here.
    fn waiting(&self) -> MutexGuard<'_, Queue<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_the_word_that_the_shard_leaves_is_of_its_next_stay() {
        let inbox = Inbox::new();
        inbox.put(1);
        inbox.leave(Settling::detached());
        inbox.put(2);
        let (events, leaves) = inbox.take();
        assert_eq!((events, leaves.is_some()), (vec![1], true));
        let (events, leaves) = inbox.take();
        assert_eq!((events, leaves.is_some()), (vec![2], false));
        // It left twice before anybody looked.
        inbox.leave(Settling::detached());
        inbox.put(3);
        inbox.leave(Settling::detached());
        inbox.put(4);
        let (events, leaves) = inbox.take();
        assert_eq!((events, leaves.is_some()), (vec![3], true));
        assert_eq!(inbox.take().0, [4]);
    }
}
