//! How a shard gives its events to a proxy.

use tokio::sync::mpsc;

use crate::{
    shard::Fed,
    upstream::{Begin, Dispatch},
};

/// How a shard gives its events to a proxy. Dropped, the shard has left.
#[derive(Debug)]
pub struct Input(mpsc::Sender<Fed>);

/// An event is not taken: so many wait already, or the proxy has ended.
#[derive(Debug)]
pub struct Full(pub Dispatch);

impl Input {
    pub(crate) const fn new(send: mpsc::Sender<Fed>) -> Self {
        Self(send)
    }

    /// The shard has a session, from here on. Before its first event, and where it begins
    /// another one.
    pub async fn begin(&self, begin: Begin) {
        // Ended: nobody is served any more.
        let _ = self.0.send(Fed::Begin(begin)).await;
    }

    /// The same without waiting. `false`: there is no room for it.
    #[must_use]
    pub fn try_begin(&self, begin: Begin) -> bool {
        self.0.try_send(Fed::Begin(begin)).is_ok()
    }

    /// One dispatch, in the order of the sequences. Waits as long as there is no room for it:
    /// whoever waits here does not read what follows.
    pub async fn event(&self, dispatch: Dispatch) {
        let _ = self.0.send(Fed::Dispatch(dispatch)).await;
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// It is given back: there is no room for it.
    pub fn try_event(&self, dispatch: Dispatch) -> Result<(), Full> {
        let sent = self.0.try_send(Fed::Dispatch(dispatch));
        sent.map_err(|error| match error.into_inner() {
            Fed::Dispatch(dispatch) => Full(dispatch),
            Fed::Begin(_) => unreachable!("a dispatch was sent"),
        })
    }
}
