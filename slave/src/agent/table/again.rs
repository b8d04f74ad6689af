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
    Epoch, Sequence, ShardId,
    message::{Holding, ResumeAfter, Settled, Step},
};
use tokio::time::Instant;

use super::{Entry, Table, late_seal, task};
use crate::shard::{Care, FromShard, Left, Order, Said, Shard, Turn, replayed_surely};

impl Table {
    /// The task of a shard panicked.
    pub(super) fn begins_again(&mut self, died: FromShard) -> Option<FromShard> {
        let FromShard {
            shard,
            said: Said::Died(left),
            ..
        } = died
        else {
            return None;
        };
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
        let standing = self.context.checkpoints.standing(shard);
        let served = entry.holding == Some(Holding::Serving);
        let (orders, said) = entry.goes_on(shard, &left);
        let life = Shard::again(
            shard,
            self.instances,
            self.context.clone(),
            standing.clone(),
            self.say.clone(),
            *left,
        );
        let life = life.after_a_panic(served, Instant::now() + pause, orders);
        entry.instance = self.instances;
        entry.task = task::spawn(life, None);
        entry.standing = standing;
        entry.tickets = 0;
        said.map(|said| FromShard {
            shard,
            instance: entry.instance,
            epoch: entry.epoch,
            said,
        })
    }

    /// Says again what a shard said that was sealed here at `epoch`, and whose task knows
    /// nothing of that any more. `false`: it is asked itself.
    pub(super) fn says_again(&self, shard: ShardId, epoch: Epoch) -> bool {
        let Some(entry) = self.entries.get(&shard) else {
            return false;
        };
        if !entry.stood_in || entry.epoch != epoch {
            return false;
        }
        let settled = entry.settled.iter().map(|settled| Said::Settled {
            unfinished: settled.unfinished.clone(),
            events: settled.events.clone(),
        });
        entry.standing.says_ticket();
        for said in std::iter::once(Said::Sealed(Box::new(entry.ticket.clone()))).chain(settled) {
            // The table has the receiver itself.
            let _ = self.say.send(FromShard {
                shard,
                instance: entry.instance,
                epoch,
                said,
            });
        }
        true
    }
}

impl Entry {
    /// What the new task begins with, and what is to be said of it.
    fn goes_on(&mut self, shard: ShardId, left: &Left) -> (Vec<Order>, Option<Said>) {
        let epoch = self.epoch;
        match self.holding {
            Some(Holding::Serving | Holding::Resuming | Holding::Starting) => {
                self.untouched = false;
                self.waiting = None;
                let starts =
                    self.ticket.session_id.is_empty() || self.holding == Some(Holding::Starting);
                let turn = if starts {
                    self.holding = Some(Holding::Starting);
                    Turn::Start { epoch }
                } else {
                    self.holding = Some(Holding::Resuming);
                    self.resume(epoch)
                };
                // Its connection has ended with its task.
                let late = self
                    .late
                    .as_ref()
                    .filter(|_| !cfg!(mutant = "late-forgotten"));
                let late = late.map(|(late, _)| late_seal(late));
                let orders = std::iter::once(Order::Turn(turn)).chain(late).collect();
                let step = Step::Reconnecting;
                (orders, Some(Said::Progress { step, replayed: 0 }))
            }
            // The ticket is given. What became of the running events will not be heard any more.
            Some(Holding::Sealed) => {
                self.stood_in = true;
                let settled = self.settled.is_none().then(|| {
                    let unfinished = self.ticket.in_doubt.clone();
                    let events = left.carried(&unfinished);
                    self.settled = Some(Settled {
                        shard,
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
    fn resume(&self, epoch: Epoch) -> Turn {
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
            care: if cfg!(mutant = "care-forgotten") {
                Care::default()
            } else {
                self.care.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use baton_protocol::{SequenceRanges, Ticket};

    use super::*;
    use crate::{
        Event, ShardHandle, SlaveConfig,
        agent::table::orders::Orders,
        bot::{Ack, Bot},
        shard::Context,
    };

    const SHARD: ShardId = ShardId(0);
    const HELD: Sequence = Sequence(7);

    struct Nothing;

    impl Bot for Nothing {
        fn handle(&self, _: Event, _: Ack, _: &ShardHandle) {}
    }

    fn said(table: &Table, said: Said) {
        let _ = table.say.send(FromShard {
            shard: SHARD,
            instance: table.instances,
            epoch: Epoch(1),
            said,
        });
    }

    fn heard(table: &mut Table) -> Vec<Said> {
        std::iter::from_fn(|| table.said_already())
            .map(|from| from.said)
            .collect()
    }

    /// What is settled: which events, and which payloads.
    fn settled(said: &Said) -> (SequenceRanges, Vec<Sequence>) {
        let Said::Settled { unfinished, events } = said else {
            panic!("{said:?}");
        };
        let payloads = events.iter().map(|event| event.sequence);
        (unfinished.clone(), payloads.collect())
    }

    #[tokio::test]
    async fn a_sealed_shard_whose_task_panics_gives_what_it_is_trusted_with_and_answers_again() {
        let config = SlaveConfig::new("token");
        let context = Context::new(config, Arc::new(Nothing), None, None).expect("certificates");
        let mut table = Table::new(Arc::new(context));
        let ticket = Ticket {
            shard: SHARD,
            session_id: "session".to_owned(),
            handled: Sequence(6),
            in_doubt: [HELD].into_iter().collect(),
            ..Ticket::default()
        };
        let resumed = table.resume(
            SHARD,
            Epoch(1),
            ResumeAfter::Seal,
            ticket.clone(),
            Care::default(),
        );
        assert_eq!(resumed, Ok(()));
        said(&table, Said::Sealed(Box::new(ticket.clone())));
        let kept = Event::for_test(SHARD, HELD, "MESSAGE_CREATE", "{}");
        let newer = Event::for_test(SHARD, Sequence(9), "MESSAGE_CREATE", "{}");
        let unfinished = BTreeMap::from([(HELD, kept), (Sequence(9), newer)]);
        let (_, orders) = Orders::new();
        said(&table, Said::Died(Box::new(Left { orders, unfinished })));
        let first = heard(&mut table);
        assert!(matches!(&first[0], Said::Sealed(given) if **given == ticket));
        assert_eq!(settled(&first[1]), (ticket.in_doubt.clone(), vec![HELD]));
        table.seal(baton_protocol::message::Seal {
            shard: SHARD,
            epoch: Epoch(1),
            ..Default::default()
        });
        let again = heard(&mut table);
        assert!(matches!(&again[0], Said::Sealed(given) if **given == ticket));
        assert_eq!(settled(&again[1]), settled(&first[1]));
        assert_eq!((first.len(), again.len()), (2, 2));
    }
}
