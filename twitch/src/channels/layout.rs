//! Which unit has which channel, where a unit is a connection of one account that has room
//! for some channels (IRC; over conduits Twitch decides it).
//!
//! A channel is in one unit at most. Who comes goes to the least loaded unit, of several to
//! the first. All changes are in [`Deltas`], which the caller carries out and may lose: what
//! is asked for and not confirmed is known here ([`State`]). The same calls give the same
//! layout.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{Deltas, Failed, Found, Place, Placed, State, Unit, Unix, Why};
use crate::Login;

/// Channels of one unit, if nothing else is said. Twitch allows 100 of an account that is
/// not moderator there; ten are left for a hand-over.
pub const CAPACITY: usize = 90;

/// Where each channel is.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    accounts: BTreeMap<Login, Account>,
    places: BTreeMap<Login, Place>,
    failed: BTreeMap<Login, Failed>,
    /// Channels that do not count for the cap of their account.
    uncounted: BTreeSet<Login>,
    /// So many channels of one account that count.
    cap: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    units: BTreeMap<u32, Room>,
    /// Those that take channels, by their load.
    open: BTreeSet<(usize, u32)>,
    /// Channels that count for the cap.
    counted: usize,
}

#[derive(Clone, Debug)]
struct Room {
    capacity: usize,
    is_open: bool,
    channels: BTreeSet<Login>,
}

impl Layout {
    /// One without units. `cap`: in so many channels an account may be at once, without
    /// those that are [exempt](Self::exempt); `None`: as many as have room.
    #[must_use]
    pub fn new(cap: Option<usize>) -> Self {
        Self {
            cap,
            ..Self::default()
        }
    }

    /// A unit comes, or has another capacity now. A closed one has no channels added until
    /// it [opens](Self::open): it is not connected, or to be drained. Nothing moves by this.
    pub fn add_unit(&mut self, unit: &Unit, capacity: usize, is_open: bool) {
        let account = self.accounts.entry(unit.account.clone()).or_default();
        let room = account.units.entry(unit.index).or_insert_with(|| Room {
            capacity,
            is_open,
            channels: BTreeSet::new(),
        });
        room.capacity = capacity;
        account.set_open(unit.index, is_open);
    }

    /// The unit takes channels, or does not any more. `false`: there is no such unit.
    pub fn open(&mut self, unit: &Unit, is_open: bool) -> bool {
        let account = self.accounts.get_mut(&unit.account);
        account.is_some_and(|account| account.set_open(unit.index, is_open))
    }

    /// A unit goes: its channels go to the others of its account. The answer is which of
    /// them have no room there; they have no place then. (A unit that died need not carry
    /// out its part of the delta.)
    pub fn remove_unit(&mut self, unit: &Unit, now: Unix, deltas: &mut Deltas) -> Vec<Login> {
        let Some(account) = self.accounts.get_mut(&unit.account) else {
            return Vec::new();
        };
        account.set_open(unit.index, false);
        let Some(room) = account.units.get(&unit.index) else {
            return Vec::new();
        };
        let channels = room.channels.clone();
        let mut left_out = Vec::new();
        for channel in channels {
            self.leave(&channel, deltas);
            match self.place(&channel, &unit.account, now, deltas) {
                Some(_) => {}
                None => left_out.push(channel),
            }
        }
        if let Some(account) = self.accounts.get_mut(&unit.account) {
            account.units.remove(&unit.index);
            if account.units.is_empty() {
                self.accounts.remove(&unit.account);
            }
        }
        left_out
    }

    /// A channel is to be read by this account. If another account has it, that one parts
    /// it.
    pub fn join(
        &mut self,
        channel: &Login,
        account: &Login,
        now: Unix,
        deltas: &mut Deltas,
    ) -> Placed {
        let had = self.places.get(channel).map(|place| place.unit.clone());
        if let Some(unit) = had {
            if unit.account == *account {
                return Placed::Already(unit);
            }
            if !self.has_room(account) {
                return Placed::NoRoom;
            }
            if self.is_capped(account, channel) {
                return Placed::Cap;
            }
            self.leave(channel, deltas);
        }
        if self.is_capped(account, channel) {
            return Placed::Cap;
        }
        match self.place(channel, account, now, deltas) {
            Some(unit) => Placed::New(unit),
            None => Placed::NoRoom,
        }
    }

