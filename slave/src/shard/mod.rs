//! One shard at this process: a task of its own, which is asked by messages.
//!
//! | read | for |
//! |---|---|
//! | [`order`] | what it is asked, and what it says |
//! | [`run`] | its life, from one phase to the next |
//! | `pausing`, `sealing` | what it waits for between two connections; how it leaves |
//! | `connection` | one gateway connection, and when nothing is read from it |
//! | `handing` | what happens to one dispatch |
//! | `copying`, `importing`, `snapshots` | its state on its way out and in, and to the disk |
//! | `claiming` | state that stays where it is: claimed, and brought up to each event |
//! | `trying`, `dialling` | events that may kill, and connections that are dialled ahead |
//!
//! What it knows is in parts, each of which alone changes what is its own: [`events`]
//! with the [window](dispatch), [`current`] the session, [`plans`], [`keeping`] and [`staying`] the state, [`snapshot`] and [`recall`],
//! [`trials`], [`ahead`], [`notes`]. They are asked and say what is to be done; they
//! know nothing of each other, of the bot or of the agent.

mod ahead;
pub(crate) mod backoff;
mod claiming;
mod connection;
mod context;
mod copying;
mod current;
mod dialling;
pub(crate) mod dispatch;
mod events;
pub(crate) mod gateway;
mod handing;
mod hands;
mod importing;
mod inbox;
mod inputs;
mod keeping;
mod left;
mod notes;
mod order;
mod outbox;
mod pausing;
mod phase;
mod plans;
mod recall;
mod run;
mod sealing;
pub(crate) mod session;
mod snapshot;
mod snapshots;
mod staying;
mod trials;
mod trying;
mod turn;

use std::sync::Arc;

use baton_protocol::{Epoch, ShardId, Ticket, message::Step};
use tokio::{sync::mpsc, time::Instant};
use tracing::Span;

use self::{
    ahead::Ahead, current::Current, events::Events, inbox::Inbox, keeping::Keeping, notes::Notes,
    outbox::Outbox, plans::Plans, recall::Recall, session::Session, snapshot::Snapshot,
    staying::Staying, trials::Trials, turn::TurnClock,
};
pub(crate) use self::{
    context::{Context, OfClients, OfSink},
    left::Left,
    order::{Care, FromShard, Order, Said, Turn},
};
use crate::{bot::ShardHandle, permits::Permits, telemetry::Standing};

/// One shard. See the module.
pub(crate) struct Shard {
    id: ShardId,
    instance: u64,
    epoch: Epoch,
    /// Names both in whatever is logged here, by the bot too.
    span: Span,
    context: Arc<Context>,

    inbox: Inbox,
    out: mpsc::UnboundedSender<FromShard>,
    handle: ShardHandle,
    outbox: Outbox,
    permits: Permits,

    current: Current,
    events: Events,
    /// Events that may kill the process.
    trials: Trials,
    keeping: Keeping,
    staying: Staying,
    snapshot: Snapshot,
    recall: Recall,
    ahead: Ahead,
    notes: Notes,
    plans: Plans,
    turn: TurnClock,
}

/// So many events Discord surely replays of a ticket's session.
pub(crate) fn replayed_surely(ticket: &Ticket) -> u64 {
    Session::of_ticket(ticket).map_or(u64::MAX, |session| session.reach())
}

/// Of what a shard logs at one epoch. It is there wherever an error is logged.
fn span(shard: ShardId, epoch: Epoch) -> Span {
    tracing::error_span!(parent: None, "shard", %shard, %epoch)
}

impl Shard {
    /// With what a task before this one left, if there was one.
    pub(crate) fn new(
        id: ShardId,
        instance: u64,
        context: Arc<Context>,
        standing: Standing,
        out: mpsc::UnboundedSender<FromShard>,
        Left { orders, unfinished }: Left,
    ) -> Self {
        let (handle, commands) = ShardHandle::new(id);
        Self {
            id,
            instance,
            epoch: Epoch(0),
            span: span(id, Epoch(0)),
            context,
            inbox: Inbox::new(orders),
            out,
            handle,
            outbox: Outbox::new(commands),
            permits: Permits::default(),
            current: Current::default(),
            events: Events::with_left(unfinished),
            trials: Trials::default(),
            keeping: Keeping::default(),
            staying: Staying::default(),
            snapshot: Snapshot::default(),
            recall: Recall::default(),
            ahead: Ahead::default(),
            notes: Notes::new(standing),
            plans: Plans::default(),
            turn: TurnClock::default(),
        }
    }

    /// In the place of one whose task panicked: carries these orders out first.
    pub(crate) fn after_a_panic(
        mut self,
        served: bool,
        not_before: Instant,
        first: Vec<Order>,
    ) -> Self {
        self.plans = Plans::after_a_panic(served, not_before);
        self.inbox.begin_with(first);
        self
    }

    /// Its task panicked.
    pub(crate) fn last_word(mut self) {
        let queued = self.trials.stop();
        let mut unfinished = self.events.into_left();
        unfinished.extend(queued.into_iter().map(|event| (event.sequence(), event)));
        // The receiver is gone: the process is ending.
        let _ = self.out.send(FromShard {
            shard: self.id,
            instance: self.instance,
            epoch: self.epoch,
            said: Said::Died(Box::new(Left {
                orders: self.inbox.into_orders(),
                unfinished,
            })),
        });
    }

    fn say(&self, said: Said) {
        if let Said::Session(_) | Said::Sealed(_) = said {
            self.notes.says_ticket();
        }
        // The receiver is gone: the process is ending.
        let _ = self.out.send(FromShard {
            shard: self.id,
            instance: self.instance,
            epoch: self.epoch,
            said,
        });
    }

    fn progress(&self, step: Step, replayed: u64) {
        self.say(Said::Progress {
            step,
            replayed,
            refused: String::new(),
        });
    }

    /// It does not get on, and why.
    fn refused(&self, refused: String) {
        self.say(Said::Progress {
            step: Step::Dialling,
            replayed: 0,
            refused,
        });
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            luggage: self.handle.luggage().to_string(),
            ..Session::ticket(self.current.session(), self.id, self.events.window())
        }
    }
}
