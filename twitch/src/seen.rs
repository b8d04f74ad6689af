//! Which events were handed out lately, so that what comes on two ways is handed out once.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// What tells one event from every other: its kind and its id. The id alone does not: a
/// message with bits is two events of one id. It is eight bytes of a hash: among a hundred
/// thousand keys, a new one is taken for a known one once in 10^14 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 8]);

impl Key {
    /// Of an event of this kind.
    #[must_use]
    pub fn of(kind: &str, id: &str) -> Self {
        let mut hash = Sha256::new();
        if !mutant!("id-without-kind") {
            hash.update(kind.as_bytes());
        }
        hash.update([0]);
        hash.update(id.as_bytes());
        let hash = hash.finalize();
        let mut key = [0; 8];
        key.copy_from_slice(&hash[..8]);
        Self(key)
    }

    /// As it travels.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// One that travelled.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

/// The keys of a window of time. It holds at most [`Seen::MOST`] of them: above that, the
/// oldest go first.
#[derive(Clone, Debug)]
pub struct Seen {
    window: Duration,
    keys: HashSet<Key>,
    by_age: VecDeque<(Instant, Key)>,
}

impl Seen {
    /// More keys are not held: 1,000 messages a second for more than two minutes.
    pub const MOST: usize = 1 << 17;

    /// One that forgets a key after `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            keys: HashSet::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Notes a key; `false`: it is known, so its event was handed out.
    pub fn insert(&mut self, key: Key, now: Instant) -> bool {
        self.forget(now);
        if !self.keys.insert(key) {
            return false;
        }
        self.by_age.push_back((now, key));
        if self.by_age.len() > Self::MOST
            && let Some((_, oldest)) = self.by_age.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }

    /// Whether it is known.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    /// How many it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All of them, the oldest first, each with its age.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (Key, Duration)> {
        let aged = move |&(at, key): &(Instant, Key)| (key, now.saturating_duration_since(at));
        self.by_age.iter().map(aged)
    }

    /// Lets go of what is older than its window.
    pub fn forget(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.by_age.front()
            && now.saturating_duration_since(at) > self.window
        {
            self.by_age.pop_front();
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_known_for_the_window_and_then_no_more() {
        let mut seen = Seen::new(Duration::from_secs(10));
        let key = Key::of("PRIVMSG", "a");
        let now = Instant::now();
        assert!(seen.insert(key, now));
        assert!(!seen.insert(key, now + Duration::from_secs(10)));
        assert!(seen.insert(key, now + Duration::from_secs(11)));
    }

    #[test]
    fn a_message_and_the_cheer_with_its_id_are_two_events() {
        assert_ne!(
            Key::of("channel.chat.message", "a"),
            Key::of("channel.cheer", "a")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_fits_pushes_the_oldest_out() {
        let mut seen = Seen::new(Duration::from_secs(60));
        let now = Instant::now();
        let key = |n: usize| Key::of("k", &n.to_string());
        for n in 0..=Seen::MOST {
            assert!(seen.insert(key(n), now));
        }
        assert_eq!(seen.len(), Seen::MOST);
        assert!(!seen.contains(&key(0)));
        assert!(seen.contains(&key(1)));
    }
}
