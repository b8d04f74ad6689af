//! Which shards: a set of ranges, as an operator writes them and as the journal keeps them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use baton_protocol::ShardId;
use serde::{Deserialize, Serialize, de::Error as _};

/// A set of shards, in ranges that are ascending and touch nowhere: `0-31,40`.
///
/// Whatever is in it costs by its ranges, not by its shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members {
    /// The first of a range to its last.
    ranges: BTreeMap<u32, u32>,
}

impl Members {
    /// No shard.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: BTreeMap::new(),
        }
    }

    /// The shards `first ..= last`; none where the first is the greater one.
    #[must_use]
    pub fn range(first: u32, last: u32) -> Self {
        let mut members = Self::new();
        members.insert_range(first, last);
        members
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let of = |(first, last): (u32, u32)| u64::from(last - first) + 1;
        let all = self.ranges().map(of).sum::<u64>();
        usize::try_from(all).unwrap_or(usize::MAX)
    }

    /// Whether a shard is one of them.
    #[must_use]
    pub fn contains(&self, shard: ShardId) -> bool {
        let below = self.ranges.range(..=shard.get()).next_back();
        below.is_some_and(|(_, &last)| last >= shard.get())
    }

    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.insert_range(shard.get(), shard.get());
    }

    /// Adds `first ..= last`. Neighbours become one range.
    pub fn insert_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        let upto = last.saturating_add(1);
        while let Some((&other, &end)) = self.ranges.range(..=upto).next_back()
            && end.saturating_add(1) >= first
        {
            self.ranges.remove(&other);
            (first, last) = (first.min(other), last.max(end));
        }
        self.ranges.insert(first, last);
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: ShardId) {
        let id = shard.get();
        let Some((&first, &last)) = self.ranges.range(..=id).next_back() else {
            return;
        };
        if last < id {
            return;
        }
        self.ranges.remove(&first);
        if first < id {
            self.ranges.insert(first, id - 1);
        }
        if id < last {
            self.ranges.insert(id + 1, last);
        }
    }

    /// Every shard, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = ShardId> {
        let shards = self.ranges().flat_map(|(first, last)| first..=last);
        shards.map(ShardId)
    }

    /// First and last of every range, ascending.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        self.ranges.iter().map(|(&first, &last)| (first, last))
    }
}

impl FromIterator<ShardId> for Members {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        let mut members = Self::new();
        shards.into_iter().for_each(|shard| members.insert(shard));
        members
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// What is no set of shards, and how one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoMembers(String);

impl fmt::Display for NoMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no range of shards: write them as 0-31,40",
            self.0
        )
    }
}

impl std::error::Error for NoMembers {}

impl FromStr for Members {
    type Err = NoMembers;

    fn from_str(text: &str) -> Result<Self, NoMembers> {
        let mut members = Self::new();
        for part in text.split(',').map(str::trim) {
            let wrong = || NoMembers(part.to_owned());
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let text = text.trim();
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse::<u32>().ok().filter(|_| digits);
                number.ok_or_else(wrong)
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            members.insert_range(first, last);
        }
        Ok(members)
    }
}

impl Serialize for Members {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.is_empty() {
            true => Ok(Self::new()),
            false => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_set_of_ranges_is_the_same_as_one_of_shards_whatever_comes_and_goes() {
        for seed in 0..200_u64 {
            let mut dice = seed;
            let mut below = |n: u32| {
                dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                u32::try_from((dice >> 33) % u64::from(n)).unwrap()
            };
            let (mut members, mut model) = (Members::new(), BTreeSet::new());
            for _ in 0..60 {
                let (one, other) = (below(20), below(20));
                if below(2) == 0 {
                    members.insert_range(one, other);
                    model.extend((one..=other).map(ShardId));
                } else {
                    members.remove(ShardId(one));
                    model.remove(&ShardId(one));
                }
                assert!(members.iter().eq(model.iter().copied()), "seed {seed}");
                assert_eq!(members.len(), model.len(), "seed {seed}");
                let found = (0..20).map(ShardId).filter(|&id| members.contains(id));
                assert!(found.eq(model.iter().copied()), "seed {seed}");
                let ranges: Vec<_> = members.ranges().collect();
                let apart = ranges.windows(2).all(|two| two[0].1 + 1 < two[1].0);
                assert!(apart, "seed {seed}: {members}");
            }
        }
    }

    #[test]
    fn it_is_written_as_an_operator_writes_it_and_read_back() {
        for (text, written) in [
            ("0-31,40", "0-31,40"),
            ("3", "3"),
            (" 5 , 0-3,4 ", "0-5"),
            ("0-4294967295", "0-4294967295"),
        ] {
            let members: Members = text.parse().unwrap();
            assert_eq!(members.to_string(), written);
        }
        for text in ["", "a", "3-1", "1-2-3", "-1", "+1", "1,,2", "4294967296"] {
            assert!(text.parse::<Members>().is_err(), "{text}");
        }
    }
}
