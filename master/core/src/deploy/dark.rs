//! Whether a new slave gets any events: that its shards serve is only its own word.
//!
//! Before a deploy commits, the events that its shards handled in the soak are compared with
//! those before the deploy. The new slave is dark if less than a twentieth came, of all
//! shards together or none of one busy shard, by the checkpoints and by its own count. A
//! night may be quiet, so a soak in which so little came is lengthened twice before
//! everything goes back. Nothing is concluded if little came before, or if handlers took
//! half a soak before: what they finish then says nothing about now.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{ShardId, SlaveId};

use crate::{Core, event::Time, shard::Shard, timers::Timer};

/// Events of all shards that are to be expected before anything is concluded.
const ENOUGH: u64 = 30;

/// Events of one shard, to conclude something of that one.
const ENOUGH_OF_ONE: u64 = 100;

/// Less than one in so many.
const SHARE: u64 = 20;

/// A dark soak is lengthened so often.
const MOST_LENGTHENED: u32 = 2;

/// What a slave had done at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    at: Time,
    /// Events that its bot was handed.
    handed: u64,
    /// Events of each shard that are finished, counted from anywhere.
    finished: BTreeMap<ShardId, u64>,
}

impl Core {
    /// How many events in 1000 s each shard of a slot gets. Walks over the slot's
    /// shards, once a deploy.
    pub(crate) fn rates(&self, slot: usize) -> BTreeMap<ShardId, u64> {
        let members = self.fleet.slots[slot].members;
        let rate = |id: ShardId| {
            let shard = self.fleet.shards.get(&id)?;
            let rate = shard.events_in_1000_s(self.out.now);
            (shard.slot == slot && rate > 0).then_some((id, rate))
        };
        members.iter().filter_map(rate).collect()
    }

    /// The soak begins: what is done is what its end is compared with.
    pub(crate) fn note_done(&mut self, to: SlaveId) {
        let handed = self
            .fleet
            .slaves
            .get(&to)
            .map_or(0, |new| new.record.handed);
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        let finished = |(&id, _): (&ShardId, &u64)| {
            let shard = self.fleet.shards.get(&id)?;
            Some((id, shard.finished()))
        };
        deploy.done_at_soak = Some(Done {
            at: self.out.now,
            handed,
            finished: deploy.rates.iter().filter_map(finished).collect(),
        });
    }

    /// The soak is over. Lengthens it when nothing came, and takes everything back
    /// when that was done before.
    pub(crate) fn is_dark(&mut self, to: SlaveId) -> bool {
        let Some(why) = self.darkness(to) else {
            return false;
        };
        if cfg!(mutant = "dark-kept") {
            return false;
        }
        let soak = self.deploy.as_mut().and_then(|deploy| {
            deploy.lengthened += 1;
            deploy.asked = false;
            deploy.soak.filter(|_| deploy.lengthened <= MOST_LENGTHENED)
        });
        match soak {
            Some(soak) => self.out.start(Timer::Deploy, soak),
            None => self.fail_deploy(None, why),
        }
        true
    }

    fn darkness(&self, to: SlaveId) -> Option<String> {
        let deploy = self.deploy.as_ref().filter(|deploy| deploy.asked)?;
        let done = deploy.done_at_soak.as_ref()?;
        let span = self.out.now.since(done.at);
        if deploy.from.is_none() || deploy.lag_before.is_some_and(|lag| lag > span / 2) {
            return None;
        }
        let (mut all_due, mut all_came) = (0, 0);
        let mut dark = None;
        for (&id, &rate) in &deploy.rates {
            let due = expected(rate, span);
            let shard = self.fleet.shards.get(&id)?;
            let before = done.finished.get(&id).copied().unwrap_or(0);
            let now = shard.finished();
            // One that is lower counts from another session.
            let came = if now < before { due } else { now - before };
            all_due += due;
            all_came += came;
            if due >= ENOUGH_OF_ONE && came == 0 {
                dark = Some((id, due));
            }
        }
        let handed = self
            .fleet
            .slaves
            .get(&to)
            .map_or(0, |new| new.record.handed);
        let came = all_came.max(handed.saturating_sub(done.handed));
        if all_due >= ENOUGH && came.saturating_mul(SHARE) < all_due {
            return Some(format!(
                "the new slave's shards got {came} events in {span:?}, where some {all_due} came \
                 before the deploy"
            ));
        }
        dark.map(|(id, due)| {
            format!(
                "shard {id} got no event from the new slave in {span:?}, where some {due} came \
                 before the deploy"
            )
        })
    }
}

/// Events that come in `span` at so many in 1000 s.
fn expected(rate: u64, span: Duration) -> u64 {
    let events = u128::from(rate) * span.as_millis() / 1_000_000;
    u64::try_from(events).unwrap_or(u64::MAX)
}

impl Shard {
    /// Events that are finished, counted from anywhere in its session.
    fn finished(&self) -> u64 {
        self.ticket.as_ref().map_or(0, |kept| {
            let handled = kept.ticket.handled.get();
            handled.saturating_add(kept.ticket.finished_above.count())
        })
    }
}
