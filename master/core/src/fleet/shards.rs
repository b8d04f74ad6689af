//! Every shard of the fleet, by its id. Which ones there are never changes.

use std::{
    collections::{BTreeMap, btree_map},
    ops::{Index, IndexMut},
};

use baton_protocol::ShardId;

use crate::shard::Shard;

/// The shards of a fleet.
///
/// An id that comes from outside may be of no shard: it is looked up with
/// [`get`](Self::get) where it comes in. Every id that got further is one of these, and
/// stands between brackets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shards(BTreeMap<ShardId, Shard>);

impl Shards {
    /// A shard is added, unless there is one with this id. Whether it was.
    pub(crate) fn add(&mut self, id: ShardId, shard: Shard) -> bool {
        match self.0.entry(id) {
            btree_map::Entry::Vacant(place) => {
                place.insert(shard);
                true
            }
            btree_map::Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn get(&self, id: ShardId) -> Option<&Shard> {
        self.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ShardId) -> Option<&mut Shard> {
        self.0.get_mut(&id)
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        self.0.iter().map(|(&id, shard)| (id, shard))
    }
}

impl Index<ShardId> for Shards {
    type Output = Shard;

    fn index(&self, id: ShardId) -> &Shard {
        &self.0[&id]
    }
}

impl IndexMut<ShardId> for Shards {
    fn index_mut(&mut self, id: ShardId) -> &mut Shard {
        let Some(shard) = self.0.get_mut(&id) else {
            unreachable!("shard {id} is not one of this fleet: ids are checked where they come in");
        };
        shard
    }
}
