//! Connections between slaves and the master. Both ends learn on their own that
//! one is over.

use std::collections::VecDeque;

use baton_protocol::Version;

use super::{discord::session_of, *};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

#[allow(clippy::large_enum_variant, reason = "a pong is what it is")]
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello(Box<Hello>, Report),
    Said(ToMaster),
    End,
}

#[derive(Clone, Debug)]
pub(super) enum Down {
    Order(ToSlave),
    End,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) slave: SlaveId,
    pub(super) up: VecDeque<Up>,
    pub(super) down: VecDeque<Down>,
    pub(super) cut: Cut,
    pub(super) cut_since: Real,
    /// Reset: nothing more gets in.
    pub(super) broken: bool,
    pub(super) master_open: bool,
    pub(super) slave_open: bool,
}

/// In which direction nothing arrives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    None,
    Up,
    Down,
    Both,
}

impl Link {
    pub(super) const fn new(slave: SlaveId) -> Self {
        Self {
            slave,
            up: VecDeque::new(),
            down: VecDeque::new(),
            cut: Cut::None,
            cut_since: Duration::ZERO,
            broken: false,
            master_open: true,
            slave_open: true,
        }
    }

    pub(super) fn say(&mut self, up: Up) {
        if !self.broken {
            self.up.push_back(up);
        }
    }

    pub(super) fn can_be_heard(&self) -> bool {
        self.master_open && !self.up.is_empty() && matches!(self.cut, Cut::None | Cut::Down)
    }

    pub(super) fn can_be_obeyed(&self) -> bool {
        self.slave_open && !self.down.is_empty() && matches!(self.cut, Cut::None | Cut::Up)
    }

    /// Loses what is on its way from some point on; both ends see the end.
    pub(super) fn reset(&mut self, dice: &mut Dice) {
        if self.broken {
            return;
        }
        self.broken = true;
        self.up.truncate(dice.below(self.up.len() + 1));
        self.down.truncate(dice.below(self.down.len() + 1));
        self.up.push_back(Up::End);
        self.down.push_back(Down::End);
    }
}

impl World {
    /// A slave dials, proves itself and reports.
    pub(super) fn dial(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.is_stopped() || self.master.is_none() || slave.refused_for_good {
            return;
        }
        self.hang_up(id);
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        let link = LinkId(self.next_link);
        self.next_link += 1;
        slave.lease.dials(slave.clock(self.now));
        let (hello, report) = slave.introduce();
        slave.link = Some(link);
        slave.accepted = false;
        // A build of before does not say whether anything came.
        let vague = hello.version != Version::NEWEST;
        for held in report.shards.iter().filter(|_| vague) {
            if matches!(held.holding, Holding::Resuming | Holding::Failed) {
                self.may_repeat(session_of(&held.ticket));
            }
        }
        let mut made = Link::new(id);
        made.say(Up::Hello(hello, report));
        self.links.insert(link, made);
        self.note(|| format!("{id:?} dials"));
    }

    /// A slave closes its connection, if it has one.
    pub(super) fn hang_up(&mut self, id: SlaveId) {
        if let Some(slave) = self.slaves.get_mut(&id)
            && let Some(old) = slave.link.take()
            && let Some(link) = self.links.get_mut(&old)
        {
            slave.link_lost();
            link.say(Up::End);
            link.broken = true;
            link.slave_open = false;
            link.down.clear();
        }
        self.sweep();
    }

    /// The master closes a connection. What it sent before may still arrive.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.master_open = false;
            link.broken = true;
            link.up.clear();
            link.down.push_back(Down::End);
        }
        self.sweep();
    }

    pub(super) fn sweep(&mut self) {
        self.links
            .retain(|_, link| link.master_open || link.slave_open);
    }

    /// A slave says something, if a master listens.
    pub(super) fn say(&mut self, id: SlaveId, message: ToMaster) {
        if let Some(slave) = self.slaves.get(&id)
            && slave.accepted
            && let Some(link) = slave.link.and_then(|link| self.links.get_mut(&link))
        {
            link.say(Up::Said(message));
        }
    }

    /// A slave takes its next order.
    pub(super) fn obey(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.can_be_obeyed()) else {
            return;
        };
        let slave = link.slave;
        if self.slaves.get(&slave).is_none_or(Slave::is_stopped) {
            return;
        }
        self.look_at_lease(slave);
        // It may have hung up.
        let Some(link) = self.links.get_mut(&id).filter(|link| link.slave_open) else {
            return;
        };
        match link.down.pop_front() {
            Some(Down::Order(order)) => self.order(slave, order),
            Some(Down::End) => {
                link.slave_open = false;
                if let Some(known) = self.slaves.get_mut(&slave)
                    && known.link == Some(id)
                {
                    known.link = None;
                    known.link_lost();
                }
                self.note(|| format!("{slave:?} sees the end of its connection"));
                self.sweep();
            }
            None => {}
        }
    }
}
