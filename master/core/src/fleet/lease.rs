//! Slaves that keep a lease (`baton_protocol::lease` has the proof): they serve only as long
//! as a leader proves to be there, so that their silence is known to be their end.
//!
//! ```text
//! Accepted{lease} ─▶ it says in a pong that it keeps it ─▶ relied upon, in the journal
//!                                                              │
//!      Ping{heard} behind each save that proves the term ◀─────┤ and so on
//!                                                              │
//!      nothing heard for its patience ─▶ dead, by the lease ◀──┘
//! ```
//!
//! - What a slave is told is relied upon only when it says that it keeps it: the order may be
//!   lost. A longer lease is relied upon before it is told, and none at all before a slave is
//!   told that it has none.
//! - `heard` follows a save that compares the term, so that a master that was overtaken says it
//!   of nothing that was sent later. Where nothing can be saved it is not said, and leases run
//!   out.
//! - A slave that comes back is dead by a word (`fence.rs`), or, if it was in time, sealed: it
//!   goes on from its own tickets.

use std::time::Duration;

use baton_protocol::{
    SlaveId, ToSlave, lease,
    message::{Accepted, Ping, Pong},
};

use crate::{
    event::{Durability, Entry, Time},
    fleet::{Fleet, Presence, SlotId},
    out::Out,
    timers::Timer,
};

/// The pings of leases have numbers from here on. Others have lower ones, or the few highest.
pub(crate) const FIRST_PING: u64 = 1 << 62;

/// The number of no ping of a lease.
const LAST_PING: u64 = FIRST_PING | (FIRST_PING - 1);

/// What is known of the lease of one slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leased {
    /// It seals itself when it heard nothing for so long; `None`: it serves on.
    pub(crate) keeps: Option<Duration>,
    /// The ping of it that was sent last, and the one that it answered last.
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Whether an answer on this connection was acknowledged.
    pub(super) is_acknowledged: bool,
    /// Whether it answered that it keeps none, although its slot has one.
    pub(crate) refuses: bool,
}

impl Fleet {
    /// How long the slaves of a slot serve without a leader; `None`: for ever.
    fn lease_of(&self, slot: SlotId) -> Option<Duration> {
        self.slots[slot].lease
    }

    /// A slave is let in: how long its lease is.
    pub(crate) fn accept_with_lease(&mut self, id: SlaveId, shard_count: u32, out: &mut Out) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        let (wants, keeps) = (self.lease_of(slave.slot), slave.lease.keeps);
        let relied = match (wants, keeps) {
            // It may not hear of it: then it seals earlier than it is waited for.
            (Some(wants), Some(keeps)) => Some(wants.max(keeps)),
            // It may not hear of it: it says when it did.
            (Some(_) | None, _) => None,
        };
        if relied != keeps {
            self.relies(id, relied, Durability::Now, out);
        }
        if wants.is_some() && !mutant!("lease-without-term") {
            out.save(vec![Entry::Seen], Durability::Soon);
        }
        let lease_ms = wants.map_or(0, |lease| {
            u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
        });
        out.send(
            id,
            ToSlave::Accepted(Accepted {
                shard_count,
                lease_ms,
            }),
        );
        if let Some(slave) = self.slaves.get_mut(&id) {
            (slave.lease.answered, slave.lease.is_acknowledged) = (0, false);
        }
        if wants.is_some() {
            self.ping_of_lease(id, out);
        }
        self.watch_lease(id, out);
    }

    /// What this slave keeps, as far as anything may rely on it.
    fn relies(
        &mut self,
        id: SlaveId,
        keeps: Option<Duration>,
        durability: Durability,
        out: &mut Out,
    ) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        slave.lease.keeps = keeps;
        let lease = keeps.unwrap_or_default();
        out.save(vec![Entry::Leased { slave: id, lease }], durability);
        if keeps.is_none() {
            out.stop(Timer::Lease(id));
        }
    }

    /// Asks for a sign of life, and says which one was heard last.
    fn ping_of_lease(&mut self, id: SlaveId, out: &mut Out) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.presence != Presence::Joined {
            return;
        }
        let number = slave.lease.sent.max(FIRST_PING) + 1;
        slave.lease.sent = number.min(LAST_PING);
        let heard = match mutant!("lease-from-the-send") {
            true => number - 1,
            false => slave.lease.answered,
        };
        slave.lease.is_acknowledged |= heard > 0;
        out.send(id, ToSlave::Ping(Ping { number, heard }));
    }

    /// A slave answered. Its first answer on a connection is acknowledged at once: its lease
    /// may be about to end.
    pub(crate) fn lease_answered(&mut self, id: SlaveId, pong: &Pong, out: &mut Out) {
        if !(FIRST_PING..=LAST_PING).contains(&pong.number) {
            return;
        }
        let slot = self.slaves.get(&id).map(|slave| slave.slot);
        let wants = slot.and_then(|slot| self.lease_of(slot));
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if pong.number > slave.lease.sent || pong.number <= slave.lease.answered {
            return;
        }
        slave.lease.answered = pong.number;
        let (keeps, acknowledged) = (slave.lease.keeps, slave.lease.is_acknowledged);
        let Some(wants) = wants else {
            return;
        };
        let says = Duration::from_millis(pong.lease_ms);
        let refused = std::mem::replace(&mut slave.lease.refuses, says.is_zero());
        if says.is_zero() && !refused {
            out.alarm(format!(
                "slave {id:.8} (build {:?}) knows no lease, and serves on if no leader is there: \
                 its silence does not free its shards. Deploy a build with this version of Baton \
                 into slot {:?}",
                slave.hello.build, slave.hello.slot
            ));
        }
        if says == wants && keeps.is_none_or(|keeps| keeps > wants) {
            self.relies(id, Some(wants), Durability::Soon, out);
        }
        self.watch_lease(id, out);
        if !acknowledged && !out.saves.fail() {
            out.save(vec![Entry::Seen], Durability::Soon);
            self.ping_of_lease(id, out);
        }
    }

    /// It was noted on the disk that this master runs: it leads.
    pub(crate) fn leads(&mut self, out: &mut Out) {
        let slaves = self.slaves.iter();
        let leased = slaves.filter(|(_, slave)| self.slots[slave.slot].lease.is_some());
        let leased: Vec<_> = leased.map(|(&id, _)| id).collect();
        for id in leased {
            self.ping_of_lease(id, out);
        }
    }

    /// Sees to it that its silence is noticed.
    pub(crate) fn watch_lease(&self, id: SlaveId, out: &mut Out) {
        if let Some(left) = self.lease_left(id, out.now)
            && !out.runs(Timer::Lease(id))
        {
            out.start(Timer::Lease(id), left);
        }
    }

    /// How long a slave is waited for yet; `None`: its silence says nothing.
    pub(crate) fn lease_left(&self, id: SlaveId, now: Time) -> Option<Duration> {
        let slave = self.slaves.get(&id)?;
        let keeps = slave.lease.keeps?;
        let patience = match mutant!("lease-no-margin") {
            true => keeps,
            false => lease::patience(keeps),
        };
        Some(slave.heard.after(patience).since(now))
    }
}
