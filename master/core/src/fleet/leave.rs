//! A slave that gets SIGTERM, and asks the master for a successor.
//!
//! ```text
//!                      a successor is built: a deploy to it ─▶ Shutdown, owns nothing
//! Leave ──▶ its shards ┤
//!                      none is, or that deploy failed ─────▶ Shutdown: seals, is resumed
//! ```
//!
//! If a slave seals its shards and ends, their state is lost. So if a standby is built, or a
//! deploy runs, the shards move as in any deploy instead: the state is copied while the old
//! slave serves. There is no canary and no soak, because no slave waits to take anything
//! back. The slave does not wait for ever.

use std::time::Duration;

use baton_protocol::{SlaveId, ToSlave};

use crate::{
    deploy::{Stage, Succession},
    event::Beside,
    fleet::{SlotId, Standing},
    timers::Timer,
};

impl Succession<'_> {
    pub(crate) fn asks_to_leave(&mut self, id: SlaveId) {
        if !self.fleet.is_healthy(id) {
            return;
        }
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        slave.asks_to_leave = true;
        let slot = slave.slot;
        if self.is_followed(slot, id) {
            return;
        }
        let heir = self.standby_for(slot, id);
        match heir {
            Some(heir) if !mutant!("leaving-not-followed") => {
                self.fleet.stand(heir, Standing::Active);
                self.deploy_heir(slot, id, heir);
            }
            // Any other slave resumes what it seals by itself.
            Some(_) | None => self.out.send(id, ToSlave::Shutdown),
        }
    }

    /// Whether a running deploy moves its shards to a slave that is there already.
    fn is_followed(&mut self, slot: SlotId, id: SlaveId) -> bool {
        let deploy = self.deploys.of_mut(slot);
        let Some(deploy) = deploy.filter(|deploy| deploy.from == Some(id)) else {
            return false;
        };
        match deploy.stage {
            Stage::Starting { .. } | Stage::RollingBack { .. } => false,
            Stage::Retiring { .. } => true,
            Stage::Preparing { .. } | Stage::Moving { .. } | Stage::Work { .. } => {
                (deploy.order.soak, deploy.paused) = (Duration::ZERO, false);
                self.out.touch(slot);
                true
            }
            Stage::Soaking { .. } => {
                self.out.start(Timer::Deploy(slot), Duration::ZERO);
                true
            }
        }
    }

    /// A standby that can take over now.
    pub(super) fn standby_for(&self, slot: SlotId, id: SlaveId) -> Option<SlaveId> {
        let owns = self.fleet.slots[slot].owner == Some(id);
        if !owns || self.deploy_possible(slot, id, Beside::Nothing).is_err() {
            return None;
        }
        let mut standbys = self.fleet.standbys(slot).into_iter();
        standbys.find_map(|(heir, built)| (built && self.fleet.can_take(heir)).then_some(heir))
    }

    /// A deploy from a slave that asked to leave has ended without a success.
    pub(crate) fn may_leave_now(&mut self, from: Option<SlaveId>) {
        if let Some(from) = from
            && self.fleet.is_healthy(from)
            && self
                .fleet
                .slaves
                .get(&from)
                .is_some_and(|slave| slave.asks_to_leave)
        {
            self.asks_to_leave(from);
        }
    }
}
