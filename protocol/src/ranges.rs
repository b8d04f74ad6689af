//! A set of sequence numbers, kept as ranges.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, de::Error as _};

use crate::id::Sequence;

/// A set of sequence numbers as disjoint, ordered, inclusive ranges.
///
/// On the wire it is a flat list `[first, last, first, last, ...]` with at most
/// [`SequenceRanges::MAX_RANGES`] pairs, ascending and disjoint. What is bounded
/// is the number of ranges, and so the memory and the work of every operation but
/// [`SequenceRanges::iter`]: one event that never ends lets the numbers above it
/// grow for as long as its session lives, as one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceRanges {
    /// First of a range to its last.
    ranges: BTreeMap<u64, u64>,
}

impl SequenceRanges {
    /// More ranges than this are refused from the wire. A shard holds at most
    /// its in-flight window (default 256) of them.
    pub const MAX_RANGES: usize = 65_536;

    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: BTreeMap::new(),
        }
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in the set, at most [`u64::MAX`].
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add(last - first).saturating_add(1)
        })
    }

    /// Whether `sequence` is in the set.
    #[must_use]
    pub fn contains(&self, sequence: Sequence) -> bool {
        self.ranges
            .range(..=sequence.get())
            .next_back()
            .is_some_and(|(_, last)| *last >= sequence.get())
    }

    /// Adds one number. Neighbours grow together into one range.
    pub fn insert(&mut self, sequence: Sequence) {
        self.insert_range(sequence, sequence);
    }

    /// Adds every number from `first` to `last`; nothing where `last` is below
    /// `first`. Neighbours grow together into one range.
    pub fn insert_range(&mut self, first: Sequence, last: Sequence) {
        let (mut first, mut last) = (first.get(), last.get());
        if last < first {
            return;
        }
        if let Some((&below, &below_last)) = self.ranges.range(..=first).next_back()
            && below_last.saturating_add(1) >= first
        {
            (first, last) = (below, last.max(below_last));
        }
        while let Some((&next, &next_last)) =
            self.ranges.range(first..=last.saturating_add(1)).next()
        {
            self.ranges.remove(&next);
            last = last.max(next_last);
        }
        self.ranges.insert(first, last);
    }

    /// Adds every number of another set.
    pub fn insert_all(&mut self, other: &Self) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
    }

    /// The numbers of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        for (&first, &last) in &self.ranges {
            let before = other.ranges.range(..first).next_back();
            let mut from = Some(first);
            for (&out, &out_last) in before.into_iter().chain(other.ranges.range(first..=last)) {
                let Some(next) = from.filter(|next| out_last >= *next) else {
                    continue;
                };
                if out > next {
                    rest.ranges.insert(next, out - 1);
                }
                from = out_last.checked_add(1);
            }
            if let Some(from) = from.filter(|from| *from <= last) {
                rest.ranges.insert(from, last);
            }
        }
        rest
    }

    /// The numbers that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }

    /// The numbers of this set up to and including `sequence`.
    #[must_use]
    pub fn through(&self, sequence: Sequence) -> Self {
        let mut above = self.clone();
        above.remove_through(sequence);
        self.without(&above)
    }

    /// Takes one number out; says whether it was in the set.
    pub fn remove(&mut self, sequence: Sequence) -> bool {
        let number = sequence.get();
        let Some((&first, &last)) = self.ranges.range(..=number).next_back() else {
            return false;
        };
        if last < number {
            return false;
        }
        self.ranges.remove(&first);
        if first < number {
            self.ranges.insert(first, number - 1);
        }
        if number < last {
            self.ranges.insert(number + 1, last);
        }
        true
    }

    /// Takes out every number up to and including `sequence`.
    pub fn remove_through(&mut self, sequence: Sequence) {
        let number = sequence.get();
        while let Some((&first, &last)) = self.ranges.first_key_value() {
            if first > number {
                break;
            }
            self.ranges.pop_first();
            if last > number {
                self.ranges.insert(number + 1, last);
                break;
            }
        }
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<Sequence> {
        self.ranges.keys().next().copied().map(Sequence)
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<Sequence> {
        self.ranges.values().next_back().copied().map(Sequence)
    }

    /// The ranges, ascending, as (first, last).
    pub fn ranges(&self) -> impl Iterator<Item = (Sequence, Sequence)> {
        self.ranges
            .iter()
            .map(|(first, last)| (Sequence(*first), Sequence(*last)))
    }

    /// Every number, ascending. Of a set from elsewhere look at
    /// [`count`](Self::count) first.
    pub fn iter(&self) -> impl Iterator<Item = Sequence> {
        self.ranges
            .iter()
            .flat_map(|(first, last)| (*first..=*last).map(Sequence))
    }
}

impl FromIterator<Sequence> for SequenceRanges {
    fn from_iter<I: IntoIterator<Item = Sequence>>(numbers: I) -> Self {
        let mut set = Self::new();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

impl fmt::Display for SequenceRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for SequenceRanges {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges.iter().flat_map(|(first, last)| [first, last]))
    }
}

impl<'de> Deserialize<'de> for SequenceRanges {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RangesVisitor)
    }
}

