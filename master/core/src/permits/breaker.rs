//! The circuit breaker: sessions that end as fast as they begin.
//!
//! An IDENTIFY that is refused is seen at once (`refusals.rs`). What eats a day unseen is one
//! that is answered, and whose session does not last: the service ends all of them, or a
//! build loses them as soon as it has them. So two things open the breaker:
//!
//! - *A storm*: within a minute so many sessions ended that it is no matter of single shards.
//! - *A loop*: within an hour more IDENTIFYs went to shards that had one less than an hour
//!   before than the day has hours for, and than the fleet has shards: at that pace the day
//!   is over before it ends.
//!
//! ```text
//!            storm, loop             the pause is over            its session is there
//!   Closed ──────────────▶ Open ──────────────────────▶ Trial ─────────────▶ Proof
//!     ▲                     ▲                             │                    │   │
//!     │                     └── pause twice ── it failed ─┴─ it ended, ────────┘   │
//!     │                                                      or its slave died     │
//!     └────────────────── it lasted as long as the pause was ──────────────────────┘
//! ```
//!
//! Unlike after a refusal, a session proves nothing here: it has to last first. And it is
//! remembered how often that happened until there was calm for [`CALM`], so that a breaker
//! that closed does not begin again with its shortest pause. Meanwhile a part of the day is
//! kept back (`identify_storm_reserve`): below it, one shard after the other tries, each
//! after the longest pause.
//!
//! A shard whose session can be resumed needs no permit, so no deploy waits for any of this.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use baton_protocol::{ShardId, text};

use super::refusals::{PATIENCE, Pauses};
use crate::event::{Identifies, Time};

/// Sessions that end within this time end together.
const TOGETHER: Duration = Duration::from_secs(60);

/// Fewer than so many shards cannot eat the day: with the pauses of each (`refusals.rs`), one
/// spends less than 300 of the 1,000 that the smallest bot has.
const FEWEST: usize = 4;

/// A shard that had an IDENTIFY less than this before loses sessions again and again.
const AGAIN: Duration = Duration::from_secs(3600);

/// How many of these a day has.
const IN_A_DAY: u32 = 24;

/// After so long without a storm, a loop or a failed trial it is forgotten that there were
/// any: a day has five IDENTIFYs a shard at least, so a new session of every
/// shard each five hours can go on for ever.
const CALM: Duration = Duration::from_secs(5 * 3600);

/// What opens it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Shards of the fleet.
    pub(crate) shards: u32,
    /// Percent of them whose sessions end in a storm; 0: no number is one.
    pub(crate) storm: u32,
    /// IDENTIFYs of a day; `None`: it is not bounded.
    pub(crate) a_day: Option<u32>,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    /// How often it opened, or a trial failed, since it was calm.
    trips: u32,
    /// The first of these, and how long ago it was when this master began.
    began: Time,
    before: Duration,
    /// When they are forgotten.
    calm: Time,
    /// Why it opened last, for a person.
    why: String,
    /// Shards whose sessions ended of late.
    ended: BTreeMap<ShardId, Time>,
    /// When each shard had its last permit.
    given: BTreeMap<ShardId, Time>,
    /// When shards had one again.
    again: VecDeque<Time>,
    /// The last permit of all.
    last: Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        since: Time,
    },
    /// This shard was permitted to IDENTIFY.
    Trial {
        shard: ShardId,
        given: Time,
    },
    /// Its session is there, and has to last.
    Proof {
        shard: ShardId,
        until: Time,
    },
}

/// What an operator is told of a breaker that holds IDENTIFYs up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Why, in words.
    pub(crate) why: String,
    /// For how long there was no calm.
    pub(crate) since: Duration,
    /// Until the next trial, or the end of this one.
    pub(crate) next: Duration,
    /// The shard that tries, or whose session has to last.
    pub(crate) trial: Option<ShardId>,
}

