//! Whether the new build of a deploy is good: does it live at the end of the soak, do its
//! handlers fail, does it keep up?
//!
//! A slave reports in each pong how many events its handlers finished, and how many of these
//! failed. The new build is bad if its share of failed events is more than `error_gate`
//! percentage points above the old slave's, of at least `error_gate_events` events: a bot
//! that always failed is not blamed on its new build.
//!
//! It reports for how long its shards took nothing from Discord because too many events were
//! running. A shard in that state falls ever further behind, and only Discord's replay
//! buffer holds the events that it did not take. The new build is bad if that time was a
//! larger part of the soak than of the old slave's time before the deploy, by more than
//! `behind_gate` percentage points, averaged over its shards: of many shards some are always
//! full for a moment, and all of them catch up after their move.
//!
//! It reports how many events its bot was handed, and the age of the oldest unfinished one.
//! The new build is bad if it has not finished half of the events that it was handed, and
//! the oldest is older by `lag_gate` than the old slave's was: slow handlers are no fault of
//! a build whose predecessor had them too.
//!
//! The gates judge the canary ([`bake`](super::bake)) and the soak.

use std::time::Duration;

use baton_protocol::{
    SlaveId, ToSlave, Version,
    message::{Ping, Pong},
};

use crate::{
    Core,
    deploy::Stage,
    event::Time,
    fleet::{Backpressure, Hearing, Record},
    timers::Timer,
};

/// Number of the ping at the end of a soak; the peers count theirs from 1.
const END_OF_SOAK: u64 = 0;

/// Number of the ping at its beginning, which no peer gets to.
const START_OF_SOAK: u64 = u64::MAX;

/// Number of the pings while the master watches a canary.
const OF_CANARY: u64 = u64::MAX - 1;

/// At this age of its oldest unfinished event a build is not judged in the shortest
/// soak.
const LEAST_LAG: Duration = Duration::from_secs(1);

impl Core {
    pub(crate) fn pong(&mut self, id: SlaveId, mut pong: Pong) {
        self.unfinished_named(id, std::mem::take(&mut pong.unfinished));
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        slave.record = Record {
            finished: pong.finished,
            failed: pong.failed.min(pong.finished),
            handed: pong.handed,
        };
        let says_lag = slave.speaks(Version::LAG);
        slave.lag = says_lag.then(|| Duration::from_millis(pong.lag_ms));
        let hearing = Hearing {
            silent: (Duration::from_millis(pong.silent_ms), pong.silent_shard),
            heartbeat: (
                Duration::from_millis(pong.heartbeat_ms),
                pong.heartbeat_shard,
            ),
        };
        slave.hearing = says_lag.then_some(hearing);
        let shards = slave.holds.len();
        slave.backpressure = slave.backpressure.next(self.out.now, pong.full_ms, shards);
        self.backlog(id);
        self.heal(id, hearing.silent);
        let Some(deploy) = &self.deploy else {
            return;
        };
        if deploy.to() != Some(id) || self.gate_shuts(id) {
            return;
        }
        if pong.number == START_OF_SOAK {
            self.soak_begins(id);
        }
        if pong.number == OF_CANARY {
            self.canary_said(id);
        }
        if pong.number == END_OF_SOAK
            && self.deploy.as_ref().is_some_and(|deploy| deploy.asked)
            && (self.is_behind(id) || self.finishes_nothing(id) || self.is_dark(id))
        {
            return;
        }
        if let Some(deploy) = &mut self.deploy
            && deploy.stage == (Stage::Soaking { to: id })
            && pong.number == END_OF_SOAK
            && std::mem::take(&mut deploy.asked)
        {
            self.soaked(id);
        }
    }

    /// Takes everything back when the handlers of the new slave fail.
    fn gate_shuts(&mut self, to: SlaveId) -> bool {
        let Some(deploy) = &self.deploy else {
            return false;
        };
        match deploy.stage {
            Stage::Moving { .. } | Stage::Work { .. } | Stage::Soaking { .. } => {}
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => return false,
        }
        // Without an old slave there is no way back.
        let Some(old) = deploy.from.and_then(|from| self.fleet.slaves.get(&from)) else {
            return false;
        };
        let Some(new) = self.fleet.slaves.get(&to).map(|slave| slave.record) else {
            return false;
        };
        if cfg!(mutant = "gate-open")
            || new.finished < u64::from(self.settings.error_gate_events)
            || !new.is_worse(old.record, self.settings.error_gate)
        {
            return false;
        }
        let (failed, finished) = (new.failed, new.finished);
        self.fail_deploy(
            None,
            format!("the new build failed {failed} of {finished} events"),
        );
        true
    }

    /// The soak begins: what the new slave says now is what its end is compared with.
    pub(crate) fn ask_how_it_fares(&mut self, to: SlaveId) {
        let number = START_OF_SOAK;
        self.out.send(to, ToSlave::Ping(Ping { number }));
    }

