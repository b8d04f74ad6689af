//! While IDENTIFYs fail (`refusals.rs`) one shard tries for all. Whose turn
//! it is is found out when something changed that makes it another's: thousands may
//! wait, and each of them asks.

use baton_protocol::ShardId;

use crate::{Core, event::Time, master_stage::MasterStage, permits::Asker, timers::Timer};

impl Core {
    /// A shard has to ask again, or its owner is no more.
    pub(crate) fn permit_came_to_nothing(&mut self, id: ShardId) {
        let over = self.identify_is_over(id, false);
        let Some(times) = self.permits.refusals.came_to_nothing(id, self.out.now) else {
            if let Some(bucket) = over {
                self.permits_due(bucket);
            }
            return;
        };
        // Waiting shards are as far as they can be: deploys need not wait for them.
        self.out.touch_all(self.fleet.slots.len());
        self.probe_due();
        if times < 2 || !times.is_power_of_two() {
            return;
        }
        let pause = self.permits.refusals.pause(self.out.now, self.pauses());
        self.out.alarm(format!(
            "{times} times in a row an IDENTIFY failed, shard {id}'s last: no shard tries \
             for {:?}, then one for all. If Discord is well again: baton-master identify",
            pause.unwrap_or_default()
        ));
    }

    /// The one that tried the fewest times tries next.
    pub(crate) fn probe_due(&mut self) {
        if self.stage == MasterStage::Left {
            return;
        }
        #[cfg(test)]
        {
            self.permits.looked_at += self.permits.waiting.len() as u64;
        }
        let askers = self.permits.waiting.iter().map(|(&key, &unit)| {
            let asker = (key.0, key.1, unit.0, unit.1);
            (self.may_try(asker), asker)
        });
        let next = askers
            .filter_map(|(turn, asker)| Some((turn?, asker)))
            .min();
        match next {
            Some(((opens, _), asker)) if opens <= self.out.now => self.permit(asker),
            Some(((opens, _), _)) => self.out.start(Timer::Probe, opens.since(self.out.now)),
            None => self.out.stop(Timer::Probe),
        }
    }

    /// One more waits while one shard tries for all: it may be due before those who
    /// wait already. Nobody else is looked at: there may be thousands.
    pub(crate) fn may_try_for_all(&mut self, asker: Asker) {
        #[cfg(test)]
        {
            self.permits.looked_at += 1;
        }
        let Some((opens, _)) = self.may_try(asker) else {
            return;
        };
        if self.out.at(Timer::Probe).is_none_or(|at| opens < at) {
            self.out.start(Timer::Probe, opens.since(self.out.now));
        }
    }

    /// When this one may try while IDENTIFYs come to nothing, and how often it did.
    fn may_try(&self, asker: Asker) -> Option<(Time, u32)> {
        if !self.may_be_told(asker) {
            return None;
        }
        let (bucket, id, ..) = asker;
        let opens = self.permits.refusals.opens(id, self.out.now, self.pauses());
        let window = self.settings.identify_window;
        let opens = opens
            .max(self.permits.opens(bucket, self.out.now, window))
            .max(self.out.now);
        Some((opens, self.permits.refusals.tries(id, self.out.now)))
    }
}
