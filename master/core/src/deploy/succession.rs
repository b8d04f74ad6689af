//! Which slave a slot is at, and the deploys that change it.
//!
//! ```text
//!               changes                             only asks                does not see
//! Handover      fleet, deploys, learnt                                       permits, work, stage
//! Succession    fleet, deploys, learnt              permits, work, stage
//! Ownership     fleet, deploys, learnt, permits                              work, stage
//! ```
//!
//! A deploy waits for permits and for the once-per-bot work, and gives neither: who may
//! IDENTIFY is decided in `permits/`, who does the work in `work.rs`. It does not end the
//! life of the master either.

use crate::{
    deploy::Deploys,
    fleet::Fleet,
    learnt::Learnt,
    master_stage::MasterStage,
    out::Out,
    permits::Permits,
    settings::Settings,
    shard::{Handover, Stuck},
    view::Picture,
    work::WorkUnit,
};

/// What decides who fills a slot: what may be changed for it, and what may only be asked.
pub(crate) struct Succession<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) deploys: &'a mut Deploys,
    pub(crate) learnt: &'a mut Learnt,
    pub(crate) permits: &'a Permits,
    pub(crate) work: &'a WorkUnit,
    pub(crate) stage: MasterStage,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut Out,
}

impl Succession<'_> {
    /// The way of a shard of one of its deploys.
    pub(crate) const fn handover(&mut self) -> Handover<'_> {
        Handover {
            fleet: self.fleet,
            deploys: self.deploys,
            learnt: self.learnt,
            settings: self.settings,
            out: self.out,
        }
    }

    /// A step of a handover, whose deploy, or move to another slot, fails where it cannot go on.
    pub(crate) fn hand_over(&mut self, step: impl FnOnce(&mut Handover<'_>) -> Result<(), Stuck>) {
        if let Err(Stuck { slot, shard, why }) = step(&mut self.handover()) {
            match shard.filter(|id| self.deploys.moves.has(*id)) {
                Some(id) => self.move_fails(id, &why),
                None => self.fail_deploy(slot, shard, why),
            }
        }
    }

    /// The same rooms, to be looked at alone.
    pub(crate) const fn picture(&self) -> Picture<'_> {
        Picture {
            fleet: self.fleet,
            deploys: self.deploys,
            permits: self.permits,
            settings: self.settings,
            stage: self.stage,
            saves: &self.out.saves,
        }
    }
}
