//! What a shard says changes what is known of it.

use baton_protocol::{
    Epoch, Sequence, Ticket,
    message::{Holding, Settled, Step},
};

use tokio::time::Instant;

use super::{Entry, nowhere};
use crate::shard::{Care, FromShard, Said};

/// What is to be done with something that a shard said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::table) enum Heard {
    /// The agent is told.
    Told,
    /// The agent is told, and a checkpoint is due.
    Stands,
    /// The agent is told, and no checkpoint is due any more.
    StandsStill,
    /// It was said by another task, or before its newest order.
    Stale,
    /// The task panicked.
    Died,
}

impl Entry {
    /// Notes what was said.
    pub(in crate::agent::table) fn hears(&mut self, from: &FromShard) -> Heard {
        if !self.task.said(from) {
            return Heard::Stale;
        }
        self.task.heard(&from.said);
        if from.epoch != self.epoch && is_of_its_owner(&from.said) {
            return Heard::Stale;
        }
        match &from.said {
            Said::Died(_) => return Heard::Died,
            Said::StateAck { .. }
            | Said::StateReady { .. }
            | Said::Dialled { .. }
            | Said::Overtaken { .. }
            | Said::Prepares { .. }
            | Said::Letter(_)
            | Said::StateBroken { .. } => {}
            Said::Progress { step, .. } => self.stepped(*step),
            Said::Identify(cause) => self.waiting = Some(*cause),
            Said::Session(ticket) => {
                self.has_session(ticket);
                return Heard::Stands;
            }
            Said::Serving { .. } => self.serves(),
            Said::Sealed(ticket) => {
                self.is_sealed(ticket);
                return Heard::StandsStill;
            }
            Said::Settled { unfinished, events } => self.settles(Settled {
                shard: from.shard,
                epoch: from.epoch,
                unfinished: unfinished.clone(),
                events: events.clone(),
            }),
            Said::Failed { .. } => self.fails(),
            Said::CopyOvertaken => self.late = None,
            Said::SealsLate | Said::Trying(_) | Said::SetAside(_) => {}
        }
        Heard::Told
    }

    fn stepped(&mut self, step: Step) {
        debug_assert!(self.is_owned(), "it is owned: {step:?}");
        match step {
            Step::SessionLost => {
                self.holding = Some(Holding::Starting);
                // No slave can go on with it: it is not reported any more.
                self.ticket = nowhere(self.shard);
                self.of_another_session();
            }
            Step::Replaying => self.untouched = false,
            Step::Reconnecting => self.away = true,
            Step::Dialling | Step::Hello | Step::Waiting | Step::Serving => {}
        }
    }

    fn of_another_session(&mut self) {
        self.received = Sequence(0);
        self.oldest = None;
        self.care = Care::default();
    }

    fn has_session(&mut self, ticket: &Ticket) {
        debug_assert_eq!(ticket.shard, self.shard, "a ticket of its own");
        debug_assert!(self.is_owned(), "a session of nobody's shard");
        if !self.ticket.session.is_same(&ticket.session) {
            self.of_another_session();
        }
        self.ticket = ticket.clone();
        self.session_told = false;
    }

    fn serves(&mut self) {
        debug_assert!(!self.is(Holding::Sealed), "it was given away");
        debug_assert!(self.epoch > Epoch(0), "it is owned");
        self.holding = Some(Holding::Serving);
        self.away = false;
        self.waiting = None;
        // What is replayed is over.
        self.care.alone = false;
    }

    fn is_sealed(&mut self, ticket: &Ticket) {
        debug_assert_eq!(ticket.shard, self.shard, "a ticket of its own");
        debug_assert!(self.is_owned(), "only an owner seals");
        self.late = None;
        self.ticket = ticket.clone();
        if !self.is(Holding::Sealed) {
            self.drains_until = Some(Instant::now() + self.drain);
        }
        self.holding = Some(Holding::Sealed);
    }

    fn fails(&mut self) {
        debug_assert!(
            self.is_owned() && !self.is(Holding::Sealed),
            "only an owner fails: {:?}",
            self.holding
        );
        self.holding = Some(Holding::Failed);
    }

    fn settles(&mut self, settled: Settled) {
        debug_assert!(self.is(Holding::Sealed), "its ticket came first");
        self.settled = Some(settled);
    }
}

/// Whether it counts only at the epoch of the newest order. The rest is of its task, or of
/// another owner's copy.
const fn is_of_its_owner(said: &Said) -> bool {
    match said {
        Said::Died(_)
        | Said::StateAck { .. }
        | Said::StateReady { .. }
        | Said::Dialled { .. }
        | Said::Overtaken { .. }
        | Said::Prepares { .. }
        | Said::StateBroken { .. } => false,
        Said::Progress { .. }
        | Said::Identify(_)
        | Said::Session(_)
        | Said::Letter(_)
        | Said::Serving { .. }
        | Said::Sealed(_)
        | Said::SealsLate
        | Said::CopyOvertaken
        | Said::Trying(_)
        | Said::SetAside(_)
        | Said::Settled { .. }
        | Said::Failed { .. } => true,
    }
}
