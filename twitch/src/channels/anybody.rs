//! A manager that asks nobody.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    Channel, Database, Error, Unix, Wanted,
    manager::{Change, Grant, Manager, Revision, Want},
    rows::Asks,
};
use crate::{Login, UserId};

/// Every channel may be joined, and none is ever stale. What the bot's owner wants is kept
/// all the same. It may open the file of a [`Database`]: it leaves the authorisations
/// there alone.
#[derive(Debug)]
pub struct Anybody(Database);

impl Anybody {
    /// Keeps the list in this file: see [`Database::open`].
    ///
    /// # Errors
    /// There is no such place, or the file is something else, newer or damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self(Database::open(path)?))
    }

    /// A list that ends with its process.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self(Database::in_memory()?))
    }

    #[cfg(test)]
    pub(super) fn with_room_for(self, most: usize) -> Self {
        Self(self.0.with_room_for(most))
    }
}

impl Manager for Anybody {
    fn manages(&self) -> bool {
        false
    }

    fn authorise(&mut self, _: &Grant, _: Unix) -> Result<Change, Error> {
        Ok(Change::NotManaged)
    }

    fn revoke(&mut self, _: &Login, _: Unix) -> Result<Change, Error> {
        Ok(Change::NotManaged)
    }

    fn is_authorised(&self, _: &Login) -> Result<bool, Error> {
        Ok(true)
    }

    fn want(&mut self, channels: &[Wanted], now: Unix) -> Result<BTreeMap<Login, Want>, Error> {
        self.0.want_asking(Asks::Nobody, channels, now)
    }

    fn unwant(&mut self, channels: &[Login]) -> Result<Vec<Login>, Error> {
        self.0.unwant(channels)
    }

    fn read_by(&mut self, channel: &Login, account: Option<&Login>) -> Result<bool, Error> {
        self.0.read_by(channel, account)
    }

    fn acknowledge(&mut self, channel: &Login, now: Unix) -> Result<bool, Error> {
        self.0.acknowledge(channel, now)
    }

    fn stale(&self, _: Unix, _: Duration) -> Result<Vec<Login>, Error> {
        Ok(Vec::new())
    }

    fn clean(&mut self, _: Unix, _: Duration) -> Result<Vec<Login>, Error> {
        Ok(Vec::new())
    }

    fn goal(&self) -> Result<Vec<Wanted>, Error> {
        self.0.goal_asking(Asks::Nobody)
    }

    fn get(&self, channel: &Login) -> Result<Option<Channel>, Error> {
        self.0.get(channel)
    }

    fn list(&self, after: Option<&Login>, most: usize) -> Result<Vec<Channel>, Error> {
        self.0.list(after, most)
    }

    fn named(&mut self, channel: &Login, id: &UserId) -> Result<Change, Error> {
        self.0.named(channel, id)
    }

    fn purge(&mut self, before: Unix) -> Result<usize, Error> {
        self.0.purge(before)
    }

    fn revision(&self) -> Result<Revision, Error> {
        self.0.revision()
    }
}
