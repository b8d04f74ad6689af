//! How a deploy begins: an operator asks for it, a candidate comes by itself, a slave is
//! to be followed, or the master finds one that it did not survive. Then (M1) both slaves
//! are told that shards will move, and say when they are ready for it.

use std::{collections::VecDeque, time::Duration};

use baton_protocol::{
    LaunchId, SlaveId, ToSlave,
    message::{Role, ShardMigrationStart},
};

use crate::{
    deploy::{Answer, Before, Deploy, Deploys, InFlight, Pace, Stage, Succession},
    event::{Action, Beside, DeployOrder, Losses, News, RequestId},
    fleet::{Fleet, SlotId},
    master_stage::MasterStage,
    out::Out,
    timers::Timer,
};

impl Succession<'_> {
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
    /// Whether it began.
    pub(crate) fn deploy_asked(&mut self, request: RequestId, order: DeployOrder) -> bool {
        let slot = match self.deploy_slot(&order) {
            Ok(slot) => slot,
            Err(reason) => {
                self.out.tell(News::RequestRefused { request, reason });
                return false;
            }
        };
        self.launches(Some(request), slot, order);
        true
    }

    /// The owner of a slot is to have a successor, and nobody asked for it.
    pub(crate) fn deploy_launched(&mut self, slot: SlotId, order: DeployOrder) {
        self.launches(None, slot, order);
    }

    /// A process is launched, and is the candidate of a deploy.
    fn launches(&mut self, request: Option<RequestId>, slot: SlotId, order: DeployOrder) {
        let from = self.fleet.slots[slot].owner;
        let command = order.command.clone();
        let name = order.slot.clone();
        let launch = self.fleet.next_launch();
        let stage = Stage::Starting { launch, pid: None };
        self.begin_deploy(request, slot, order, from, stage);
        self.tell_step(slot);
        self.fleet.standby_gives_way(slot, self.out);
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

    pub(crate) fn deploy_slot(&self, order: &DeployOrder) -> Result<SlotId, String> {
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
        if let Some(reason) = place.cannot_start() {
            return Err(reason);
        }
        if let Some(expected) = &order.expect {
            let owner = place.owner.and_then(|owner| self.fleet.slaves.get(&owner));
            let build = owner.map(|owner| owner.hello.build.as_str());
            if build != Some(expected.as_str()) && !mutant!("any-build-expected") {
                return Err(match build {
                    Some(build) => format!(
                        "slot {:?} has build {build:?}, and {expected:?} is expected: somebody \
                         else was quicker. baton-master history shows what came",
                        order.slot
                    ),
                    None => format!(
                        "slot {:?} has no slave, and build {expected:?} is expected",
                        order.slot
                    ),
                });
            }
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
            deploy.queue_slot(to, self.fleet, self.out.now);
        }
        self.tell_step(slot);
    }

    pub(crate) fn usual_order(&self, slot: SlotId) -> DeployOrder {
        DeployOrder {
            slot: self.fleet.slots[slot].name.clone(),
            command: None,
            canary: self.settings.canary,
            width: self.settings.width,
            soak: self.settings.soak,
            late_seal: self.settings.late_seal,
            beside: Beside::Nothing,
            expect: None,
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
            let last = self.deploys.number(&order, before, self.out);
            let number = last.deploy;
            place.deploys(last, self.out.now);
            number
        };
        let command = order.command.clone();
        let name = order.slot.clone();
        self.out.stop(Timer::Slot(slot));
        self.fleet.slots[slot].losses = Losses::default();
        let before = Before::of(from, slot, self.fleet, self.out.now);
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

    /// M1: the master tells both slaves that shards will move.
    pub(crate) fn prepare(&mut self, slot: SlotId) {
        if let Some(deploy) = self.deploys.of(slot) {
            deploy.tell_step(self.out);
            self.out.start(Timer::Deploy(slot), self.settings.ready);
            deploy.ask_prepared(self.fleet, self.out);
        }
    }

    /// Tells where the deploy is.
    pub(super) fn tell_step(&mut self, slot: SlotId) {
        if let Some(deploy) = self.deploys.of(slot) {
            deploy.tell_step(self.out);
        }
    }
}

impl Deploys {
    /// The process of a launch is known, if it is the one of a deploy.
    pub(crate) fn candidate_launched(&mut self, of: LaunchId, process: u32) {
        if let Some(deploy) = self.launching(of)
            && let Stage::Starting { pid, .. } = &mut deploy.stage
        {
            *pid = Some(process);
        }
    }

    /// One of the slaves of a deploy is ready.
    pub(crate) fn prepared(&mut self, slave: SlaveId, answer: &ShardMigrationStart, out: &mut Out) {
        if let Some(deploy) = self.with_mut(slave) {
            deploy.prepared(slave, answer, out);
        }
    }
}

impl Deploy {
    /// Asks each slave that has not answered whether it is ready for the move.
    pub(crate) fn ask_prepared(&self, fleet: &Fleet, out: &mut Out) {
        let Stage::Preparing { to, new, old } = self.stage else {
            return;
        };
        let shards = u32::try_from(self.size(fleet)).unwrap_or(u32::MAX);
        let start = |from_this_slave, shards| {
            ToSlave::ShardMigrationStart(ShardMigrationStart {
                deploy: self.id,
                from_this_slave,
                shards,
            })
        };
        if new == Answer::Due {
            out.send(to, start(false, shards));
        }
        if old == Answer::Due
            && let Some(from) = self.from
        {
            out.send(from, start(true, 0));
        }
    }

    /// One of them answers.
    fn prepared(&mut self, slave: SlaveId, answer: &ShardMigrationStart, out: &mut Out) {
        if answer.deploy != self.id {
            return;
        }
        let Stage::Preparing { to, new, old } = &mut self.stage else {
            return;
        };
        if slave == *to && !answer.from_this_slave {
            *new = Answer::Given;
        } else if Some(slave) == self.from && answer.from_this_slave {
            *old = Answer::Given;
        }
        out.touch(self.slot);
    }
}
