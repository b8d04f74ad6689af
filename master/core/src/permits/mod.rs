//! Who may IDENTIFY when: one shard a bucket a window, in shard order, within the
//! budget of the token. The core calls it permits and knows no more of Discord.
//!
//! A request waits until its turn, over reconnects of its slave and for any time;
//! it is dropped when another owner or epoch came. A permit is valid for five
//! seconds, so it goes to connected slaves only; one that is lost is asked for
//! again and costs a window.
//!
//! Permits that fail hold up the next ones (`refusals.rs`). A part of the
//! budget is a reserve: only an operator's word spends it, so that no loop of any
//! kind leaves nothing to mend the fleet with.

mod refusals;

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    Epoch, ShardId, SlaveId, ToSlave,
    message::{IdentifyCause, IdentifyRequest, Unit},
};

use crate::{
    Core,
    event::{IdentifyBudget, News, RequestId, Time},
    master_stage::MasterStage,
    permits::refusals::{Pauses, Refusals},
    timers::Timer,
};

/// Discord's budget is whole again after a day.
const BUDGET_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// Waiting requests and what is left of the budget.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    buckets: u32,
    /// `(bucket, shard)`: the order in which permits are given.
    waiting: BTreeMap<(u32, ShardId), (SlaveId, Epoch)>,
    /// When the last permit of a bucket was given.
    given: BTreeMap<u32, Time>,
    /// Nothing is given before: what the master before gave is not known.
    not_before: Time,
    budget: Option<Budget>,
    /// What came of those that were given.
    refusals: Refusals,
    /// Until then the reserve may be spent.
    released: Option<Time>,
    /// Whether it was said that nothing is left.
    said_empty: bool,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    total: u32,
    remaining: u32,
    resets: Time,
}

/// What an operator sees of the permits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlook {
    /// How many shards wait for theirs.
    pub(crate) waiting: u32,
    /// Permits that only an operator may have spent.
    pub(crate) reserve: Option<u32>,
    /// Rounds of permits in a row that failed.
    pub(crate) refused: u32,
    /// The time until the next try, while the others wait for it.
    pub(crate) pause: Option<Duration>,
}

impl Permits {
    pub(crate) fn new(max_concurrency: u32) -> Self {
        Self {
            buckets: max_concurrency.max(1),
            waiting: BTreeMap::new(),
            given: BTreeMap::new(),
            not_before: Time(Duration::ZERO),
            budget: None,
            refusals: Refusals::default(),
            released: None,
            said_empty: false,
        }
    }

    /// Whether this shard waits for a permit.
    fn waits(&self, shard: ShardId) -> bool {
        self.waiting.keys().any(|(_, waits)| *waits == shard)
    }

    /// Buckets: so many IDENTIFYs are sent in one window; at least 1.
    pub(crate) const fn at_once(&self) -> u32 {
        self.buckets
    }

    pub(crate) const fn hold_off(&mut self, until: Time) {
        self.not_before = until;
    }

    /// Permits left, of how many, and the time until the reset.
    pub(crate) fn left(&self, now: Time) -> Option<(u32, u32, Duration)> {
        let budget = self.budget?;
        Some((budget.remaining, budget.total, budget.resets.since(now)))
    }

    /// Permits of the budget that are not given unless an operator says so.
    fn reserve(&self, now: Time, percent: u32) -> u32 {
        let released = self.released.is_some_and(|until| now < until);
        match self.budget {
            Some(budget) if !released && !cfg!(mutant = "reserve-spent") => {
                let part = u64::from(budget.total) * u64::from(percent.min(100)) / 100;
                u32::try_from(part).unwrap_or(u32::MAX)
            }
            Some(_) | None => 0,
        }
    }

    /// Whether the budget has nothing that may be given; when it is whole again.
    fn is_empty(&self, now: Time, percent: u32) -> Option<(u32, Time)> {
        let budget = self.budget?;
        let reserve = self.reserve(now, percent);
        (budget.remaining <= reserve).then_some((budget.remaining, budget.resets))
    }

    /// Whether a shard was permitted to IDENTIFY and nothing was heard of it yet.
    pub(crate) fn is_out(&self, id: ShardId, now: Time) -> bool {
        self.refusals.is_out(id, now)
    }

    /// When the next permit of a bucket may be given.
    fn opens(&self, bucket: u32, window: Duration) -> Time {
        self.given
            .get(&bucket)
            .filter(|_| !cfg!(mutant = "permits-without-window"))
            .map_or(self.not_before, |at| at.after(window).max(self.not_before))
    }
}

/// A request whose turn may have come.
type Asker = (u32, ShardId, SlaveId, Epoch);