impl Breaker {
    /// What the master before knew.
    pub(crate) fn recovered(known: &Identifies, now: Time) -> Self {
        let is_calm = known.trips == 0 || known.tripped_ago >= CALM;
        if is_calm || mutant!("storm-forgotten") {
            return Self::default();
        }
        Self {
            state: match known.held.is_empty() {
                true => State::Closed,
                false => State::Open { since: now },
            },
            trips: known.trips,
            began: now,
            before: known.began_ago,
            calm: now.after(CALM.saturating_sub(known.tripped_ago)),
            why: known.held.clone(),
            last: now,
            ..Self::default()
        }
    }

    /// What the next master has to know.
    pub(crate) fn note(&self, known: &mut Identifies, now: Time) {
        known.trips = self.trips;
        if self.state != State::Closed {
            known.held.clone_from(&self.why);
        }
        if self.trips > 0 {
            known.began_ago = self.since(now);
            known.tripped_ago = CALM.saturating_sub(self.calm.since(now));
        }
    }

    // ---- what happens --------------------------------------------------------

    /// A shard that had a session has none any more. Whether that changed anything.
    pub(crate) fn session_ended(&mut self, id: ShardId, now: Time, bounds: &Bounds) -> bool {
        if self.is_on_trial(id) {
            return self.trial_failed(now);
        }
        self.ended.insert(id, now);
        self.ended.retain(|_, at| now.since(*at) < TOGETHER);
        let part = u64::from(bounds.shards) * u64::from(bounds.storm.min(100)) / 100;
        let least = usize::try_from(part).unwrap_or(usize::MAX).max(FEWEST);
        if self.state != State::Closed
            || bounds.storm == 0
            || self.ended.len() < least
            || mutant!("storm-unheeded")
        {
            return false;
        }
        let (ended, shards) = (self.ended.len(), bounds.shards);
        self.trip(
            format!("{ended} of {shards} shards lost their sessions within a minute"),
            now,
        );
        true
    }

    /// A shard is permitted its IDENTIFY. Whether that opened it.
    pub(crate) fn given(&mut self, id: ShardId, now: Time, bounds: &Bounds) -> bool {
        let before = self.given.insert(id, now);
        self.last = now;
        match self.state {
            State::Closed => {}
            State::Open { .. } => {
                self.state = State::Trial {
                    shard: id,
                    given: now,
                };
                return false;
            }
            // Nothing was heard of the one before.
            State::Trial { .. } | State::Proof { .. } => {
                self.trial_failed(now);
                self.state = State::Trial {
                    shard: id,
                    given: now,
                };
                return false;
            }
        }
        if before.is_some_and(|before| now.since(before) < AGAIN) {
            self.again.push_back(now);
        }
        while self.again.front().is_some_and(|at| now.since(*at) >= AGAIN) {
            self.again.pop_front();
        }
        let Some(a_day) = bounds.a_day else {
            return false;
        };
        let most = bounds.shards.max(a_day / IN_A_DAY);
        let again = self.again.len();
        if again <= usize::try_from(most).unwrap_or(usize::MAX) || mutant!("loop-unheeded") {
            return false;
        }
        self.trip(
            format!(
                "{again} IDENTIFYs within an hour went to shards that had one less than an hour \
                 before, and a day has {a_day}"
            ),
            now,
        );
        true
    }

    /// The session of a permitted shard is there. Whether it is the one on trial.
    pub(crate) fn ready(&mut self, id: ShardId, now: Time, pauses: Pauses) -> bool {
        match self.state {
            State::Trial { shard, .. } if shard == id => {
                self.state = if mutant!("trial-unproven") {
                    State::Closed
                } else {
                    State::Proof {
                        shard: id,
                        until: now.after(pauses.after(self.trips)),
                    }
                };
                true
            }
            State::Closed | State::Open { .. } | State::Trial { .. } | State::Proof { .. } => false,
        }
    }

