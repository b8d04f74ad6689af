//! Units of a service that is not Discord: what another crate needs to be a slave of a master.
//!
//! A service of this kind replays nothing, and two processes may receive the same at once. So
//! the master moves a unit by *overlap*: the next owner prepares (connects, and keeps what
//! comes), the one before seals and says what it handed out, and the next one goes on with the
//! rest. This module has the orders and the words of that, and no rule of any service.
//!
//! ```text
//! Prepare ─▶ (prepared) ─▶ GoLive ─▶ (session, serving) ─▶ Seal ─▶ (sealed) ─▶ (settled)
//! Start   ─▶ (session, serving) ────────────────────────────┘
//! ```
//!
//! [`Slave::serving`](crate::Slave::serving) runs a [`Service`]; each unit that the master gives
//! to the process has a [`Seat`], and what is the process' own goes by the [`Office`].

mod office;
mod rehearsal;
mod seat;

use std::{future::Future, pin::Pin, time::Duration};

use baton_protocol::{
    Epoch, SequenceRanges, Ticket,
    message::{CarriedEvent, ResumeAfter},
};
use bytes::Bytes;

pub(crate) use self::seat::Begins;
pub use self::{
    office::{NoSuchPermit, Office},
    rehearsal::{Rehearsal, Word},
    seat::Seat,
};

/// A service whose units this process can serve.
pub trait Service: Send + Sync + 'static {
    /// What it is called, as the master's `platform` has it.
    fn name(&self) -> &'static str;

    /// Serves one unit, from its first order to [`Order::Leave`] or an
    /// [`Order::Forget`] that concerns it. A panic in it is the unit's, not the process': the
    /// unit begins again from where it stood last.
    fn serve(&self, seat: Seat) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What a unit is asked to do. An order of an epoch that it is not at changes nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Order {
    /// Own it from now on at this epoch, and begin anew: nobody was heard meanwhile.
    Start {
        /// The epoch.
        epoch: Epoch,
    },
    /// Another slave owns it at this epoch. Connect, keep what comes, hand nothing out, and say
    /// [`Seat::prepared`].
    Prepare {
        /// Of the present owner.
        epoch: Epoch,
        /// Where that one stands.
        ticket: Box<Ticket>,
    },
    /// Own it from now on at this epoch: go on where the owner before stopped.
    GoLive {
        /// The epoch.
        epoch: Epoch,
        /// `Seal`: the ticket says what was handed out. `Death`: the task of this unit
        /// panicked here, and the ticket is where it stood last.
        after: ResumeAfter,
        /// What it goes on from.
        ticket: Box<Ticket>,
    },
    /// Hand nothing more out; say [`Seat::sealed`] at once, and [`Seat::settled`] when what
    /// runs has finished, or `drain` is over. Asked again: say both again.
    Seal {
        /// Its own.
        epoch: Epoch,
        /// How long what runs may still run.
        drain: Duration,
    },
    /// The owner before settled what was running at its seal.
    Settled {
        /// It did not finish these: hand them out, marked.
        unfinished: SequenceRanges,
        /// The events themselves.
        events: Vec<CarriedEvent>,
    },
    /// The once-per-bot work writes.
    Letter(Bytes),
    /// A slave owns it at this epoch: let go of everything, unless that is us.
    Forget {
        /// Of the owner.
        epoch: Epoch,
    },
    /// The process ends: stop at once, say nothing.
    Leave,
}
