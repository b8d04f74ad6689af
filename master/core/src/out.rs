//! What one input brings about, until it is carried out: actions, deadlines, and the
//! slots that are to be looked at before the input is through.
//!
//! Every part of the core changes its own state and is handed an [`Out`] for everything
//! else that it wants done. So no part needs the whole [`Core`](crate::Core) to say
//! something, and the order in which things were said is the order in which they are
//! done.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::{
    ShardId, SlaveId, ToSlave,
    message::{Refused, RefusedReason},
};

use crate::{
    event::{Action, Durability, Entry, Input, News, Time},
    fleet::SlotId,
    saves::Saves,
    timers::{Timer, Timers},
};

/// What comes out, and the time by which it does.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    /// The time of the input that is handled.
    pub(crate) now: Time,
    /// What became of earlier saves, and what is still to be saved.
    pub(crate) saves: Saves,
    actions: VecDeque<Action>,
    timers: Timers,
    touched: BTreeSet<SlotId>,
    /// Slots that were looked at, each as often as it was.
    #[cfg(test)]
    pub(crate) looked_at: u64,
}

impl Out {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            now,
            saves: Saves::default(),
            actions: VecDeque::new(),
            timers: Timers::default(),
            touched: BTreeSet::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    // ---- what is to be done --------------------------------------------------

    /// Something to do that has no name of its own below.
    pub(crate) fn order(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn send(&mut self, slave: SlaveId, message: ToSlave) {
        self.order(Action::Send(slave, message));
    }

    pub(crate) fn tell(&mut self, news: News) {
        self.order(Action::Tell(news));
    }

    pub(crate) fn alarm(&mut self, detail: impl Into<String>) {
        self.tell(News::Alarm {
            detail: detail.into(),
        });
    }

    /// A slave that joined is sent away.
    pub(crate) fn refuse(&mut self, slave: SlaveId, reason: RefusedReason, detail: String) {
        self.order(Action::Refuse(slave, Refused { reason, detail }));
    }

    /// Rows for the journal. What it refused before goes first, and then a reservation
    /// among it does not wait.
    pub(crate) fn save(&mut self, entries: Vec<Entry>, durability: Durability) {
        if !entries.is_empty() {
            let (entries, durability) = self.saves.with_unsaved(entries, durability);
            self.order(Action::Save(entries, durability));
        }
    }

    /// A row that nobody waits for. While saves fail it goes with the first that does not.
    pub(crate) fn save_or_keep(&mut self, entry: Entry) {
        if self.saves.fail() {
            self.saves.keep(entry);
        } else {
            self.save(vec![entry], Durability::Soon);
        }
    }

    /// The ticket of a shard changed: it goes to the journal in a while, with others.
    pub(crate) fn ticket_changed(&mut self, shard: ShardId) {
        self.saves.ticket_changed(shard);
    }

    // ---- deadlines -----------------------------------------------------------

    /// Starts a deadline, or starts it again: it is due `span` from now.
    pub(crate) fn start(&mut self, timer: Timer, span: Duration) {
        self.timers.start(self.now, timer, span);
    }

    /// Starts a deadline again with its span, if it runs.
    pub(crate) fn restart(&mut self, timer: Timer) {
        self.timers.restart(self.now, timer);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.timers.stop(timer);
    }

    /// No window of any permit is waited for.
    pub(crate) fn stop_permits(&mut self) {
        self.timers.stop_permits();
    }

    pub(crate) fn runs(&self, timer: Timer) -> bool {
        self.timers.runs(timer)
    }

    /// When a deadline is due, if it runs.
    pub(crate) fn at(&self, timer: Timer) -> Option<Time> {
        self.timers.at(timer)
    }

    /// Nobody had a chance to keep a deadline: each has its whole span again.
    pub(crate) fn restart_all(&mut self) {
        self.timers.restart_all(self.now);
    }

    /// Nothing is waited for any more.
    pub(crate) fn stop_all(&mut self) {
        self.timers = Timers::default();
    }

    /// Takes the first deadline that is due.
    pub(crate) fn pop_due(&mut self) -> Option<Timer> {
        self.timers.pop_due(self.now)
    }

    /// When the first deadline is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    // ---- what is to be looked at ---------------------------------------------

    /// Something changed in this slot.
    pub(crate) fn touch(&mut self, slot: SlotId) {
        self.touched.insert(slot);
    }

    /// Something changed that may concern each of these slots.
    pub(crate) fn touch_all(&mut self, slots: &[SlotId]) {
        self.touched.extend(slots);
    }

    /// The next slot to look at.
    pub(crate) fn pop_touched(&mut self) -> Option<SlotId> {
        let touched = self.touched.pop_first();
        #[cfg(test)]
        {
            self.looked_at += u64::from(touched.is_some());
        }
        touched
    }

    // ---- how it is carried out -----------------------------------------------

    /// An input begins. Whether saves work again that failed.
    pub(crate) fn begin(&mut self, now: Time, input: &Input) -> bool {
        self.now = self.now.max(now);
        self.saves.begin_batch(input)
    }

    /// The next thing to do. A save takes along what later ones are to save, so that
    /// everything that came meanwhile waits for the disk once.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        let mut action = self.actions.pop_front()?;
        if let Action::Save(entries, durability) = &mut action {
            self.take_along(entries, *durability);
        }
        self.saves.remember(&action);
        Some(action)
    }

    /// What was to be done between two saves relies on nothing of the second one, so it
    /// may as well be done after both. Checkpoints stay where they are: nobody waits for
    /// them, and they are many. A save that need not be on the disk does not become one
    /// that must, and takes nothing along that comes behind such a one: of two words on
    /// the same thing the last one counts.
    fn take_along(&mut self, entries: &mut Vec<Entry>, durability: Durability) {
        if durability.is_only_taken(entries) {
            return;
        }
        let mut is_stricter = false;
        self.actions.retain_mut(|later| {
            let Action::Save(more, of) = later else {
                return true;
            };
            is_stricter |= *of > durability && !mutant!("taken-along-soon");
            let stays = of.is_only_taken(more) || is_stricter;
            if !stays {
                entries.append(more);
            }
            stays
        });
    }

    /// The last save failed. What was to follow it, and what it was to save.
    pub(crate) fn take_back(&mut self) -> Vec<Action> {
        let mut lost = self.saves.take_batch();
        lost.extend(std::mem::take(&mut self.actions));
        lost
    }
}

#[cfg(test)]
impl Out {
    /// Every deadline that runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = Timer> {
        self.timers.running()
    }

    /// Every deadline that runs, and the shards whose ticket is not saved: all that
    /// tells two states of the model apart, where the time stands still and nothing is
    /// saved in vain.
    pub(crate) fn identity(&self) -> (impl Iterator<Item = Timer>, &BTreeSet<ShardId>) {
        let Self {
            now: _,
            saves,
            actions,
            timers,
            touched,
            looked_at: _,
        } = self;
        assert!(actions.is_empty() && touched.is_empty());
        (timers.running(), saves.unwritten())
    }
}
