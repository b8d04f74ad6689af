//! How a deploy begins: an operator asks for it, a candidate comes by itself, a slave is
//! to be followed, or the master finds one that it did not survive.

use std::{collections::VecDeque, time::Duration};

use baton_protocol::{LaunchId, SlaveId, message::Role};

use crate::{
    Core,
    deploy::{Answer, Before, Deploy, InFlight, Pace, Stage},
    event::{Action, Beside, DeployOrder, Losses, News, Pause, RequestId, STOPPED},
    fleet::SlotId,
    master_stage::MasterStage,
    timers::Timer,
};

impl Core {
    /// Whether a deploy of this slot may begin, beside those of other slots or alone; else
    /// why not.
    pub(crate) fn deploy_possible(
        &self,
        slot: SlotId,
        owner: SlaveId,
        beside: Beside,
    ) -> Result<(), String> {
        self.deploy_possible_without_owner(slot, beside)?;
        let place = &self.fleet.slots[slot];
        if !self.fleet.can_take(owner) {
            return Err(format!(
                "slave {owner} of slot {:?} is not connected or is leaving; nothing can be moved \
                 from it. If it is dead, run: baton-master fence {owner}",
                place.name
            ));
        }
        if !place.unknown.is_empty() {
            return Err(format!(
                "the owners of {} shards of slot {:?} are not known",
                place.unknown.len(),
                place.name
            ));
        }
        Ok(())
    }

    fn deploy_possible_without_owner(&self, slot: SlotId, beside: Beside) -> Result<(), String> {
        if let Some(deploy) = self.deploys.of(slot) {
            return Err(deploy.busy());
        }
        match (beside, self.deploys.iter().next()) {
            (Beside::Nothing, Some(deploy)) => return Err(deploy.busy()),
            (Beside::Nothing, None) | (Beside::Others, _) => {}
        }
        self.may_move()
    }

    /// Whether shards may be moved or restarted at all; else why not.
    pub(crate) fn may_move(&self) -> Result<(), String> {
        match self.stage {
            MasterStage::Adopting => {
                return Err("the master has just started and collects reports".into());
            }
            MasterStage::Leaving | MasterStage::Left => return Err("the master is leaving".into()),
            MasterStage::Running => {}
        }
        if self.out.saves.fail() {
            return Err(format!(
                "the journal cannot be written: {}",
                self.out.saves.why()
            ));
        }
        Ok(())
    }

    /// An operator wants one: a process is launched, it is the candidate.
    pub(crate) fn deploy_asked(&mut self, request: RequestId, order: DeployOrder) {
        let slot = match self.deploy_slot(&order) {
            Ok(slot) => slot,
            Err(reason) => {
                self.out.tell(News::RequestRefused { request, reason });
                return;
            }
        };
        let from = self.fleet.slots[slot].owner;
        let command = order.command.clone();
        let name = order.slot.clone();
        let launch = self.fleet.next_launch();
        let stage = Stage::Starting { launch, pid: None };
        self.begin_deploy(Some(request), slot, order, from, stage);
        // What kept sessions from being given may be mended by it.
        self.permits
            .may_be_tried(&self.fleet, &self.settings, &mut self.out);
        self.tell_step(slot);
        self.fleet.standby_gives_way(slot, &mut self.out);
        self.out.order(Action::Launch {
            slot: name,
            role: Role::Candidate,
            command,
            deploy: self.deploys.of(slot).map(|deploy| deploy.id),
            launch,
        });
        self.out.start(Timer::Deploy(slot), self.settings.ready);
        self.out.touch(slot);
    }

    fn deploy_slot(&self, order: &DeployOrder) -> Result<SlotId, String> {
        let Some(slot) = self.fleet.slots.named(&order.slot) else {
            return Err(format!("this fleet has no slot {:?}", order.slot));
        };
        let place = &self.fleet.slots[slot];
        if !place.launches && order.command.is_none() {
            return Err(format!(
                "slot {:?} has no command; name one, or start the new slave yourself",
                order.slot
            ));
        }
        match place.owner {
            Some(owner) => self.deploy_possible(slot, owner, order.beside)?,
            None => self.deploy_possible_without_owner(slot, order.beside)?,
        }
        Ok(slot)
    }

    /// A candidate came by itself.
    pub(crate) fn deploy_candidate(&mut self, slot: SlotId, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let stage = Stage::Preparing {
            to,
            new: Answer::Due,
            old: Answer::Due,
        };
        self.begin_deploy(None, slot, order, Some(from), stage);
        self.prepare(slot);
    }

    /// A slave that is to end is followed by one that stands by: nobody takes its
    /// shards back.
    pub(crate) fn deploy_heir(&mut self, slot: SlotId, from: SlaveId, to: SlaveId) {
        let order = DeployOrder {
            canary: 0,
            soak: Duration::ZERO,
            ..self.usual_order(slot)
        };
        let stage = Stage::Preparing {
            to,
            new: Answer::Due,
            old: Answer::Due,
        };
        self.begin_deploy(None, slot, order, Some(from), stage);
        self.prepare(slot);
    }

    /// After a restart two slaves hold shards of one slot.
    pub(crate) fn deploy_goes_on(&mut self, slot: SlotId, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let pace = Pace::Width;
        self.begin_deploy(None, slot, order, Some(from), Stage::Moving { to, pace });
        if let Some(deploy) = self.deploys.of_mut(slot) {
            deploy.given = Some(self.out.now);
            deploy.queue_slot(to, &self.fleet, self.out.now);
        }
        self.tell_step(slot);
    }

