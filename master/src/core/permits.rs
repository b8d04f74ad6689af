//! Who may IDENTIFY when: one shard a bucket a window, in shard order, within the
//! budget of the token. The core calls it permits and knows no more of Discord.
//!
//! A request waits until its turn, over reconnects of its slave and for any time;
//! it is dropped when another owner or epoch came. A permit is valid for five
//! seconds, so it goes to connected slaves only; one that is lost is asked for
//! again and costs a window.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    Epoch, ShardId, SlaveId, ToSlave,
    message::{IdentifyCause, IdentifyRequest, Unit},
};

use super::{
    Core, Life,
    event::{IdentifyBudget, News, Time},
    timers::Timer,
};

/// Discord's budget is whole again after a day.
const BUDGET_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Waiting requests and what is left of the budget.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    buckets: u32,
    /// `(bucket, shard)`: the order in which permits are given.
    waiting: BTreeMap<(u32, ShardId), (SlaveId, Epoch)>,
    /// When the last permit of a bucket was given.
    given: BTreeMap<u32, Time>,
    /// Nothing is given before: what the master before gave is not known.
    not_before: Time,
    budget: Option<Budget>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    total: u32,
    remaining: u32,
    resets: Time,
}

impl Permits {
    pub(super) const fn new(max_concurrency: u32) -> Self {
        Self {
            buckets: if max_concurrency == 0 {
                1
            } else {
                max_concurrency
            },
            waiting: BTreeMap::new(),
            given: BTreeMap::new(),
            not_before: Time(Duration::ZERO),
            budget: None,
        }
    }

    /// Whether this shard waits for a permit.
    fn waits(&self, shard: ShardId) -> bool {
        self.waiting.keys().any(|(_, waits)| *waits == shard)
    }

    /// Buckets: so many IDENTIFYs are sent in one window; at least 1.
    pub(super) const fn at_once(&self) -> u32 {
        self.buckets
    }

    pub(super) const fn hold_off(&mut self, until: Time) {
        self.not_before = until;
    }

    /// Permits left, of how many, and the time until the reset.
    pub(super) fn left(&self, now: Time) -> Option<(u32, u32, Duration)> {
        let budget = self.budget?;
        Some((budget.remaining, budget.total, budget.resets.since(now)))
    }

    /// When the next permit of a bucket may be given.
    fn opens(&self, bucket: u32, window: Duration) -> Time {
        self.given
            .get(&bucket)
            .filter(|_| !cfg!(mutant = "permits-without-window"))
            .map_or(self.not_before, |at| at.after(window).max(self.not_before))
    }
}

impl Core {
    pub(super) fn identify_asked(&mut self, from: SlaveId, request: IdentifyRequest) {
        let id = request.shard;
        let unit = (from, request.epoch);
        let claimant = self.fleet.shards.get(&id).and_then(|s| s.phase.claimant());
        if claimant != Some(unit) {
            return;
        }
        if request.cause != IdentifyCause::Cold
            && let Some(shard) = self.fleet.shards.get_mut(&id)
        {
            // Whatever ticket there was is of a session that is over.
            shard.ticket = None;
            shard.copies.clear();
        }
        if request.cause == IdentifyCause::StateLost && !self.permits.waits(id) {
            self.tell(News::StateLost {
                shard: id,
                slave: from,
            });
        }
        self.waits_for_permit(id);
        let bucket = id.get() % self.permits.buckets;
        self.permits.waiting.insert((bucket, id), unit);
        self.permits_due(bucket);
    }

    /// Gives the permit of a bucket, if it is time and the budget has one.
    pub(super) fn permits_due(&mut self, bucket: u32) {
        if self.stage == Life::Left {
            return;
        }
        let opens = self.permits.opens(bucket, self.settings.identify_window);
        if opens > self.now {
            let wait = opens.since(self.now);
            self.start_timer(Timer::Permits(bucket), wait);
            return;
        }
        let Some((id, owner, epoch)) = self.next_in(bucket) else {
            return;
        };
        match &mut self.permits.budget {
            Some(Budget {
                remaining: 0,
                resets,
                ..
            }) => {
                let wait = resets.since(self.now);
                if !self.timers.runs(Timer::Budget) {
                    self.start_timer(Timer::Budget, wait);
                    self.alarm(format!(
                        "the identify budget is used up: shards without a session wait {wait:?}"
                    ));
                }
                return;
            }
            Some(budget) => budget.remaining -= 1,
            None => {}
        }
        self.permits.waiting.remove(&(bucket, id));
        self.permits.given.insert(bucket, self.now);
        self.send(owner, ToSlave::IdentifyPermit(Unit { shard: id, epoch }));
        if let Some(shard) = self.fleet.shards.get(&id)
            && self.deploy_in(shard.slot).is_some()
            && matches!(shard.phase, super::shard::Phase::Starting { .. })
        {
            // From here it has the usual time to get further.
            let patience = self.settings.no_progress.saturating_mul(2);
            self.start_timer(Timer::Shard(id), patience);
        }
        self.start_timer(Timer::Permits(bucket), self.settings.identify_window);
    }

    /// The lowest shard of a bucket that waits and can be told. Requests of
    /// owners that are no more are dropped on the way.
    fn next_in(&mut self, bucket: u32) -> Option<(ShardId, SlaveId, Epoch)> {
        let range = (bucket, ShardId(0))..=(bucket, ShardId(u32::MAX));
        let mut void = Vec::new();
        let mut next = None;
        for (&(_, id), &(owner, epoch)) in self.permits.waiting.range(range) {
            let claimant = self.fleet.shards.get(&id).and_then(|s| s.phase.claimant());
            if claimant != Some((owner, epoch)) {
                void.push(id);
            } else if self.fleet.is_joined(owner) {
                next = Some((id, owner, epoch));
                break;
            }
        }
        for id in void {
            self.permits.waiting.remove(&(bucket, id));
        }
        next
    }

    /// What the driver learnt of the budget.
    pub(super) fn budget(&mut self, budget: IdentifyBudget) {
        self.permits.budget = Some(Budget {
            total: budget.total,
            remaining: budget.remaining,
            resets: self.now.after(budget.reset_after),
        });
        self.timers.stop(Timer::Budget);
        self.set_buckets(budget.max_concurrency.max(1));
        self.permits_again();
    }

    pub(super) fn budget_reset(&mut self) {
        if let Some(budget) = &mut self.permits.budget {
            budget.remaining = budget.total;
            budget.resets = self.now.after(BUDGET_PERIOD);
        }
        self.permits_again();
    }

    fn set_buckets(&mut self, buckets: u32) {
        if buckets == self.permits.buckets {
            return;
        }
        for bucket in 0..self.permits.buckets {
            self.timers.stop(Timer::Permits(bucket));
        }
        // What was given under the old count fills one window of every bucket.
        let last = self.permits.given.values().max().copied();
        if let Some(last) = last {
            let until = last.after(self.settings.identify_window);
            self.permits.not_before = self.permits.not_before.max(until);
        }
        self.permits.given.clear();
        self.permits.buckets = buckets;
        self.permits.waiting = std::mem::take(&mut self.permits.waiting)
            .into_iter()
            .map(|((_, id), unit)| ((id.get() % buckets, id), unit))
            .collect();
    }

    /// Looks at every bucket in which somebody waits: a slave is back.
    pub(super) fn permits_again(&mut self) {
        let mut buckets: Vec<_> = self.permits.waiting.keys().map(|&(b, _)| b).collect();
        buckets.dedup();
        for bucket in buckets {
            self.permits_due(bucket);
        }
    }
}
