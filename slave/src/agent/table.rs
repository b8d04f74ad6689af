//! The table of shards: who is asked to do what, and where each of them stands.
//!
//! The agent's task owns it. Nothing here knows how orders arrive: a second kind
//! of agent (another wire) can use it as it is.

mod again;
mod orders;
mod panics;
mod task;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket,
    message::{CopyState, Holding, IdentifyCause, ResumeAfter, Seal, Settled, Step, Trying},
    state::StateFrame,
};
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    orders::{Orders, Room},
    panics::Panics,
};
use crate::{
    shard::{Care, Context, FromShard, Order, Said, Shard, Turn},
    state::StateChannel,
    telemetry::{Oldest, Samples, Standing},
};

pub(crate) struct Table {
    context: Arc<Context>,
    entries: BTreeMap<ShardId, Entry>,
    /// Tasks that were ordered to end: the next one of a shard waits for the last.
    ending: BTreeMap<ShardId, JoinHandle<()>>,
    instances: u64,
    said: mpsc::UnboundedReceiver<FromShard>,
    say: mpsc::UnboundedSender<FromShard>,
    /// Shards whose checkpoint the master does not have.
    changed: BTreeSet<ShardId>,
    /// One that did not take its orders.
    overrun: Option<ShardId>,
}

/// What the agent knows of one shard. Orders change it when they are given,
/// what the shard says when it is heard.
pub(crate) struct Entry {
    instance: u64,
    orders: Orders,
    task: JoinHandle<()>,
    standing: Standing,
    /// Tickets heard of it.
    tickets: u64,
    samples: Samples,
    panics: Panics,
    pub(crate) epoch: Epoch,
    /// `None`: nothing but an imported copy.
    pub(crate) holding: Option<Holding>,
    /// Whether nothing came since the order to resume.
    untouched: bool,
    /// What the last report said of both.
    reported: (Option<Holding>, bool),
    /// Where it stood last; exact once it is sealed.
    pub(crate) ticket: Ticket,
    /// The highest sequence that it received.
    pub(crate) received: Sequence,
    /// Its oldest unfinished event, where that is worth a look.
    pub(crate) oldest: Option<Arc<Oldest>>,
    /// Whether the master has the session on this connection.
    session_told: bool,
    /// Whether it serves and has no connection: which the report does not say.
    pub(crate) away: bool,
    /// What waits for a permit.
    pub(crate) waiting: Option<IdentifyCause>,
    pub(crate) settled: Option<Settled>,
    /// How it is to be gone on with after a panic.
    care: Care,
    /// What is to end with its connection: the order, and room to take it back.
    late: Option<(Seal, Room)>,
    /// Whether its task panicked when it was sealed: what it said is known here alone.
    stood_in: bool,
}

