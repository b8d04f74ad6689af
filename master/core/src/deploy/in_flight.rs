//! The shards in hand, and how many may be there at once.
//!
//! From its seal until it serves again, no slave takes the events of a shard; the service holds
//! `replay_buffer` of them. The time in which they come is the shard's *replay budget*
//! (`shard/rate.rs`). Shards that move at once share two hosts and a network: in the worst
//! case they wait for each other, and `n` handovers take `n` times as long as one. So `n`
//! shards may be in hand if that fits into half of the tightest budget among them. The other
//! half belongs to the copy, which may be that far behind when it is sealed
//! (`seal_a_fresh_copy`).
//!
//! A handover is assumed to take as long as the slowest recent one, from the order to seal
//! to the report that the shard serves. The estimate decays by one eighth per faster
//! handover; a spike is forgotten after about twelve. A shard for which there is no room
//! waits in the queue, served. One shard may always go.
//!
//! Fewer still are *sealed* at once. While a shard is sealed no slave handles its events, so
//! whatever it shares the processors with then lengthens its gap. As many shards are sealed
//! at once as do not slow down the quickest handover: all of them over a slow network, a few
//! on one host. The others wait with their state copied and their connection held, served.
//! Their events meanwhile are replayed too, so the next one is the shard that has waited for
//! the largest part of its budget.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map},
    time::Duration,
};

use baton_protocol::ShardId;

use crate::{deploy::Load, event::Time};

/// What a handover is taken for before there was one, and quite a few after the
/// first, which had both hosts to itself.
const ASSUMED: Duration = Duration::from_millis(500);

/// No handover counts for less: the next one may not be as lucky.
const LEAST: Duration = Duration::from_millis(50);

/// What a handover costs the processors of both hosts.
const COST: Duration = Duration::from_micros(1500);

/// A longer budget counts for this: a shard that gets no event at all has its
/// turn too, for it holds a place of the deploy's width.
const ENDLESS: Duration = Duration::from_secs(3600);

/// So many are sealed side by side at least: while one waits for the network the
/// other has the processors.
const LEAST_SEALED: usize = 2;

/// Shards that were begun and do not serve at their next owner yet.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    begun: BTreeMap<ShardId, Begun>,
    /// The same shards, the tightest budget first.
    by_budget: BTreeSet<(Duration, ShardId)>,
    /// Those that are sealed.
    sealed: BTreeSet<ShardId>,
    /// What a handover takes.
    handover: Duration,
    /// What the quickest one of the deploy took.
    quickest: Option<Duration>,
}

/// One shard in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    budget: Duration,
    /// When its owner was ordered to seal it.
    sealed: Option<Time>,
    /// Since when it could be sealed, where there was no room.
    waits: Option<Time>,
    /// How the resume of its next owner progresses, once it was ordered.
    resume: Option<Resuming>,
}

/// How a resume progresses.
#[derive(Clone, Copy, Debug)]
struct Resuming {
    since: Time,
    /// When it was last heard that its replay had grown.
    grew: Time,
    /// Events that were replayed on its connection.
    replayed: u64,
}

/// A resume that reports progress, and whose replay does not grow, may do so for
/// so many times the span in which a silent one has failed: it dials, and is closed,
/// and dials again.
const MOST_SPANS: u32 = 6;

impl Begun {
    /// How much of its budget it has waited for, in parts of 2^32.
    fn waited(&self, now: Time) -> u128 {
        let waited = self.waits.map_or(Duration::ZERO, |since| now.since(since));
        (waited.as_nanos() << 32) / self.budget.min(ENDLESS).as_nanos().max(1)
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new()
    }
}

impl InFlight {
    pub(crate) const fn new() -> Self {
        Self {
            begun: BTreeMap::new(),
            by_budget: BTreeSet::new(),
            sealed: BTreeSet::new(),
            handover: ASSUMED,
            quickest: None,
        }
    }

    /// Takes a shard with this replay budget, unless it is there.
    pub(crate) fn take(&mut self, id: ShardId, budget: Duration) {
        if let btree_map::Entry::Vacant(place) = self.begun.entry(id) {
            place.insert(Begun {
                budget,
                sealed: None,
                waits: None,
                resume: None,
            });
            self.by_budget.insert((budget, id));
        }
        debug_assert_eq!(self.begun.len(), self.by_budget.len());
    }