    /// A permit came to nothing, or the owner of a shard died. Whether it is the one on trial.
    pub(crate) fn came_to_nothing(&mut self, id: ShardId, now: Time) -> bool {
        self.is_on_trial(id) && self.trial_failed(now)
    }

    /// Time passed. Whether the breaker closed.
    pub(crate) fn look(&mut self, now: Time) -> bool {
        if self.trips > 0 && self.calm <= now {
            *self = Self {
                given: std::mem::take(&mut self.given),
                last: self.last,
                ..Self::default()
            };
            return true;
        }
        let proved = matches!(self.state, State::Proof { until, .. } if until <= now);
        if proved {
            self.state = State::Closed;
            self.ended.clear();
            self.again.clear();
        }
        proved
    }

    /// A shard needs one of those that are kept back: there is no calm.
    pub(crate) fn is_needed(&mut self, now: Time) {
        self.calm = now.after(CALM);
    }

    /// An operator did something about it: the next trial is due after the first pause.
    pub(crate) fn try_again(&mut self) {
        self.trips = self.trips.min(1);
    }

    /// The operator's word: it is over.
    pub(crate) fn close(&mut self) {
        *self = Self::default();
    }

    fn is_on_trial(&self, id: ShardId) -> bool {
        match self.state {
            State::Trial { shard, .. } | State::Proof { shard, .. } => shard == id,
            State::Closed | State::Open { .. } => false,
        }
    }

    fn trip(&mut self, why: String, now: Time) {
        if self.trips == 0 {
            (self.began, self.before) = (now, Duration::ZERO);
        }
        self.why = why;
        self.ended.clear();
        self.again.clear();
        self.opened(now);
    }

    fn trial_failed(&mut self, now: Time) -> bool {
        self.opened(now);
        true
    }

    fn opened(&mut self, now: Time) {
        self.trips = self.trips.saturating_add(1);
        self.calm = now.after(CALM);
        self.state = State::Open { since: now };
    }

    /// For how long there was no calm.
    fn since(&self, now: Time) -> Duration {
        self.before.saturating_add(now.since(self.began))
    }

    // ---- what is asked -------------------------------------------------------

    /// Whether one shard tries for all.
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Whether there was a storm or a loop of late.
    pub(crate) const fn remembers(&self) -> bool {
        self.trips > 0
    }

    /// When a shard may have the next permit, as far as this goes. `scarce`: what is left of
    /// the day is kept back.
    pub(crate) fn opens(&self, scarce: bool, pauses: Pauses) -> Time {
        match self.state {
            State::Closed if scarce => self.last.after(pauses.after(u32::MAX)),
            State::Closed => Time::default(),
            State::Open { since } if scarce => {
                let spread = self.last.after(pauses.after(u32::MAX));
                spread.max(since.after(pauses.after(self.trips)))
            }
            State::Open { since } => since.after(pauses.after(self.trips)),
            State::Trial { given, .. } => given.after(PATIENCE),
            State::Proof { until, .. } => until,
        }
    }

    /// What it holds up.
    pub(crate) fn held(&self, now: Time, pauses: Pauses) -> Option<Held> {
        let trial = match self.state {
            State::Closed => return None,
            State::Open { .. } => None,
            State::Trial { shard, .. } | State::Proof { shard, .. } => Some(shard),
        };
        Some(Held {
            why: self.why.clone(),
            since: self.since(now),
            next: self.opens(false, pauses).since(now),
            trial,
        })
    }

    /// Since when and how often, in words, and how long the others wait, when an operator is
    /// to hear that it opened or that a trial failed; `None`: they heard it.
    pub(crate) fn news(&self, now: Time, pauses: Pauses) -> Option<(String, &str, Duration)> {
        if !self.trips.is_power_of_two() {
            return None;
        }
        let since = match self.since(now) {
            Duration::ZERO => String::new(),
            since => format!(", for {} now and {} times", text::span(since), self.trips),
        };
        Some((since, &self.why, pauses.after(self.trips)))
    }
}

#[cfg(test)]
mod tests;
