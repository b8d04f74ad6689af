//! How much room the states that stay where they are take, and which shards take nothing
//! because theirs cannot be changed.
//!
//! A look at a store may wait for another process, and a folder may have many shards. So a
//! thread that may block looks, one at a time, and what it saw last is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_protocol::{ShardId, message::StoreRoom};
use tokio::{task::spawn_blocking, time::Instant};

use super::millis;
use crate::state::stays::Stays;

/// What was seen is looked at anew if it is this old and somebody asks.
const EVERY: Duration = Duration::from_secs(5);

/// See the module. All clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    held_up: BTreeMap<ShardId, (Instant, String)>,
    /// What was seen last, and when the look began.
    seen: Option<(Instant, Option<StoreRoom>)>,
    /// Whether a thread looks now.
    looks: bool,
}

/// A shard takes nothing until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldUp {
    of: Stores,
    shard: ShardId,
}

impl Stores {
    /// The state of a shard cannot be changed, and why. It has one of these at a time.
    pub(crate) fn holds_up(&self, shard: ShardId, why: &str) -> HeldUp {
        let since = (Instant::now(), why.to_owned());
        self.known().held_up.insert(shard, since);
        HeldUp {
            of: self.clone(),
            shard,
        }
    }

    /// What is known of the store; `None`: nothing yet, or there is none. Has it looked at
    /// once more, if that was long ago.
    pub(crate) fn tell(&self, store: Option<&Arc<dyn Stays>>) -> Option<StoreRoom> {
        let store = store?;
        let mut known = self.known();
        let now = Instant::now();
        let is_due = known
            .seen
            .as_ref()
            .is_none_or(|(at, _)| now.duration_since(*at) >= EVERY);
        if is_due && !known.looks {
            known.looks = true;
            let (all, store) = (self.clone(), Arc::clone(store));
            spawn_blocking(move || {
                store.tidy();
                let seen = store.room();
                let mut known = all.known();
                known.seen = Some((now, seen));
                known.looks = false;
            });
        }
        let seen = known.seen.as_ref();
        let seen = seen.and_then(|(at, seen)| Some((now.duration_since(*at), seen.clone()?)));
        let longest = known.held_up.iter().min_by_key(|(_, (since, _))| *since);
        if seen.is_none() && longest.is_none() {
            return None;
        }
        let (age, room) = seen.unwrap_or_default();
        let mut room = StoreRoom {
            age_ms: millis(age),
            held_up: u32::try_from(known.held_up.len()).unwrap_or(u32::MAX),
            ..room
        };
        if let Some((shard, (since, why))) = longest {
            room.held_up_ms = millis(now.duration_since(*since));
            room.held_up_shard = *shard;
            room.held_up_by.clone_from(why);
        }
        Some(room)
    }

    // Nothing panics in here.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.of.known().held_up.remove(&self.shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shard_that_waits_the_longest_is_named_until_it_waits_no_more() {
        let second = || tokio::time::advance(Duration::from_secs(1));
        let store: Arc<dyn Stays> = Arc::new(crate::state::stays::fake::Nowhere);
        let stores = Stores::default();
        let told = || {
            let room = stores.tell(Some(&store)).expect("a shard waits");
            (room.held_up, room.held_up_ms, room.held_up_shard.get())
        };
        assert_eq!(stores.tell(Some(&store)), None);
        let first = stores.holds_up(ShardId(3), "full");
        second().await;
        let second_one = stores.holds_up(ShardId(1), "full");
        second().await;
        assert_eq!(told(), (2, 2000, 3));
        drop(first);
        assert_eq!(told(), (1, 1000, 1));
        drop(second_one);
        assert_eq!(stores.tell(Some(&store)), None);
        assert_eq!(stores.tell(None), None);
    }
}
