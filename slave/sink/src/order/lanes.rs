//! The order of one shard's events, for a broker that keeps messages in the order in which
//! it confirms them.
//!
//! A pipe of messages breaks order where a broker dies: what stood behind a lost message
//! is stored, and the lost one, published again, comes behind it. So **at most one event
//! of a guild is not confirmed**, and guilds go beside each other.
//!
//! ```text
//! push ──► waits in its lane ──► ready ──► next() ──► under way ──► confirmed() ──► gone
//!                                  ▲                      │
//!                                  └── delay() ◄── refused()
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::Pace;

/// What is kept in order: the events of a guild, or (`None`) those without one.
pub(crate) type Key = Option<u64>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// None is empty.
    lanes: BTreeMap<Key, Lane<T>>,
    /// Lanes whose first message may be published.
    ready: VecDeque<Key>,
    /// Lanes whose first message was refused, in the order of their refusals.
    refused: VecDeque<(Instant, Key)>,
    under_way: usize,
    /// Messages under way at once, at most.
    window: usize,
    pace: Pace,
}

#[derive(Debug)]
struct Lane<T> {
    messages: VecDeque<T>,
    /// The first of them was refused, and is not confirmed yet.
    in_trouble: bool,
}

impl<T> Lanes<T> {
    /// `window`: messages under way at once, at least 1.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            refused: VecDeque::new(),
            under_way: 0,
            window: window.max(1),
            pace: Pace::default(),
        }
    }

    /// A message, behind all others of its lane.
    pub(crate) fn push(&mut self, key: Key, message: T) {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane {
            messages: VecDeque::new(),
            in_trouble: false,
        });
        lane.messages.push_back(message);
        if lane.messages.len() == 1 {
            self.ready.push_back(key);
        }
    }

    /// The next message to publish, which is under way from now on.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Key, &mut T)> {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let (_, key) = self.refused.pop_front()?;
            self.ready.push_back(key);
        }
        if self.under_way >= self.window {
            return None;
        }
        let key = self.ready.pop_front()?;
        self.under_way += 1;
        let lane = self.lanes.get_mut(&key)?;
        Some((key, lane.messages.front_mut()?))
    }

    /// The first message of a lane.
    pub(crate) fn under_way(&mut self, key: Key) -> Option<&mut T> {
        self.lanes.get_mut(&key)?.messages.front_mut()
    }

    /// The message of this lane that is under way is with the broker. `true` with it: it had
    /// been refused before.
    pub(crate) fn confirmed(&mut self, key: Key) -> Option<(T, bool)> {
        self.under_way = self.under_way.saturating_sub(1);
        self.pace.begin();
        let lane = self.lanes.get_mut(&key)?;
        let was_in_trouble = std::mem::take(&mut lane.in_trouble);
        let message = lane.messages.pop_front()?;
        if lane.messages.is_empty() {
            self.lanes.remove(&key);
        } else {
            self.ready.push_back(key);
        }
        Some((message, was_in_trouble))
    }

    /// The message of this lane that is under way is not known to be with the broker. It
    /// stays the first of its lane. `true`: it had not been refused before.
    pub(crate) fn refused(&mut self, key: Key, now: Instant) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        self.pace.refused(now);
        self.refused.push_back((now, key));
        let lane = self.lanes.get_mut(&key);
        lane.is_some_and(|lane| !std::mem::replace(&mut lane.in_trouble, true))
    }

    /// The broker is back: what was refused is tried again soon.
    pub(crate) fn hurry(&mut self) {
        self.pace.begin();
    }

    /// Whether any message is under way.
    pub(crate) const fn has_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Every message that is not confirmed.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| &lane.messages)
    }

    /// Takes them all. `true` with one: it had been refused.
    pub(crate) fn clear(&mut self) -> Vec<(T, bool)> {
        self.ready.clear();
        self.refused.clear();
        self.under_way = 0;
        let lanes = std::mem::take(&mut self.lanes).into_values();
        let all = lanes.flat_map(|lane| {
            let in_trouble = std::iter::once(lane.in_trouble).chain(std::iter::repeat(false));
            lane.messages.into_iter().zip(in_trouble)
        });
        all.collect()
    }

    /// When the next refused message is tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (refused, _) = self.refused.front()?;
        Some(*refused + self.pace.delay())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    /// All that may be published now: of each the lane and the message.
    fn published(lanes: &mut Lanes<u32>, now: Instant) -> Vec<(u64, u32)> {
        let mut all = Vec::new();
        while let Some((key, message)) = lanes.next(now) {
            all.push((key.unwrap_or(0), *message));
        }
        all
    }

    #[test]
    fn guilds_go_beside_each_other_and_each_has_one_message_under_way() {
        let (mut lanes, now) = (Lanes::new(256), Instant::now());
        for (guild, message) in [(1, 10), (1, 11), (2, 20), (0, 1), (1, 12)] {
            let key = (guild > 0).then_some(guild);
            lanes.push(key, message);
        }
        assert_eq!(published(&mut lanes, now), [(1, 10), (2, 20), (0, 1)]);
        assert_eq!(lanes.confirmed(Some(1)), Some((10, false)));
        assert_eq!(published(&mut lanes, now), [(1, 11)]);
        assert_eq!(lanes.confirmed(Some(2)), Some((20, false)));
        assert_eq!(published(&mut lanes, now), []);
    }

    #[test]
    fn a_message_that_is_refused_is_tried_again_before_the_next_of_its_guild() {
        let (mut lanes, now) = (Lanes::new(256), Instant::now());
        lanes.push(Some(1), 10);
        lanes.push(Some(1), 11);
        lanes.push(Some(2), 20);
        assert_eq!(published(&mut lanes, now), [(1, 10), (2, 20)]);
        assert!(lanes.refused(Some(1), now));
        lanes.push(Some(1), 12);
        assert_eq!(published(&mut lanes, now), []);
        assert_eq!(lanes.deadline(), Some(now + SOON));
        let later = now + SOON;
        assert_eq!(published(&mut lanes, later), [(1, 10)]);
        assert!(!lanes.refused(Some(1), later), "it was refused before");
        assert_eq!(lanes.deadline(), Some(later + 2 * SOON));
        // The broker takes another's: no reason to wait long any more.
        assert!(lanes.confirmed(Some(2)).is_some());
        assert_eq!(published(&mut lanes, later + SOON), [(1, 10)]);
        assert_eq!(lanes.confirmed(Some(1)), Some((10, true)));
        assert_eq!(published(&mut lanes, later + SOON), [(1, 11)]);
    }

    #[test]
    fn no_more_are_under_way_than_the_window_has_room_for() {
        let (mut lanes, now) = (Lanes::new(2), Instant::now());
        for guild in 1..=4 {
            lanes.push(Some(guild), 0);
        }
        assert_eq!(published(&mut lanes, now).len(), 2);
        assert!(lanes.refused(Some(1), now));
        assert_eq!(published(&mut lanes, now), [(3, 0)]);
        assert!(lanes.confirmed(Some(2)).is_some());
        assert_eq!(published(&mut lanes, now + SOON), [(4, 0)]);
    }

    #[test]
    fn what_is_taken_out_is_everything_and_what_comes_later_begins_anew() {
        let (mut lanes, now) = (Lanes::new(2), Instant::now());
        for (guild, message) in [(1, 10), (1, 11), (2, 20), (3, 30)] {
            lanes.push(Some(guild), message);
        }
        assert_eq!(published(&mut lanes, now).len(), 2);
        assert!(lanes.refused(Some(1), now) && lanes.has_under_way());
        assert!(lanes.messages().copied().eq([10, 11, 20, 30]));
        let all = [(10, true), (11, false), (20, false), (30, false)];
        assert_eq!(lanes.clear(), all);
        assert!(lanes.deadline().is_none() && !lanes.has_under_way());
        lanes.push(Some(1), 12);
        assert_eq!(published(&mut lanes, now), [(1, 12)]);
    }

    proptest! {
        /// Whatever is refused, each guild's messages are confirmed once and in their order,
        /// and at no time are two of one under way.
        #[test]
        fn order_is_kept_whatever_is_refused(steps in prop::collection::vec((0_u64..6, any::<u8>()), 1..400)) {
            let mut lanes = Lanes::new(4);
            let mut now = Instant::now();
            let (mut pushed, mut confirmed) = (BTreeMap::<u64, u32>::new(), BTreeMap::<u64, u32>::new());
            let mut under_way: Vec<(u64, u32)> = Vec::new();
            let mut step = |guild: u64, dice: u8, lanes: &mut Lanes<u32>, pushes: bool| {
                if pushes {
                    let number = pushed.entry(guild).or_default();
                    *number += 1;
                    lanes.push((guild > 0).then_some(guild), *number);
                }
                for (guild, message) in published(lanes, now) {
                    assert!(under_way.iter().all(|(other, _)| *other != guild));
                    under_way.push((guild, message));
                }
                assert!(under_way.len() <= 4);
                if !under_way.is_empty() {
                    let at = usize::from(dice) % under_way.len();
                    let (guild, message) = under_way.swap_remove(at);
                    let key = (guild > 0).then_some(guild);
                    if dice < 100 && pushes {
                        lanes.refused(key, now);
                    } else {
                        let last = confirmed.entry(guild).or_default();
                        assert_eq!(*last + 1, message);
                        *last = message;
                        assert_eq!(lanes.confirmed(key).map(|(message, _)| message), Some(message));
                    }
                }
                now += Duration::from_millis(u64::from(dice));
                pushed == confirmed
            };
            for (guild, dice) in steps {
                step(guild, dice, &mut lanes, true);
            }
            let mut rounds = 0;
            while !step(0, 255, &mut lanes, false) {
                rounds += 1;
                assert!(rounds < 10_000, "a message is stuck");
            }
        }
    }
}
