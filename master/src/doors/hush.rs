//! Log lines that a stranger can cause, as often as he likes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// Lines of one kind that are written in each [`EVERY`].
const LINES: u32 = 5;

/// Then the others are counted until so long after the first, and the count is one
/// line.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line: written a few times, then counted.
#[derive(Clone, Debug)]
pub struct Hush {
    what: &'static str,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Hush {
    /// `what` the lines are about, for the line with the count.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            heard: Arc::default(),
        }
    }

    /// Whether a line may be written now. If not it is counted, and the count is
    /// written later.
    #[must_use]
    pub fn lets(&self) -> bool {
        let now = Instant::now();
        let mut heard = self.heard();
        let since = match heard.since {
            Some(since) if now < since + EVERY => since,
            Some(_) | None => {
                heard.since = Some(now);
                heard.lines = 0;
                now
            }
        };
        if heard.lines < LINES {
            heard.lines += 1;
            return true;
        }
        heard.left_out += 1;
        if heard.left_out == 1 {
            tokio::spawn(self.clone().count(since + EVERY));
        }
        false
    }

    /// Says how many were left out.
    async fn count(self, at: Instant) {
        sleep_until(at).await;
        let lines = std::mem::take(&mut self.heard().left_out);
        warn!(what = self.what, lines, "more of the same, left out here");
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
