//! A busy shard lets the others run.
//!
//! Events that wait in the socket's buffer are handled one after the other
//! without a pause. The runtime looks at its clock and its sockets only between
//! turns of its tasks: without an end of the turn, shards that are always busy
//! would hold up checkpoints, heartbeats and the link to the master for seconds.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// How long inputs are worked on before the others run.
const TURN: Duration = Duration::from_millis(2);

/// The time that was spent on inputs since the last pause.
#[derive(Debug, Default)]
pub(super) struct TurnClock {
    spent: Duration,
    /// When the input that is worked on came.
    since: Option<Instant>,
}

impl TurnClock {
    /// An input came.
    pub(super) fn begins(&mut self) {
        self.since = Some(Instant::now());
    }

    /// It was worked on; pauses, once that took long enough.
    pub(super) async fn ends(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
        if self.spent >= TURN {
            self.spent = Duration::ZERO;
            // What came in meanwhile, a finished event say, has woken this task
            // already: the first pause ends before the runtime looks around.
            yield_now().await;
            yield_now().await;
        }
    }
}
