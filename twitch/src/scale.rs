//! How many units the channels need: one more where they are full, one fewer where they are
//! empty.
//!
//! The load of `N` units is `u(N) = channels / (N × limit)`. Units are added above 70 %. One
//! is taken away below 50 %, and only if those that stay are then at 70 % at most: what
//! would be added again at once is never taken away. Between two changes there is a pause,
//! so that a load that goes up and down moves nothing.
//!
//! All of it is a pure function of the channels, the count and the time. The caller stores
//! the [`Scale`] after each change, before it acts on it: the count is then the same after a
//! restart, and so is the pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channels::Unix;

/// The range of the count, and when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Channels of one unit that is full; at least 1.
    pub limit: u32,
    /// Never fewer units; at least 1.
    pub min: u32,
    /// Never more units; below `min`, it counts as `min`.
    pub max: u32,
    /// So long after a change the count stays, unless channels have no room at all.
    pub cooldown: Duration,
    /// Units are added above so many per cent; 1 to 100.
    pub out_above: u32,
    /// A unit is taken away below so many per cent; at most `out_above`.
    pub in_below: u32,
}

impl Default for Rules {
    /// 90 channels a unit, 1 to 100 units, a pause of five minutes, 70 % and 50 %.
    fn default() -> Self {
        Self {
            limit: 90,
            min: 1,
            max: 100,
            cooldown: Duration::from_secs(300),
            out_above: 70,
            in_below: 50,
        }
    }
}

impl Rules {
    /// The same, with each number in its range.
    fn in_range(&self) -> Self {
        let min = self.min.max(1);
        let out_above = self.out_above.clamp(1, 100);
        Self {
            limit: self.limit.max(1),
            min,
            max: self.max.max(min),
            cooldown: self.cooldown,
            out_above,
            in_below: self.in_below.min(out_above),
        }
    }

    /// Whether the load of so many units is above so many per cent.
    fn is_above(&self, channels: u64, units: u32, percent: u32) -> bool {
        parts(channels, 100) > parts(self.room(units), percent)
    }

    /// Whether it is below.
    fn is_below(&self, channels: u64, units: u32, percent: u32) -> bool {
        parts(channels, 100) < parts(self.room(units), percent)
    }

    /// For how many channels so many units have room.
    fn room(&self, units: u32) -> u64 {
        u64::from(units) * u64::from(self.limit)
    }

    /// The fewest units whose load is not above [`Self::out_above`].
    fn fewest(&self, channels: u64) -> u32 {
        let one = parts(u64::from(self.limit), self.out_above);
        u32::try_from(parts(channels, 100).div_ceil(one)).unwrap_or(u32::MAX)
    }
}

fn parts(of: u64, percent: u32) -> u128 {
    u128::from(of) * u128::from(percent)
}

/// How many units there are to be, and since when: what is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    units: u32,
    changed_at: Option<Unix>,
}

/// What is to be done about the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Units are added, until there are so many.
    Out(u32),
    /// The least loaded unit is drained, then there are so many.
    In(u32),
}

impl Scale {
    /// A first one, of so many units.
    #[must_use]
    pub const fn new(units: u32) -> Self {
        Self {
            units,
            changed_at: None,
        }
    }

    /// How many units there are to be.
    #[must_use]
    pub const fn units(&self) -> u32 {
        self.units
    }

    /// What so many channels ask for now. It changes nothing: see [`take`](Self::take).
    ///
    /// Units are added as many as are needed at once, since channels without a unit are
    /// deaf; they are taken away one by one, since each is drained first. Nothing waits
    /// for the pause where there are more channels than room, or where the range asks for
    /// another count.
    #[must_use]
    pub fn step(&self, channels: u64, rules: &Rules, now: Unix) -> Step {
        let rules = rules.in_range();
        let units = self.units;
        if units < rules.min {
            return Step::Out(rules.fewest(channels).clamp(rules.min, rules.max));
        }
        if units > rules.max {
            return Step::In(units - 1);
        }
        let pauses = self.pauses(&rules, now);
        let has_room = !rules.is_above(channels, units, 100);
        if rules.is_above(channels, units, rules.out_above)
            && units < rules.max
            && !(pauses && has_room)
        {
            return Step::Out(rules.fewest(channels).clamp(units + 1, rules.max));
        }
        let stays_so = |fewer: u32| {
            !rules.is_above(channels, fewer, rules.out_above) || mutant!("scale-in-unguarded")
        };
        if rules.is_below(channels, units, rules.in_below)
            && units > rules.min
            && !pauses
            && stays_so(units - 1)
        {
            return Step::In(units - 1);
        }
        Step::Stay
    }

    /// Takes a step: store the result, then act.
    pub const fn take(&mut self, step: Step, now: Unix) {
        match step {
            Step::Stay => {}
            Step::Out(units) | Step::In(units) => self.set(units, now),
        }
    }

    /// An operator's count, which [`Rules`] correct in the next step if it is out of range.
    pub const fn set(&mut self, units: u32, now: Unix) {
        self.units = units;
        self.changed_at = Some(now);
    }

    /// Whether the last change was too short a time ago. A clock that was set back by more
    /// than the pause does not make it longer than that: then nothing is known of the change.
    fn pauses(&self, rules: &Rules, now: Unix) -> bool {
        self.changed_at.is_some_and(|at| {
            let apart = now.since(at).max(at.since(now));
            apart < rules.cooldown
        })
    }
}

/// Which unit goes: the one with the fewest channels, of several the last one. (Conduits
/// leave no choice: Twitch takes away the shards with the highest numbers.)
pub fn victim<U: Ord + Clone>(loads: impl IntoIterator<Item = (U, usize)>) -> Option<U> {
    let loads = loads.into_iter();
    loads
        .min_by(|(one, its), (other, others)| its.cmp(others).then(other.cmp(one)))
        .map(|(unit, _)| unit)
}

#[cfg(test)]
mod tests;
