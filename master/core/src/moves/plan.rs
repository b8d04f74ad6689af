//! Which slot gets which shards: what an order comes to, before anything is done.

use std::collections::{BTreeMap, BTreeSet};

use baton_protocol::ShardId;

use crate::{
    Members,
    deploy::Succession,
    event::{Arranging, Planned},
    fleet::{Fleet, SlotId},
    settings::Settings,
    shard::Shard,
};

/// Where shards are to be, for those that are to be elsewhere.
pub(super) type Homes = BTreeMap<ShardId, SlotId>;

impl Succession<'_> {
    /// What an order comes to; else why it is refused.
    pub(crate) fn plan(&self, order: &Arranging) -> Result<Vec<Planned>, String> {
        Ok(self.fleet.told(&self.homes(order)?))
    }

    pub(super) fn homes(&self, order: &Arranging) -> Result<Homes, String> {
        match order {
            Arranging::Cordon(hosts) | Arranging::Uncordon(hosts) => {
                self.fleet.on_hosts(hosts)?;
                Ok(Homes::new())
            }
            Arranging::Hold | Arranging::Release => Ok(Homes::new()),
            Arranging::Stay => {
                let stays = self.stay();
                match stays.is_empty() {
                    true => Err("no shard is to move to another slot".to_owned()),
                    false => Ok(stays),
                }
            }
            Arranging::Move { shards, to } => {
                self.may_move()?;
                self.fleet.moved(shards, to, self.settings)
            }
            Arranging::Drain(hosts) => {
                self.may_move()?;
                self.drained(hosts)
            }
            Arranging::Rebalance => {
                self.may_move()?;
                self.balanced()
            }
        }
    }

    /// Every stray stays where it is; one that is between two slots goes on.
    fn stay(&self) -> Homes {
        let shards = self.fleet.shards.iter();
        let strays = shards.filter(|(_, shard)| shard.is_stray());
        let stays = strays.filter(|(id, shard)| {
            !self.deploys.moves.takes_over(*id) || shard.phase.moving().is_some()
        });
        stays.map(|(id, shard)| (id, shard.slot)).collect()
    }

    /// Slots that may be given shards: their host is not cordoned and they have a slave.
    fn open(&self, closed: &BTreeSet<SlotId>) -> Vec<SlotId> {
        let slots = self.fleet.slots.iter();
        let open = slots.filter(|(id, slot)| {
            !closed.contains(id)
                && !self.fleet.is_cordoned(*id)
                && slot.owner.is_some_and(|owner| self.fleet.can_take(owner))
        });
        open.map(|(id, _)| id).collect()
    }

    /// Every shard of the slots of these hosts goes to the least loaded slot of the others.
    fn drained(&self, hosts: &[String]) -> Result<Homes, String> {
        let going = self.fleet.on_hosts(hosts)?;
        let count = self.fleet.counts();
        let load = |slot: SlotId| (count.get(&slot).copied().unwrap_or(0), slot);
        let mut loads: BTreeSet<_> = self.open(&going).into_iter().map(load).collect();
        let shards = self.fleet.shards.iter();
        let leaving = shards.filter(|(_, shard)| going.contains(&shard.home));
        let mut homes = Homes::new();
        for (id, _) in leaving {
            let Some((shards, slot)) = loads.pop_first() else {
                return Err(format!(
                    "no slot is left for the shards of {}: the slots of every other host are \
                     cordoned, or have no slave that is connected. Uncordon one, or start its slave",
                    hosts.join(", ")
                ));
            };
            homes.insert(id, slot);
            loads.insert((shards + 1, slot));
        }
        Ok(homes)
    }

    /// As many shards in each slot that may be given some. As few move as can be: of a slot
    /// that has too many, those that have not come to it yet, then the last ones.
    fn balanced(&self) -> Result<Homes, String> {
        let open = self.open(&BTreeSet::new());
        if open.len() < 2 {
            return Err(
                "there is nothing to balance: fewer than two slots have a slave that is connected, \
                 on a host that is not cordoned"
                    .to_owned(),
            );
        }
        let mut shards: BTreeMap<SlotId, Vec<(bool, ShardId)>> =
            open.iter().map(|slot| (*slot, Vec::new())).collect();
        for (id, shard) in self.fleet.shards.iter() {
            if let Some(has) = shards.get_mut(&shard.home) {
                has.push((shard.is_stray(), id));
            }
        }
        let all: usize = shards.values().map(Vec::len).sum();
        let (each, more) = (all / open.len(), all % open.len());
        let mut fullest: Vec<_> = shards.into_iter().collect();
        fullest.sort_by_key(|(slot, has)| (std::cmp::Reverse(has.len()), *slot));
        let (mut spare, mut wants) = (Vec::new(), Vec::new());
        for (place, (slot, mut has)) in fullest.into_iter().enumerate() {
            let quota = each + usize::from(place < more);
            has.sort_unstable();
            spare.extend(has.drain(quota.min(has.len())..).map(|(_, id)| id));
            wants.extend(std::iter::repeat_n(slot, quota - has.len()));
        }
        spare.sort_unstable();
        debug_assert_eq!(spare.len(), wants.len(), "nothing is left over");
        Ok(spare.into_iter().zip(wants).collect())
    }
}