/// Checks the count while reading, so that nothing is kept of a list too long.
struct RangesVisitor;

impl<'de> serde::de::Visitor<'de> for RangesVisitor {
    type Value = SequenceRanges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ascending pairs of sequence numbers")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut ranges = BTreeMap::new();
        let mut above = None;
        while let Some(first) = list.next_element::<u64>()? {
            let Some(last) = list.next_element::<u64>()? else {
                return Err(A::Error::custom("a range without its last sequence"));
            };
            if first > last || above.is_some_and(|above| first <= above) {
                return Err(A::Error::custom(format!(
                    "range {first}-{last} is not ascending"
                )));
            }
            if ranges.len() == SequenceRanges::MAX_RANGES {
                return Err(A::Error::custom(format!(
                    "more than {} ranges",
                    SequenceRanges::MAX_RANGES
                )));
            }
            above = Some(last);
            ranges.insert(first, last);
        }
        Ok(SequenceRanges { ranges })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_set_of_numbers(steps in prop::collection::vec((0_u8..4, 0_u64..40), 0..200)) {
            let mut set = SequenceRanges::new();
            let mut model = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    3 => {
                        set.insert_range(Sequence(number), Sequence(number + 3));
                        model.extend(number..=number + 3);
                    }
                    0 => {
                        set.insert(Sequence(number));
                        model.insert(number);
                    }
                    1 => prop_assert_eq!(set.remove(Sequence(number)), model.remove(&number)),
                    _ if number % 8 == 0 => {
                        set.remove_through(Sequence(number));
                        model.retain(|kept| *kept > number);
                    }
                    _ => prop_assert_eq!(set.contains(Sequence(number)), model.contains(&number)),
                }
                prop_assert_eq!(set.iter().map(Sequence::get).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.count(), model.len() as u64);
                prop_assert_eq!(set.first().map(Sequence::get), model.first().copied());
                prop_assert_eq!(set.last().map(Sequence::get), model.last().copied());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_left_without_another_set_is_what_a_set_of_numbers_would_leave(
            ours in prop::collection::btree_set(0_u64..60, 0..40),
            theirs in prop::collection::btree_set(0_u64..60, 0..40),
            bound in 0_u64..60,
        ) {
            let of = |numbers: &BTreeSet<u64>| -> SequenceRanges {
                numbers.iter().copied().map(Sequence).collect()
            };
            let left: BTreeSet<u64> = ours.difference(&theirs).copied().collect();
            prop_assert_eq!(of(&ours).without(&of(&theirs)), of(&left));
            let through: BTreeSet<u64> = ours.range(..=bound).copied().collect();
            prop_assert_eq!(of(&ours).through(Sequence(bound)), of(&through));
            let common: BTreeSet<u64> = ours.intersection(&theirs).copied().collect();
            prop_assert_eq!(of(&ours).common(&of(&theirs)), of(&common));
            let mut both = of(&ours);
            both.insert_all(&of(&theirs));
            prop_assert_eq!(both, of(&ours.union(&theirs).copied().collect()));
        }
    }

    #[test]
    fn a_range_of_more_numbers_than_anybody_could_walk_is_one_range() {
        let endless = [0, u64::MAX];
        let bytes = rmp_serde::to_vec(&endless).expect("numbers encode");
        let mut set: SequenceRanges = rmp_serde::from_slice(&bytes).expect("one range");
        assert_eq!(set.count(), u64::MAX);
        set.remove(Sequence(1 << 40));
        let hole: SequenceRanges = [Sequence(1 << 40)].into_iter().collect();
        let whole: SequenceRanges = rmp_serde::from_slice(&bytes).expect("one range");
        assert_eq!(whole.without(&set), hole);
        assert_eq!(set.without(&whole), SequenceRanges::new());
    }

    #[test]
    fn neighbours_become_one_range() {
        let set: SequenceRanges = [5, 9, 6, 7].map(Sequence).into_iter().collect();
        assert_eq!(set.to_string(), "5-7,9");
    }

    #[test]
    fn the_highest_number_has_no_neighbour_above() {
        let mut set = SequenceRanges::new();
        set.insert(Sequence(u64::MAX));
        set.insert(Sequence(u64::MAX - 1));
        assert_eq!(set.ranges().count(), 1);
        set.remove_through(Sequence(u64::MAX));
        assert!(set.is_empty());
    }

    #[test]
    fn a_list_that_does_not_ascend_or_names_too_many_is_refused() {
        let many: Vec<u64> = (0..=2 * SequenceRanges::MAX_RANGES as u64)
            .map(|n| 2 * n)
            .collect();
        let many = many.into_iter().flat_map(|n| [n, n]).collect();
        for wrong in [vec![5, 4], vec![1, 3, 3, 4], vec![1], many] {
            let bytes = rmp_serde::to_vec(&wrong).expect("numbers encode");
            assert!(
                rmp_serde::from_slice::<SequenceRanges>(&bytes).is_err(),
                "{wrong:?}"
            );
        }
    }
}