    /// The master orders its owner to seal it, perhaps again.
    pub(crate) fn sealed(&mut self, id: ShardId, now: Time) {
        debug_assert!(self.contains(&id), "shard {id} was begun");
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.waits = None;
            begun.sealed.get_or_insert(now);
            self.sealed.insert(id);
        }
    }

    /// Its next owner was ordered to go on with it.
    pub(crate) fn given(&mut self, id: ShardId, now: Time) {
        debug_assert!(self.contains(&id), "shard {id} was begun");
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.resume = Some(Resuming {
                since: now,
                grew: now,
                replayed: 0,
            });
        }
    }

    /// Its next owner says how far it is: events replayed on this connection, zero on
    /// a new one. Whether that is progress: for a resume that does not grow only so
    /// often, and for none longer than its session would live.
    pub(crate) fn gets_on(
        &mut self,
        id: ShardId,
        replayed: u64,
        now: Time,
        span: Duration,
        window: Duration,
    ) -> bool {
        let Some(resume) = self.begun.get_mut(&id).and_then(|it| it.resume.as_mut()) else {
            return true;
        };
        if replayed > resume.replayed {
            resume.grew = now;
        }
        resume.replayed = replayed;
        let longest = span.saturating_mul(MOST_SPANS);
        (now.since(resume.grew) < longest && now.since(resume.since) < window)
            || mutant!("progress-for-ever")
    }

    /// Its owner serves it after all, as it did before the order to seal it.
    pub(crate) fn unsealed(&mut self, id: ShardId) {
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.sealed = None;
            self.sealed.remove(&id);
        }
    }

    /// Whether one more may be sealed now, beside what other deploys have.
    pub(crate) fn may_seal(&self, beside: Load) -> bool {
        let quickest = self.quickest.into_iter().chain(beside.quickest).min();
        let most = quickest.map_or(LEAST_SEALED, |quickest| {
            let fit = quickest.as_nanos() / COST.as_nanos();
            usize::try_from(fit).unwrap_or(usize::MAX).max(LEAST_SEALED)
        });
        beside.has_room(self.sealed.len(), beside.sealed, most)
    }

    /// What other deploys have to reckon with.
    pub(crate) fn add_to(&self, load: Load) -> Load {
        let Some(&(tightest, _)) = self.by_budget.first() else {
            return load;
        };
        let less =
            |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
        Load {
            moving: load.moving,
            in_flight: load.in_flight + self.len(),
            sealed: load.sealed + self.sealed.len(),
            tightest: less(load.tightest, Some(tightest)),
            handover: load.handover.max(self.handover),
            quickest: less(load.quickest, self.quickest),
        }
    }

    /// It could be sealed, and waits until one that is serves again.
    pub(crate) fn wait(&mut self, id: ShardId, now: Time) {
        debug_assert!(self.contains(&id), "shard {id} was begun");
        debug_assert!(!self.sealed.contains(&id), "shard {id} is sealed already");
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.waits.get_or_insert(now);
        }
    }

    /// Its owner let go of it: there is nothing to seal.
    pub(crate) fn waits_no_more(&mut self, id: ShardId) {
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.waits = None;
        }
    }

    pub(crate) fn is_waiting(&self, id: ShardId) -> bool {
        self.begun
            .get(&id)
            .is_some_and(|begun| begun.waits.is_some())
    }

    /// The next one to seal, if there is room: see the module.
    pub(crate) fn next_to_seal(&mut self, now: Time, beside: Load) -> Option<ShardId> {
        if !self.may_seal(beside) {
            return None;
        }
        let waiting = self.begun.iter().filter(|(_, begun)| begun.waits.is_some());
        let longest =
            waiting.min_by_key(|(id, begun)| (Reverse(begun.waited(now)), begun.budget, **id));
        let id = *longest?.0;
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.waits = None;
        }
        Some(id)
    }

    /// It serves again: what that took is what the next one is taken for.
    /// Whether it was there.
    pub(crate) fn served(&mut self, id: ShardId, now: Time) -> bool {
        let sealed = self.begun.get(&id).and_then(|begun| begun.sealed);
        if let Some(sealed) = sealed {
            let before = self.handover - self.handover / 8;
            let took = now.since(sealed);
            self.handover = took.max(before).max(LEAST);
            self.quickest = Some(self.quickest.map_or(took, |quickest| quickest.min(took)));
        }
        self.remove(&id)
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: &ShardId) -> bool {
        let removed = self.begun.remove(id);
        if let Some(begun) = removed {
            self.by_budget.remove(&(begun.budget, *id));
            self.sealed.remove(id);
        }
        debug_assert_eq!(self.begun.len(), self.by_budget.len());
        removed.is_some()
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&ShardId) -> bool) {
        self.begun.retain(|id, _| keep(id));
        self.by_budget.retain(|(_, id)| keep(id));
        self.sealed.retain(|id| keep(id));
        debug_assert_eq!(self.begun.len(), self.by_budget.len());
    }

    /// How many may be in hand of all deploys, with one of this budget among them; at
    /// least 1.
    pub(crate) fn most(&self, next: Duration, beside: Load) -> usize {
        if mutant!("width-unbounded") {
            return usize::MAX;
        }
        let tightest = self.by_budget.first().map(|&(first, _)| first);
        let tightest = tightest.into_iter().chain(beside.tightest).min();
        let half = tightest.unwrap_or(next).min(next) / 2;
        let handover = beside.handover.max(self.handover);
        let most = half.as_nanos() / handover.as_nanos().max(1);
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }

    pub(crate) fn len(&self) -> usize {
        self.begun.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    pub(crate) fn contains(&self, id: &ShardId) -> bool {
        self.begun.contains_key(id)
    }

    pub(crate) fn iter(&self) -> btree_map::Keys<'_, ShardId, Begun> {
        self.begun.keys()
    }
}