    /// A channel is not to be read any more. The answer is where it was.
    pub fn part(&mut self, channel: &Login, deltas: &mut Deltas) -> Option<Unit> {
        self.failed.remove(channel);
        self.uncounted.remove(channel);
        self.leave(channel, deltas)
    }

    /// Twitch confirmed that this unit is in the channel. `false`: it is not there by this
    /// layout, which is late news, or the unit has to part it.
    pub fn confirmed(&mut self, unit: &Unit, channel: &Login, now: Unix) -> bool {
        match self.places.get_mut(channel) {
            Some(place) if place.unit == *unit => {
                place.state = State::Confirmed(now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The unit could not join the channel, or was thrown out of it. Its place is free for
    /// another one. The unit is asked to part it all the same: a join that comes true
    /// late would be a second place. `false`: it is not there by this layout.
    pub fn failed(
        &mut self,
        unit: &Unit,
        channel: &Login,
        why: Why,
        now: Unix,
        deltas: &mut Deltas,
    ) -> bool {
        if self.places.get(channel).map(|place| &place.unit) != Some(unit) {
            return false;
        }
        self.leave(channel, deltas);
        let failed = Failed {
            unit: unit.clone(),
            why,
            at: now,
        };
        self.failed.insert(channel.clone(), failed);
        true
    }

    /// A unit says what it is in, after this process began or lost sight of it. What has
    /// no place yet has it there, also if it is above the capacity; what another unit
    /// has, it is to part, and what it lost, it is asked to join again.
    pub fn adopt(
        &mut self,
        unit: &Unit,
        channels: &BTreeSet<Login>,
        now: Unix,
        deltas: &mut Deltas,
    ) {
        let account = self.accounts.get(&unit.account);
        let Some(room) = account.and_then(|account| account.units.get(&unit.index)) else {
            return;
        };
        for lost in room.channels.difference(channels) {
            deltas.join(unit, lost);
            if let Some(place) = self.places.get_mut(lost) {
                place.state = State::Asked(now);
            }
        }
        for channel in channels {
            match self.places.get(channel) {
                Some(place) if place.unit != *unit => deltas.part(unit, channel),
                Some(_) => {
                    self.confirmed(unit, channel, now);
                }
                None => self.put(channel, unit, State::Confirmed(now)),
            }
        }
    }

    /// A channel does not count for the cap of its account, because the account is
    /// moderator or broadcaster there, or counts again.
    pub fn exempt(&mut self, channel: &Login, is_exempt: bool) {
        let changed = match is_exempt {
            true => self.uncounted.insert(channel.clone()),
            false => self.uncounted.remove(channel),
        };
        let place = self.places.get(channel).filter(|_| changed);
        let account = place.and_then(|place| self.accounts.get_mut(&place.unit.account));
        if let Some(account) = account {
            account.counted = match is_exempt {
                true => account.counted.saturating_sub(1),
                false => account.counted + 1,
            };
        }
    }

    /// Moves channels between the open units of an account until their loads differ by one
    /// at most, or those with fewer are full: as few as that needs, and of a unit those
    /// first that are not confirmed. A channel that moves is joined anew, which takes a
    /// permit.
    pub fn rebalance(&mut self, account: &Login, now: Unix, deltas: &mut Deltas) {
        while let Some((from, to)) = self.uneven(account) {
            let Some(channel) = self.movable(&from) else {
                return;
            };
            self.leave(&channel, deltas);
            self.put(&channel, &to, State::Asked(now));
            deltas.join(&to, &channel);
        }
    }

    /// Where a channel is.
    #[must_use]
    pub fn find(&self, channel: &Login) -> Found {
        let failed = || self.failed.get(channel).cloned();
        match self.places.get(channel) {
            Some(place) => Found::At(place.clone()),
            None => failed().map_or(Found::Nowhere, Found::Failed),
        }
    }

    /// All channels that have a place, by name, with that.
    pub fn places(&self) -> impl Iterator<Item = (&Login, &Place)> {
        self.places.iter()
    }

    /// All units, each with how many channels it has.
    pub fn loads(&self) -> impl Iterator<Item = (Unit, usize)> {
        self.accounts.iter().flat_map(|(name, account)| {
            let units = account.units.iter();
            units.map(|(index, room)| (Unit::new(name.clone(), *index), room.channels.len()))
        })
    }

    /// The channels of a unit, by name.
    pub fn channels(&self, unit: &Unit) -> impl Iterator<Item = &Login> {
        let account = self.accounts.get(&unit.account);
        let room = account.and_then(|account| account.units.get(&unit.index));
        room.into_iter().flat_map(|room| &room.channels)
    }

    fn is_capped(&self, account: &Login, channel: &Login) -> bool {
        let Some(cap) = self.cap else { return false };
        let counted = self.accounts.get(account).map_or(0, |of| of.counted);
        counted >= cap && !self.uncounted.contains(channel)
    }

    fn has_room(&self, account: &Login) -> bool {
        let account = self.accounts.get(account);
        account.is_some_and(|account| account.least_loaded().is_some())
    }

    /// Gives a channel without a place one.
    fn place(
        &mut self,
        channel: &Login,
        account: &Login,
        now: Unix,
        deltas: &mut Deltas,
    ) -> Option<Unit> {
        let (_, index) = self.accounts.get(account)?.least_loaded()?;
        let unit = Unit::new(account.clone(), index);
        self.put(channel, &unit, State::Asked(now));
        deltas.join(&unit, channel);
        Some(unit)
    }

    fn put(&mut self, channel: &Login, unit: &Unit, state: State) {
        let Entry::Vacant(place) = self.places.entry(channel.clone()) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&unit.account) else {
            return;
        };
        place.insert(Place {
            unit: unit.clone(),
            state,
        });
        account.counted += usize::from(!self.uncounted.contains(channel));
        account.load(unit.index, |channels| {
            channels.insert(channel.clone());
        });
        self.failed.remove(channel);
    }

    /// Takes its place from a channel.
    fn leave(&mut self, channel: &Login, deltas: &mut Deltas) -> Option<Unit> {
        let unit = self.places.remove(channel)?.unit;
        if let Some(account) = self.accounts.get_mut(&unit.account) {
            account.counted -= usize::from(!self.uncounted.contains(channel));
            account.load(unit.index, |channels| {
                channels.remove(channel);
            });
        }
        deltas.part(&unit, channel);
        Some(unit)
    }

    /// A unit that has at least two channels more than another one that has room.
    fn uneven(&self, name: &Login) -> Option<(Unit, Unit)> {
        let account = self.accounts.get(name)?;
        let (most, from) = account.open.last()?;
        let (least, to) = account.least_loaded()?;
        (most - least.min(*most) > 1)
            .then(|| (Unit::new(name.clone(), *from), Unit::new(name.clone(), to)))
    }

    fn movable(&self, unit: &Unit) -> Option<Login> {
        let account = self.accounts.get(&unit.account)?;
        let channels = &account.units.get(&unit.index)?.channels;
        let is_asked = |channel: &&Login| {
            let place = self.places.get(*channel);
            place.is_some_and(|place| matches!(place.state, State::Asked(_)))
        };
        let asked = channels.iter().rev().find(is_asked);
        asked.or_else(|| channels.last()).cloned()
    }
}

impl Account {
    fn set_open(&mut self, index: u32, is_open: bool) -> bool {
        let Some(room) = self.units.get_mut(&index) else {
            return false;
        };
        room.is_open = is_open;
        let entry = (room.channels.len(), index);
        match is_open {
            true => self.open.insert(entry),
            false => self.open.remove(&entry),
        };
        true
    }

    /// The open unit with the fewest channels that has room.
    fn least_loaded(&self) -> Option<(usize, u32)> {
        let has_room = |(load, index): &&(usize, u32)| {
            self.units
                .get(index)
                .is_some_and(|room| *load < room.capacity)
        };
        self.open.iter().find(has_room).copied()
    }

    fn load(&mut self, index: u32, change: impl FnOnce(&mut BTreeSet<Login>)) {
        let Some(room) = self.units.get_mut(&index) else {
            return;
        };
        let before = (room.channels.len(), index);
        change(&mut room.channels);
        if self.open.remove(&before) {
            self.open.insert((room.channels.len(), index));
        }
    }
}
