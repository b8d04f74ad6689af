//! A connection that one task makes, and everybody uses: lines never wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Link<C> {
    now: Mutex<Now<C>>,
    lost: Notify,
}

#[derive(Debug)]
struct Now<C> {
    connection: Option<C>,
    /// Counts connections.
    number: u64,
}

impl<C: Clone> Link<C> {
    /// It is not there yet.
    pub(crate) fn new() -> Self {
        Self {
            now: Mutex::new(Now {
                connection: None,
                number: 0,
            }),
            lost: Notify::new(),
        }
    }

    /// The connection, and its number.
    pub(crate) fn get(&self) -> Option<(C, u64)> {
        let now = self.now();
        Some((now.connection.clone()?, now.number))
    }

    /// A new one is there.
    pub(crate) fn set(&self, connection: C) {
        let mut now = self.now();
        now.number += 1;
        now.connection = Some(connection);
    }

    /// The connection with this number does not work any more.
    pub(crate) fn lose(&self, number: u64) {
        let mut now = self.now();
        if now.number == number && now.connection.take().is_some() {
            self.lost.notify_one();
        }
    }

    /// Waits until a connection was lost since the last call.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    // Nothing panics in here.
    fn now(&self) -> MutexGuard<'_, Now<C>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_lost_once_and_not_for_the_next_one() {
        let link = Link::new();
        assert_eq!(link.get(), None);
        link.set("first");
        let (_, first) = link.get().expect("the first");
        link.lose(first);
        assert_eq!(link.get(), None);
        link.set("second");
        link.lose(first);
        assert_eq!(link.get().map(|(it, _)| it), Some("second"));
    }
}
