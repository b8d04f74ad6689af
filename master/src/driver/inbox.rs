//! What waits for the driver.

use std::future::pending;

use baton_core::view::View;
use tokio::sync::{mpsc, oneshot};

use super::ROUND;
use crate::notice::Notice;

/// The queue of notices, in their order. While the disk hangs, whoever only looks at the
/// fleet is let past the others: it must not make the master look dead to an operator and
/// to the watchdog.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Receiver<Notice>,
    /// Taken out of the queue in search of a look, at most [`ROUND`].
    passed: Vec<Notice>,
}

impl Inbox {
    pub(super) const fn new(queue: mpsc::Receiver<Notice>) -> Self {
        Self {
            queue,
            passed: Vec::new(),
        }
    }

    /// Waits for notices, and takes those that wait. Nothing is lost where this does not
    /// come to its end.
    pub(super) async fn take(&mut self, round: &mut Vec<Notice>) {
        round.append(&mut self.passed);
        if round.is_empty() {
            // The driver itself holds a sender: this never gives zero.
            self.queue.recv_many(round, ROUND).await;
        }
    }

    /// Whom to show the fleet next. Everything else keeps its place. When a round of it
    /// waits, the queue fills up, and those behind it wait too.
    pub(super) async fn look(&mut self) -> oneshot::Sender<View> {
        while self.passed.len() < ROUND {
            match self.queue.recv().await {
                Some(Notice::Look { answer }) => return answer,
                Some(notice) => self.passed.push(notice),
                None => break,
            }
        }
        pending().await
    }
}
