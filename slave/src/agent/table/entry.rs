//! What the agent knows of one shard. Orders change it when they are given, what the
//! shard says when it is heard; nobody else does.
//!
//! ```text
//!         start                 Serving             Sealed
//!  None ─────────▶ Starting ──────────▶ Serving ──────────▶ Sealed ── start, resume ──▶ ...
//!    │  resume                 ▲   │ SessionLost │ Failed
//!    └────────▶ Resuming ──────┘   └─▶ Starting  └─▶ Failed
//! ```

mod again;
mod hears;
mod told;

use std::{sync::Arc, time::Duration};

use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket,
    message::{Holding, IdentifyCause, ResumeAfter, Seal, Settled},
};

use tokio::time::Instant;

pub(super) use self::hears::Heard;
use super::{
    orders::{Orders, Room},
    panics::Panics,
    task::Task,
};
use crate::{
    shard::{Care, Order, Turn},
    telemetry::{Oldest, Samples},
};

/// See the module.
pub(crate) struct Entry {
    shard: ShardId,
    orders: Orders,
    task: Task,
    samples: Samples,
    panics: Panics,

    epoch: Epoch,
    /// `None`: nothing but an imported copy.
    holding: Option<Holding>,
    /// Whether nothing came since the order to resume.
    untouched: bool,
    /// What the last report said of both.
    reported: (Option<Holding>, bool),
    /// Where it stood last; exact once it is sealed.
    ticket: Ticket,
    /// The highest sequence that it received.
    received: Sequence,
    /// Its oldest unfinished event, where that is worth a look.
    oldest: Option<Arc<Oldest>>,
    /// Whether the master has the session on this connection.
    session_told: bool,
    /// Whether it serves and has no connection: which the report does not say.
    away: bool,
    /// What waits for a permit.
    waiting: Option<IdentifyCause>,
    settled: Option<Settled>,
    /// How long what is in doubt may run behind the seal that was ordered last, and until
    /// when that is.
    drain: Duration,
    drains_until: Option<Instant>,
    /// How it is to be gone on with after a panic.
    care: Care,
    /// What is to end with its connection: the order, and room to take it back.
    late: Option<(Seal, Room)>,
    /// Whether its task panicked when it was sealed: what it said is known here alone.
    stood_in: bool,
}

impl Entry {
    pub(super) fn new(shard: ShardId, orders: Orders, task: Task) -> Self {
        Self {
            shard,
            orders,
            task,
            samples: Samples::default(),
            panics: Panics::default(),
            epoch: Epoch(0),
            holding: None,
            untouched: false,
            reported: (None, false),
            ticket: nowhere(shard),
            received: Sequence(0),
            oldest: None,
            session_told: false,
            away: false,
            waiting: None,
            settled: None,
            drain: Duration::ZERO,
            drains_until: None,
            care: Care::default(),
            late: None,
            stood_in: false,
        }
    }

    /// At which it is here; `0`: it never was owned here.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What is here of it; `None`: nothing but an imported copy.
    pub(crate) const fn holding(&self) -> Option<Holding> {
        self.holding
    }

    /// Whether that is here of it.
    pub(crate) fn is(&self, holding: Holding) -> bool {
        self.holding == Some(holding)
    }

    /// Whether it is owned here, a sealed one included.
    pub(crate) const fn is_owned(&self) -> bool {
        self.holding.is_some()
    }

    /// Where it stood last; exact once it is sealed.
    pub(crate) const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Why it waits for a permit, if it does.
    pub(crate) const fn waiting(&self) -> Option<IdentifyCause> {
        self.waiting
    }

    /// What became of what was in doubt when it was sealed.
    pub(crate) const fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// What is in doubt may run until then, if it is to be sealed, and is not settled.
    pub(crate) fn drains_until(&self) -> Option<Instant> {
        self.drains_until.filter(|_| self.settled.is_none())
    }