impl Table {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a shard never waits for its agent"
        )]
        let (say, said) = mpsc::unbounded_channel();
        Self {
            context,
            entries: BTreeMap::new(),
            ending: BTreeMap::new(),
            instances: 0,
            said,
            say,
            changed: BTreeSet::new(),
            overrun: None,
        }
    }

    /// The next thing that a shard says. Survives being cancelled.
    pub(crate) async fn said(&mut self) -> FromShard {
        loop {
            // Never closed: the table has a sender itself.
            if let Some(said) = self.said.recv().await
                && let Some(said) = self.heard(said)
            {
                return said;
            }
        }
    }

    /// The same, without waiting.
    pub(crate) fn said_already(&mut self) -> Option<FromShard> {
        while let Ok(said) = self.said.try_recv() {
            if let Some(said) = self.heard(said) {
                return Some(said);
            }
        }
        None
    }

    /// Notes what a shard said; `None` if its task is not the current one.
    fn heard(&mut self, said: FromShard) -> Option<FromShard> {
        let entry = self
            .entries
            .get_mut(&said.shard)
            .filter(|entry| entry.instance == said.instance)?;
        entry.tickets += u64::from(matches!(said.said, Said::Session(_) | Said::Sealed(_)));
        // Said before it heard of its newest order.
        let current = said.epoch == entry.epoch;
        match &said.said {
            Said::Progress { step, .. } if current => match step {
                Step::SessionLost => {
                    entry.holding = Some(Holding::Starting);
                    // No slave can go on with it: it is not reported any more.
                    entry.ticket = Ticket {
                        shard: said.shard,
                        ..Ticket::default()
                    };
                    entry.received = Sequence(0);
                    entry.oldest = None;
                    entry.care = Care::default();
                }
                Step::Replaying => entry.untouched = false,
                Step::Reconnecting => entry.away = true,
                Step::Dialling | Step::Hello | Step::Waiting | Step::Serving => {}
            },
            Said::Identify(cause) if current => entry.waiting = Some(*cause),
            Said::Session(ticket) if current => {
                debug_assert_eq!(ticket.shard, said.shard, "a ticket of its own");
                if entry.ticket.session_id != ticket.session_id {
                    entry.received = Sequence(0);
                    entry.oldest = None;
                    entry.care = Care::default();
                }
                entry.ticket = (**ticket).clone();
                entry.session_told = false;
                self.changed.insert(said.shard);
            }
            Said::Serving { .. } if current => {
                debug_assert_ne!(entry.holding, Some(Holding::Sealed), "it was given away");
                entry.holding = Some(Holding::Serving);
                entry.away = false;
                entry.waiting = None;
                // What is replayed is over.
                entry.care.alone = false;
            }
            Said::Sealed(ticket) if current => {
                entry.late = None;
                entry.ticket = (**ticket).clone();
                entry.holding = Some(Holding::Sealed);
                self.changed.remove(&said.shard);
            }
            Said::Settled { unfinished, events } if current => {
                debug_assert_eq!(
                    entry.holding,
                    Some(Holding::Sealed),
                    "its ticket came first"
                );
                entry.settled = Some(Settled {
                    shard: said.shard,
                    epoch: said.epoch,
                    unfinished: unfinished.clone(),
                    events: events.clone(),
                });
            }
            Said::Failed { .. } if current => entry.holding = Some(Holding::Failed),
            Said::CopyOvertaken if current => entry.late = None,
            Said::SealsLate | Said::Trying(_) | Said::SetAside(_) if current => {}
            Said::StateAck { .. }
            | Said::StateReady { .. }
            | Said::Dialled { .. }
            | Said::Overtaken { .. }
            | Said::StateBroken { .. } => {}
            Said::Died(_) => return self.begins_again(said),
            Said::Progress { .. }
            | Said::Identify(_)
            | Said::Session(_)
            | Said::Serving { .. }
            | Said::Sealed(_)
            | Said::SealsLate
            | Said::CopyOvertaken
            | Said::Trying(_)
            | Said::SetAside(_)
            | Said::Settled { .. }
            | Said::Failed { .. } => return None,
        }
        Some(said)
    }

    /// One that did not take its orders since the last call: whatever was ordered on this
    /// link counts for nothing.
    pub(crate) const fn overrun(&mut self) -> Option<ShardId> {
        self.overrun.take()
    }

    /// Gives an order; `false`: there is no room for it.
    fn give(&mut self, shard: ShardId, order: Order) -> bool {
        let given = self.entry(shard).orders.give(order);
        if !given {
            self.overrun.get_or_insert(shard);
        }
        given
    }

    /// Gives an order to a shard of which there is something here.
    fn give_if_here(&mut self, shard: ShardId, order: Order) {
        if self.entries.contains_key(&shard) {
            self.give(shard, order);
        }
    }

    /// Start these shards without a session.
    pub(crate) fn start(&mut self, shard: ShardId, epoch: Epoch) {
        if epoch > self.entry(shard).epoch && self.give(shard, Order::Turn(Turn::Start { epoch })) {
            let known = self.entry(shard);
            known.owned(epoch, Holding::Starting, Care::default());
            known.ticket = Ticket {
                shard,
                ..Ticket::default()
            };
        }
    }

    /// Go on with a ticket.
    ///
    /// # Errors
    /// The ticket cannot be of a shard, and says why.
    pub(crate) fn resume(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        after: ResumeAfter,
        ticket: Ticket,
        care: Care,
    ) -> Result<(), String> {
        // Each of them is held. What is finished costs no more for being much.
        if ticket.in_doubt.count() > Ticket::MAX_IN_DOUBT {
            return Err("the ticket names too many events in doubt".to_owned());
        }
        if epoch > self.entry(shard).epoch || cfg!(mutant = "old-epoch-obeyed") {
            let order = Order::Turn(Turn::Resume {
                epoch,
                after,
                ticket: Box::new(ticket.clone()),
                care: care.clone(),
            });
            if self.give(shard, order) {
                let known = self.entry(shard);
                known.owned(epoch, Holding::Resuming, care);
                known.ticket = ticket;
            }
        }
        Ok(())
    }

    /// What is here of the shard's state is not to be used when it is resumed at
    /// `epoch`.
    pub(crate) fn give_up_state(&mut self, shard: ShardId, epoch: Epoch) {
        if epoch > self.entry(shard).epoch {
            self.give(shard, Order::GiveUpState);
        }
    }

    /// Seal; a repeated order gets the same answer.
    /// `begins`: where the next owner would begin, if it may answer that a heartbeat
    /// named more.
    pub(crate) fn seal(&mut self, seal: Seal) {
        if !self.says_again(seal.shard, seal.epoch) {
            let turn = Turn::Seal {
                epoch: seal.epoch,
                drain: seal.drain,
                begins: seal.begins,
            };
            self.give_if_here(seal.shard, Order::Turn(turn));
        }
    }

    /// Seal when the connection ends, as long as the one who orders it is in reach.
    pub(crate) fn seal_late(&mut self, seal: Seal) {
        let shard = seal.shard;
        if self.says_again(shard, seal.epoch) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&shard) else {
            return;
        };
        // Never without room for the word that it is void.
        match entry.orders.reserve() {
            Some(room) if entry.orders.give(late_seal(&seal)) => entry.late = Some((seal, room)),
            Some(_) | None => {
                self.overrun.get_or_insert(shard);
            }
        }
    }

    /// The link is over: who was to seal late serves on, and reconnects.
    pub(crate) fn link_lost(&mut self) {
        for entry in self.entries.values_mut() {
            if let Some((_, room)) = entry.late.take()
                && !cfg!(mutant = "late-seal-without-master")
            {
                room.send(Order::ServeOn);
            }
        }
    }

    pub(crate) fn copy(&mut self, copy: CopyState, channel: StateChannel) {
        let order = Order::Copy {
            epoch: copy.epoch,
            reader: copy.reader,
            channel,
        };
        self.give_if_here(copy.shard, order);
    }

    pub(crate) fn state_in(&mut self, frame: StateFrame) {
        self.give(frame.header().shard, Order::StateIn(frame));
    }

    /// Have a connection ready for a shard that another slave serves at `epoch`.
    pub(crate) fn dial_ahead(&mut self, shard: ShardId, epoch: Epoch, ticket: Ticket) {
        let ticket = Box::new(ticket);
        self.give(shard, Order::Dial { epoch, ticket });
    }

    /// Resume on that connection, hand nothing out.
    pub(crate) fn overtake(&mut self, shard: ShardId, epoch: Epoch) {
        self.give(shard, Order::Overtake { epoch });
    }

    pub(crate) fn settled(&mut self, settled: Settled) {
        let order = Order::Settled {
            unfinished: settled.unfinished,
            events: settled.events,
        };
        self.give_if_here(settled.shard, order);
    }

    /// It is written down which event is tried.
    pub(crate) fn tried(&mut self, tried: &Trying) {
        let order = Order::Try {
            epoch: tried.epoch,
            sequence: tried.sequence,
        };
        self.give_if_here(tried.shard, order);
    }

    pub(crate) fn permit(&mut self, shard: ShardId, epoch: Epoch) {
        if let Some(entry) = self.entries.get_mut(&shard) {
            entry.waiting = None;
            self.give(shard, Order::Permit { epoch });
        }
    }

    /// Another slave owns the shard at `epoch`: everything held of it goes, unless
    /// it is ours at that epoch.
    pub(crate) fn forget(&mut self, shard: ShardId, epoch: Epoch) {
        let ours = |entry: &Entry| entry.holding.is_some() && entry.epoch >= epoch;
        if self.entries.get(&shard).is_some_and(|entry| !ours(entry)) {
            self.end(shard, Order::Turn(Turn::Forget { epoch }));
        }
    }

    /// Ends every task, without a word.
    pub(crate) async fn leave(&mut self) {
        let all: Vec<ShardId> = self.entries.keys().copied().collect();
        for shard in all {
            self.end(shard, Order::Turn(Turn::Leave));
        }
        for (_, task) in std::mem::take(&mut self.ending) {
            // A task that panicked has ended too.
            let _ = task.await;
        }
    }

    fn end(&mut self, shard: ShardId, order: Order) {
        if let Some(entry) = self.entries.remove(&shard) {
            entry.orders.end(order);
            self.changed.remove(&shard);
            self.ending.insert(shard, entry.task);
            self.ending.retain(|_, task| !task.is_finished());
        }
    }

    fn entry(&mut self, shard: ShardId) -> &mut Entry {
        let Self {
            context,
            entries,
            ending,
            instances,
            say,
            ..
        } = self;
        entries.entry(shard).or_insert_with(|| {
            *instances += 1;
            let (orders, receiver) = Orders::new();
            let standing = context.checkpoints.standing(shard);
            let life = Shard::new(
                shard,
                *instances,
                context.clone(),
                standing.clone(),
                say.clone(),
                receiver,
            );
            let before = ending.remove(&shard);
            Entry {
                instance: *instances,
                orders,
                task: task::spawn(life, before),
                standing,
                tickets: 0,
                samples: Samples::default(),
                panics: Panics::default(),
                epoch: Epoch(0),
                holding: None,
                untouched: false,
                reported: (None, false),
                ticket: Ticket {
                    shard,
                    ..Ticket::default()
                },
                received: Sequence(0),
                oldest: None,
                session_told: false,
                away: false,
                waiting: None,
                settled: None,
                care: Care::default(),
                late: None,
                stood_in: false,
            }
        })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (ShardId, &Entry)> {
        self.entries.iter().map(|(shard, entry)| (*shard, entry))
    }

    pub(crate) fn get(&self, shard: ShardId) -> Option<&Entry> {
        self.entries.get(&shard)
    }

    /// Whether any shard is owned, sealed ones included.
    pub(crate) fn owns_anything(&self) -> bool {
        self.entries.values().any(|entry| entry.holding.is_some())
    }

    pub(crate) fn set_shard_count(&self, count: u32) {
        self.context.shard_count.store(count, Ordering::Relaxed);
    }
}

impl Entry {
    fn owned(&mut self, epoch: Epoch, holding: Holding, care: Care) {
        debug_assert!(
            epoch > self.epoch || cfg!(mutant = "old-epoch-obeyed"),
            "an epoch is used once"
        );
        self.epoch = epoch;
        self.holding = Some(holding);
        self.untouched = holding == Holding::Resuming;
        self.away = false;
        self.waiting = None;
        self.settled = None;
        self.care = care;
        self.late = None;
        self.stood_in = false;
    }

    /// What became of it since the report, which was not reported.
    pub(crate) fn since_report(&self) -> Option<Holding> {
        self.holding.filter(|_| self.holding != self.reported.0)
    }

    /// Whether something came since the report that said that nothing had.
    pub(crate) fn touched_since_report(&self) -> bool {
        self.reported.1 && !self.untouched
    }
}

fn late_seal(late: &Seal) -> Order {
    Order::Turn(Turn::SealLate {
        epoch: late.epoch,
        drain: late.drain,
        begins: late.begins,
    })
}
