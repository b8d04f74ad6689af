//! The life of the master itself, and how it leaves.
//!
//! ```text
//! Adopting ──grace over, or nobody missing──▶ Running ──asked to leave──▶ Leaving ──▶ Left
//!    (`fleet/adopt.rs`)                                     nothing is between its seal and RESUMED
//! ```

use crate::{
    Core,
    event::{Action, Outcome},
    timers::Timer,
};

/// The life of the master itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MasterStage {
    /// Reports are collected; nothing is started, deployed or launched.
    Adopting,
    Running,
    /// It was asked to leave: nothing new begins.
    Leaving,
    /// [`Action::Exit`] was queued.
    Left,
}

impl Core {
    pub(crate) fn leave(&mut self) {
        match self.stage {
            MasterStage::Adopting | MasterStage::Running => {
                self.stage = MasterStage::Leaving;
                self.out.start(Timer::Leave, self.settings.shard_in_hand);
                for slot in self.deploys.slots() {
                    self.handover().cancel_copies(slot);
                }
            }
            MasterStage::Leaving | MasterStage::Left => {}
        }
    }

    /// Leaves once no shard is between its seal and RESUMED.
    pub(crate) fn leave_when_done(&mut self) {
        if self.stage == MasterStage::Leaving && self.deploys.in_flight().is_empty() {
            self.exit();
        }
    }

    pub(crate) fn exit(&mut self) {
        if self.stage == MasterStage::Left {
            return;
        }
        self.stage = MasterStage::Left;
        self.permits.close();
        self.out.stop_all();
        for slot in self.deploys.slots() {
            if self.deploy_can_just_end(slot) {
                self.fail_deploy(slot, None, "the master leaves".to_owned());
            } else {
                self.end_deploy(slot, Outcome::HandedOn);
            }
        }
        debug_assert!(
            self.deploys.is_empty(),
            "each deploy has ended, or is handed on"
        );
        self.fleet.write_tickets(&mut self.out);
        self.out.order(Action::Exit);
    }
}
