//! IDENTIFYs that fail, and which shard may try the next one when.
//!
//! The service answers an IDENTIFY with a session; or with a refusal, as for minutes
//! after an outage; or its slave ends before the answer. Each costs one of the day,
//! and without any the fleet is dark until the next. So after one that failed
//! the gate is shut for the whole fleet:
//!
//! ```text
//!           failed                           the pause is over
//!   Open ─────────────────────▶ Shut, pause ───────────────────▶ Shut, one shard tries
//!    ▲                               ▲                                 │         │
//!    │                               └── failed: pause twice ──────────┘         │
//!    └────────────────────────────────── a session ──────────────────────────────┘
//! ```
//!
//! - Those that were given side by side, and are refused side by side, count once.
//! - Each shard has a pause of its own too, by the IDENTIFYs that it was given one
//!   soon after the other: a bot that dies of its first event, or a shard that is
//!   closed after each one, spends no more than one in the longest pause.
//! - Who tries next is the shard that tried the fewest times. As long as one shard
//!   alone was refused, the others wait for the first pause only.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::ShardId;

use crate::{event::Time, settings::doubled};

/// A session was worth its IDENTIFY if the next one is due so much later.
const LASTING: Duration = Duration::from_secs(600);

/// An IDENTIFY without an answer for so long holds up no other shard.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// So many refusals in a row are more than a hiccup.
const SEVERAL: u32 = 3;

/// The first pause and the longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Pauses {
    pub(super) fn after(self, times: u32) -> Duration {
        doubled(self.first, self.longest.max(self.first), times)
    }
}

/// What became of IDENTIFYs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    tried: BTreeMap<ShardId, Tried>,
    /// Rounds in a row that failed.
    in_row: u32,
    /// The shards of these.
    of: BTreeSet<ShardId>,
    /// When the gate was shut last; `None`: it is open.
    shut: Option<Time>,
    /// Who tries while it is shut.
    probe: Option<ShardId>,
    /// When one came to nothing last.
    last: Option<Time>,
    /// When the first of these in a row did.
    first: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    given: Time,
    /// Given to this shard one soon after the other.
    in_row: u32,
    /// Whether it is not known what came of it.
    is_out: bool,
}

impl Refusals {
    /// What the master before knew: so many rounds in a row failed, the last one just now.
    pub(super) fn recovered(in_row: u32, now: Time) -> Self {
        Self {
            in_row,
            shut: (in_row > 0).then_some(now),
            last: (in_row > 0).then_some(now),
            ..Self::default()
        }
    }

    /// How many shards were given a permit of which the outcome is not known.
    pub(super) fn out(&self, now: Time) -> u32 {
        let out = self.tried.keys().filter(|id| self.is_out(**id, now));
        u32::try_from(out.count()).unwrap_or(u32::MAX)
    }

    /// Whether one shard may try, instead of one for each permit.
    pub(crate) const fn is_shut(&self) -> bool {
        self.shut.is_some()
    }

    /// Rounds in a row that failed.
    pub(crate) const fn in_row(&self) -> u32 {
        self.in_row
    }

    /// Whether one came to nothing of late.
    pub(super) fn is_recent(&self, now: Time) -> bool {
        self.last.is_some_and(|last| now.since(last) < LASTING)
    }

    /// Whether the service gives no sessions at present.
    pub(crate) const fn are_several(&self) -> bool {
        self.is_shut() && self.in_row >= SEVERAL
    }

    /// Whether a shard was given a permit of which the outcome is not known.
    pub(crate) fn is_out(&self, id: ShardId, now: Time) -> bool {
        let tried = self.tried.get(&id);
        tried.is_some_and(|tried| tried.is_out && now.since(tried.given) < PATIENCE)
    }

    /// How many recent tries of this shard there were.
    pub(crate) fn tries(&self, id: ShardId, now: Time) -> u32 {
        let tried = self.tried.get(&id);
        tried
            .filter(|tried| now.since(tried.given) < LASTING)
            .map_or(0, |tried| tried.in_row)
    }

    /// When this shard may try, as far as refusals go.
    pub(crate) fn opens(&self, id: ShardId, now: Time, pauses: Pauses) -> Time {
        if mutant!("refusals-unheeded") {
            return now;
        }
        let own = match (self.tried.get(&id), self.tries(id, now)) {
            (Some(tried), tries @ 1..) => tried.given.after(pauses.after(tries)),
            (Some(_) | None, _) => now,
        };
        let Some(shut) = self.shut else {
            return own;
        };
        if let Some(probe) = self.probe
            && self.is_out(probe, now)
            && let Some(tried) = self.tried.get(&probe)
        {
            return own.max(tried.given.after(PATIENCE));
        }
        let anothers_alone = self.of.len() == 1 && !self.of.contains(&id);
        let rounds = if anothers_alone { 1 } else { self.in_row };
        own.max(shut.after(pauses.after(rounds)))
    }

    /// For how long they failed, all of them.
    pub(super) fn since(&self, now: Time) -> Duration {
        self.first.map_or(Duration::ZERO, |first| now.since(first))
    }

