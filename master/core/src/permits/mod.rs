//! Who may IDENTIFY when. The service says which permit a shard needs, and how many are given
//! in a window; shards that need the same permit take turns, in the order of their ids,
//! within the budget of the token.
//!
//! A request waits until its turn, for any time; it is dropped when another owner or
//! epoch came. So is one whose slave loses its link: it asks again on the next, and a
//! permit that was given before would be taken for one that came to nothing. One that
//! is lost is asked for again and costs a window.
//!
//! The service counts a window from the arrival of one IDENTIFY to that of the next, and a
//! permit may be on its way for long: a slave that starts a thousand shards is busy. So
//! a window begins when the slave says that its IDENTIFY is on its way, or its outcome
//! is known; and while there is no outcome, a second window passes.
//!
//! ```text
//! permit ──(busy)──▶ IDENTIFY ──window──▶ the next, if the outcome is known
//!                                └────────────────window────────────────▶ the next
//! ```
//!
//! A service that is busy itself counts later than that, and refuses the next one. It
//! has counted when the session is there: after a refusal windows begin with that, for a
//! while. Before one they need not: each would be longer by what a session takes.
//!
//! Permits that fail hold up the next ones (`refusals.rs`, `probe.rs`), and so do sessions
//! that do not last (`breaker.rs`). A part of the budget is a reserve: only an operator's
//! word spends it, so that no loop of any kind leaves nothing to mend the fleet with.
//!
//! What was given is in the journal before it is sent, with what holds the next ones up: a
//! master that is started again and again spends no day twice, whether the service says what
//! is left or not.

mod breaker;
mod budget;
mod held;
mod named;
mod probe;
mod refusals;
mod window;

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{Epoch, ShardId, SlaveId, ToSlave, message::Unit};

use crate::{
    event::{Identifies, Time},
    fleet::Fleet,
    out::Out,
    service::Permit,
    settings::Settings,
    timers::Timer,
};

pub(crate) use self::{
    breaker::Held,
    named::{NamedPermits, VALID},
};
use self::{
    breaker::{Bounds, Breaker},
    refusals::{Pauses, Refusals},
};

/// Waiting requests and what is left of the budget.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    at_once: u32,
    /// In the order in which permits are given.
    pub(crate) waiting: BTreeMap<(Permit, ShardId), (SlaveId, Epoch)>,
    /// To whom each permit was given last.
    given: BTreeMap<Permit, Given>,
    /// Nothing is given before: what the master before gave is not known.
    not_before: Time,
    budget: Option<Budget>,
    /// What came of those that were given.
    pub(crate) refusals: Refusals,
    /// What became of their sessions.
    pub(crate) breaker: Breaker,
    /// Until then the reserve may be spent.
    released: Option<Time>,
    /// Whether the master has left.
    closed: bool,
    /// Whether it was said that nothing is left.
    said_empty: bool,
    /// Whether it was said that what is left is kept back.
    said_scarce: bool,
    /// Requests that were looked at while one shard tries for all.
    #[cfg(test)]
    pub(crate) looked_at: u64,
}

/// To whom a permit was given last, and how far that came.
#[derive(Clone, Copy, Debug)]
struct Given {
    shard: ShardId,
    at: Time,
    /// When it was heard that the IDENTIFY is on its way.
    sent: Option<Time>,
    /// When the session was there, or it came to nothing.
    over: Option<Time>,
    /// Which of the two.
    is_ready: bool,
}

/// What is left of the budget of a day.
#[derive(Clone, Copy, Debug)]
struct Budget {
    total: u32,
    remaining: u32,
    resets: Time,
}

/// What an operator sees of the permits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    /// How many shards wait for theirs.
    pub(crate) waiting: u32,
    /// Permits that only an operator may have spent.
    pub(crate) reserve: Option<u32>,
    /// Rounds of permits in a row that failed.
    pub(crate) refused: u32,
    /// The time until the next try, while the others wait for it.
    pub(crate) pause: Option<Duration>,
    /// What the breaker holds up.
    pub(crate) held: Option<Held>,
    /// Whether what is left of the day is kept back, because of what it held up before.
    pub(crate) scarce: bool,
}

impl Outlook {
    /// The time until one shard tries for all, or has tried.
    pub(crate) fn next(&self) -> Option<Duration> {
        let held = self.held.as_ref().map(|held| held.next);
        self.pause.max(held)
    }
}

