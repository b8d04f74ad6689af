//! A set of sequence numbers, kept as ranges.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, de::Error as _};

use crate::id::Sequence;

/// A set of sequence numbers as disjoint, ordered, inclusive ranges.
///
/// On the wire it is a flat list `[first, last, first, last, ...]` with at most
/// [`SequenceRanges::MAX_RANGES`] pairs, ascending and disjoint, that hold at
/// most [`SequenceRanges::MAX_SEQUENCES`] numbers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceRanges {
    /// First of a range to its last.
    ranges: BTreeMap<u64, u64>,
}

impl SequenceRanges {
    /// More ranges than this are refused from the wire. A shard holds at most
    /// its in-flight window (default 256) of them.
    pub const MAX_RANGES: usize = 65_536;

    /// More numbers than this are refused from the wire, so that walking a set
    /// is bounded work. Discord replays a few thousand events at most.
    pub const MAX_SEQUENCES: u64 = 1 << 20;

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

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
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
        let number = sequence.get();
        if self.contains(sequence) {
            return;
        }
        let mut first = number;
        let mut last = number;
        if let Some((&below, &below_last)) = self.ranges.range(..number).next_back()
            && below_last.checked_add(1) == Some(number)
        {
            first = below;
        }
        if let Some(above) = number.checked_add(1)
            && let Some(above_last) = self.ranges.remove(&above)
        {
            last = above_last;
        }
        self.ranges.insert(first, last);
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

    /// Every number, ascending.
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
        let mut count = 0_u64;
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
            count = count.saturating_add(last - first).saturating_add(1);
            if count > SequenceRanges::MAX_SEQUENCES {
                return Err(A::Error::custom(format!(
                    "more than {} sequences",
                    SequenceRanges::MAX_SEQUENCES
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
        fn it_behaves_like_a_set_of_numbers(steps in prop::collection::vec((0_u8..3, 0_u64..40), 0..200)) {
            let mut set = SequenceRanges::new();
            let mut model = BTreeSet::new();
            for (step, number) in steps {
                match step {
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
        let endless = vec![0, u64::MAX];
        for wrong in [vec![5, 4], vec![1, 3, 3, 4], vec![1], endless] {
            let bytes = rmp_serde::to_vec(&wrong).expect("numbers encode");
            assert!(
                rmp_serde::from_slice::<SequenceRanges>(&bytes).is_err(),
                "{wrong:?}"
            );
        }
    }
}
