//! The table of shards: who is asked to do what, and where each of them stands.
//!
//! The agent's task owns it. Nothing here knows how orders arrive: a second kind
//! of agent (another wire) can use it as it is.

mod again;
mod panics;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket,
    message::{CopyState, Holding, IdentifyCause, LateSeal, ResumeAfter, Settled, Step, Trying},
    state::StateFrame,
};
use tokio::{sync::mpsc, task::JoinHandle};

use self::panics::Panics;
use crate::{
    caught::caught,
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
    /// Shards that were told to seal late on the present link.
    late: BTreeSet<ShardId>,
}

/// What the agent knows of one shard. Orders change it when they are given,
/// what the shard says when it is heard.
pub(crate) struct Entry {
    instance: u64,
    orders: mpsc::UnboundedSender<Order>,
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
            late: BTreeSet::new(),
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
            }
            Said::Sealed(ticket) if current => {
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
            Said::SealsLate | Said::CopyOvertaken | Said::Trying(_) | Said::SetAside(_)
                if current => {}
            Said::StateAck { .. }
            | Said::StateReady { .. }
            | Said::Dialled { .. }
            | Said::Overtaken { .. }
            | Said::StateBroken { .. } => {}
            Said::Died => return self.begins_again(said.shard),
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

    /// Start these shards without a session.
    pub(crate) fn start(&mut self, shard: ShardId, epoch: Epoch) {
        let known = self.entry(shard);
        if epoch > known.epoch {
            known.owned(epoch, Holding::Starting);
            known.ticket = Ticket {
                shard,
                ..Ticket::default()
            };
            known.give(Order::Turn(Turn::Start { epoch }));
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
        let known = self.entry(shard);
        if epoch > known.epoch || cfg!(mutant = "old-epoch-obeyed") {
            known.owned(epoch, Holding::Resuming);
            known.ticket = ticket.clone();
            known.give(Order::Turn(Turn::Resume {
                epoch,
                after,
                ticket: Box::new(ticket),
                care,
            }));
        }
        Ok(())
    }

    /// What is here of the shard's state is not to be used when it is resumed at
    /// `epoch`.
    pub(crate) fn give_up_state(&mut self, shard: ShardId, epoch: Epoch) {
        let known = self.entry(shard);
        if epoch > known.epoch {
            known.give(Order::GiveUpState);
        }
    }

    /// Seal; a repeated order gets the same answer.
    /// `begins`: where the next owner would begin, if it may answer that a heartbeat
    /// named more.
    pub(crate) fn seal(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    ) {
        if let Some(entry) = self.entries.get(&shard) {
            entry.give(Order::Turn(Turn::Seal {
                epoch,
                drain,
                begins,
            }));
        }
    }

    /// Seal when the connection ends, as long as the one who orders it is in reach.
    pub(crate) fn seal_late(&mut self, late: LateSeal) {
        if let Some(entry) = self.entries.get(&late.shard) {
            self.late.insert(late.shard);
            entry.give(Order::Turn(Turn::SealLate {
                epoch: late.epoch,
                drain: Duration::from_millis(late.drain_ms),
                begins: late.begins,
            }));
        }
    }

    /// The link is over: who was to seal late serves on, and reconnects.
    pub(crate) fn link_lost(&mut self) {
        for shard in std::mem::take(&mut self.late) {
            if let Some(entry) = self.entries.get(&shard)
                && !cfg!(mutant = "late-seal-without-master")
            {
                entry.give(Order::ServeOn);
            }
        }
    }

    pub(crate) fn copy(&mut self, copy: CopyState, channel: StateChannel) {
        if let Some(entry) = self.entries.get(&copy.shard) {
            entry.give(Order::Copy {
                epoch: copy.epoch,
                reader: copy.reader,
                channel,
            });
        }
    }

    pub(crate) fn state_in(&mut self, frame: StateFrame) {
        let shard = frame.header().shard;
        self.entry(shard).give(Order::StateIn(frame));
    }

    /// Have a connection ready for a shard that another slave serves at `epoch`.
    pub(crate) fn dial_ahead(&mut self, shard: ShardId, epoch: Epoch, ticket: Ticket) {
        self.entry(shard).give(Order::Dial {
            epoch,
            ticket: Box::new(ticket),
        });
    }

    /// Resume on that connection, hand nothing out.
    pub(crate) fn overtake(&mut self, shard: ShardId, epoch: Epoch) {
        self.entry(shard).give(Order::Overtake { epoch });
    }

    pub(crate) fn settled(&mut self, settled: Settled) {
        if let Some(entry) = self.entries.get(&settled.shard) {
            entry.give(Order::Settled {
                unfinished: settled.unfinished,
                events: settled.events,
            });
        }
    }

    /// It is written down which event is tried.
    pub(crate) fn tried(&self, tried: &Trying) {
        if let Some(entry) = self.entries.get(&tried.shard) {
            entry.give(Order::Try {
                epoch: tried.epoch,
                sequence: tried.sequence,
            });
        }
    }

    pub(crate) fn permit(&mut self, shard: ShardId, epoch: Epoch) {
        if let Some(entry) = self.entries.get_mut(&shard) {
            entry.waiting = None;
            entry.give(Order::Permit { epoch });
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
            entry.give(order);
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
            #[expect(
                clippy::disallowed_methods,
                reason = "one shard never holds up another"
            )]
            let (orders, receiver) = mpsc::unbounded_channel();
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
                task: spawn(life, shard, *instances, say.clone(), before),
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
    fn owned(&mut self, epoch: Epoch, holding: Holding) {
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
    }

    /// What became of it since the report, which was not reported.
    pub(crate) fn since_report(&self) -> Option<Holding> {
        self.holding.filter(|_| self.holding != self.reported.0)
    }

    /// Whether something came since the report that said that nothing had.
    pub(crate) fn touched_since_report(&self) -> bool {
        self.reported.1 && !self.untouched
    }

    fn give(&self, order: Order) {
        // A task ends only after it was taken out of the table.
        let _ = self.orders.send(order);
    }
}

/// A shard's task. If it panics, its end is reported: no task waits for it.
fn spawn(
    life: Shard,
    shard: ShardId,
    instance: u64,
    say: mpsc::UnboundedSender<FromShard>,
    before: Option<JoinHandle<()>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        if caught(life.run()).await.is_err() {
            // The receiver is gone: the process is ending.
            let _ = say.send(FromShard {
                shard,
                instance,
                epoch: Epoch(0),
                said: Said::Died,
            });
        }
    })
}
