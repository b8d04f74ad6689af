//! How well the connections to Discord hear: when something came last on each, and how
//! long the answer to its last heartbeat took. A connection that is open and silent is
//! restarted by the master.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_protocol::ShardId;
use tokio::time::Instant;

/// What came is noted at most so often.
const EVERY: Duration = Duration::from_secs(1);

/// Of all shards of a process that serve and could take something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearing(Arc<Mutex<BTreeMap<ShardId, Heard>>>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    heartbeat: Option<Duration>,
}

/// The worst of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Worst {
    /// On which nothing came for the longest time, and for how long.
    pub(crate) silent: Option<(Duration, ShardId)>,
    /// Whose last heartbeat was answered the latest.
    pub(crate) slowest: Option<(Duration, ShardId)>,
}

/// One connection that is listened to until this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    hearing: Hearing,
    shard: ShardId,
    noted: Instant,
}

impl Hearing {
    /// A shard serves, and takes what comes from now on.
    pub(crate) fn listen(&self, shard: ShardId) -> Listening {
        let noted = Instant::now();
        let heard = Heard {
            at: noted,
            heartbeat: None,
        };
        self.heard().insert(shard, heard);
        Listening {
            hearing: self.clone(),
            shard,
            noted,
        }
    }

    /// The worst of all, now.
    pub(crate) fn worst(&self) -> Worst {
        let heard = self.heard();
        let silent = heard
            .iter()
            .map(|(shard, heard)| (heard.at.elapsed(), *shard));
        let answered = heard.iter();
        let slowest = answered.filter_map(|(shard, heard)| Some((heard.heartbeat?, *shard)));
        Worst {
            silent: silent.max(),
            slowest: slowest.max(),
        }
    }

    // Nothing panics in here.
    fn heard(&self) -> MutexGuard<'_, BTreeMap<ShardId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Something came; `heartbeat`: how long the answer to the last one took.
    pub(crate) fn hears(&mut self, heartbeat: impl FnOnce() -> Option<Duration>) {
        let now = Instant::now();
        if now.duration_since(self.noted) >= EVERY {
            self.noted = now;
            let heard = Heard {
                at: now,
                heartbeat: heartbeat(),
            };
            self.hearing.heard().insert(self.shard, heard);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hearing.heard().remove(&self.shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_connection_on_which_nothing_comes_is_named_while_it_is_listened_to() {
        let second = || tokio::time::advance(Duration::from_secs(1));
        let hearing = Hearing::default();
        assert_eq!(hearing.worst(), Worst::default());
        let (one, two) = (ShardId(1), ShardId(2));
        let quiet = hearing.listen(one);
        let mut busy = hearing.listen(two);
        for _ in 0..3 {
            second().await;
            busy.hears(|| Some(Duration::from_millis(20)));
        }
        let worst = hearing.worst();
        assert_eq!(worst.silent, Some((Duration::from_secs(3), one)));
        assert_eq!(worst.slowest, Some((Duration::from_millis(20), two)));
        drop(quiet);
        assert_eq!(hearing.worst().silent, Some((Duration::ZERO, two)));
    }
}
