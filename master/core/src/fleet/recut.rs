//! The slots of a running fleet are cut anew: an operator added one, took one out, or named
//! other shards for one.
//!
//! A slot that is taken out has no shard any more: they were moved first. Its slaves are told
//! to end; it has no name any more, and is forgotten with its last slave.

use std::collections::BTreeSet;

use crate::{
    deploy::Succession,
    event::{News, RequestId},
    fleet::{Fleet, Slot, SlotId},
    settings::SlotSettings,
};

impl Succession<'_> {
    /// The settings have other slots.
    pub(crate) fn recut_asked(&mut self, request: RequestId, slots: &[SlotSettings]) -> bool {
        if let Err(reason) = self.recut_refused(slots) {
            self.out.tell(News::RequestRefused { request, reason });
            return false;
        }
        for id in self.fleet.taken_out(slots) {
            self.slot_is_taken_out(id);
        }
        for slot in slots {
            match self.fleet.slots.named(&slot.name) {
                Some(_) => {}
                // Whether the agent of its host is here is said next.
                None => self.fleet.slots.add(Slot::new(slot)),
            }
        }
        for (slot, members) in self.fleet.configured(slots, self.settings.shard_count) {
            for id in members.iter() {
                let Some(shard) = self.fleet.shards.get_mut(id) else {
                    continue;
                };
                // What the configuration says now is the newer word.
                if shard.configured != slot {
                    shard.configured = slot;
                    self.fleet.is_to_be_in(id, slot, self.out);
                }
            }
        }
        self.fleet.save_arrangement(self.out);
        self.out.touch_all(&self.fleet.slots.ids());
        true
    }

    /// Why it cannot be.
    fn recut_refused(&self, slots: &[SlotSettings]) -> Result<(), String> {
        self.may_move()?;
        for id in self.fleet.taken_out(slots) {
            let place = &self.fleet.slots[id];
            if !place.members.is_empty() {
                return Err(format!(
                    "slot {name:?} has shards {shards}: move them first, with baton-master move \
                     {shards} --to SLOT, and take it out then",
                    name = place.name,
                    shards = place.members
                ));
            }
            let mut shards = self.fleet.shards.iter();
            if shards.any(|(_, shard)| shard.home == id) || self.deploys.moves.involve(id) {
                return Err(format!(
                    "shards are on their way into or out of slot {:?}: baton-master status shows them",
                    place.name
                ));
            }
            if let Some(deploy) = self.deploys.of(id) {
                return Err(deploy.busy());
            }
        }
        Ok(())
    }

    /// A slot without shards is a place of the fleet no more.
    fn slot_is_taken_out(&mut self, id: SlotId) {
        let slaves: Vec<_> = self.fleet.of_slot(id).map(|(slave, _)| slave).collect();
        self.fleet.give_up(id, self.out);
        self.out.stop(crate::timers::Timer::Slot(id));
        self.out.stop(crate::timers::Timer::Standby(id));
        for slave in &slaves {
            self.fleet
                .dismiss(*slave, self.settings.retired(), self.out);
        }
        let place = &mut self.fleet.slots[id];
        place.owner = None;
        place.is_out = true;
        self.fleet.forget_slots();
    }
}

impl Fleet {
    /// Slots that these settings do not name.
    fn taken_out(&self, slots: &[SlotSettings]) -> Vec<SlotId> {
        let named: BTreeSet<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        let out = self.slots.iter();
        let out = out.filter(|(_, slot)| !named.contains(slot.name.as_str()));
        out.map(|(id, _)| id).collect()
    }

    /// A slot that was taken out is forgotten when it has no slave any more.
    pub(crate) fn forget_slots(&mut self) {
        let slaves = self.slaves.values();
        let used: BTreeSet<SlotId> = slaves.map(|slave| slave.slot).collect();
        self.slots.forget_out(&used);
    }
}