impl Permits {
    /// Of a master that begins: it goes on from what the one before had given.
    pub(crate) fn new(settings: &Settings, known: Option<&Identifies>, now: Time) -> Self {
        let known = known.filter(|_| !mutant!("budget-forgotten"));
        Self {
            at_once: settings.permits_at_once.max(1),
            waiting: BTreeMap::new(),
            given: BTreeMap::new(),
            not_before: Time(Duration::ZERO),
            budget: Budget::recovered(settings, known, now),
            refusals: known.map_or_else(Refusals::default, |known| {
                Refusals::recovered(known.refused, now)
            }),
            breaker: known.map_or_else(Breaker::default, |known| Breaker::recovered(known, now)),
            released: None,
            closed: false,
            said_empty: false,
            said_scarce: false,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Whether this shard waits for a permit.
    pub(crate) fn waits(&self, shard: ShardId) -> bool {
        self.waiting.keys().any(|(_, waits)| *waits == shard)
    }

    /// So many IDENTIFYs are sent in one window; at least 1.
    pub(crate) const fn at_once(&self) -> u32 {
        self.at_once
    }

    pub(crate) const fn hold_off(&mut self, until: Time) {
        self.not_before = until;
    }

    /// Whether a shard was permitted to IDENTIFY and nothing was heard of it yet.
    pub(crate) fn is_out(&self, id: ShardId, now: Time) -> bool {
        self.refusals.is_out(id, now)
    }

    /// A slave lost its link: what it waits for it says again on the next.
    pub(crate) fn asks_anew(&mut self, slave: SlaveId) {
        self.waiting.retain(|_, (asker, _)| *asker != slave);
    }
}

/// A request whose turn may have come.
pub(crate) type Asker = (Permit, ShardId, SlaveId, Epoch);

impl Permits {
    /// A shard serves.
    pub(crate) fn ready(&mut self, id: ShardId, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        let over = self.is_over(id, true, settings, out.now);
        let opened = self.refusals.ready(id);
        let on_trial = self.breaker.ready(id, out.now, pauses(settings));
        if opened || on_trial {
            out.stop(Timer::Probe);
            self.write_down(out);
            self.again(fleet, settings, out);
        } else if let Some(permit) = over {
            self.due(permit, fleet, settings, out);
        }
    }

    /// Whether shards that wait for a permit may wait for long.
    pub(crate) fn are_held_up(&self, settings: &Settings, now: Time) -> bool {
        let percent = settings.identify_reserve;
        self.refusals.are_several()
            || self.breaker.is_open()
            || self.is_scarce(settings, now)
            || self.is_empty(now, percent).is_some()
    }

    /// Whether one shard tries for all.
    fn is_shut(&mut self, settings: &Settings, out: &mut Out) -> bool {
        if self.breaker.look(out.now) {
            self.write_down(out);
        }
        (self.refusals.is_shut() && !mutant!("refusals-unheeded"))
            || self.breaker.is_open()
            || self.is_scarce(settings, out.now)
    }

    fn bounds(&self, settings: &Settings) -> Bounds {
        Bounds {
            shards: settings.shard_count,
            storm: settings.identify_storm,
            a_day: self.budget.map(|budget| budget.total),
        }
    }

    pub(crate) fn outlook(&self, settings: &Settings, now: Time) -> Outlook {
        let percent = settings.identify_reserve;
        Outlook {
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            reserve: self.budget.map(|_| self.reserve(now, percent)),
            refused: self.refusals.in_row(),
            pause: self.refusals.pause(now, pauses(settings)),
            held: self.breaker.held(now, pauses(settings)),
            scarce: self.is_scarce(settings, now),
        }
    }

    /// Nothing is given any more.
    pub(crate) const fn close(&mut self) {
        self.closed = true;
    }

    /// A shard at its owner asks for a permit.
    pub(crate) fn ask(
        &mut self,
        id: ShardId,
        unit: (SlaveId, Epoch),
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let permit = settings.service.permit(id, self.at_once);
        self.waiting.insert((permit, id), unit);
        if self.is_shut(settings, out) && out.runs(Timer::Probe) {
            self.may_try_for_all((permit, id, unit.0, unit.1), fleet, settings, out);
        } else {
            self.due(permit, fleet, settings, out);
        }
    }

    /// Something changed that may help: pauses start from the shortest one.
    pub(crate) fn may_be_tried(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        self.refusals.try_again();
        self.breaker.try_again();
        out.stop(Timer::Probe);
        self.again(fleet, settings, out);
    }

    /// Gives a permit to whose turn it is, if it is time and the budget has one.
    pub(crate) fn due(
        &mut self,
        permit: Permit,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        if self.closed {
            return;
        }
        if self.is_shut(settings, out) {
            // Who is next is known already, if its time runs.
            if !out.runs(Timer::Probe) {
                self.probe_due(fleet, settings, out);
            }
            return;
        }
        let opens = self.opens(permit, out.now, settings.identify_window);
        if opens > out.now {
            let wait = opens.since(out.now);
            out.start(Timer::Permit(permit), wait);
            return;
        }
        match self.next_for(permit, fleet, settings, out) {
            Next::Now(asker) => self.permit(asker, fleet, settings, out),
            Next::At(at) => {
                let wait = at.since(out.now);
                out.start(Timer::Permit(permit), wait);
            }
            Next::Nobody => {}
        }
    }

    pub(crate) fn permit(
        &mut self,
        (permit, id, owner, epoch): Asker,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let percent = settings.identify_reserve;
        if let Some((left, resets)) = self.is_empty(out.now, percent) {
            self.budget_is_empty(left, resets, fleet, out);
            return;
        }
        if let Some(budget) = &mut self.budget {
            budget.remaining = budget.remaining.saturating_sub(1);
        }
        self.said_empty = false;
        if self.is_scarce(settings, out.now) {
            self.breaker.is_needed(out.now);
        }
        if self.breaker.given(id, out.now, &self.bounds(settings)) {
            self.tripped(fleet, settings, out);
        }
        self.says_scarce(settings, out);
        self.write_down(out);
        let asked = self.waiting.remove(&(permit, id));
        debug_assert_eq!(asked, Some((owner, epoch)), "shard {id} asked for it");
        debug_assert!(
            Self::may_be_told((permit, id, owner, epoch), fleet),
            "its owner hears of the permit of shard {id}"
        );
        let given = Given {
            shard: id,
            at: out.now,
            sent: None,
            over: None,
            is_ready: false,
        };
        self.given.insert(permit, given);
        self.refusals.given(id, out.now);
        out.send(owner, ToSlave::IdentifyPermit(Unit { shard: id, epoch }));
        let opens = self.opens(permit, out.now, settings.identify_window);
        out.start(Timer::Permit(permit), opens.since(out.now));
    }

    /// Whether a request stands, and a permit reaches it. Not while its shard is to be
    /// sealed: that one identifies elsewhere.
    pub(crate) fn may_be_told((_, id, owner, epoch): Asker, fleet: &Fleet) -> bool {
        let shard = fleet.shards.get(id);
        shard.is_some_and(|shard| {
            shard.phase.claimant() == Some((owner, epoch)) && !shard.phase.is_sealing()
        }) && fleet.is_joined(owner)
    }

    /// The lowest shard that waits for a permit and can be reached. Requests of
    /// owners that are no more are dropped on the way.
    fn next_for(
        &mut self,
        permit: Permit,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) -> Next {
        let range = (permit, ShardId(0))..=(permit, ShardId(u32::MAX));
        let pauses = pauses(settings);
        let mut void = Vec::new();
        let mut next = Next::Nobody;
        for (&(_, id), &(owner, epoch)) in self.waiting.range(range) {
            let claimant = fleet.shards[id].phase.claimant();
            let asker = (permit, id, owner, epoch);
            if claimant != Some((owner, epoch)) {
                void.push(id);
            } else if Self::may_be_told(asker, fleet) {
                let opens = self.refusals.opens(id, out.now, pauses);
                if opens <= out.now {
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
            self.waiting.remove(&(permit, id));
        }
        next
    }

    /// Looks at every permit for which a shard waits: a slave is back.
    pub(crate) fn again(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        if self.is_shut(settings, out) {
            self.probe_due(fleet, settings, out);
            return;
        }
        let mut permits: Vec<_> = self.waiting.keys().map(|&(permit, _)| permit).collect();
        permits.dedup();
        for permit in permits {
            self.due(permit, fleet, settings, out);
        }
    }
}

/// Whose turn it is.
enum Next {
    Now(Asker),
    /// All that wait have tried too often recently.
    At(Time),
    Nobody,
}

pub(crate) fn pauses(settings: &Settings) -> Pauses {
    Pauses {
        first: settings.identify_window,
        longest: settings.identify_pause,
    }
}
