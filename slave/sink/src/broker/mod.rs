//! What brokers have in common.

mod link;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "amqp")]
pub(crate) mod rabbit;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::{future::Future, sync::Arc, time::Duration};

use crate::dispatch::Dispatch;

/// An event on its way, and what each try of it has in common.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) event: Dispatch,
    /// Milliseconds of Unix time.
    pub(crate) created: u64,
}

/// The broker has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// It did not have it before.
    Added,
    /// It had it already, and did not take it again.
    Repeat,
}

/// The broker is not known to have an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Whether it may have it all the same: its answer is missing.
    pub(crate) in_doubt: bool,
    /// Why, for a person.
    pub(crate) reason: String,
}

/// Publishes single messages, and keeps them in the order in which it confirms them.
pub(crate) trait Publish: Send + Sync + 'static {
    /// For so long a broker knows a repeat by its id. One that is tried again later says
    /// of itself that it may be one.
    fn knows_repeats_for(&self) -> Duration;

    /// Publishes a message, and waits for the broker's answer, not without an end.
    fn publish(
        &self,
        message: Arc<Message>,
        may_repeat: bool,
    ) -> impl Future<Output = Result<Confirmed, Refused>> + Send;
}

/// Publishes the events of a shard one behind the other.
pub(crate) trait PublishInOrder: Send + Sync + 'static {
    /// Publishes events of one shard, session and epoch, all or up to one that is refused.
    /// `before`: the highest sequence of their session that was confirmed here; 0: none.
    fn publish(
        &self,
        batch: &[Arc<Message>],
        before: u64,
    ) -> impl Future<Output = Result<Answer, Refused>> + Send;
}

/// What became of some events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// So many of the first ones are with the broker.
    pub(crate) taken: usize,
    /// So many of these it had before.
    pub(crate) repeats: u64,
    /// What was the matter with the next one.
    pub(crate) ended: Ended,
}

/// Why a broker took no more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was no more.
    #[default]
    Done,
    /// It does not take this one now.
    Refused(String),
    /// The one before is not there, and `last` is the newest that is.
    Hole {
        /// A sequence; 0: none.
        last: u64,
    },
    /// A newer owner publishes.
    Fenced,
}
