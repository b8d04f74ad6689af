//! What a bot is handed, and how it says that it is through with it.

use std::sync::{Arc, Mutex, PoisonError};

use baton_protocol::{Epoch, Sequence, ShardId};
use tokio::sync::Notify;

use crate::event::Event;

/// What handles events.
pub trait Bot: Send + Sync + 'static {
    /// Is handed the events of each unit in the order in which they came. It must not wait:
    /// what takes time goes into a task, which has the [`Ack`].
    fn handle(&self, delivery: Delivery, ack: Ack);
}

impl<B: Bot + ?Sized> Bot for Arc<B> {
    fn handle(&self, delivery: Delivery, ack: Ack) {
        (**self).handle(delivery, ack);
    }
}

/// One event, handed out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// By which unit.
    pub unit: ShardId,
    /// How many units the fleet has.
    pub units: u32,
    /// The epoch of the owner that hands it out.
    pub epoch: Epoch,
    /// What its number belongs to. It changes where a unit starts anew.
    pub session: Arc<str>,
    /// Its number. It goes on where a unit moves; with [`session`](Self::session) it names the
    /// event for ever.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
    /// Whether it may have been handled before: the owner before did not finish it in time.
    pub may_repeat: bool,
}

/// An event is finished when this is dropped. A unit has a bounded number of events in hand:
/// who keeps every one for ever stops it.
#[derive(Debug)]
pub struct Ack {
    pub(crate) sequence: Sequence,
    pub(crate) generation: u64,
    pub(crate) finishing: Arc<Finishing>,
}

/// An event that is finished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) sequence: Sequence,
    pub(crate) generation: u64,
    pub(crate) failed: bool,
}

/// The way of what is finished to its unit. No more is noted than was handed out.
#[derive(Debug, Default)]
pub(crate) struct Finishing {
    noted: Mutex<Vec<Finished>>,
    wakes: Notify,
}

impl Finishing {
    fn note(&self, finished: Finished) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(finished);
        drop(noted);
        self.wakes.notify_one();
    }

    /// What is finished since the last call. Survives being cancelled; one at a time may wait.
    pub(crate) async fn next(&self) -> Vec<Finished> {
        loop {
            let noted = {
                let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *noted)
            };
            if !noted.is_empty() {
                return noted;
            }
            self.wakes.notified().await;
        }
    }
}

impl Ack {
    /// The event is finished. The same as dropping it.
    pub fn done(self) {}
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.finishing.note(Finished {
            sequence: self.sequence,
            generation: self.generation,
            failed: std::thread::panicking(),
        });
    }
}
