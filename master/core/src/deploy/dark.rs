//! Whether a new slave gets any events: that its shards serve is only its own word.
//!
//! Before a deploy commits, the events that its shards handled in the soak are compared with
//! those that came as a rule before the deploy: a replay or a burst right before it is left
//! out (`shard/rate.rs`). The new slave is dark if less than a twentieth came, of all
//! shards together or none of one busy shard, by the checkpoints and by its own count. A
//! night may be quiet, so a soak in which so little came is lengthened twice before
//! everything goes back. Nothing is concluded if little came before, or if handlers took
//! half a soak before: what they finish then says nothing about now.

use std::time::Duration;

use baton_protocol::{ShardId, SlaveId, text};

use crate::{
    deploy::{Before, Deploy, Done, Soak, Stage},
    event::Time,
    fleet::{Fleet, SlotId},
    shard::Shard,
};

/// Events of all shards that are to be expected before anything is concluded.
const ENOUGH: u64 = 30;

/// Events of one shard, to conclude something of that one.
const ENOUGH_OF_ONE: u64 = 100;

/// Less than one in so many.
const SHARE: u64 = 20;

/// A dark soak is lengthened so often.
const MOST_LENGTHENED: u32 = 2;

impl Before {
    /// How the slave does that fills a slot. Walks over the slot's shards, once a deploy.
    pub(crate) fn of(from: Option<SlaveId>, slot: SlotId, fleet: &Fleet, now: Time) -> Self {
        let slave = from.and_then(|from| fleet.slaves.get(&from));
        let rate = |id: ShardId| {
            let shard = &fleet.shards[id];
            let rate = shard.usual_in_1000_s(now);
            (shard.slot == slot && rate > 0).then_some((id, rate))
        };
        let members = &fleet.slots[slot].members;
        Self {
            backpressure: slave.map_or(0, |slave| slave.backpressure.part.percent),
            lag: slave.and_then(|slave| slave.usual_lag),
            rates: members.iter().filter_map(rate).collect(),
        }
    }

    /// What `slave` has done of what is compared later.
    fn done_by(&self, slave: SlaveId, fleet: &Fleet, now: Time) -> Done {
        let finished = |&id: &ShardId| (id, fleet.shards[id].finished());
        Done {
            at: now,
            handed: handed(slave, fleet),
            finished: self.rates.keys().map(finished).collect(),
        }
    }
}

impl Soak {
    /// The soak of a slave begins: what is done is what its end is compared with.
    pub(crate) fn begins(to: SlaveId, before: &Before, fleet: &Fleet, now: Time) -> Self {
        Self {
            done: before.done_by(to, fleet, now),
            backpressure: None,
            lengthened: 0,
            asked: false,
        }
    }

    /// Nothing came: whether it may go on for once more.
    pub(crate) const fn lengthen(&mut self) -> bool {
        self.lengthened += 1;
        self.asked = false;
        self.lengthened <= MOST_LENGTHENED
    }
}

fn handed(slave: SlaveId, fleet: &Fleet) -> u64 {
    let slave = fleet.slaves.get(&slave);
    slave.map_or(0, |slave| slave.record.handed)
}

impl Deploy {
    /// Whether the new slave gets nothing; why it is thought so. Asked at the end of the
    /// soak.
    pub(crate) fn darkness(&self, fleet: &Fleet, now: Time) -> Option<String> {
        let Stage::Soaking { to, soak } = &self.stage else {
            return None;
        };
        let (to, done) = (*to, &soak.done);
        let span = now.since(done.at);
        if self.from.is_none() || self.before.lag.is_some_and(|lag| lag > span / 2) {
            return None;
        }
        let (mut all_due, mut all_came) = (0, 0);
        let mut dark = None;
        for (&id, &rate) in &self.before.rates {
            let due = expected(rate, span);
            let shard = &fleet.shards[id];
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
        let came = all_came.max(handed(to, fleet).saturating_sub(done.handed));
        if mutant!("dark-kept") {
            return None;
        }
        if all_due >= ENOUGH && came.saturating_mul(SHARE) < all_due {
            return Some(format!(
                "the new slave's shards got {came} events in {span}, where some {all_due} came \
                 before the deploy",
                span = text::span(span)
            ));
        }
        dark.map(|(id, due)| {
            format!(
                "shard {id} got no event from the new slave in {span}, where some {due} came \
                 before the deploy",
                span = text::span(span)
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
