//! A slot moves from one slave to another.
//!
//! ```text
//! Starting ─joined─▶ Preparing ─both ready─▶ Moving ─all─▶ Work ─▶ Soaking ─▶ Retiring ─dead─▶ Done
//! (launched)             │                   canary, then    │        │
//!    │                   │                   `width` at once │        │
//!    ▼                   ▼                      ▼            ▼        ▼
//! Aborted             Aborted                RollingBack: every moved shard goes back ─▶ RolledBack
//! ```
//!
//! Every arrow to the right is taken by [`Core::advance_deploy`], every arrow
//! down by [`Core::fail_deploy`] (`rollback.rs`). A deploy whose old slave dies
//! has nothing to go back to: it goes on and ends `Forced`. There is at most one
//! deploy.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::{
    DeployId, Epoch, ShardId, SlaveId, ToSlave,
    message::{MigrationExtra, Role, ShardMigrationStart},
};

use super::{
    Core, Life,
    event::{
        Action, DeployOrder, DeployStep, Durability, Entry, News, Outcome, Phase as Told,
        RequestId, Time,
    },
    shard::{How, Phase},
    timers::Timer,
    work,
};

/// The running deploy.
#[derive(Clone, Debug)]
pub(super) struct Deploy {
    pub(super) id: DeployId,
    pub(super) slot: usize,
    pub(super) order: DeployOrder,
    /// Who filled the slot; `None`: it is empty, or its slave died on the way.
    pub(super) from: Option<SlaveId>,
    pub(super) stage: Stage,
    /// Shards that have not been begun.
    pub(super) queue: VecDeque<ShardId>,
    /// Shards that were begun and do not serve at their next owner yet.
    pub(super) in_hand: BTreeSet<ShardId>,
    /// Why there is no way back.
    pub(super) forced: Option<String>,
    began: Time,
    first_stop: Option<Time>,
    last_served: Option<Time>,
}

/// How far it is, with what exists only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A process is launched; known once it has started.
    Starting {
        pid: Option<u32>,
    },
    /// Both were told; who answered.
    Preparing {
        to: SlaveId,
        new: Answer,
        old: Answer,
    },
    Moving {
        to: SlaveId,
        pace: Pace,
    },
    Work {
        to: SlaveId,
    },
    Soaking {
        to: SlaveId,
    },
    /// Committed: only the end of the old slave is waited for.
    Retiring {
        to: SlaveId,
    },
    RollingBack {
        to: SlaveId,
        shard: Option<ShardId>,
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Due,
    Given,
}

/// How many shards move at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// These many, alone.
    Canary(usize),
    Width,
}

impl Deploy {
    /// Where the shards of the slot are to be.
    pub(super) const fn goal(&self) -> Option<SlaveId> {
        match self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::RollingBack { .. } => {
                self.from
            }
            Stage::Moving { to, .. }
            | Stage::Work { to }
            | Stage::Soaking { to }
            | Stage::Retiring { to } => Some(to),
        }
    }

    /// Where the once-per-bot work is to be; `None`: where it is.
    pub(super) const fn work_goal(&self) -> Option<SlaveId> {
        match self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Moving { .. } => None,
            Stage::Work { to } | Stage::Soaking { to } | Stage::Retiring { to } => Some(to),
            Stage::RollingBack { .. } => self.from,
        }
    }

    /// The new slave, once it joined.
    pub(super) const fn to(&self) -> Option<SlaveId> {
        match self.stage {
            Stage::Starting { .. } => None,
            Stage::Preparing { to, .. }
            | Stage::Moving { to, .. }
            | Stage::Work { to }
            | Stage::Soaking { to }
            | Stage::Retiring { to }
            | Stage::RollingBack { to, .. } => Some(to),
        }
    }

    /// Whether a candidate with this process is the one that was launched.
    pub(super) fn expects(&self, joined: u32) -> bool {
        matches!(self.stage, Stage::Starting { pid } if pid.is_none_or(|pid| pid == joined))
    }

    pub(super) fn step(&self) -> DeployStep {
        match self.stage {
            Stage::Starting { .. } => DeployStep::Starting,
            Stage::Preparing { .. } => DeployStep::Preparing,
            Stage::Moving {
                pace: Pace::Canary(_),
                ..
            } => DeployStep::Canary,
            Stage::Moving { .. } => DeployStep::Moving,
            Stage::Work { .. } => DeployStep::Work,
            Stage::Soaking { .. } => DeployStep::Soaking,
            Stage::Retiring { .. } => DeployStep::Retiring,
            Stage::RollingBack { .. } => DeployStep::RollingBack,
        }
    }

    /// Why another deploy is refused.
    pub(super) fn busy(&self) -> String {
        format!(
            "deploy {} of slot {:?} is under way ({}); wait for its end or abort it",
            self.id,
            self.order.slot,
            self.step()
        )
    }
}