impl Fleet {
    /// How many shards are to be in each slot.
    fn counts(&self) -> BTreeMap<SlotId, usize> {
        let mut counts = BTreeMap::new();
        for (_, shard) in self.shards.iter() {
            *counts.entry(shard.home).or_default() += 1;
        }
        counts
    }

    /// The slots of these hosts, each of which there is.
    pub(super) fn on_hosts(&self, hosts: &[String]) -> Result<BTreeSet<SlotId>, String> {
        let known: BTreeSet<&str> = self.slots.iter().map(|(_, slot)| slot.host()).collect();
        if let Some(unknown) = hosts.iter().find(|host| !known.contains(host.as_str())) {
            let known: Vec<_> = known.into_iter().collect();
            return Err(format!(
                "no slot is on a host {unknown:?}: there are {}",
                known.join(", ")
            ));
        }
        let slots = self.slots.iter();
        let of = slots.filter(|(_, slot)| hosts.iter().any(|host| host == slot.host()));
        Ok(of.map(|(id, _)| id).collect())
    }

    fn moved(&self, shards: &Members, to: &str, settings: &Settings) -> Result<Homes, String> {
        let Some(slot) = self.slots.named(to) else {
            let names: Vec<_> = self.slots.iter().map(|(_, slot)| &*slot.name).collect();
            return Err(format!(
                "this fleet has no slot {to:?}: there are {}",
                names.join(", ")
            ));
        };
        let place = &self.slots[slot];
        if self.is_cordoned(slot) {
            return Err(format!(
                "host {host} of slot {to:?} is cordoned: nothing is placed there. To open it, run: \
                 baton-master uncordon {host}",
                host = place.host()
            ));
        }
        if place.owner.is_none() && !place.launches {
            return Err(format!(
                "slot {to:?} has no slave, and no command to launch one: start a slave for it first"
            ));
        }
        let highest = shards.ranges().next_back().map(|(_, last)| last);
        if let Some(highest) = highest.filter(|highest| *highest >= settings.shard_count) {
            return Err(format!(
                "this fleet has no shard {highest}: they are 0 to {}",
                settings.shard_count.saturating_sub(1)
            ));
        }
        let is_elsewhere = |shard: &Shard| shard.home != slot;
        let moved = shards
            .iter()
            .filter(|id| self.shards.get(*id).is_some_and(is_elsewhere));
        Ok(moved.map(|id| (id, slot)).collect())
    }

    /// What is to be where, as people read it.
    pub(super) fn told(&self, homes: &Homes) -> Vec<Planned> {
        let mut ways: BTreeMap<(SlotId, SlotId), Members> = BTreeMap::new();
        for (id, to) in homes {
            let way = (self.shards[*id].home, *to);
            ways.entry(way).or_default().insert(*id);
        }
        let ways = ways.into_iter().map(|((from, to), shards)| Planned {
            shards,
            from: self.slots[from].name.clone(),
            to: self.slots[to].name.clone(),
        });
        ways.collect()
    }
}
