//! Which shards a slot begins with: `shards` of a `[[slot]]`, in the forms in which an operator
//! may write it.
//!
//! ```toml
//! shards = [0, 15]              # the first and the last
//! shards = "0-31,40"            # ranges
//! shards = { count = 16 }       # so many of those that no other slot names
//! shards = { buckets = [0, 1] } # those whose remainder by `max_concurrency` is one of these
//! # absent: every one that is left
//! ```

use std::fmt;

use baton_core::Members;
use baton_protocol::ShardId;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::parts::Slot;

/// The shards that a slot begins with, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    /// These.
    Named(Members),
    /// So many of those that no slot names.
    Count(u32),
    /// Those whose remainder by `max_concurrency` is one of these.
    Buckets(Vec<u32>),
}

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Table {
    Count(u32),
    Buckets(Vec<u32>),
}

impl<'de> Visitor<'de> for Written {
    type Value = Shards;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "shards as [0, 15], as \"0-31,40\", as { count = 16 } or as { buckets = [0, 1] }",
        )
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Shards, E> {
        text.parse().map(Shards::Named).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shards, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element::<u32>()? {
            if numbers.len() < 3 {
                numbers.push(number);
            }
        }
        match numbers[..] {
            [first, last] if first <= last => Ok(Shards::Named(Members::range(first, last))),
            [first, last] => Err(A::Error::custom(format!(
                "[{first}, {last}] is no range: write the first and the last, such as [0, 15]"
            ))),
            [..] => Err(A::Error::custom(
                "write the first and the last, such as [0, 15]; several ranges are \"0-31,40\"",
            )),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shards, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(match table {
            Table::Count(count) => Shards::Count(count),
            Table::Buckets(buckets) => Shards::Buckets(buckets),
        })
    }
}

/// The shards of each slot in a bot of `shard_count`. Each shard is in one slot.
///
/// First those that are named have theirs, then those of buckets; then each of a count, in
/// their order, the lowest that are left, and one without `shards` has the rest.
///
/// # Errors
/// Which slot is wrong, and why.
pub(super) fn arrange(
    slots: &[Slot],
    shard_count: u32,
    concurrency: Option<u32>,
) -> Result<Vec<Members>, (usize, String)> {
    let mut plan = Plan {
        slots,
        last: shard_count.saturating_sub(1),
        owner: vec![None; usize::try_from(shard_count).unwrap_or(usize::MAX)],
    };
    for (index, slot) in slots.iter().enumerate() {
        if let Some(Shards::Named(members)) = &slot.shards {
            plan.named(index, members)?;
        }
    }
    for (index, slot) in slots.iter().enumerate() {
        if let Some(Shards::Buckets(buckets)) = &slot.shards {
            plan.buckets(index, buckets, concurrency)?;
        }
    }
    for (index, slot) in slots.iter().enumerate() {
        if let Some(Shards::Count(count)) = slot.shards {
            plan.count(index, count)?;
        }
    }
    let mut rest = (0..slots.len()).filter(|index| slots[*index].shards.is_none());
    if let Some(index) = rest.next() {
        if let Some(other) = rest.next() {
            return Err((
                other,
                format!(
                    "slots `{}` and `{}` both have no `shards`: one slot may have all that are \
                     left; give each shard to one slot with `shards`",
                    slots[index].name, slots[other].name
                ),
            ));
        }
        plan.count(index, plan.left())?;
    }
    plan.made()
}

/// Which slot each shard has.
struct Plan<'a> {
    slots: &'a [Slot],
    last: u32,
    owner: Vec<Option<usize>>,
}

impl Plan<'_> {
    fn name(&self, index: usize) -> &str {
        &self.slots[index].name
    }

    fn give(&mut self, index: usize, shard: u32) -> Result<(), (usize, String)> {
        let place = usize::try_from(shard).unwrap_or(usize::MAX);
        match self.owner[place].replace(index) {
            None => Ok(()),
            Some(other) => Err((
                index,
                format!(
                    "slots `{}` and `{}` both have shard {shard}; give each shard to one slot with \
                     `shards`",
                    self.name(other),
                    self.name(index)
                ),
            )),
        }
    }

    fn named(&mut self, index: usize, members: &Members) -> Result<(), (usize, String)> {
        let highest = members.ranges().next_back().map(|(_, last)| last);
        if let Some(highest) = highest.filter(|highest| *highest > self.last) {
            return Err((
                index,
                format!(
                    "slot `{}`: shard {highest} of shards = \"{members}\" is none of the shards 0 to {}",
                    self.name(index),
                    self.last
                ),
            ));
        }
        members.iter().try_for_each(|id| self.give(index, id.get()))
    }

    fn buckets(
        &mut self,
        index: usize,
        buckets: &[u32],
        concurrency: Option<u32>,
    ) -> Result<(), (usize, String)> {
        let name = self.name(index);
        let Some(concurrency) = concurrency.filter(|concurrency| *concurrency > 0) else {
            return Err((
                index,
                format!(
                    "slot `{name}`: `buckets` are of max_concurrency: set max_concurrency to the \
                     number that Discord gives to this bot"
                ),
            ));
        };
        if let Some(wrong) = buckets.iter().find(|bucket| **bucket >= concurrency) {
            return Err((
                index,
                format!(
                    "slot `{name}`: there is no bucket {wrong}: with max_concurrency = \
                     {concurrency} they are 0 to {}",
                    concurrency - 1
                ),
            ));
        }
        let of = |shard: &u32| buckets.contains(&(shard % concurrency));
        let all = 0..u32::try_from(self.owner.len()).unwrap_or(u32::MAX);
        let mine: Vec<u32> = all.filter(of).collect();
        mine.into_iter()
            .try_for_each(|shard| self.give(index, shard))
    }

    fn left(&self) -> u32 {
        let left = self.owner.iter().filter(|owner| owner.is_none()).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    fn count(&mut self, index: usize, count: u32) -> Result<(), (usize, String)> {
        let left = self.left();
        if count > left {
            return Err((
                index,
                format!(
                    "slot `{}`: shards = {{ count = {count} }}: only {left} are left by the other slots",
                    self.name(index)
                ),
            ));
        }
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let free = self.owner.iter_mut().filter(|owner| owner.is_none());
        free.take(wanted).for_each(|owner| *owner = Some(index));
        Ok(())
    }

    fn made(self) -> Result<Vec<Members>, (usize, String)> {
        let mut all = vec![Members::new(); self.slots.len()];
        for (id, owner) in (0..).map(ShardId).zip(&self.owner) {
            match owner {
                Some(index) => all[*index].insert(id),
                None => {
                    return Err((
                        0,
                        format!("shard {id} has no slot; extend the `shards` of one"),
                    ));
                }
            }
        }
        Ok(all)
    }
}
