//! Who may IDENTIFY when: one shard a bucket a window, in shard order, within the
//! budget of the token. The core calls it permits and knows no more of Discord.
//!
//! A request waits until its turn, for any time; it is dropped when another owner or
//! epoch came. So is one whose slave loses its link: it asks again on the next, and a
//! permit that was given before would be taken for one that came to nothing. One that
//! is lost is asked for again and costs a window.
//!
//! Discord counts a window from the arrival of one IDENTIFY to that of the next, and a
//! permit may be on its way for long: a slave that starts a thousand shards is busy. So
//! a window begins when the slave says that its IDENTIFY is on its way, or its outcome
//! is known; and while there is no outcome, a second window passes.
//!
//! ```text
//! permit ──(busy)──▶ IDENTIFY ──window──▶ the next, if the outcome is known
//!                                └────────────────window────────────────▶ the next
//! ```
//!
//! A Discord that is busy itself counts later than that, and refuses the next one. It
//! has counted when its READY is there: after a refusal windows begin with READY, for a
//! while. Before one they need not: each would be longer by what READY takes.
//!
//! Permits that fail hold up the next ones (`refusals.rs`, `probe.rs`). A part of the
//! budget is a reserve: only an operator's word spends it, so that no loop of any
//! kind leaves nothing to mend the fleet with.

mod probe;
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
    pub(crate) waiting: BTreeMap<(u32, ShardId), (SlaveId, Epoch)>,
    /// The last permit of each bucket.
    given: BTreeMap<u32, Given>,
    /// Nothing is given before: what the master before gave is not known.
    not_before: Time,
    budget: Option<Budget>,
    /// What came of those that were given.
    pub(crate) refusals: Refusals,
    /// Until then the reserve may be spent.
    released: Option<Time>,
    /// Whether it was said that nothing is left.
    said_empty: bool,
    /// Requests that were looked at while one shard tries for all.
    #[cfg(test)]
    pub(crate) looked_at: u64,
}

/// The last permit of a bucket, and how far it came.
#[derive(Clone, Copy, Debug)]
struct Given {
    shard: ShardId,
    at: Time,
    /// When it was heard that the IDENTIFY is on its way.
    sent: Option<Time>,
    /// When READY came, or it came to nothing.
    over: Option<Time>,
    /// Which of the two.
    is_ready: bool,
}

