//! Connections between the slaves and the master. One that was closed brings all
//! that was said; one that was cut brings it up to any point, at which either end
//! sees its end.

use std::{
    collections::VecDeque,
    fmt::Debug,
    hash::{Hash, Hasher},
};

use super::{
    identity::{Identity, debugged},
    *,
};

/// Something on its way, and its part of the identity of a state.
#[derive(Clone, Debug)]
pub(super) struct Sent<M> {
    identity: u64,
    pub(super) message: M,
}

#[allow(clippy::large_enum_variant, reason = "a pong is what it is")]
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello(Box<Hello>, Report),
    Said(ToMaster),
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) slave: SlaveId,
    pub(super) up: VecDeque<Sent<Up>>,
    pub(super) down: VecDeque<Sent<ToSlave>>,
    /// What is on its way may be lost, from some point on; nothing more gets in.
    pub(super) cut: bool,
    /// A message was lost here. No connection goes on like that for ever: either
    /// end finds it broken in the end.
    pub(super) lossy: bool,
    pub(super) master_open: bool,
    pub(super) slave_open: bool,
    /// The master heard the hello.
    pub(super) joined: bool,
}

impl<M: Debug> Sent<M> {
    pub(super) fn new(message: M) -> Self {
        let mut hasher = Identity::default();
        debugged(&mut hasher, &message);
        Self {
            identity: hasher.finish(),
            message,
        }
    }
}

impl Link {
    pub(super) fn new(slave: SlaveId) -> Self {
        Self {
            slave,
            up: VecDeque::new(),
            down: VecDeque::new(),
            cut: false,
            lossy: false,
            master_open: true,
            slave_open: true,
            joined: false,
        }
    }

    pub(super) fn identify(&self, hasher: &mut Identity) {
        let ends = (
            self.cut,
            self.lossy,
            self.master_open,
            self.slave_open,
            self.joined,
        );
        (self.slave, ends, self.up.len()).hash(hasher);
        for sent in &self.up {
            sent.identity.hash(hasher);
        }
        for sent in &self.down {
            sent.identity.hash(hasher);
        }
    }
}

impl World {
    pub(super) fn link_of(&mut self, id: SlaveId) -> Option<&mut Link> {
        let mine = |link: &&mut Link| link.slave == id && link.slave_open;
        self.links.iter_mut().find(mine)
    }

    /// A slave says something, if a master listens.
    pub(super) fn say(&mut self, id: SlaveId, message: ToMaster) {
        if self.slaves.get(&id).is_some_and(|slave| slave.accepted)
            && let Some(link) = self.link_of(id)
            && !link.cut
            && link.master_open
        {
            link.up.push_back(Sent::new(Up::Said(message)));
        }
    }

    pub(super) fn sweep(&mut self) {
        self.links
            .retain(|link| link.master_open || link.slave_open);
    }

    pub(super) fn master_can_see_end(&self, at: usize) -> bool {
        let link = &self.links[at];
        link.master_open && (link.cut || (!link.slave_open && link.up.is_empty()))
    }

    pub(super) fn slave_can_see_end(&self, at: usize) -> bool {
        let link = &self.links[at];
        link.slave_open && (link.cut || (!link.master_open && link.down.is_empty()))
    }

    /// Whether anything is left to hear on a connection.
    pub(super) fn can_be_heard(&self, at: usize) -> bool {
        self.links[at].master_open && !self.links[at].up.is_empty() && self.master.is_some()
    }

    /// Everything behind the point that was reached is lost.
    pub(super) fn master_sees_end(&mut self, at: usize) {
        let link = &mut self.links[at];
        let (slave, joined) = (link.slave, link.joined);
        link.master_open = false;
        link.up.clear();
        self.sweep();
        if joined {
            self.input(Input::Left { slave });
        }
    }

    pub(super) fn slave_sees_end(&mut self, at: usize) {
        let link = &mut self.links[at];
        let slave = link.slave;
        link.slave_open = false;
        link.down.clear();
        if let Some(slave) = self.slaves.get_mut(&slave) {
            slave.accepted = false;
            if let Some(row) = &mut slave.row {
                row.late = false;
            }
        }
        self.sweep();
    }

    /// The master hears what comes next on a connection.
    pub(super) fn hear(&mut self, at: usize, stays: bool) {
        let link = &mut self.links[at];
        let slave = link.slave;
        let Some(sent) = link.up.front().cloned() else {
            return;
        };
        if !stays {
            link.up.pop_front();
        }
        match sent.message {
            Up::Hello(hello, report) => {
                if !self.slaves.contains_key(&slave) {
                    self.links[at].master_open = false;
                    self.sweep();
                    return;
                }
                self.links[at].joined = true;
                // What was dialled before is closed, heard or not.
                let older = self.links[..at]
                    .iter_mut()
                    .filter(|link| link.slave == slave);
                let mut left = false;
                for link in older {
                    left |= link.joined && link.master_open;
                    link.master_open = false;
                    link.cut = true;
                    link.up.clear();
                }
                self.sweep();
                if left {
                    self.input(Input::Left { slave });
                }
                self.joined(slave, hello, report);
            }
            Up::Said(message) => self.input(Input::Said { slave, message }),
        }
    }
}
