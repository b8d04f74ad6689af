//! Every shard of the fleet, by its id. Which ones there are never changes.

use std::ops::{Index, IndexMut};

use baton_protocol::ShardId;

use crate::shard::Shard;

/// The shards of a fleet, each at the place of its id: ids are those of the settings, below the
/// bot's number of shards, and a look is one step however many there are.
///
/// An id that comes from outside may be of no shard: it is looked up with
/// [`get`](Self::get) where it comes in. Every id that got further is one of these, and
/// stands between brackets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shards(Vec<Option<Shard>>);

/// Where a shard is.
fn at(id: ShardId) -> usize {
    // Where a `usize` is too small for an id, no shard has that place.
    usize::try_from(id.get()).unwrap_or(usize::MAX)
}

impl Shards {
    /// A shard is added, unless there is one with this id. Whether it was.
    pub(crate) fn add(&mut self, id: ShardId, shard: Shard) -> bool {
        let at = at(id);
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        let place = &mut self.0[at];
        let is_new = place.is_none();
        place.get_or_insert(shard);
        is_new
    }

    pub(crate) fn get(&self, id: ShardId) -> Option<&Shard> {
        self.0.get(at(id))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ShardId) -> Option<&mut Shard> {
        self.0.get_mut(at(id))?.as_mut()
    }

    /// Every id.
    pub(crate) fn ids(&self) -> Vec<ShardId> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ShardId, &mut Shard)> {
        let places = (0..).map(ShardId).zip(&mut self.0);
        places.filter_map(|(id, place)| Some((id, place.as_mut()?)))
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        let places = (0..).map(ShardId).zip(&self.0);
        places.filter_map(|(id, place)| Some((id, place.as_ref()?)))
    }
}

impl Index<ShardId> for Shards {
    type Output = Shard;

    fn index(&self, id: ShardId) -> &Shard {
        let Some(shard) = self.get(id) else {
            is_none(id)
        };
        shard
    }
}

impl IndexMut<ShardId> for Shards {
    fn index_mut(&mut self, id: ShardId) -> &mut Shard {
        let Some(shard) = self.get_mut(id) else {
            is_none(id)
        };
        shard
    }
}

#[cold]
fn is_none(id: ShardId) -> ! {
    unreachable!("shard {id} is not one of this fleet: ids are checked where they come in")
}
