//! A shard whose task panicked starts again.
//!
//! Everything the task knew is gone with it, as after a death: the shard goes on from
//! where it stood last, and what it had in hand is handed out once more, marked. It
//! stays this process' at the same epoch, master or not. One that panics again and
//! again has growing pauses, in which it can be sealed.

use baton_protocol::{
    Epoch, SequenceRanges, ShardId,
    message::{Holding, ResumeAfter, Settled},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Entry, Table, spawn};
use crate::shard::{Care, FromShard, Order, Said, Shard, Turn};

impl Table {
    /// The task of a shard panicked.
    pub(super) fn begins_again(&mut self, shard: ShardId) -> Option<FromShard> {
        // What it noted last counts.
        self.collect();
        self.instances += 1;
        let entry = self.entries.get_mut(&shard)?;
        let pause = entry.panics.pause(&self.context.config.timings);
        self.context.counters.panics.add();
        tracing::error!(
            %shard, epoch = %entry.epoch, holding = ?entry.holding, ?pause,
            "the task of this shard panicked; it starts again from its last checkpoint"
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "one shard never holds up another"
        )]
        let (orders, receiver) = mpsc::unbounded_channel();
        let standing = self.context.checkpoints.standing(shard);
        let served = entry.holding == Some(Holding::Serving);
        let life = Shard::new(
            shard,
            self.instances,
            self.context.clone(),
            standing.clone(),
            self.say.clone(),
            receiver,
        );
        let life = life.after_a_panic(served, Instant::now() + pause);
        entry.instance = self.instances;
        entry.orders = orders;
        entry.task = spawn(life, shard, self.instances, self.say.clone(), None);
        entry.standing = standing;
        entry.tickets = 0;
        entry.goes_on(shard).map(|said| FromShard {
            shard,
            instance: entry.instance,
            epoch: entry.epoch,
            said,
        })
    }
}

impl Entry {
    /// Has the new task go on, and gives what is to be said of it.
    fn goes_on(&mut self, shard: ShardId) -> Option<Said> {
        let epoch = self.epoch;
        match self.holding {
            Some(Holding::Serving | Holding::Resuming | Holding::Starting) => {
                self.untouched = false;
                self.waiting = None;
                if self.ticket.session_id.is_empty() || self.holding == Some(Holding::Starting) {
                    self.holding = Some(Holding::Starting);
                    self.give(Order::Turn(Turn::Start { epoch }));
                } else {
                    self.holding = Some(Holding::Resuming);
                    let mut ticket = self.ticket.clone();
                    // The slave that had it may have said by now what became of it.
                    ticket.in_doubt = SequenceRanges::new();
                    self.give(Order::Turn(Turn::Resume {
                        epoch,
                        after: ResumeAfter::Death,
                        ticket: Box::new(ticket),
                        care: Care::default(),
                    }));
                }
                Some(Said::Died)
            }
            // The ticket is given. What became of the running events will not be heard any more.
            Some(Holding::Sealed) if self.settled.is_none() => {
                let unfinished = self.ticket.in_doubt.clone();
                self.settled = Some(Settled {
                    shard,
                    epoch,
                    unfinished: unfinished.clone(),
                    events: Vec::new(),
                });
                Some(Said::Settled {
                    unfinished,
                    events: Vec::new(),
                })
            }
            Some(Holding::Sealed | Holding::Failed) => None,
            // A copy of its state, or a connection: both are gone, and not missed before
            // they are asked for.
            None => {
                self.epoch = Epoch(0);
                None
            }
        }
    }
}
