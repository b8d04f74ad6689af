//! Units of an account, and what changes in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::Login;

/// A connection of one account, or what takes its place later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// The bot's account.
    pub account: Login,
    /// Its number among the account's.
    pub index: u32,
}

impl Unit {
    /// This one of this account.
    #[must_use]
    pub const fn new(account: Login, index: u32) -> Self {
        Self { account, index }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.index)
    }
}

/// What a unit has to do: first the parts, which cost nothing, then the joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Channels to join.
    pub join: BTreeSet<Login>,
    /// Channels to part.
    pub part: BTreeSet<Login>,
}

/// What each unit has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deltas(BTreeMap<Unit, Delta>);

impl Deltas {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By unit. None of them is empty.
    #[must_use]
    pub const fn by_unit(&self) -> &BTreeMap<Unit, Delta> {
        &self.0
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Channels that one unit parts and another joins: from where, to where. Nobody is deaf
    /// in such a channel if the part waits until the join is confirmed.
    #[must_use]
    pub fn moved(&self) -> BTreeMap<Login, (Unit, Unit)> {
        let parts = self.0.iter().flat_map(|(unit, delta)| {
            let channels = delta.part.iter();
            channels.map(move |channel| (channel, unit))
        });
        let from: BTreeMap<&Login, &Unit> = parts.collect();
        let mut moved = BTreeMap::new();
        for (to, delta) in &self.0 {
            for channel in &delta.join {
                if let Some(from) = from.get(channel)
                    && *from != to
                {
                    moved.insert(channel.clone(), ((*from).clone(), to.clone()));
                }
            }
        }
        moved
    }

    pub(super) fn join(&mut self, unit: &Unit, channel: &Login) {
        let delta = self.0.entry(unit.clone()).or_default();
        delta.join.insert(channel.clone());
    }

    pub(super) fn part(&mut self, unit: &Unit, channel: &Login) {
        let delta = self.0.entry(unit.clone()).or_default();
        if !delta.join.remove(channel) {
            delta.part.insert(channel.clone());
        } else if delta.part.is_empty() && delta.join.is_empty() {
            self.0.remove(unit);
        }
    }
}
