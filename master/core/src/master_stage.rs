//! The life of the master itself, and how it leaves.
//!
//! ```text
//! Adopting ──grace over, or nobody missing──▶ Running ──asked to leave──▶ Leaving ──▶ Left
//!    (what reports say: `fleet/adopt.rs`)           nothing is between its seal and RESUMED
//! ```

use crate::{
    Core,
    event::{Action, JournalState, Outcome},
    fleet::Standing,
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
    /// The grace ends early if no slave is missing, unless the journal may not
    /// name every slave.
    pub(crate) fn end_adoption_early(&mut self) {
        if self.stage == MasterStage::Adopting
            && self.fleet.journal == JournalState::Intact
            && self.fleet.missing_anywhere().is_empty()
        {
            self.end_adoption();
        }
    }

    pub(crate) fn end_adoption(&mut self) {
        debug_assert!(
            self.deploys.is_empty(),
            "nothing moves before reports are in"
        );
        if self.stage != MasterStage::Adopting {
            return;
        }
        self.stage = MasterStage::Running;
        self.out.stop(Timer::Adopt);
        for slot in self.fleet.slots.ids() {
            let drained = self.settings.drained();
            self.fleet.resolve_unknown(slot, drained, &mut self.out);
            self.succession().settle_slot(slot);
            self.handover().place_free(slot);
            self.out.touch(slot);
        }
        for id in self.fleet.shards.ids() {
            self.ownership().finds_shelter(id);
            self.fleet.leaves_others_behind(id, &mut self.out);
        }
        let waiting: Vec<_> = self
            .fleet
            .slaves
            .iter()
            .filter(|(_, slave)| slave.standing == Standing::Waiting)
            .map(|(&id, _)| id)
            .collect();
        for id in waiting {
            if self.fleet.is_joined(id) {
                self.succession().decide_standing(id);
            }
        }
    }

    pub(crate) fn leave(&mut self) {
        match self.stage {
            MasterStage::Adopting | MasterStage::Running => {
                self.stage = MasterStage::Leaving;
                self.out.start(Timer::Leave, self.settings.shard_in_hand);
                for slot in self.deploys.slots() {
                    self.handover().cancel_copies(slot);
                }
                for id in self.deploys.moves.ids().collect::<Vec<_>>() {
                    self.handover().cancel_copy(id);
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
            if self.succession().deploy_can_just_end(slot) {
                self.succession()
                    .fail_deploy(slot, None, "the master leaves".to_owned());
            } else {
                self.succession().end_deploy(slot, Outcome::HandedOn);
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
