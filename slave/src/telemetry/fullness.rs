//! For how long shards took nothing from Discord, and why: what tells a slave that cannot
//! keep up from one that is merely busy.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Why a shard takes nothing from Discord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// As many events run as may.
    Window,
    /// The bot has no room.
    Bot,
    /// What stays where it is has no room for what the next event changes.
    Store,
}

/// The time of all shards of a process together.
#[derive(Clone, Debug)]
pub(crate) struct Fullness {
    began: Instant,
    sums: Arc<Mutex<[Sum; 3]>>,
}

/// That time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FullMs {
    /// Whatever the reason was.
    pub(crate) all: u64,
    /// Of it, because of the bot.
    pub(crate) bot: u64,
    /// Of it, because of the store.
    pub(crate) store: u64,
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
pub(crate) struct Full {
    of: Fullness,
    why: Why,
}

impl Default for Fullness {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            sums: Arc::default(),
        }
    }
}

impl Fullness {
    /// A shard is full from now on.
    pub(crate) fn begin(&self, why: Why) -> Full {
        self.turn(why, 1);
        let of = self.clone();
        Full { of, why }
    }

    /// Until now, added up over all shards.
    pub(crate) fn read(&self) -> FullMs {
        let now = self.now();
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |why: Why| {
            let sum = &sums[why as usize];
            u64::try_from(sum.ms + sum.full * now).unwrap_or(0)
        };
        let (bot, store) = (of(Why::Bot), of(Why::Store));
        FullMs {
            all: of(Why::Window) + bot + store,
            bot,
            store,
        }
    }

    fn turn(&self, why: Why, by: i64) {
        let now = self.now();
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = &mut sums[why as usize];
        sum.full += by;
        sum.ms -= by * now;
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Full {
    pub(crate) const fn why(&self) -> Why {
        self.why
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.of.turn(self.why, -1);
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
        assert_eq!(fullness.read(), FullMs::default());
        let one = fullness.begin(Why::Window);
        second().await;
        let other = fullness.begin(Why::Store);
        second().await;
        assert_eq!(fullness.read().all, 3000, "both are full still");
        drop(one);
        second().await;
        drop(other);
        second().await;
        let (all, bot, store) = (4000, 0, 2000);
        assert_eq!(fullness.read(), FullMs { all, bot, store });
    }
}