    fn usual_order(&self, slot: SlotId) -> DeployOrder {
        DeployOrder {
            slot: self.fleet.slots[slot].name.clone(),
            command: None,
            canary: self.settings.canary,
            width: self.settings.width,
            soak: self.settings.soak,
            late_seal: self.settings.late_seal,
            beside: Beside::Nothing,
        }
    }

    fn begin_deploy(
        &mut self,
        request: Option<RequestId>,
        slot: SlotId,
        mut order: DeployOrder,
        from: Option<SlaveId>,
        stage: Stage,
    ) {
        let to = stage.to().and_then(|to| self.fleet.slaves.get(&to));
        let interrupted = to.and_then(|to| {
            let last = self.fleet.slots[slot].last_deploy.as_ref()?;
            self.deploys.interrupted(&to.hello, last)
        });
        let goes_on = interrupted.is_some();
        let id = if let Some(last) = interrupted {
            order.command.clone_from(&last.command);
            last.deploy
        } else {
            let place = &mut self.fleet.slots[slot];
            let before = place.deployed(self.out.now);
            let last = self.deploys.number(&order, before, &mut self.out);
            let number = last.deploy;
            place.deploys(last, self.out.now);
            number
        };
        let command = order.command.clone();
        let name = order.slot.clone();
        self.out.stop(Timer::Slot(slot));
        self.fleet.slots[slot].losses = Losses::default();
        let before = Before::of(from, slot, &self.fleet, self.out.now);
        self.deploys.begin(Deploy {
            id,
            slot,
            order,
            from,
            stage,
            queue: VecDeque::new(),
            in_flight: InFlight::new(),
            forced: None,
            began: self.out.now,
            given: None,
            soak: None,
            before,
            first_stop: None,
            last_served: None,
            returns: 0,
            paused: false,
        });
        self.out.tell(News::DeployAccepted {
            request,
            deploy: id,
            slot: name,
            from,
            command,
            goes_on,
        });
        self.out.touch(slot);
    }

    /// The process of a launch is known, if it is the one of a deploy.
    pub(crate) fn candidate_launched(&mut self, of: LaunchId, process: u32) {
        if let Some(deploy) = self.deploys.launching(of)
            && let Stage::Starting { pid, .. } = &mut deploy.stage
        {
            *pid = Some(process);
        }
    }

    /// The launched candidate joined.
    pub(crate) fn candidate_came(&mut self, slot: SlotId, to: SlaveId) {
        if let Some(deploy) = self.deploys.stepping(slot) {
            deploy.stage = Stage::Preparing {
                to,
                new: Answer::Due,
                old: Answer::Due,
            };
            self.prepare(slot);
        }
    }

    /// Tells where the deploy is.
    fn tell_step(&mut self, slot: SlotId) {
        if let Some(deploy) = self.deploys.of(slot) {
            deploy.tell_step(&mut self.out);
        }
    }

    // ---- what an operator says of one that runs ------------------------------

    /// The deploy that an operator means: of the slot that is named, or the only one.
    fn deploy_meant(&self, slot: Option<&str>) -> Result<SlotId, String> {
        if let Some(name) = slot {
            let Some(slot) = self.fleet.slots.named(name) else {
                return Err(format!("this fleet has no slot {name:?}"));
            };
            let deploy = self.deploys.of(slot);
            let none = || format!("no deploy of slot {name:?} is under way");
            return deploy.map(|_| slot).ok_or_else(none);
        }
        match self.deploys.slots()[..] {
            [] => Err("no deploy is under way".to_owned()),
            [slot] => Ok(slot),
            [..] => {
                let deploys = self.deploys.iter();
                let names: Vec<_> = deploys.map(|deploy| deploy.order.slot.as_str()).collect();
                Err(format!(
                    "deploys of several slots are under way ({}): name the slot of one",
                    names.join(", ")
                ))
            }
        }
    }

    pub(crate) fn pause_asked(&mut self, request: RequestId, slot: Option<&str>, pause: Pause) {
        let paused = self.deploy_meant(slot).and_then(|slot| {
            let deploy = self.deploys.stepping(slot);
            let paused = deploy.map_or(Ok(()), |deploy| deploy.pause(pause));
            paused.map(|()| slot).map_err(str::to_owned)
        });
        match paused {
            Ok(slot) => self.tell_step(slot),
            Err(reason) => self.out.tell(News::RequestRefused { request, reason }),
        }
    }

    pub(crate) fn abort_asked(&mut self, request: RequestId, slot: Option<&str>) {
        let aborted = self.deploy_meant(slot).and_then(|slot| {
            let stage = self.deploys.of(slot).map(|deploy| &deploy.stage);
            let refusal = match stage {
                Some(Stage::Retiring { .. }) => "everything moved, and the old slave is leaving",
                Some(Stage::RollingBack { .. }) => "the deploy is rolling back already",
                Some(
                    Stage::Starting { .. }
                    | Stage::Preparing { .. }
                    | Stage::Moving { .. }
                    | Stage::Work { .. }
                    | Stage::Soaking { .. },
                )
                | None => return Ok(slot),
            };
            Err(refusal.to_owned())
        });
        match aborted {
            Ok(slot) => self.fail_deploy(slot, None, STOPPED.to_owned()),
            Err(reason) => self.out.tell(News::RequestRefused { request, reason }),
        }
    }
}
