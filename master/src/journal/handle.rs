//! The driver's end of the journal: it asks for a save, and waits for it.

use std::thread;

use baton_core::event::{Durability, Entry};
use baton_protocol::Term;
use tokio::sync::{mpsc, oneshot};

use super::writer::{Deposed, Order, Writer, serve};
use crate::store::{SaveError, StoreError};

/// Saves that wait for the thread; the driver sends one at a time.
const QUEUE: usize = 16;

/// A handle to the journal's thread. The thread ends with the last handle, after
/// the saves that it was given.
#[derive(Debug)]
pub struct Journal {
    orders: mpsc::Sender<Order>,
    thread: Option<thread::JoinHandle<()>>,
    deposed: Deposed,
}

impl Journal {
    /// Starts the thread.
    pub(super) fn start(writer: Writer, deposed: Deposed) -> Result<Self, StoreError> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || serve(writer, queue))
            .map_err(StoreError::Io)?;
        Ok(Self {
            orders,
            thread: Some(thread),
            deposed,
        })
    }

    /// Makes entries durable, all or none. Checkpoints that are wanted soon are
    /// only taken: they are written in the background, and again if that fails.
    ///
    /// # Errors
    /// Nothing was saved: it was refused, and may be tried again, or another master has
    /// taken the term.
    pub async fn save(&self, entries: Vec<Entry>, durability: Durability) -> Result<(), SaveError> {
        if durability.is_only_taken(&entries) {
            let order = Order::Tickets(entries);
            return self.orders.send(order).await.map_err(|_| gone());
        }
        let (done, answer) = oneshot::channel();
        self.order(
            Order::Save {
                entries,
                durability,
                done,
            },
            answer,
        )
        .await
    }

    /// Pins the shard count; on the disk when it returns.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub async fn pin_shard_count(&self, shard_count: u32) -> Result<(), SaveError> {
        let (done, answer) = oneshot::channel();
        self.order(Order::PinShardCount { shard_count, done }, answer)
            .await
    }

    /// Why another master has the term, if it was found out: no save of this one succeeds
    /// any more, and it must decide nothing.
    #[must_use]
    pub fn deposed(&self) -> Option<&str> {
        self.deposed.get().map(String::as_str)
    }

    /// Whether its thread has ended, which it does before its time only by a panic.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Has the fleet's file written again, where it was removed. The asker sees
    /// whether it is there, and asks again.
    pub fn write_roster(&self) {
        // A full queue is asked again later.
        let _ = self.orders.try_send(Order::Roster);
    }

    /// A slave took orders of this later term: the next master of this host is to know it.
    pub fn saw(&self, term: Term) {
        // A full queue is of a master that hears of it again.
        let _ = self.orders.try_send(Order::Saw(term));
    }

    /// Waits until the thread has ended and the file is closed.
    pub async fn close(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            // The thread has nothing to return; a panic of it was printed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn order(
        &self,
        order: Order,
        answer: oneshot::Receiver<Result<(), SaveError>>,
    ) -> Result<(), SaveError> {
        self.orders.send(order).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// A journal whose disk is given by a test: it answers each save.
    #[cfg(test)]
    pub(crate) fn played<Saved>(
        mut disk: impl FnMut(Vec<Entry>, Durability) -> Saved + Send + 'static,
    ) -> Self
    where
        Saved: Future<Output = Result<(), SaveError>> + Send + 'static,
    {
        let (orders, mut queue) = mpsc::channel(QUEUE);
        let deposed = Deposed::default();
        let found_out = std::sync::Arc::clone(&deposed);
        let mut disk = move |entries, durability| {
            let (saved, found_out) = (disk(entries, durability), found_out.clone());
            async move {
                saved.await.inspect_err(|error| {
                    if let SaveError::Deposed(reason) = error {
                        let _ = found_out.set(reason.clone());
                    }
                })
            }
        };
        tokio::spawn(async move {
            while let Some(order) = queue.recv().await {
                // The waiting task may be gone.
                let _ = match order {
                    Order::Save {
                        entries,
                        durability,
                        done,
                    } => done.send(disk(entries, durability).await),
                    Order::Tickets(entries) => disk(entries, Durability::Soon).await.map_err(Err),
                    Order::Roster | Order::Saw(_) => Ok(()),
                    Order::PinShardCount { done, .. } => done.send(Ok(())),
                };
            }
        });
        Self {
            orders,
            thread: None,
            deposed,
        }
    }
}

fn gone() -> SaveError {
    SaveError::Refused("the journal's thread has ended".to_owned())
}
