//! Deadlines in an ordered index: setting, stopping and finding the next one
//! costs the same with one shard and with a thousand.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::{ShardId, SlaveId};

use crate::{event::Time, fleet::SlotId, service::Permit};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Reports are collected until then.
    Adopt,
    /// The master leaves, no matter what is in hand.
    Leave,
    /// The step of the deploy of a slot.
    Deploy(SlotId),
    /// The once-per-bot work answers.
    Work,
    /// Checkpoints go to the journal.
    Tickets,
    /// It is noted that this master runs.
    Seen,
    /// A failed save is tried again.
    Saves,
    /// The identify budget is whole again.
    Budget,
    /// An empty slot gets a slave.
    Slot(SlotId),
    /// A slot gets its next standby.
    Standby(SlotId),
    /// A slave that is to end has ended.
    Slave(SlaveId),
    /// Shards may be moved again to a slot whose slave could not take one.
    Moves,
    /// A slave of a running deploy is connected again.
    Away(SlaveId),
    /// A slave of which nothing is heard has sealed itself.
    Lease(SlaveId),
    /// The phase of a shard.
    Shard(ShardId),
    /// What was in doubt at a seal is settled.
    Settle(ShardId),
    /// The next shard tries to IDENTIFY for all.
    Probe,
    /// The next window of permits that have names.
    Named,
    /// The next window of a permit.
    Permit(Permit),
}

/// Every running deadline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, Timer)>,
    running: BTreeMap<Timer, (Time, Duration)>,
}

impl Timers {
    /// Starts `timer`, or starts it again: it is due `span` from `now`.
    pub(crate) fn start(&mut self, now: Time, timer: Timer, span: Duration) {
        let at = now.after(span);
        if let Some((before, _)) = self.running.insert(timer, (at, span)) {
            self.due.remove(&(before, timer));
        }
        self.due.insert((at, timer));
        debug_assert_eq!(self.due.len(), self.running.len());
    }

    /// Starts `timer` again with its span, if it runs.
    pub(crate) fn restart(&mut self, now: Time, timer: Timer) {
        if let Some(&(_, span)) = self.running.get(&timer) {
            self.start(now, timer, span);
        }
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        if let Some((at, _)) = self.running.remove(&timer) {
            self.due.remove(&(at, timer));
        }
        debug_assert_eq!(self.due.len(), self.running.len());
    }

    /// No window of any permit is waited for.
    pub(crate) fn stop_permits(&mut self) {
        let is_permit = |timer: &&Timer| matches!(timer, Timer::Permit(_));
        let running: Vec<_> = self.running.keys().filter(is_permit).copied().collect();
        running.into_iter().for_each(|timer| self.stop(timer));
    }

    pub(crate) fn runs(&self, timer: Timer) -> bool {
        self.running.contains_key(&timer)
    }

    /// When it is due, if it runs.
    pub(super) fn at(&self, timer: Timer) -> Option<Time> {
        self.running.get(&timer).map(|&(at, _)| at)
    }

    /// Everything that runs.
    #[cfg(test)]
    pub(crate) fn running(&self) -> impl Iterator<Item = Timer> {
        self.running.keys().copied()
    }

    /// When the first one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes the first one that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.stop(timer);
        Some(timer)
    }

    /// Starts every deadline again with its whole span: the driver did not run,
    /// so no other deadline could be kept. The service's budget is not ours to
    /// keep.
    pub(crate) fn restart_all(&mut self, now: Time) {
        let running: Vec<_> = self.running.keys().copied().collect();
        for timer in running {
            if timer == Timer::Budget {
                continue;
            }
            self.restart(now, timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_started_again_is_due_once_at_its_later_time() {
        let start = Time::default();
        let mut timers = Timers::default();
        timers.start(start, Timer::Adopt, SECOND);
        timers.start(start.after(SECOND / 2), Timer::Adopt, SECOND);
        assert_eq!(timers.pop_due(start.after(SECOND)), None);
        let later = start.after(2 * SECOND);
        assert_eq!(timers.pop_due(later), Some(Timer::Adopt));
        assert_eq!(timers.pop_due(later), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_stopped_deadline_is_not_due() {
        let mut timers = Timers::default();
        timers.start(Time::default(), Timer::Permit(Permit(3)), SECOND);
        assert!(timers.runs(Timer::Permit(Permit(3))));
        timers.stop(Timer::Permit(Permit(3)));
        assert_eq!(timers.next(), None);
    }
}
