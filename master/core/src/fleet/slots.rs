//! The places of a fleet, by their ids.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::{Index, IndexMut},
};

use crate::fleet::Slot;

/// One place of the fleet, for as long as this master runs.
///
/// Operators, slaves and the journal know a slot by its name, which is looked up where it
/// comes in ([`Slots::named`]). An id that got further is one of these slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(u32);

/// The slots of a fleet, in the order in which they were configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    places: BTreeMap<SlotId, Slot>,
    next: u32,
}

impl Slots {
    /// The id of the slot that [`add`](Self::add) takes next.
    pub(crate) const fn next_id(&self) -> SlotId {
        SlotId(self.next)
    }

    /// One more slot. Its id is used once.
    pub(crate) fn add(&mut self, slot: Slot) {
        let before = self.places.insert(self.next_id(), slot);
        self.next += 1;
        debug_assert!(before.is_none(), "an id is used once");
    }

    /// The slot of this name.
    pub(crate) fn named(&self, name: &str) -> Option<SlotId> {
        self.iter()
            .find_map(|(id, slot)| (slot.name == name).then_some(id))
    }

    /// The slot that was configured first.
    pub(crate) fn first(&self) -> Option<SlotId> {
        self.iter().next().map(|(id, _)| id)
    }

    pub(crate) fn ids(&self) -> Vec<SlotId> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// Those that the settings have.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        let places = self.places.iter().map(|(&id, slot)| (id, slot));
        places.filter(|(_, slot)| !slot.is_out)
    }

    /// Whether the settings have this one.
    pub(crate) fn has(&self, id: SlotId) -> bool {
        self.places.get(&id).is_some_and(|slot| !slot.is_out)
    }

    /// Forgets those that were taken out, unless they are among these.
    pub(crate) fn forget_out(&mut self, used: &BTreeSet<SlotId>) {
        self.places
            .retain(|id, slot| !slot.is_out || used.contains(id));
    }
}

impl Index<SlotId> for Slots {
    type Output = Slot;

    fn index(&self, id: SlotId) -> &Slot {
        &self.places[&id]
    }
}

impl IndexMut<SlotId> for Slots {
    fn index_mut(&mut self, id: SlotId) -> &mut Slot {
        match self.places.entry(id) {
            btree_map::Entry::Occupied(slot) => slot.into_mut(),
            btree_map::Entry::Vacant(_) => {
                unreachable!(
                    "{id:?} is not one of this fleet: names are looked up where they come in"
                )
            }
        }
    }
}
