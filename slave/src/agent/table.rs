//! The table of shards: who is asked to do what, and where each of them stands.
//!
//! The agent's task owns it. Nothing here knows how orders arrive: a second kind
//! of agent (another wire) can use it as it is. What is known of one shard is in its
//! [`Entry`], which alone changes it.

mod entry;
mod orders;
mod panics;
mod task;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use baton_protocol::{
    Epoch, ShardId, Ticket,
    message::{CopyState, ResumeAfter, Seal, Settled, Trying},
    state::StateFrame,
};
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) use self::entry::Entry;
use self::{entry::Heard, orders::Orders, task::Tasks};
use crate::{
    shard::{Care, Context, FromShard, Left, Order, Said, Turn},
    state::{StateChannel, Way},
};

pub(crate) struct Table {
    context: Arc<Context>,
    entries: BTreeMap<ShardId, Entry>,
    tasks: Tasks,
    /// Tasks that were ordered to end: the next one of a shard waits for the last.
    ending: BTreeMap<ShardId, JoinHandle<()>>,
    said: mpsc::UnboundedReceiver<FromShard>,
    /// Shards whose checkpoint the master does not have.
    changed: BTreeSet<ShardId>,
    /// One that did not take its orders.
    overrun: Option<ShardId>,
}

impl Table {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let (tasks, said) = Tasks::new(context.clone());
        Self {
            context,
            entries: BTreeMap::new(),
            tasks,
            ending: BTreeMap::new(),
            said,
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

    /// Notes what a shard said; `None` if it counts for nothing.
    fn heard(&mut self, from: FromShard) -> Option<FromShard> {
        match self.entries.get_mut(&from.shard)?.hears(&from) {
            Heard::Told => {}
            Heard::Stands => {
                self.changed.insert(from.shard);
            }
            Heard::StandsStill => {
                self.changed.remove(&from.shard);
            }
            Heard::Stale => return None,
            Heard::Died => return self.begins_again(from),
        }
        Some(from)
    }

    /// The task of a shard panicked.
    fn begins_again(&mut self, died: FromShard) -> Option<FromShard> {
        let Said::Died(left) = died.said else {
            debug_assert!(false, "shard {} lives: {:?}", died.shard, died.said);
            return None;
        };
        // What it noted last counts.
        self.collect();
        self.context.counters.panics.add();
        let timings = &self.context.config.timings;
        let entry = self.entries.get_mut(&died.shard);
        debug_assert!(entry.is_some(), "shard {} said that", died.shard);
        let entry = entry?;
        entry.begins_again(*left, &mut self.tasks, timings)
    }

    /// One that did not take its orders since the last call: whatever was ordered on this
    /// link counts for nothing.
    pub(crate) const fn overrun(&mut self) -> Option<ShardId> {
        self.overrun.take()
    }

    /// Notes whether there was room for an order.
    fn given(&mut self, shard: ShardId, given: bool) {
        if !given {
            self.overrun.get_or_insert(shard);
        }
    }

    fn give(&mut self, shard: ShardId, order: Order) {
        let given = self.entry(shard).give(order);
        self.given(shard, given);
    }

    /// Gives an order to a shard of which there is something here.
    fn give_if_here(&mut self, shard: ShardId, order: Order) {
        if self.entries.contains_key(&shard) {
            self.give(shard, order);
        }
    }

    /// Start these shards without a session.
    pub(crate) fn start(&mut self, shard: ShardId, epoch: Epoch) {
        let given = self.entry(shard).start(epoch);
        self.given(shard, given);
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
        let most = ticket.in_doubt.count().max(ticket.given_back.count());
        if most > Ticket::MAX_IN_DOUBT {
            return Err("the ticket names too many events in doubt, or given back".to_owned());
        }
        let given = self.entry(shard).resume(epoch, after, ticket, care);
        self.given(shard, given);
        Ok(())
    }

    /// What is here of the shard's state is not to be used when it is resumed at
    /// `epoch`.
    pub(crate) fn give_up_state(&mut self, shard: ShardId, epoch: Epoch) {
        if epoch > self.entry(shard).epoch() {
            self.give(shard, Order::GiveUpState);
        }
    }

    /// Seal; a repeated order gets the same answer.
    pub(crate) fn seal(&mut self, seal: Seal) {
        if let Some(entry) = self.entries.get_mut(&seal.shard)
            && !entry.says_again(seal.epoch)
        {
            let given = entry.seal(&seal);
            self.given(seal.shard, given);
        }
    }

    /// Seal when the connection ends, as long as the one who orders it is in reach.
    pub(crate) fn seal_late(&mut self, seal: Seal) {
        let shard = seal.shard;
        if let Some(entry) = self.entries.get_mut(&shard)
            && !entry.says_again(seal.epoch)
        {
            let given = entry.seal_late(seal);
            self.given(shard, given);
        }
    }

    /// The link is over: who was to seal late serves on, and reconnects.
    pub(crate) fn link_lost(&mut self) {
        self.entries.values_mut().for_each(Entry::serve_on);
    }

    pub(crate) fn copy(&mut self, copy: CopyState, channel: StateChannel) {
        let order = Order::Copy {
            epoch: copy.epoch,
            reader: copy.reader,
            way: Way::of(&copy),
            channel,
        };
        self.give_if_here(copy.shard, order);
    }

    /// The reader of a copy has taken a part of it in.
    pub(crate) fn copy_heard(&mut self, shard: ShardId, epoch: Epoch) {
        // Only of what stays something hangs on it.
        if self.context.stays.is_some() {
            self.give_if_here(shard, Order::CopyHeard { epoch });
        }
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

    /// The once-per-bot work writes to a unit. One that is not here has moved.
    pub(crate) fn letter(&mut self, unit: ShardId, body: Bytes) {
        self.give_if_here(unit, Order::Letter(body));
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
            let given = entry.permit(epoch);
            self.given(shard, given);
        }
    }

    /// Another slave owns the shard at `epoch`: everything held of it goes, unless
    /// it is ours at that epoch.
    pub(crate) fn forget(&mut self, shard: ShardId, epoch: Epoch) {
        let ours = |entry: &Entry| entry.is_owned() && entry.epoch() >= epoch;
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
            self.changed.remove(&shard);
            self.ending.insert(shard, entry.end(order));
            self.ending.retain(|_, task| !task.is_finished());
        }
    }

    fn entry(&mut self, shard: ShardId) -> &mut Entry {
        let (tasks, ending) = (&mut self.tasks, &mut self.ending);
        self.entries.entry(shard).or_insert_with(|| {
            let (orders, end) = Orders::new();
            let before = ending.remove(&shard);
            let task = tasks.begin(shard, Left::nothing(end), None, before);
            Entry::new(shard, orders, task)
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
        self.entries.values().any(Entry::is_owned)
    }

    pub(crate) fn set_shard_count(&self, count: u32) {
        self.context.shard_count.store(count, Ordering::Relaxed);
    }
}
