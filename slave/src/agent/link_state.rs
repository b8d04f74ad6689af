//! Where the link to the master is, over any wire.

use std::{future::Future, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::link_error::LinkError;

/// A link that is up.
pub(super) trait Wire: Send + 'static {
    /// What the master says.
    type Order;
    /// What is said to it.
    type Word;

    /// The next order; `None`: the link is over. Survives being cancelled.
    fn order(&mut self) -> impl Future<Output = Option<Self::Order>> + Send;

    /// Queues a message; `false`: the link is over, or the master does not read.
    fn say(&self, word: &Self::Word) -> bool;

    /// Sends what is queued and closes, within `patience`.
    fn finish(self, patience: Duration) -> impl Future<Output = ()> + Send;
}

pub(super) enum LinkState<L> {
    /// Dialled again then.
    Waiting(Instant),
    Dialling(JoinHandle<Result<L, LinkError>>),
    Up(Box<L>),
}

pub(super) enum LinkEvent<L: Wire> {
    DialNow,
    Dialled(Result<L, LinkError>),
    Order(L::Order),
    Lost,
}

impl<L: Wire> LinkState<L> {
    /// Survives being cancelled.
    pub(super) async fn next(&mut self) -> LinkEvent<L> {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                LinkEvent::DialNow
            }
            Self::Dialling(dial) => {
                LinkEvent::Dialled(dial.await.unwrap_or(Err(LinkError::Closed)))
            }
            Self::Up(link) => link.order().await.map_or(LinkEvent::Lost, LinkEvent::Order),
        }
    }
}
