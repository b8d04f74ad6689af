//! Which connection speaks for which slave.

use std::collections::BTreeMap;

use baton_protocol::{SlaveId, ToMaster};

use crate::{
    link::{Link, LinkId},
    notice::Joining,
};

/// Messages that wait with a second connection; one more and it is closed.
const MOST_SAID: usize = 8192;

/// At most one connection of each slave, and one more that waits until that was asked.
#[derive(Debug, Default)]
pub(super) struct Connections {
    links: BTreeMap<SlaveId, Link>,
    /// The last connection on which each slave joined.
    newest: BTreeMap<SlaveId, LinkId>,
    /// Connections that wait until the first one of their slave was asked.
    seconds: BTreeMap<SlaveId, Second>,
}

/// A connection that waits for the answer of the first one.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) joining: Joining,
    /// What it said meanwhile.
    pub(super) said: Vec<ToMaster>,
}

impl Connections {
    /// The connection of a slave.
    pub(super) fn get(&self, slave: SlaveId) -> Option<&Link> {
        self.links.get(&slave)
    }

    /// Every slave that has one.
    pub(super) fn slaves(&self) -> Vec<SlaveId> {
        self.links.keys().copied().collect()
    }

    /// Whether this connection speaks for its slave.
    pub(super) fn is_current(&self, slave: SlaveId, link: LinkId) -> bool {
        self.get(slave).is_some_and(|current| current.id() == link)
    }

    /// Whether a slave joined on a newer connection than this one.
    pub(super) fn is_given_up(&self, slave: SlaveId, link: LinkId) -> bool {
        self.newest.get(&slave).is_some_and(|newest| *newest > link)
    }

    /// This connection speaks for its slave from now on; there is no other one. Of
    /// slaves that are neither connected nor `kept` it is forgotten what the last one was.
    pub(super) fn enter(&mut self, slave: SlaveId, link: Link, kept: impl Fn(SlaveId) -> bool) {
        let links = &self.links;
        self.newest
            .retain(|slave, _| links.contains_key(slave) || kept(*slave));
        self.newest.insert(slave, link.id());
        let before = self.links.insert(slave, link);
        debug_assert!(
            before.is_none(),
            "two connections speak for slave {slave:.8}"
        );
    }

    /// No connection speaks for this slave any more.
    pub(super) fn leave(&mut self, slave: SlaveId) -> Option<Link> {
        self.links.remove(&slave)
    }

    /// Nothing is kept of a slave that nobody knows.
    pub(super) fn forget(&mut self, slave: SlaveId) {
        self.newest.remove(&slave);
    }

    /// Every connection ends: its slave dials again.
    pub(super) fn cut(&self) {
        self.links.values().for_each(Link::cut);
    }

    /// Peers write what is queued for them and close.
    pub(super) fn close(&mut self) {
        self.links.clear();
    }

    // ---- second connections --------------------------------------------------

    /// A connection waits until the first one of its slave was asked, instead of one that
    /// waited before.
    pub(super) fn wait(&mut self, joining: Joining) {
        let slave = joining.hello.slave;
        debug_assert!(
            self.links.contains_key(&slave),
            "a second connection of slave {slave:.8} waits for no first one"
        );
        let said = Vec::new();
        if let Some(before) = self.seconds.insert(slave, Second { joining, said }) {
            before.joining.link.cut();
        }
    }

    /// What is said on a connection that waits is kept.
    pub(super) fn second_said(&mut self, slave: SlaveId, link: LinkId, message: ToMaster) {
        let Some(second) = self.seconds.get_mut(&slave) else {
            return;
        };
        if second.joining.link.id() != link {
            return;
        }
        if second.said.len() < MOST_SAID {
            second.said.push(message);
        } else {
            second.joining.link.cut();
            self.seconds.remove(&slave);
        }
    }

    /// Whether one waits that its slave dialled later than this one.
    pub(super) fn newer_waits(&self, slave: SlaveId, link: LinkId) -> bool {
        let second = self.seconds.get(&slave);
        second.is_some_and(|second| second.joining.link.id() > link)
    }

    /// The connection that waits, which waits no more.
    pub(super) fn take_second(&mut self, slave: SlaveId) -> Option<Second> {
        self.seconds.remove(&slave)
    }

    /// The same, if it is this one.
    pub(super) fn take_second_if(&mut self, slave: SlaveId, link: LinkId) -> Option<Second> {
        let second = self.seconds.get(&slave)?;
        (second.joining.link.id() == link).then(|| self.seconds.remove(&slave))?
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.links.len(), self.newest.len())
    }
}