impl Core {
    // ---- how one begins ------------------------------------------------------

    pub(super) fn deploy_in(&self, slot: usize) -> Option<&Deploy> {
        self.deploy.as_ref().filter(|deploy| deploy.slot == slot)
    }

    /// Whether a deploy of this slot may begin; else why not.
    pub(super) fn deploy_possible(&self, slot: usize, owner: SlaveId) -> Result<(), String> {
        self.deploy_possible_anywhere()?;
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
                "of {} shards of slot {:?} it is not known whose they are",
                place.unknown.len(),
                place.name
            ));
        }
        Ok(())
    }

    fn deploy_possible_anywhere(&self) -> Result<(), String> {
        if let Some(deploy) = &self.deploy {
            return Err(deploy.busy());
        }
        match self.stage {
            Life::Adopting => return Err("the master has just started and collects reports".into()),
            Life::Leaving | Life::Left => return Err("the master is leaving".into()),
            Life::Running => {}
        }
        if self.saves.fail() {
            return Err("the journal cannot be written; free space on its disk".into());
        }
        Ok(())
    }

    /// An operator wants one: a process is launched, it is the candidate.
    pub(super) fn deploy_asked(&mut self, request: RequestId, order: DeployOrder) {
        let slot = match self.deploy_slot(&order) {
            Ok(slot) => slot,
            Err(reason) => {
                self.tell(News::RequestRefused { request, reason });
                return;
            }
        };
        let from = self.fleet.slots[slot].owner;
        let command = order.command.clone();
        let name = order.slot.clone();
        let stage = Stage::Starting { pid: None };
        self.begin_deploy(Some(request), slot, order, from, stage);
        self.deploy_step();
        self.actions.push_back(Action::Launch {
            slot: name,
            role: Role::Candidate,
            command,
        });
        self.start_timer(Timer::Deploy, self.settings.ready);
        self.touch(slot);
    }

    fn deploy_slot(&self, order: &DeployOrder) -> Result<usize, String> {
        let Some(slot) = self.fleet.slot_named(&order.slot) else {
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
            Some(owner) => self.deploy_possible(slot, owner)?,
            None => self.deploy_possible_anywhere()?,
        }
        Ok(slot)
    }

    /// A candidate came by itself.
    pub(super) fn deploy_candidate(&mut self, slot: usize, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let stage = Stage::Preparing {
            to,
            new: Answer::Due,
            old: Answer::Due,
        };
        self.begin_deploy(None, slot, order, Some(from), stage);
        self.prepare();
    }

    /// After a restart two slaves hold shards of one slot.
    pub(super) fn deploy_goes_on(&mut self, slot: usize, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let pace = Pace::Width;
        self.begin_deploy(None, slot, order, Some(from), Stage::Moving { to, pace });
        self.queue_slot(to);
        self.deploy_step();
    }

    fn usual_order(&self, slot: usize) -> DeployOrder {
        DeployOrder {
            slot: self.fleet.slots[slot].name.clone(),
            command: None,
            canary: self.settings.canary,
            width: self.settings.width,
            soak: self.settings.soak,
        }
    }

    fn begin_deploy(
        &mut self,
        request: Option<RequestId>,
        slot: usize,
        order: DeployOrder,
        from: Option<SlaveId>,
        stage: Stage,
    ) {
        let id = self.number_deploy();
        self.timers.stop(Timer::Slot(slot));
        self.deploy = Some(Deploy {
            id,
            slot,
            order,
            from,
            stage,
            queue: VecDeque::new(),
            in_hand: BTreeSet::new(),
            forced: None,
            began: self.now,
            first_stop: None,
            last_served: None,
        });
        self.tell(News::DeployAccepted {
            request,
            deploy: id,
        });
        self.touch(slot);
    }

    pub(super) fn candidate_launched(&mut self, slot: usize, launched: u32) {
        if let Some(deploy) = &mut self.deploy
            && deploy.slot == slot
            && let Stage::Starting { pid } = &mut deploy.stage
        {
            *pid = Some(launched);
        }
    }

    /// The launched candidate joined.
    pub(super) fn candidate_came(&mut self, to: SlaveId) {
        if let Some(deploy) = &mut self.deploy {
            deploy.stage = Stage::Preparing {
                to,
                new: Answer::Due,
                old: Answer::Due,
            };
            self.prepare();
        }
    }

    // ---- its steps, downwards ------------------------------------------------

    /// M1: both slaves are told that shards will move.
    fn prepare(&mut self) {
        self.deploy_step();
        self.start_timer(Timer::Deploy, self.settings.ready);
        self.ask_prepared();
    }

    fn ask_prepared(&mut self) {
        let Some(deploy) = &self.deploy else {
            return;
        };
        let Stage::Preparing { to, new, old } = deploy.stage else {
            return;
        };
        let (deploy, from) = (deploy.id, deploy.from);
        let num_shards = u32::try_from(self.deploy_size()).unwrap_or(u32::MAX);
        let start = |from_this_slave, num_shards| {
            ToSlave::ShardMigrationStart(ShardMigrationStart {
                from_this_slave,
                num_shards,
                extra: Some(MigrationExtra { deploy }),
            })
        };
        if new == Answer::Due {
            self.send(to, start(false, num_shards));
        }
        if old == Answer::Due
            && let Some(from) = from
        {
            self.send(from, start(true, 0));
        }
    }

    /// One of them is ready.
    pub(super) fn prepared(&mut self, slave: SlaveId, answer: &ShardMigrationStart) {
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        if answer.extra.is_some_and(|extra| extra.deploy != deploy.id) {
            return;
        }
        let Stage::Preparing { to, new, old } = &mut deploy.stage else {
            return;
        };
        if slave == *to && !answer.from_this_slave {
            *new = Answer::Given;
        } else if Some(slave) == deploy.from && answer.from_this_slave {
            *old = Answer::Given;
        }
        let slot = deploy.slot;
        self.touch(slot);
    }

    /// Takes every step that can be taken now.
    pub(super) fn advance_deploy(&mut self, slot: usize) {
        while self.deploy_in(slot).is_some() && self.deploy_steps_on() {}
    }

    fn deploy_steps_on(&mut self) -> bool {
        let Some(deploy) = &self.deploy else {
            return false;
        };
        let (from, slot) = (deploy.from, deploy.slot);
        match deploy.stage {
            Stage::Starting { .. } | Stage::Soaking { .. } | Stage::Retiring { .. } => false,
            Stage::Preparing { to, new, old } => {
                let ready = new == Answer::Given && (old == Answer::Given || from.is_none());
                if ready && self.stage == Life::Running && !self.saves.fail() {
                    self.start_moving(to);
                    return true;
                }
                false
            }
            Stage::Moving { to, pace } => {
                let serving = self.fleet.serving(to);
                if let Pace::Canary(canary) = pace
                    && serving >= canary
                {
                    self.go_to(Stage::Moving {
                        to,
                        pace: Pace::Width,
                    });
                    return true;
                }
                let complete = serving == self.fleet.slots[slot].size;
                if complete && self.hand_is_empty() && self.stage == Life::Running {
                    self.go_to(Stage::Work { to });
                    return true;
                }
                self.fill_hand();
                false
            }
            Stage::Work { to } => {
                if slot != work::HOME || self.work_is_at(to) {
                    self.start_soak(to);
                    return true;
                }
                false
            }
            Stage::RollingBack { .. } => {
                self.fill_hand();
                self.end_rollback_when_done()
            }
        }
    }

    fn start_moving(&mut self, to: SlaveId) {
        self.timers.stop(Timer::Deploy);
        self.queue_slot(to);
        let size = self.deploy_size();
        let Some(deploy) = &self.deploy else {
            return;
        };
        let canary = usize::try_from(deploy.order.canary)
            .unwrap_or(usize::MAX)
            .min(size);
        let pace = if canary == 0 || deploy.from.is_none() {
            Pace::Width
        } else {
            Pace::Canary(canary)
        };
        self.go_to(Stage::Moving { to, pace });
    }

    /// Begins as many shards as may move at once.
    fn fill_hand(&mut self) {
        while let Some((id, to)) = self.next_to_move() {
            if let Some(deploy) = &mut self.deploy {
                deploy.in_hand.insert(id);
            }
            self.begin_move(id, to);
        }
    }

    fn next_to_move(&mut self) -> Option<(ShardId, SlaveId)> {
        if self.stage != Life::Running || self.saves.fail() {
            return None;
        }
        let deploy = self.deploy.as_mut()?;
        let goal = deploy.goal()?;
        let moved = self.fleet.serving(goal);
        let room = match deploy.stage {
            Stage::Moving {
                pace: Pace::Canary(canary),
                ..
            } => deploy.in_hand.len() + moved < canary,
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => {
                let width = usize::try_from(deploy.order.width).unwrap_or(usize::MAX);
                deploy.in_hand.len() < width.max(1)
            }
        };
        if !room || !self.fleet.can_take(goal) {
            return None;
        }
        let rolling_back = matches!(deploy.stage, Stage::RollingBack { .. });
        while let Some(id) = deploy.queue.pop_front() {
            let phase = &self.fleet.shards.get(&id)?.phase;
            if deploy.in_hand.contains(&id) {
                continue;
            }
            match phase {
                Phase::Free(_) => return Some((id, goal)),
                Phase::Serving { owner, .. } | Phase::Starting { owner, .. } if *owner == goal => {}
                // Not served yet: nothing to take over. It comes when it serves.
                Phase::Starting { .. } if !rolling_back => {}
                Phase::Serving { owner, .. } | Phase::Starting { owner, .. } => {
                    if self.fleet.can_take(*owner) {
                        return Some((id, goal));
                    }
                    // Its owner is away or dying: its return or its death decides.
                    deploy.queue.push_front(id);
                    return None;
                }
                Phase::Unknown { .. } | Phase::Copying { .. } | Phase::Sealing { .. } => {}
            }
        }
        None
    }

    /// Every shard of the slot that is not at `goal` is to move.
    pub(super) fn queue_slot(&mut self, goal: SlaveId) {
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        let members = self.fleet.slots[deploy.slot].members;
        deploy.queue = members
            .iter()
            .filter(|id| {
                self.fleet.shards.get(id).is_some_and(|shard| {
                    shard.slot == deploy.slot
                        && shard
                            .phase
                            .claimant()
                            .is_none_or(|(owner, _)| owner != goal)
                })
            })
            .collect();
    }

    /// M7: everything moved; the old slave stays ready to take it back.
    fn start_soak(&mut self, to: SlaveId) {
        let Some(deploy) = &self.deploy else {
            return;
        };
        if deploy.from.is_none() {
            self.commit(to);
            let outcome = self.outcome_of_success();
            self.end_deploy(outcome);
            return;
        }
        let soak = deploy.order.soak;
        self.go_to(Stage::Soaking { to });
        self.start_timer(Timer::Deploy, soak);
    }

    /// From here there is no way back: the slot is the new slave's.
    fn commit(&mut self, to: SlaveId) {
        let Some(deploy) = &self.deploy else {
            return;
        };
        let slot = deploy.slot;
        if let Some(command) = deploy.order.command.clone() {
            let slot = deploy.order.slot.clone();
            self.save(vec![Entry::Command { slot, command }], Durability::Soon);
        }
        self.fill(slot, to);
    }

    /// A step took too long, or the soak is over.
    pub(super) fn deploy_due(&mut self) {
        let Some(deploy) = &self.deploy else {
            return;
        };
        let ready = self.settings.ready;
        match deploy.stage {
            Stage::Starting { pid } => {
                let slot = deploy.slot;
                if let Some(pid) = pid {
                    self.fleet.slots[slot].refuse_pid(pid);
                }
                self.fail_deploy(None, format!("the new slave did not join within {ready:?}"));
            }
            Stage::Preparing {
                to,
                new: Answer::Due,
                ..
            } => {
                self.condemn(to);
                self.fail_deploy(
                    None,
                    format!("the new slave was not ready within {ready:?}"),
                );
            }
            Stage::Preparing { .. } => {
                self.fail_deploy(
                    None,
                    format!("the old slave did not answer within {ready:?}"),
                );
            }
            Stage::Soaking { to } => self.soak_over(to),
            Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => {}
        }
    }

    fn soak_over(&mut self, to: SlaveId) {
        let served = self.fleet.serving(to) == self.deploy_size() && self.work_is_settled(to);
        if !served || !self.fleet.can_take(to) || self.saves.fail() {
            // Cut off, or just resuming: the commit waits until it is whole.
            self.start_timer(Timer::Deploy, self.settings.no_progress);
            return;
        }
        self.commit(to);
        self.go_to(Stage::Retiring { to });
        if let Some(from) = self.deploy.as_ref().and_then(|deploy| deploy.from) {
            self.dismiss(from);
        }
    }

    fn work_is_settled(&self, to: SlaveId) -> bool {
        self.deploy
            .as_ref()
            .is_some_and(|deploy| deploy.slot != work::HOME)
            || self.work_is_at(to)
    }

    pub(super) fn outcome_of_success(&self) -> Outcome {
        match self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.forced.clone())
        {
            Some(reason) => Outcome::Forced { reason },
            None => Outcome::Done,
        }
    }

    /// Tells how it ended; the slot goes on without it.
    pub(super) fn end_deploy(&mut self, outcome: Outcome) {
        let Some(deploy) = self.deploy.take() else {
            return;
        };
        self.timers.stop(Timer::Deploy);
        for slave in [deploy.from, deploy.to()].into_iter().flatten() {
            self.timers.stop(Timer::Away(slave));
        }
        let moved = deploy.to().map_or(0, |to| self.fleet.serving(to));
        let migrating = match (deploy.first_stop, deploy.last_served) {
            (Some(first), Some(last)) => last.since(first),
            (None, _) | (_, None) => Duration::ZERO,
        };
        self.tell(News::DeployEnded {
            deploy: deploy.id,
            outcome,
            moved: u32::try_from(moved).unwrap_or(u32::MAX),
            migrating,
            total: self.now.since(deploy.began),
        });
        self.forget_settled(deploy.slot);
        self.touch(deploy.slot);
    }

    /// What was settled in this deploy needs not be said again.
    fn forget_settled(&mut self, slot: usize) {
        let members = self.fleet.slots[slot].members;
        for id in members.iter() {
            if let Some(shard) = self.fleet.shards.get_mut(&id)
                && shard
                    .doubt
                    .as_ref()
                    .is_some_and(|doubt| doubt.unfinished.is_some())
                && shard.phase.serves()
            {
                shard.doubt = None;
            }
        }
    }

    // ---- what its shards tell it ---------------------------------------------

    /// A shard of the slot was given to `target`.
    pub(super) fn move_started(&mut self, id: ShardId, target: SlaveId) {
        let Some((slot, epoch, how)) =
            self.fleet
                .shards
                .get(&id)
                .and_then(|shard| match shard.phase {
                    Phase::Starting { epoch, how, .. } => Some((shard.slot, epoch, how)),
                    Phase::Unknown { .. }
                    | Phase::Free(_)
                    | Phase::Serving { .. }
                    | Phase::Copying { .. }
                    | Phase::Sealing { .. } => None,
                })
        else {
            return;
        };
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        if deploy.slot != slot || deploy.goal() != Some(target) {
            return;
        }
        let (from, told) = match deploy.stage {
            Stage::RollingBack { to, .. } => (Some(to), Told::TakingBack),
            Stage::Moving { .. } | Stage::Work { .. } | Stage::Soaking { .. } => {
                (deploy.from, Told::Resuming)
            }
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Retiring { .. } => return,
        };
        deploy.in_hand.insert(id);
        if how != How::Full {
            self.start_timer(Timer::Shard(id), self.settings.no_progress);
        }
        if let Some(from) = from {
            self.tell_move(id, from, target, epoch, told);
        }
    }

    pub(super) fn seal_told(&mut self, id: ShardId, owner: SlaveId, to: SlaveId, epoch: Epoch) {
        let now = self.now;
        let Some(deploy) = &mut self.deploy else {
            return;
        };
        deploy.first_stop.get_or_insert(now);
        let told = match deploy.stage {
            Stage::RollingBack { .. } => Told::TakingBack,
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. } => Told::Sealing,
        };
        self.tell_move(id, owner, to, epoch, told);
    }

    /// A shard began to serve.
    pub(super) fn move_served(&mut self, id: ShardId, at: SlaveId, epoch: Epoch) {
        let now = self.now;
        if let Some(deploy) = &mut self.deploy {
            let goal = deploy.goal();
            if deploy.in_hand.remove(&id) && goal == Some(at) {
                deploy.last_served = Some(now);
                let (from, told) = match deploy.stage {
                    Stage::RollingBack { to, .. } => (Some(to), Told::Back),
                    Stage::Starting { .. }
                    | Stage::Preparing { .. }
                    | Stage::Moving { .. }
                    | Stage::Work { .. }
                    | Stage::Soaking { .. }
                    | Stage::Retiring { .. } => (deploy.from, Told::Moved),
                };
                if let Some(from) = from {
                    self.tell_move(id, from, at, epoch, told);
                    return;
                }
            } else if goal != Some(at) {
                // It had not served when its turn came.
                deploy.queue.push_back(id);
            }
        }
        self.tell_serving(id, epoch, at);
    }

    pub(super) fn tell_move(
        &mut self,
        id: ShardId,
        from: SlaveId,
        to: SlaveId,
        epoch: Epoch,
        phase: Told,
    ) {
        if let Some(deploy) = self.deploy.as_ref().map(|deploy| deploy.id) {
            self.tell(News::Migration {
                deploy,
                shard: id,
                from,
                to,
                epoch,
                phase,
            });
        }
    }

    /// The copies that run to this slave, or from it: in hand, so never many.
    pub(super) fn copies_to(&self, slave: SlaveId) -> Vec<ShardId> {
        let in_hand = self.deploy.iter().flat_map(|deploy| &deploy.in_hand);
        in_hand
            .copied()
            .filter(|id| {
                self.fleet.shards.get(id).is_some_and(
                    |shard| matches!(shard.phase, Phase::Copying { to, .. } if to == slave),
                )
            })
            .collect()
    }

    /// A slave of the deploy is back.
    pub(super) fn deploy_rejoined(&mut self, id: SlaveId) {
        if self.deploy_needs(id) {
            self.ask_prepared();
        }
    }

    pub(super) fn go_to(&mut self, stage: Stage) {
        if let Some(deploy) = &mut self.deploy {
            let before = deploy.step();
            let first = before == DeployStep::Preparing;
            deploy.stage = stage;
            if deploy.step() != before || first {
                self.deploy_step();
            }
        }
    }

    pub(super) fn deploy_step(&mut self) {
        if let Some(deploy) = &self.deploy {
            let news = News::DeployStep {
                deploy: deploy.id,
                step: deploy.step(),
            };
            let slot = deploy.slot;
            self.tell(news);
            self.touch(slot);
        }
    }

    fn hand_is_empty(&self) -> bool {
        self.deploy
            .as_ref()
            .is_some_and(|deploy| deploy.in_hand.is_empty())
    }

    pub(super) fn deploy_size(&self) -> usize {
        self.deploy
            .as_ref()
            .map_or(0, |deploy| self.fleet.slots[deploy.slot].size)
    }
}