    /// Whether it serves, and has no connection right now.
    pub(crate) fn is_away(&self) -> bool {
        self.away && self.is(Holding::Serving)
    }

    /// Gives an order that changes nothing here; `false`: there is no room for it.
    pub(super) fn give(&self, order: Order) -> bool {
        self.orders.give(order)
    }

    /// Start without a session. `false`: there is no room for the order.
    pub(super) fn start(&mut self, epoch: Epoch) -> bool {
        if epoch <= self.epoch {
            return true;
        }
        let given = self.give(Order::Turn(Turn::Start { epoch }));
        if given {
            self.owned(epoch, Holding::Starting, Care::default());
            self.ticket = nowhere(self.shard);
        }
        given
    }

    /// Go on with a ticket. `false`: there is no room for the order.
    pub(super) fn resume(
        &mut self,
        epoch: Epoch,
        after: ResumeAfter,
        ticket: Ticket,
        care: Care,
    ) -> bool {
        if epoch <= self.epoch && !mutant!("old-epoch-obeyed") {
            return true;
        }
        let given = self.give(Order::Turn(Turn::Resume {
            epoch,
            after,
            ticket: Box::new(ticket.clone()),
            care: care.clone(),
        }));
        if given {
            self.owned(epoch, Holding::Resuming, care);
            self.ticket = ticket;
        }
        given
    }

    fn owned(&mut self, epoch: Epoch, holding: Holding, care: Care) {
        debug_assert!(
            epoch > self.epoch || mutant!("old-epoch-obeyed"),
            "an epoch is used once"
        );
        self.epoch = epoch;
        self.holding = Some(holding);
        self.untouched = holding == Holding::Resuming;
        self.away = false;
        self.waiting = None;
        self.settled = None;
        self.drains_until = None;
        self.care = care;
        self.late = None;
        self.stood_in = false;
    }

    /// Seal now. `false`: there is no room for the order.
    pub(super) fn seal(&mut self, seal: &Seal) -> bool {
        let is_sealed = self.is(Holding::Sealed);
        let given = self.give(Order::Turn(Turn::Seal {
            epoch: seal.epoch,
            drain: seal.drain,
            begins: seal.begins,
        }));
        // One that is sealed already says so again: its time runs.
        if given && !is_sealed && seal.epoch == self.epoch {
            self.drain = seal.drain;
            self.drains_until = Some(Instant::now() + seal.drain);
        }
        given
    }

    /// Seal when the connection ends. `false`: there is no room for the order, and for
    /// the word that it is void.
    pub(super) fn seal_late(&mut self, late: Seal) -> bool {
        let Some(room) = self.orders.reserve() else {
            return false;
        };
        let given = self.give(late_seal(&late));
        if given {
            self.drain = late.drain;
            self.late = Some((late, room));
        }
        given
    }

    /// An order to seal late is void.
    pub(super) fn serve_on(&mut self) {
        if let Some((_, room)) = self.late.take()
            && !mutant!("late-seal-without-master")
        {
            room.send(Order::ServeOn);
        }
    }

    /// Send IDENTIFY. `false`: there is no room for the order.
    pub(super) fn permit(&mut self, epoch: Epoch) -> bool {
        self.waiting = None;
        self.give(Order::Permit { epoch })
    }

    /// As if its task had said it.
    #[cfg(test)]
    pub(super) fn as_if_said(&self, said: crate::shard::Said) {
        self.task.say_for(self.shard, self.epoch, said);
    }

    /// The last order. Gives the task that is ending.
    pub(super) fn end(self, order: Order) -> tokio::task::JoinHandle<()> {
        self.orders.end(order);
        self.task.ends()
    }
}

/// The ticket of a shard without a session.
fn nowhere(shard: ShardId) -> Ticket {
    Ticket {
        shard,
        ..Ticket::default()
    }
}

fn late_seal(late: &Seal) -> Order {
    Order::Turn(Turn::SealLate {
        epoch: late.epoch,
        drain: late.drain,
        begins: late.begins,
    })
}