    /// How long until the fleet's next try; `None`: nothing is held back.
    pub(crate) fn pause(&self, now: Time, pauses: Pauses) -> Option<Duration> {
        let shut = self.shut?;
        Some(shut.after(pauses.after(self.in_row)).since(now))
    }

    /// A shard is permitted its IDENTIFY.
    pub(crate) fn given(&mut self, id: ShardId, now: Time) {
        let in_row = self.tries(id, now).saturating_add(1);
        let is_out = true;
        self.tried.insert(
            id,
            Tried {
                given: now,
                in_row,
                is_out,
            },
        );
        if self.is_shut() {
            self.probe = Some(id);
        }
    }

    /// Its session is there. Whether that opened the gate.
    pub(crate) fn ready(&mut self, id: ShardId) -> bool {
        let Some(tried) = self.tried.get_mut(&id).filter(|tried| tried.is_out) else {
            return false;
        };
        tried.is_out = false;
        self.in_row = 0;
        self.of.clear();
        self.probe = None;
        self.shut.take().is_some()
    }

    /// It asks again, or has no owner any more. `Some`: a permit of it failed,
    /// and it is the first one of so many rounds in a row.
    pub(crate) fn came_to_nothing(&mut self, id: ShardId, now: Time) -> Option<u32> {
        let tried = self.tried.get_mut(&id).filter(|tried| tried.is_out)?;
        tried.is_out = false;
        self.last = Some(now);
        let given = tried.given;
        if self.probe == Some(id) {
            self.probe = None;
        }
        self.of.insert(id);
        if self.shut.is_some_and(|shut| given <= shut) {
            return None;
        }
        if self.in_row == 0 {
            self.first = Some(now);
        }
        self.in_row = self.in_row.saturating_add(1);
        self.shut = Some(now);
        Some(self.in_row)
    }

    /// An operator did something about it: the next try is due after the first pause,
    /// or at once where that is over.
    pub(crate) fn try_again(&mut self) {
        self.in_row = self.in_row.min(1);
        for tried in self.tried.values_mut() {
            tried.in_row = tried.in_row.min(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PAUSES: Pauses = Pauses {
        first: Duration::from_secs(5),
        longest: Duration::from_secs(300),
    };

    fn at(seconds: u32) -> Time {
        Time(seconds * SECOND)
    }

    #[test]
    fn what_was_refused_side_by_side_counts_once_and_one_shard_tries_next() {
        let mut refusals = Refusals::default();
        for id in (0..16).map(ShardId) {
            refusals.given(id, at(100));
        }
        assert_eq!(refusals.came_to_nothing(ShardId(3), at(101)), Some(1));
        for id in (0..16).map(ShardId).filter(|id| *id != ShardId(3)) {
            assert_eq!(refusals.came_to_nothing(id, at(102)), None);
        }
        assert_eq!(refusals.opens(ShardId(20), at(102), PAUSES), at(106));
        refusals.given(ShardId(20), at(106));
        let wait = refusals.opens(ShardId(21), at(107), PAUSES);
        assert_eq!(wait, at(226), "a probe is out");
        assert_eq!(refusals.came_to_nothing(ShardId(20), at(107)), Some(2));
        assert_eq!(refusals.opens(ShardId(21), at(107), PAUSES), at(117));
        refusals.given(ShardId(21), at(117));
        assert!(refusals.ready(ShardId(21)), "the gate opens");
        assert_eq!(refusals.opens(ShardId(22), at(118), PAUSES), at(118));
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let mut refusals = Refusals::default();
        let mut now = at(1000);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            refusals.given(ShardId(0), now);
            refusals.came_to_nothing(ShardId(0), now);
            let opens = refusals.opens(ShardId(0), now, PAUSES);
            pauses.push(opens.since(now).as_secs());
            now = opens;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn one_shard_that_is_refused_alone_does_not_keep_the_others() {
        let mut refusals = Refusals::default();
        for times in 0..8 {
            refusals.given(ShardId(7), at(1000 + times * 300));
            refusals.came_to_nothing(ShardId(7), at(1000 + times * 300));
        }
        let now = at(1000 + 7 * 300);
        assert_eq!(
            refusals.opens(ShardId(7), now, PAUSES).since(now),
            300 * SECOND
        );
        assert_eq!(
            refusals.opens(ShardId(8), now, PAUSES).since(now),
            5 * SECOND
        );
    }

    #[test]
    fn sessions_that_do_not_last_are_paid_for_ever_more_rarely() {
        let mut refusals = Refusals::default();
        let mut now = at(1000);
        for _ in 0..8 {
            refusals.given(ShardId(0), now);
            assert!(!refusals.ready(ShardId(0)));
            now = refusals.opens(ShardId(0), now.after(SECOND), PAUSES);
        }
        assert_eq!(
            now.since(at(1000)),
            (5 + 10 + 20 + 40 + 80 + 160 + 300 + 300) * SECOND
        );
        let later = now.after(LASTING);
        assert_eq!(refusals.opens(ShardId(0), later, PAUSES), later);
        assert_eq!(refusals.tries(ShardId(0), later), 0);
    }
}
