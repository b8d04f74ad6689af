//! The identify queue that twilight asks: the master owns the budget.
//!
//! A refused permit is a receiver that stays pending: heartbeats go on. A sender
//! is never dropped while its receiver may be polled: twilight would ask again
//! without a pause.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use twilight_gateway_queue::Queue;

/// The queue of one shard. Clones are the same queue.
#[derive(Clone, Default)]
pub(crate) struct Permits {
    waiting: Arc<Mutex<Vec<oneshot::Sender<()>>>>,
}

impl Permits {
    fn waiting(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection of this shard waits for a permit.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting().iter().any(|sender| !sender.is_closed())
    }

    /// Lets the connection that waits send IDENTIFY at its next poll. `false`:
    /// none waits any longer, the permit is lost.
    pub(crate) fn grant(&self) -> bool {
        let mut waiting = self.waiting();
        let mut granted = false;
        for sender in waiting.drain(..) {
            if !granted {
                granted = sender.send(()).is_ok();
            }
        }
        granted
    }
}

impl Queue for Permits {
    fn enqueue(&self, _shard: u32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if mutant!("identify-unasked") {
            let _ = sender.send(());
            return receiver;
        }
        let mut waiting = self.waiting();
        // Senders of connections that are gone; nobody polls their receivers.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits")
            .field("waiting", &self.is_waiting())
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_that_is_not_given_stays_pending_and_is_never_cancelled() {
        let permits = Permits::default();
        let mut receiver = permits.enqueue(0);
        assert!(permits.is_waiting());
        assert_eq!(
            receiver.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        );
        assert!(permits.grant());
        receiver.await.unwrap();
        assert!(!permits.is_waiting());
    }

    #[tokio::test]
    async fn a_permit_goes_to_the_connection_that_lives_not_to_one_that_is_gone() {
        let permits = Permits::default();
        drop(permits.enqueue(0));
        assert!(!permits.grant(), "nobody waits: the permit is lost");
        drop(permits.enqueue(0));
        let second = permits.enqueue(0);
        assert!(permits.grant());
        second.await.unwrap();
    }
}
