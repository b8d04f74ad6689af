//! A shard whose task panicked starts again.
//!
//! What the task knew is gone with it, as after a death: the shard goes on from where it
//! stood last, and what it had in hand is handed out once more, marked. It stays this
//! process' at the same epoch, master or not. One that panics again and again has growing
//! pauses, in which it can be sealed.
//!
//! What others rely on outlives the task. What it was ordered is known here: which events
//! are deadly, and that it is to be sealed with its connection. What it had not finished
//! it leaves behind (see `shard/left`): some of that no replay brings again.

use baton_protocol::{
    Epoch, Sequence,
    message::{Holding, ResumeAfter, Settled, Step},
};
use tokio::time::Instant;

use super::{Entry, late_seal};
use crate::{
    agent::table::task::Tasks,
    config::Timings,
    shard::{Care, FromShard, Left, Order, Said, Turn, replayed_surely},
    unit::Begins,
};

impl Entry {
    /// Its task panicked, and left this. Gives what is to be said of it.
    pub(in crate::agent::table) fn begins_again(
        &mut self,
        left: Left,
        tasks: &mut Tasks,
        timings: &Timings,
    ) -> Option<FromShard> {
        let pause = self.panics.pause(timings);
        tracing::error!(
            shard = %self.shard, epoch = %self.epoch, holding = ?self.holding, ?pause,
            "the task of this shard panicked; it starts again from its last checkpoint"
        );
        let served = self.is(Holding::Serving);
        let (orders, said) = self.goes_on(&left);
        let not_before = Instant::now() + pause;
        let begins = Begins {
            served,
            not_before,
            orders,
        };
        self.task = tasks.begin(self.shard, left, Some(begins), None);
        said.map(|said| self.task.word(self.shard, self.epoch, said))
    }

    /// Says again what was said when it was sealed at `epoch`, if its task knows nothing of
    /// that any more. `false`: it is asked itself.
    pub(in crate::agent::table) fn says_again(&self, epoch: Epoch) -> bool {
        if !self.stood_in || self.epoch != epoch {
            return false;
        }
        let sealed = Said::Sealed(Box::new(self.ticket.clone()));
        let settled = self.settled.iter().map(|settled| Said::Settled {
            unfinished: settled.unfinished.clone(),
            events: settled.events.clone(),
        });
        for said in std::iter::once(sealed).chain(settled) {
            self.task.say_for(self.shard, epoch, said);
        }
        true
    }

    /// What the new task begins with, and what is to be said of it.
    fn goes_on(&mut self, left: &Left) -> (Vec<Order>, Option<Said>) {
        let epoch = self.epoch;
        match self.holding {
            Some(Holding::Serving | Holding::Resuming | Holding::Starting) => {
                self.untouched = false;
                self.waiting = None;
                let starts = !self.ticket.has_session() || self.holding == Some(Holding::Starting);
                let turn = if starts {
                    self.holding = Some(Holding::Starting);
                    Turn::Start { epoch }
                } else {
                    self.holding = Some(Holding::Resuming);
                    self.resumes_at(epoch)
                };
                // Its connection has ended with its task.
                let late = self.late.as_ref().filter(|_| !mutant!("late-forgotten"));
                let late = late.map(|(late, _)| late_seal(late));
                let orders = std::iter::once(Order::Turn(turn)).chain(late).collect();
                let step = Step::Reconnecting;
                let said = Said::Progress {
                    step,
                    replayed: 0,
                    refused: String::new(),
                };
                (orders, Some(said))
            }
            // The ticket is given. What became of the running events will not be heard any more.
            Some(Holding::Sealed) => {
                self.stood_in = true;
                let settled = self.settled.is_none().then(|| {
                    let unfinished = self.ticket.in_doubt.clone();
                    let events = left.carried(&unfinished);
                    self.settled = Some(Settled {
                        shard: self.shard,
                        epoch,
                        unfinished: unfinished.clone(),
                        events: events.clone(),
                    });
                    Said::Settled { unfinished, events }
                });
                (Vec::new(), settled)
            }
            Some(Holding::Failed) => (Vec::new(), None),
            // A copy of its state, or a connection: both are gone, and not missed before
            // they are asked for.
            None => {
                self.epoch = Epoch(0);
                (Vec::new(), None)
            }
        }
    }

    /// From where it stood last. What Discord may not replay any more was left behind.
    fn resumes_at(&self, epoch: Epoch) -> Turn {
        let mut ticket = self.ticket.clone();
        // The slave that had it may have said by now what became of it.
        ticket.in_doubt = Default::default();
        let surely = replayed_surely(&ticket);
        let floor = Sequence(self.received.get().saturating_sub(surely));
        ticket.replay_from = if floor > ticket.handled {
            floor
        } else {
            Sequence(0)
        };
        Turn::Resume {
            epoch,
            after: ResumeAfter::Death,
            ticket: Box::new(ticket),
            care: if mutant!("care-forgotten") {
                Care::default()
            } else {
                self.care.clone()
            },
        }
    }
}