impl<'a> IntoIterator for &'a InFlight {
    type Item = &'a ShardId;
    type IntoIter = btree_map::Keys<'a, ShardId, Begun>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// No other deploy runs.
    const ALONE: Load = Load {
        moving: 0,
        in_flight: 0,
        sealed: 0,
        tightest: None,
        handover: Duration::ZERO,
        quickest: None,
    };

    #[test]
    fn the_tightest_budget_in_hand_counts_whatever_came_and_went() {
        for seed in 0..200_u64 {
            let mut dice = seed;
            let mut below = |n: u64| {
                dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (dice >> 33) % n
            };
            let mut hand = InFlight::new();
            let mut model = BTreeMap::new();
            for _ in 0..100 {
                let id = ShardId(u32::try_from(below(8)).unwrap_or_default());
                match below(4) {
                    0 => {
                        hand.retain(|&other| other.get() % 3 != id.get() % 3);
                        model.retain(|&other: &ShardId, _| other.get() % 3 != id.get() % 3);
                    }
                    1 => assert_eq!(hand.remove(&id), model.remove(&id).is_some()),
                    _ => {
                        let budget = SECOND * u32::try_from(below(30)).unwrap_or_default();
                        hand.take(id, budget);
                        model.entry(id).or_insert(budget);
                    }
                }
                assert!(hand.iter().eq(model.keys()), "seed {seed}");
                let next = 20 * SECOND;
                let tightest = model.values().copied().min().unwrap_or(next).min(next);
                let most = usize::try_from(tightest.as_secs()).unwrap_or_default();
                assert_eq!(hand.most(next, ALONE), most.max(1), "seed {seed}");
            }
        }
    }

    #[test]
    fn next_is_sealed_what_has_waited_for_most_of_its_budget() {
        let at = |seconds: u32| Time(seconds * SECOND);
        let mut hand = InFlight::new();
        let budgets = [1000, 1000, 500, 400, 10].map(|seconds| seconds * SECOND);
        let budgets = budgets.into_iter().chain([Duration::MAX]);
        for (id, budget) in (0..).map(ShardId).zip(budgets) {
            hand.take(id, budget);
        }
        let sealed = [ShardId(0), ShardId(1)];
        for id in sealed {
            hand.sealed(id, at(1));
        }
        assert!(!hand.may_seal(ALONE));
        hand.wait(ShardId(2), at(2));
        hand.wait(ShardId(3), at(7));
        hand.wait(ShardId(2), at(7));
        hand.wait(ShardId(4), at(8));
        hand.wait(ShardId(5), at(0));
        assert_eq!(hand.next_to_seal(at(8), ALONE), None, "no room");
        hand.retain(|id| !sealed.contains(id));
        // 1 s of 10, 7 of 500, 2 of 400 and 9 of those that are endless.
        let order = [0; 4].map(|_| hand.next_to_seal(at(9), ALONE));
        assert_eq!(order, [4, 2, 3, 5].map(|id| Some(ShardId(id))));
        hand.wait(ShardId(2), at(3599));
        hand.wait(ShardId(5), at(0));
        assert_eq!(hand.next_to_seal(at(3600), ALONE), Some(ShardId(5)));
        assert_eq!(hand.next_to_seal(at(3600), ALONE), Some(ShardId(2)));
        assert_eq!(hand.next_to_seal(at(9), ALONE), None, "nobody waits");
    }

    #[test]
    fn a_slow_handover_counts_until_quick_ones_made_it_forgotten() {
        let mut hand = InFlight::new();
        let mut handover = |took| {
            hand.take(ShardId(0), SECOND);
            hand.sealed(ShardId(0), Time(SECOND));
            assert!(hand.served(ShardId(0), Time(SECOND + took)));
            hand.most(40 * SECOND, ALONE)
        };
        assert_eq!(handover(4 * SECOND), 5);
        assert_eq!(handover(Duration::ZERO), 5);
        assert_eq!(handover(Duration::ZERO), 6);
        let most: Vec<_> = (0..60).map(|_| handover(Duration::ZERO)).collect();
        assert!(most.is_sorted(), "{most:?}");
        assert_eq!(most.last(), Some(&400), "never less than 50 ms");
        assert_eq!(handover(2 * SECOND), 10);
    }
}