impl Core {
    pub(crate) fn identify_asked(&mut self, from: SlaveId, request: IdentifyRequest) {
        let id = request.shard;
        let unit = (from, request.epoch);
        let claimant = self.fleet.shards.get(id).and_then(|s| s.phase.claimant());
        if claimant != Some(unit) {
            return;
        }
        self.permit_came_to_nothing(id);
        // A ticket that was there belongs to a session that is over.
        self.needs_session(id);
        if request.cause == IdentifyCause::StateLost && !self.permits.waits(id) {
            self.out.tell(News::StateLost {
                shard: id,
                slave: from,
            });
        }
        self.waits_for_permit(id);
        let bucket = id.get() % self.permits.buckets;
        self.permits.waiting.insert((bucket, id), unit);
        self.permits_due(bucket);
        if let Some(shard) = self.fleet.shards.get(id) {
            // What could not be moved while its permit was out.
            if let Some(deploy) = &mut self.deploy {
                deploy.turn_comes_again(id, shard.slot, from, &mut self.out);
            }
        }
    }

    /// A shard has to ask again, or its owner is no more.
    pub(crate) fn permit_came_to_nothing(&mut self, id: ShardId) {
        let Some(times) = self.permits.refusals.came_to_nothing(id, self.out.now) else {
            return;
        };
        // Waiting shards are as far as they can be: deploys need not wait for them.
        self.touch_all();
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

    /// A shard serves.
    pub(crate) fn identified(&mut self, id: ShardId) {
        if self.permits.refusals.ready(id) {
            self.out.stop(Timer::Probe);
            self.permits_again();
        }
    }

    /// Whether shards that wait for a permit may wait for long.
    pub(crate) fn permits_are_held_up(&self) -> bool {
        let percent = self.settings.identify_reserve;
        self.permits.refusals.are_several()
            || self.permits.is_empty(self.out.now, percent).is_some()
    }

    fn pauses(&self) -> Pauses {
        Pauses {
            first: self.settings.identify_window,
            longest: self.settings.identify_pause,
        }
    }

    pub(crate) fn permits_outlook(&self, now: Time) -> Outlook {
        let percent = self.settings.identify_reserve;
        Outlook {
            waiting: u32::try_from(self.permits.waiting.len()).unwrap_or(u32::MAX),
            reserve: self
                .permits
                .budget
                .map(|_| self.permits.reserve(now, percent)),
            refused: self.permits.refusals.in_row(),
            pause: self.permits.refusals.pause(now, self.pauses()),
        }
    }

    /// The operator's word: the next try is due now, and the reserve may be spent
    /// until the budget is whole again.
    pub(crate) fn identify_now(&mut self, request: RequestId) {
        if self.permits.waiting.is_empty() {
            let reason = "no shard waits to IDENTIFY: baton-master status shows them".to_owned();
            self.out.tell(News::RequestRefused { request, reason });
            return;
        }
        self.permits_may_be_tried();
        self.permits.released = self.permits.budget.map(|budget| budget.resets);
        self.out.stop(Timer::Budget);
        self.permits_again();
    }

    /// Something changed that may help: pauses start from the shortest one.
    pub(crate) fn permits_may_be_tried(&mut self) {
        self.permits.refusals.try_again();
        self.out.stop(Timer::Probe);
        self.permits_again();
    }

    /// Gives the permit of a bucket, if it is time and the budget has one.
    pub(crate) fn permits_due(&mut self, bucket: u32) {
        if self.stage == MasterStage::Left {
            return;
        }
        if self.permits.refusals.is_shut() && !cfg!(mutant = "refusals-unheeded") {
            self.probe_due();
            return;
        }
        let opens = self.permits.opens(bucket, self.settings.identify_window);
        if opens > self.out.now {
            let wait = opens.since(self.out.now);
            self.out.start(Timer::Permits(bucket), wait);
            return;
        }
        match self.next_in(bucket) {
            Next::Now(asker) => self.permit(asker),
            Next::At(at) => {
                let wait = at.since(self.out.now);
                self.out.start(Timer::Permits(bucket), wait);
            }
            Next::Nobody => {}
        }
    }

    /// While IDENTIFYs fail, one shard tries for all: the one that tried
    /// the fewest times.
    pub(crate) fn probe_due(&mut self) {
        if self.stage == MasterStage::Left {
            return;
        }
        let (window, pauses) = (self.settings.identify_window, self.pauses());
        let askers = self.permits.waiting.iter().filter_map(|(&key, &unit)| {
            let asker = (key.0, key.1, unit.0, unit.1);
            self.may_be_told(asker).then_some(asker)
        });
        let next = askers
            .map(|asker| {
                let (bucket, id, ..) = asker;
                let opens = self.permits.refusals.opens(id, self.out.now, pauses);
                let opens = opens
                    .max(self.permits.opens(bucket, window))
                    .max(self.out.now);
                (opens, self.permits.refusals.tries(id, self.out.now), asker)
            })
            .min();
        match next {
            Some((opens, _, asker)) if opens <= self.out.now => self.permit(asker),
            Some((opens, ..)) => self.out.start(Timer::Probe, opens.since(self.out.now)),
            None => {}
        }
    }

    fn permit(&mut self, (bucket, id, owner, epoch): Asker) {
        let percent = self.settings.identify_reserve;
        if let Some((left, resets)) = self.permits.is_empty(self.out.now, percent) {
            self.budget_is_empty(left, resets);
            return;
        }
        if let Some(budget) = &mut self.permits.budget {
            budget.remaining = budget.remaining.saturating_sub(1);
        }
        self.permits.said_empty = false;
        self.permits.waiting.remove(&(bucket, id));
        self.permits.given.insert(bucket, self.out.now);
        self.permits.refusals.given(id, self.out.now);
        self.out
            .send(owner, ToSlave::IdentifyPermit(Unit { shard: id, epoch }));
        self.out
            .start(Timer::Permits(bucket), self.settings.identify_window);
    }

    fn budget_is_empty(&mut self, left: u32, resets: Time) {
        let wait = resets.since(self.out.now);
        self.out.start(Timer::Budget, wait);
        if std::mem::replace(&mut self.permits.said_empty, true) {
            return;
        }
        self.touch_all();
        let more = match left {
            0 => String::new(),
            left => format!(
                ". {left} are left in reserve (limits.identify_reserve): baton-master identify \
                 spends them"
            ),
        };
        self.out.alarm(format!(
            "the identify budget is used up: shards without a session wait {wait:?}{more}"
        ));
    }

    /// Whether a request stands, and a permit reaches it. Not while its shard is to be
    /// sealed: that one identifies elsewhere.
    fn may_be_told(&self, (_, id, owner, epoch): Asker) -> bool {
        let shard = self.fleet.shards.get(id);
        shard.is_some_and(|shard| {
            shard.phase.claimant() == Some((owner, epoch)) && !shard.phase.is_sealing()
        }) && self.fleet.is_joined(owner)
    }

    /// The lowest shard of a bucket that waits and can be reached. Requests of
    /// owners that are no more are dropped on the way.
    fn next_in(&mut self, bucket: u32) -> Next {
        let range = (bucket, ShardId(0))..=(bucket, ShardId(u32::MAX));
        let pauses = self.pauses();
        let mut void = Vec::new();
        let mut next = Next::Nobody;
        for (&(_, id), &(owner, epoch)) in self.permits.waiting.range(range) {
            let claimant = self.fleet.shards.get(id).and_then(|s| s.phase.claimant());
            let asker = (bucket, id, owner, epoch);
            if claimant != Some((owner, epoch)) {
                void.push(id);
            } else if self.may_be_told(asker) {
                let opens = self.permits.refusals.opens(id, self.out.now, pauses);
                if opens <= self.out.now {
                    next = Next::Now(asker);
                    break;
                }
                next = match next {
                    Next::At(at) => Next::At(at.min(opens)),
                    Next::Nobody | Next::Now(_) => Next::At(opens),
                };
            }
        }
        for id in void {
            self.permits.waiting.remove(&(bucket, id));
        }
        next
    }

    /// What the driver learnt of the budget.
    pub(crate) fn budget(&mut self, budget: IdentifyBudget) {
        self.permits.budget = Some(Budget {
            total: budget.total,
            remaining: budget.remaining,
            resets: self.out.now.after(budget.reset_after),
        });
        self.out.stop(Timer::Budget);
        self.set_buckets(budget.max_concurrency.max(1));
        self.permits_again();
    }

    pub(crate) fn budget_reset(&mut self) {
        if let Some(budget) = &mut self.permits.budget {
            budget.remaining = budget.total;
            budget.resets = self.out.now.after(BUDGET_PERIOD);
        }
        self.permits_again();
    }

    fn set_buckets(&mut self, buckets: u32) {
        if buckets == self.permits.buckets {
            return;
        }
        for bucket in 0..self.permits.buckets {
            self.out.stop(Timer::Permits(bucket));
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

    /// Looks at every bucket in which a shard waits: a slave is back.
    pub(crate) fn permits_again(&mut self) {
        let mut buckets: Vec<_> = self.permits.waiting.keys().map(|&(b, _)| b).collect();
        buckets.dedup();
        for bucket in buckets {
            self.permits_due(bucket);
        }
    }
}

/// Whose turn it is in a bucket.
enum Next {
    Now(Asker),
    /// All that wait have tried too often recently.
    At(Time),
    Nobody,
}
