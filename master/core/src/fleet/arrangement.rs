//! Which shard is in which slot, and where it is to be.
//!
//! ```text
//! the configuration ──names──▶ configured ──an operator moves it──▶ home
//! its claimant's slot, or where it is placed next ─────────────────▶ slot
//! ```
//!
//! A shard whose `slot` is not its `home` is a *stray*: it moves by the ordinary handover
//! (`moves/`). The journal keeps what operators changed, under one key for the fleet.

use std::collections::BTreeMap;

use baton_protocol::{Epoch, ShardId};

use crate::{
    Members,
    event::{Arrangement, Durability, Entry, Moved},
    fleet::{Fleet, SlotId},
    out::Out,
    settings::{Settings, SlotSettings},
    shard::Shard,
};

impl Fleet {
    /// Every shard begins in the slot that it is to be in.
    pub(super) fn arrange(&mut self, settings: &Settings, arrangement: &Arrangement, floor: Epoch) {
        for (slot, members) in self.configured(&settings.slots, settings.shard_count) {
            for id in members.iter() {
                self.shards.add(id, Shard::new(slot, floor));
            }
        }
        for moved in &arrangement.moved {
            let [configured, to] =
                [&moved.configured, &moved.to].map(|name| self.slots.named(name));
            let (Some(configured), Some(to)) = (configured, to) else {
                continue;
            };
            for id in moved.shards.iter() {
                if let Some(shard) = self.shards.get_mut(id)
                    && shard.configured == configured
                {
                    (shard.home, shard.slot) = (to, to);
                }
            }
        }
        self.cordoned.clone_from(&arrangement.cordoned);
        self.held = arrangement.held;
        for (id, shard) in self.shards.iter() {
            let slot = &mut self.slots[shard.slot];
            slot.members.insert(id);
            slot.size += 1;
            slot.unknown.insert(id);
        }
    }

    /// The shards that the settings name for each slot. One that two name is the first one's;
    /// a slot that names none has every one that is left.
    pub(super) fn configured(
        &self,
        slots: &[SlotSettings],
        shard_count: u32,
    ) -> Vec<(SlotId, Members)> {
        let mut left = Members::new();
        if let Some(last) = shard_count.checked_sub(1) {
            left.insert_range(0, last);
        }
        let mut all = Vec::new();
        let (named, rest): (Vec<_>, Vec<_>) = slots.iter().partition(|slot| slot.shards.is_some());
        for slot in named.into_iter().chain(rest) {
            let wanted = slot.shards.as_ref();
            let takes = |id: &ShardId| wanted.is_none_or(|wanted| wanted.contains(*id));
            let members: Members = left.iter().filter(takes).collect();
            members.iter().for_each(|id| left.remove(id));
            if let Some(id) = self.slots.named(&slot.name) {
                all.push((id, members));
            }
        }
        all
    }

    /// A shard is in this slot from now on: its slave has it, or is to get it.
    pub(crate) fn belongs(&mut self, id: ShardId, to: SlotId, out: &mut Out) {
        let shard = &mut self.shards[id];
        let from = std::mem::replace(&mut shard.slot, to);
        if from == to {
            return;
        }
        let slot = &mut self.slots[from];
        slot.members.remove(id);
        slot.size -= 1;
        let (was_free, was_unknown) = (slot.free.remove(&id), slot.unknown.remove(&id));
        let slot = &mut self.slots[to];
        slot.members.insert(id);
        slot.size += 1;
        if was_free {
            slot.free.insert(id);
        }
        if was_unknown {
            slot.unknown.insert(id);
        }
        self.look_for(id);
        out.touch(from);
        out.touch(to);
    }

    /// A shard is to be in this slot.
    pub(crate) fn is_to_be_in(&mut self, id: ShardId, home: SlotId, out: &mut Out) {
        let shard = &mut self.shards[id];
        if shard.home != home {
            shard.home = home;
            out.touch(shard.slot);
            out.touch(home);
            self.look_for(id);
        }
    }

    /// If a shard is a stray, somebody is to look after it.
    pub(crate) fn look_for(&mut self, id: ShardId) {
        if self.shards[id].is_stray() {
            self.astray.insert(id);
        } else {
            self.astray.remove(&id);
        }
    }

    /// Whether nothing is placed into a slot: its host is cordoned.
    pub(crate) fn is_cordoned(&self, slot: SlotId) -> bool {
        let host = self.slots[slot].host();
        self.cordoned.contains(host)
    }

    /// What operators changed, as the journal keeps it.
    pub(crate) fn arrangement(&self) -> Arrangement {
        let mut moved: BTreeMap<(SlotId, SlotId), Members> = BTreeMap::new();
        for (id, shard) in self.shards.iter() {
            if shard.home != shard.configured {
                let way = (shard.configured, shard.home);
                moved.entry(way).or_default().insert(id);
            }
        }
        let moved = moved.into_iter().map(|((configured, to), shards)| Moved {
            shards,
            configured: self.slots[configured].name.clone(),
            to: self.slots[to].name.clone(),
        });
        Arrangement {
            moved: moved.collect(),
            cordoned: self.cordoned.clone(),
            held: self.held,
        }
    }

    /// An operator changed it: the next master finds it so.
    pub(crate) fn save_arrangement(&self, out: &mut Out) {
        out.save(
            vec![Entry::Arrangement(self.arrangement())],
            Durability::Now,
        );
    }
}

impl Shard {
    /// Whether it is in another slot than it is to be.
    pub(crate) fn is_stray(&self) -> bool {
        self.slot != self.home
    }
}