    /// The answer to that.
    fn soak_begins(&mut self, id: SlaveId) {
        let backpressure = self.fleet.slaves.get(&id).map(|slave| slave.backpressure);
        if let Some(deploy) = &mut self.deploy
            && deploy.stage == (Stage::Soaking { to: id })
            && !deploy.asked
        {
            deploy.at_soak = deploy.at_soak.or(backpressure);
        }
    }

    /// Takes everything back when the new slave fell behind in the soak.
    fn is_behind(&mut self, to: SlaveId) -> bool {
        let gate = u64::from(self.settings.behind_gate);
        let Some(deploy) = self.deploy.as_ref().filter(|deploy| deploy.asked) else {
            return false;
        };
        let old = deploy.from.and_then(|from| self.fleet.slaves.get(&from));
        let new = self.fleet.slaves.get(&to);
        let (Some(old), Some(new), Some(before)) = (old, new, deploy.at_soak) else {
            return false;
        };
        // One that cannot say it is not known to have kept up.
        let comparable = old.speaks(Version::FULLNESS);
        let new = new.backpressure.since(before, new.holds.len());
        let old = deploy.before;
        let fine = gate == 0 || !comparable || new <= old.saturating_add(gate);
        if fine || cfg!(mutant = "behind-kept") {
            return false;
        }
        self.fail_deploy(
            None,
            format!(
                "the new build falls behind: its shards took nothing for {new} % of the soak \
                 on average (before: {old} %), because their windows were full"
            ),
        );
        true
    }

    /// Takes everything back when the new slave does not finish what it is handed.
    pub(crate) fn finishes_nothing(&mut self, to: SlaveId) -> bool {
        let gate = self.settings.lag_gate;
        let Some(deploy) = self.deploy.as_ref().filter(|deploy| deploy.from.is_some()) else {
            return false;
        };
        // Without it nothing is known to be worse than before.
        let Some(before) = deploy.lag_before else {
            return false;
        };
        let Some((record, lag)) = self.fleet.slaves.get(&to).map(|new| (new.record, new.lag))
        else {
            return false;
        };
        // A soak that is shortened lets nothing grow as old as that.
        let longest = deploy.soak.map_or(gate, |soak| (soak / 2).max(LEAST_LAG));
        let most = before.saturating_add(gate.min(longest));
        let unfinished = record.handed.saturating_sub(record.finished);
        let few = record.handed < u64::from(self.settings.error_gate_events.max(1));
        let half = unfinished.saturating_mul(2) > record.handed;
        let Some(lag) = lag.filter(|&lag| lag > most) else {
            return false;
        };
        if gate.is_zero() || few || !half || cfg!(mutant = "unfinished-kept") {
            return false;
        }
        self.fail_deploy(
            None,
            format!(
                "the new build does not finish its events: {unfinished} of {} run, the oldest \
                 for {lag:?} (before the deploy: {before:?})",
                record.handed
            ),
        );
        true
    }

    /// The master watches the canary: how does its slave fare now?
    pub(crate) fn ask_of_canary(&mut self, to: SlaveId) {
        let number = OF_CANARY;
        self.out.send(to, ToSlave::Ping(Ping { number }));
    }

    /// The soak is over: the new slave is asked whether it lives. What it said
    /// before says nothing about now.
    pub(crate) fn ask_if_alive(&mut self, to: SlaveId) {
        if let Some(deploy) = &mut self.deploy {
            deploy.asked = true;
        }
        let number = END_OF_SOAK;
        self.out.send(to, ToSlave::Ping(Ping { number }));
        self.out.start(Timer::Deploy, self.settings.no_progress);
    }

    /// It does not: it is killed, and its shards go back when it is dead.
    pub(crate) fn new_slave_hangs(&mut self, to: SlaveId) {
        let span = self.settings.no_progress;
        self.condemn(to);
        self.fail_deploy(
            None,
            format!("the new slave did not answer for {span:?} at the end of the soak"),
        );
    }
}

impl Backpressure {
    /// A shorter time says nothing.
    const SHORTEST: Duration = Duration::from_millis(500);

    /// What is known after the next word.
    fn next(self, now: Time, full_ms: u64, shards: usize) -> Self {
        let next = Self {
            at: now,
            full_ms,
            percent: 0,
        };
        Self {
            percent: if now.since(self.at) < Self::SHORTEST {
                self.percent
            } else {
                next.since(self, shards)
            },
            ..next
        }
    }

    /// The part of the time of `shards` shards since `before`, in percent.
    fn since(self, before: Self, shards: usize) -> u64 {
        let span = self.at.since(before.at);
        if span < Self::SHORTEST {
            return 0;
        }
        let full = u128::from(self.full_ms.saturating_sub(before.full_ms));
        let whole = span.as_millis() * shards.max(1) as u128;
        u64::try_from(full * 100 / whole).unwrap_or(u64::MAX)
    }
}

impl Record {
    /// Whether the share that failed is more than `margin` percentage points
    /// above another's.
    pub(crate) fn is_worse(self, other: Self, margin: u32) -> bool {
        let share = |record: Self| {
            let of = u128::from(record.finished).max(1);
            u128::from(record.failed) * 10_000 / of
        };
        share(self) > share(other) + u128::from(margin) * 100
    }
}
