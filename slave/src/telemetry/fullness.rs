//! For how long shards took nothing from Discord, their windows being full: what
//! tells a slave that cannot keep up from one that is merely busy.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The time of all shards of a process together.
#[derive(Clone, Debug)]
pub(crate) struct Fullness {
    began: Instant,
    sum: Arc<Mutex<Sum>>,
}

/// Shards that are full now count with the present time, less the times at which
/// they became full: nobody has to look at each of them.
#[derive(Debug, Default)]
struct Sum {
    full: i64,
    ms: i64,
}

/// A shard is full until this is dropped.
#[derive(Debug)]
pub(crate) struct Full(Fullness);

impl Default for Fullness {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            sum: Arc::default(),
        }
    }
}

impl Fullness {
    /// A shard is full from now on.
    pub(crate) fn begin(&self) -> Full {
        self.turn(1);
        Full(self.clone())
    }

    /// Milliseconds until now, added up over all shards.
    pub(crate) fn read(&self) -> u64 {
        let now = self.now();
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(sum.ms + sum.full * now).unwrap_or(0)
    }

    fn turn(&self, by: i64) {
        let now = self.now();
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.full += by;
        sum.ms -= by * now;
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.0.turn(-1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_every_full_shard_counts_also_while_it_lasts() {
        let second = || tokio::time::advance(Duration::from_secs(1));
        let fullness = Fullness::default();
        second().await;
        assert_eq!(fullness.read(), 0);
        let one = fullness.begin();
        second().await;
        let other = fullness.begin();
        second().await;
        assert_eq!(fullness.read(), 3000, "both are full still");
        drop(one);
        second().await;
        drop(other);
        second().await;
        assert_eq!(fullness.read(), 4000);
    }
}
