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

mod bake;
mod dark;
mod gate;
mod in_flight;
pub(crate) mod pause;
mod report;
mod rollback;
mod schedule;
mod steps;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use baton_protocol::{
    DeployId, ShardId, SlaveId,
    message::{Hello, Role},
};

use crate::{
    Core,
    event::{Action, DeployOrder, DeployStep, Losses, News, RequestId, Time},
    fleet::Backpressure,
    master_stage::MasterStage,
    timers::Timer,
};

use self::{bake::Bake, dark::Done, in_flight::InFlight};

/// The running deploy.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    pub(crate) id: DeployId,
    pub(crate) slot: usize,
    /// As it was given; no late seals any more once a gateway refused one.
    pub(crate) order: DeployOrder,
    /// Who filled the slot; `None`: it is empty, or its slave died on the way.
    pub(crate) from: Option<SlaveId>,
    pub(crate) stage: Stage,
    /// Shards that have not been begun.
    pub(crate) queue: VecDeque<ShardId>,
    /// Shards that were begun and do not serve at their next owner yet.
    pub(crate) in_flight: InFlight,
    /// Why there is no way back.
    pub(crate) forced: Option<String>,
    pub(crate) began: Time,
    /// When the new slave was given its first shard.
    pub(crate) given: Option<Time>,
    /// The soak, once it began.
    pub(crate) soak: Option<Duration>,
    /// How the old slave kept up when the deploy began, in percent.
    pub(crate) before: u64,
    /// How the new slave kept up when the soak began.
    pub(crate) at_soak: Option<Backpressure>,
    /// How old the old slave's oldest unfinished event was when the deploy began, where
    /// that is known.
    pub(crate) lag_before: Option<Duration>,
    /// How many events in 1000 s each shard got then.
    pub(crate) rates: BTreeMap<ShardId, u64>,
    /// What the new slave had done when the soak began.
    pub(crate) done_at_soak: Option<Done>,
    /// Times that the soak was lengthened, because nothing came.
    pub(crate) lengthened: u32,
    /// The master watches the canary.
    pub(crate) bake: Bake,
    /// Whether the new slave was asked, after the soak, if it lives.
    pub(crate) asked: bool,
    pub(crate) first_stop: Option<Time>,
    pub(crate) last_served: Option<Time>,
    /// Times in a row that the new slave reconnected and no shard moved.
    pub(crate) returns: u32,
    /// Whether it begins no further shard, as an operator wants it.
    pub(crate) paused: bool,
}

/// How far it is, with what exists only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
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
pub(crate) enum Answer {
    Due,
    Given,
}

/// How many shards move at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// These many, alone.
    Canary(usize),
    Width,
}

impl Deploy {
    /// Where the shards of the slot are to be.
    pub(crate) const fn goal(&self) -> Option<SlaveId> {
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
    pub(crate) const fn work_goal(&self) -> Option<SlaveId> {
        match self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Moving { .. } => None,
            Stage::Work { to } | Stage::Soaking { to } | Stage::Retiring { to } => Some(to),
            Stage::RollingBack { .. } => self.from,
        }
    }

    /// The new slave, once it joined.
    pub(crate) const fn to(&self) -> Option<SlaveId> {
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

    /// How many shards may move at once; at least 1.
    pub(crate) fn width(&self) -> usize {
        usize::try_from(self.order.width)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Whether this candidate is the one that was launched. One that does not say for
    /// which deploy is known by its process.
    pub(crate) fn expects(&self, hello: &Hello) -> bool {
        match self.stage {
            Stage::Starting { .. } if hello.deploy != DeployId(0) => hello.deploy == self.id,
            Stage::Starting { pid } => pid.is_none_or(|pid| pid == hello.process.pid),
            Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => false,
        }
    }

    pub(crate) fn step(&self) -> DeployStep {
        match self.stage {
            Stage::Starting { .. } => DeployStep::Starting,
            Stage::Preparing { .. } => DeployStep::Preparing,
            Stage::Moving { .. } if self.paused => DeployStep::Paused,
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
    pub(crate) fn busy(&self) -> String {
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

    pub(crate) fn deploy_in(&self, slot: usize) -> Option<&Deploy> {
        self.deploy.as_ref().filter(|deploy| deploy.slot == slot)
    }

    /// Whether a deploy of this slot may begin; else why not.
    pub(crate) fn deploy_possible(&self, slot: usize, owner: SlaveId) -> Result<(), String> {
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
                "the owners of {} shards of slot {:?} are not known",
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
        let stage = Stage::Starting { pid: None };
        self.begin_deploy(Some(request), slot, order, from, stage);
        // What kept sessions from being given may be mended by it.
        self.permits_may_be_tried();
        self.deploy_step();
        self.standby_gives_way(slot);
        self.out.order(Action::Launch {
            slot: name,
            role: Role::Candidate,
            command,
            deploy: self.deploy.as_ref().map(|deploy| deploy.id),
        });
        self.out.start(Timer::Deploy, self.settings.ready);
        self.out.touch(slot);
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
    pub(crate) fn deploy_candidate(&mut self, slot: usize, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let stage = Stage::Preparing {
            to,
            new: Answer::Due,
            old: Answer::Due,
        };
        self.begin_deploy(None, slot, order, Some(from), stage);
        self.prepare();
    }

    /// A slave that is to end is followed by one that stands by: nobody takes its
    /// shards back.
    pub(crate) fn deploy_heir(&mut self, slot: usize, from: SlaveId, to: SlaveId) {
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
        self.prepare();
    }

    /// After a restart two slaves hold shards of one slot.
    pub(crate) fn deploy_goes_on(&mut self, slot: usize, from: SlaveId, to: SlaveId) {
        let order = self.usual_order(slot);
        let pace = Pace::Width;
        self.begin_deploy(None, slot, order, Some(from), Stage::Moving { to, pace });
        if let Some(deploy) = &mut self.deploy {
            deploy.given = Some(self.out.now);
        }
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
            late_seal: self.settings.late_seal,
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
        let name = order.slot.clone();
        self.out.stop(Timer::Slot(slot));
        self.fleet.slots[slot].losses = Losses::default();
        self.deploy = Some(Deploy {
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
            before: from
                .and_then(|from| self.fleet.slaves.get(&from))
                .map_or(0, |slave| slave.backpressure.percent),
            at_soak: None,
            lag_before: from.and_then(|from| self.fleet.slaves.get(&from)?.lag),
            rates: self.rates(slot),
            done_at_soak: None,
            lengthened: 0,
            bake: Bake::Raw,
            asked: false,
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
        });
        self.out.touch(slot);
    }

    pub(crate) fn candidate_launched(&mut self, slot: usize, launched: u32) {
        if let Some(deploy) = &mut self.deploy
            && deploy.slot == slot
            && let Stage::Starting { pid } = &mut deploy.stage
        {
            *pid = Some(launched);
        }
    }

    /// The launched candidate joined.
    pub(crate) fn candidate_came(&mut self, to: SlaveId) {
        if let Some(deploy) = &mut self.deploy {
            deploy.stage = Stage::Preparing {
                to,
                new: Answer::Due,
                old: Answer::Due,
            };
            self.prepare();
        }
    }
}
