//! Whether the new build of a deploy is any good: does it live at the end of the
//! soak, and do its handlers fail?
//!
//! A slave says in each pong how many events its handlers finished and how many
//! of these failed. The new build is no good when the share that failed is more
//! than `error_gate` percentage points above the old slave's, of at least
//! `error_gate_events` events: a bot that always failed is not blamed on its new
//! build.

use baton_protocol::{
    SlaveId, ToSlave,
    message::{Ping, Pong},
};

use super::{Core, deploy::Stage, fleet::Record, timers::Timer};

/// Number of the ping at the end of a soak; the peers count theirs from 1.
const END_OF_SOAK: u64 = 0;

impl Core {
    pub(super) fn pong(&mut self, id: SlaveId, pong: Pong) {
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        slave.record = Record {
            finished: pong.finished,
            failed: pong.failed.min(pong.finished),
        };
        let Some(deploy) = &self.deploy else {
            return;
        };
        if deploy.to() != Some(id) || self.gate_shuts(id) {
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
        // Without an old slave there is nobody to go back to.
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

    /// The soak is over: the new slave is asked whether it lives. What it said
    /// before says nothing about now.
    pub(super) fn ask_if_alive(&mut self, to: SlaveId) {
        if let Some(deploy) = &mut self.deploy {
            deploy.asked = true;
        }
        let number = END_OF_SOAK;
        self.send(to, ToSlave::Ping(Ping { number }));
        self.start_timer(Timer::Deploy, self.settings.no_progress);
    }

    /// It does not: it is killed, and its shards go back when it is dead.
    pub(super) fn new_slave_hangs(&mut self, to: SlaveId) {
        let span = self.settings.no_progress;
        self.condemn(to);
        self.fail_deploy(
            None,
            format!("the new slave did not answer for {span:?} at the end of the soak"),
        );
    }
}

impl Record {
    /// Whether the share that failed is more than `margin` percentage points
    /// above another's.
    fn is_worse(self, other: Self, margin: u32) -> bool {
        let share = |record: Self| {
            let of = u128::from(record.finished).max(1);
            u128::from(record.failed) * 10_000 / of
        };
        share(self) > share(other) + u128::from(margin) * 100
    }
}