impl Given {
    /// When the next one may be given. `careful`: Discord has counted by READY only.
    fn opens(self, window: Duration, careful: bool) -> Time {
        if cfg!(mutant = "permits-by-their-own-time") {
            return self.at.after(window);
        }
        let sent = self.sent.unwrap_or(self.at);
        match self.over {
            Some(over) if careful => over.after(window),
            Some(_) => sent.after(window),
            None => sent.after(window.saturating_mul(2)),
        }
    }
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
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Whether this shard waits for a permit.
    pub(crate) fn waits(&self, shard: ShardId) -> bool {
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
    pub(crate) fn is_empty(&self, now: Time, percent: u32) -> Option<(u32, Time)> {
        let budget = self.budget?;
        let reserve = self.reserve(now, percent);
        (budget.remaining <= reserve).then_some((budget.remaining, budget.resets))
    }

    /// Whether a shard was permitted to IDENTIFY and nothing was heard of it yet.
    pub(crate) fn is_out(&self, id: ShardId, now: Time) -> bool {
        self.refusals.is_out(id, now)
    }

    /// When the next permit of a bucket may be given.
    pub(crate) fn opens(&self, bucket: u32, now: Time, window: Duration) -> Time {
        let careful = self.refusals.is_recent(now);
        self.given
            .get(&bucket)
            .filter(|_| !cfg!(mutant = "permits-without-window"))
            .map_or(self.not_before, |given| {
                given.opens(window, careful).max(self.not_before)
            })
    }

    /// The last permit of its bucket, if it was this shard's.
    fn last_of(&mut self, shard: ShardId) -> Option<(u32, &mut Given)> {
        let bucket = shard.get() % self.buckets;
        let given = self.given.get_mut(&bucket)?;
        (given.shard == shard).then_some((bucket, given))
    }

    /// A slave lost its link: what it waits for it says again on the next.
    pub(crate) fn asks_anew(&mut self, slave: SlaveId) {
        self.waiting.retain(|_, (asker, _)| *asker != slave);
    }
}

/// A request whose turn may have come.
pub(crate) type Asker = (u32, ShardId, SlaveId, Epoch);

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
        if self.permits.refusals.is_shut() && self.out.runs(Timer::Probe) {
            self.may_try_for_all((bucket, id, unit.0, unit.1));
        } else {
            self.permits_due(bucket);
        }
        if let Some(shard) = self.fleet.shards.get(id) {
            // What could not be moved while its permit was out.
            if let Some(deploy) = &mut self.deploy {
                deploy.turn_comes_again(id, shard.slot, from, &mut self.out);
            }
        }
    }

    /// An IDENTIFY is on its way: a shard says so that has a permit.
    pub(crate) fn identify_sent(&mut self, id: ShardId) {
        let now = self.out.now;
        let Some((bucket, given)) = self.permits.last_of(id) else {
            return;
        };
        match given.over {
            None => {
                given.sent.get_or_insert(now);
            }
            // It had asked once more before it was permitted: that crossed the permit.
            Some(_) if !given.is_ready => (given.sent, given.over) = (Some(now), None),
            // A RESUME of what serves.
            Some(_) => return,
        }
        self.permits_due(bucket);
    }

    /// What became of an IDENTIFY is known, so it arrived before now, if ever. Its
    /// bucket, if that waited for it.
    pub(crate) fn identify_is_over(&mut self, id: ShardId, is_ready: bool) -> Option<u32> {
        let now = self.out.now;
        let (bucket, given) = self.permits.last_of(id)?;
        if given.over.is_some() {
            given.is_ready |= is_ready;
            return None;
        }
        given.sent.get_or_insert(now);
        (given.over, given.is_ready) = (Some(now), is_ready);
        Some(bucket)
    }

    /// A shard serves.
    pub(crate) fn identified(&mut self, id: ShardId) {
        let over = self.identify_is_over(id, true);
        if self.permits.refusals.ready(id) {
            self.out.stop(Timer::Probe);
            self.permits_again();
        } else if let Some(bucket) = over {
            self.permits_due(bucket);
        }
    }

    /// Whether shards that wait for a permit may wait for long.
    pub(crate) fn permits_are_held_up(&self) -> bool {
        let percent = self.settings.identify_reserve;
        self.permits.refusals.are_several()
            || self.permits.is_empty(self.out.now, percent).is_some()
    }

    pub(crate) fn pauses(&self) -> Pauses {
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
            // Who is next is known already, if its time runs.
            if !self.out.runs(Timer::Probe) {
                self.probe_due();
            }
            return;
        }
        let opens = self
            .permits
            .opens(bucket, self.out.now, self.settings.identify_window);
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

    pub(crate) fn permit(&mut self, (bucket, id, owner, epoch): Asker) {
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
        let given = Given {
            shard: id,
            at: self.out.now,
            sent: None,
            over: None,
            is_ready: false,
        };
        self.permits.given.insert(bucket, given);
        self.permits.refusals.given(id, self.out.now);
        self.out
            .send(owner, ToSlave::IdentifyPermit(Unit { shard: id, epoch }));
        let opens = self
            .permits
            .opens(bucket, self.out.now, self.settings.identify_window);
        self.out
            .start(Timer::Permits(bucket), opens.since(self.out.now));
    }

    fn budget_is_empty(&mut self, left: u32, resets: Time) {
        let wait = resets.since(self.out.now);
        self.out.start(Timer::Budget, wait);
        if std::mem::replace(&mut self.permits.said_empty, true) {
            return;
        }
        self.out.touch_all(self.fleet.slots.len());
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
    pub(crate) fn may_be_told(&self, (_, id, owner, epoch): Asker) -> bool {
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
        let window = self.settings.identify_window;
        let given = self.permits.given.values();
        let opens = given.map(|given| given.opens(window, true));
        if let Some(until) = opens.max() {
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
        if self.permits.refusals.is_shut() && !cfg!(mutant = "refusals-unheeded") {
            self.probe_due();
            return;
        }
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
