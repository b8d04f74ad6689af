//! What one process of the fleet does, and not every one.

use std::sync::Arc;

use bytes::Bytes;

/// Once-per-bot work (schedules, a metrics port). Given to
/// [`Builder::work`](crate::Builder::work). The master moves it last, from the old
/// process to the new one, and never to two at a time.
///
/// Both methods are called on a blocking thread of tokio, one after the other.
pub trait Work: Send + Sync + 'static {
    /// Begin it, from what the process before wrote down; `None`: nobody wrote anything.
    fn start(&self, ticket: Option<Bytes>);

    /// Stop it, and write down what the next process needs, at most 256 KiB. Nothing of
    /// it may run afterwards.
    fn stop(&self) -> Bytes;
}

impl<W: Work + ?Sized> Work for Arc<W> {
    fn start(&self, ticket: Option<Bytes>) {
        (**self).start(ticket);
    }

    fn stop(&self) -> Bytes {
        (**self).stop()
    }
}
