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
//! Every arrow to the right is taken by [`Succession::advance_deploy`], every arrow
//! down by [`Succession::fail_deploy`] (`rollback.rs`). A deploy whose old slave dies
//! has nothing to go back to: it goes on and ends `Forced`. There is at most one of each slot
//! (`deploys.rs`).

mod bake;
mod begin;
mod dark;
mod deploys;
mod gate;
mod in_flight;
mod pause;
mod report;
mod rollback;
mod schedule;
mod steps;
mod succession;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use baton_protocol::{DeployId, LaunchId, ShardId, SlaveId, message::Hello};

use crate::{
    event::{DeployOrder, DeployStep, Outcome, Time},
    fleet::{Backpressure, Fleet, SlotId},
};

pub(crate) use self::{
    deploys::{Carrier, Deploys, Load},
    in_flight::InFlight,
    succession::Succession,
};

/// The running deploy.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    pub(crate) id: DeployId,
    pub(crate) slot: SlotId,
    /// As it was given; no late seals any more once the service refused one.
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
    /// How long the soak is, once it began.
    pub(crate) soak: Option<Duration>,
    /// How the old slave did.
    pub(crate) before: Before,
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
    /// A process is launched; its process is known once it has started.
    Starting {
        launch: LaunchId,
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
        soak: Soak,
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

/// How the old slave did when its deploy began: the new one is compared with it.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// The part of their time in which its shards took nothing, in percent.
    backpressure: u64,
    /// How old its oldest unfinished event was as a rule, where that is known.
    pub(crate) lag: Option<Duration>,
    /// How many events in 1000 s each shard got.
    rates: BTreeMap<ShardId, u64>,
}

/// The soak: the new slave has everything, and is compared with itself at its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Soak {
    /// What the new slave had done when it began.
    pub(crate) done: Done,
    /// How the new slave kept up then, once it said so.
    pub(crate) backpressure: Option<Backpressure>,
    /// Times that it was lengthened, because nothing came.
    pub(crate) lengthened: u32,
    /// Whether the new slave was asked, at its end, if it lives.
    pub(crate) asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Due,
    Given,
}

/// How many shards move at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// These many, alone, until they have been looked at.
    Canary {
        shards: usize,
        bake: Bake,
    },
    Width,
}

/// How far the look at a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bake {
    /// It does not serve yet.
    Raw,
    /// Since then.
    Since(Time),
    /// The rest may move.
    Done,
}

/// What a slave had done at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    at: Time,
    /// Events that its bot was handed.
    handed: u64,
    /// Events of each shard that are finished, counted from anywhere.
    finished: BTreeMap<ShardId, u64>,
}

impl Stage {
    /// The new slave, once it joined.
    pub(crate) const fn to(&self) -> Option<SlaveId> {
        match *self {
            Self::Starting { .. } => None,
            Self::Preparing { to, .. }
            | Self::Moving { to, .. }
            | Self::Work { to }
            | Self::Soaking { to, .. }
            | Self::Retiring { to }
            | Self::RollingBack { to, .. } => Some(to),
        }
    }
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
            | Stage::Soaking { to, .. }
            | Stage::Retiring { to } => Some(to),
        }
    }

    /// Where the once-per-bot work is to be; `None`: where it is.
    pub(crate) const fn work_goal(&self) -> Option<SlaveId> {
        match self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } | Stage::Moving { .. } => None,
            Stage::Work { to } | Stage::Soaking { to, .. } | Stage::Retiring { to } => Some(to),
            Stage::RollingBack { .. } => self.from,
        }
    }

    /// The new slave, once it joined.
    pub(crate) const fn to(&self) -> Option<SlaveId> {
        self.stage.to()
    }

    /// How many shards may move at once; at least 1.
    pub(crate) fn width(&self) -> usize {
        usize::try_from(self.order.width)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// Whether this candidate is the one that was launched. One that does not say of which
    /// launch, or for which deploy, is known by its process.
    pub(crate) fn expects(&self, hello: &Hello) -> bool {
        match self.stage {
            Stage::Starting { launch, .. } if hello.launch.is_said() => hello.launch == launch,
            Stage::Starting { .. } if hello.deploy != DeployId(0) => hello.deploy == self.id,
            Stage::Starting { pid, .. } => pid.is_none_or(|pid| pid == hello.process.pid),
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
                pace: Pace::Canary { .. },
                ..
            } => DeployStep::Canary,
            Stage::Moving { .. } => DeployStep::Moving,
            Stage::Work { .. } => DeployStep::Work,
            Stage::Soaking { .. } => DeployStep::Soaking,
            Stage::Retiring { .. } => DeployStep::Retiring,
            Stage::RollingBack { .. } => DeployStep::RollingBack,
        }
    }

    /// Whether it rolls back.
    pub(crate) const fn goes_back(&self) -> bool {
        matches!(self.stage, Stage::RollingBack { .. })
    }

    /// Whether it moves its shards to this slave, and not back.
    pub(crate) fn takes_over(&self, slave: SlaveId) -> bool {
        self.goal() == Some(slave) && !self.goes_back()
    }

    /// The soak of this new slave, while it lasts.
    pub(crate) fn soak_of(&mut self, slave: SlaveId) -> Option<&mut Soak> {
        match &mut self.stage {
            Stage::Soaking { to, soak } if *to == slave => Some(soak),
            Stage::Starting { .. }
            | Stage::Preparing { .. }
            | Stage::Moving { .. }
            | Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => None,
        }
    }

    /// How many shards are to move.
    pub(crate) fn size(&self, fleet: &Fleet) -> usize {
        fleet.slots[self.slot].size
    }

    /// The two slaves, as far as they are there.
    pub(crate) fn slaves(&self) -> impl Iterator<Item = SlaveId> {
        [self.from, self.to()].into_iter().flatten()
    }

    /// Whether it stands still without this slave's connection.
    pub(crate) fn needs(&self, id: SlaveId) -> bool {
        self.slaves().any(|slave| slave == id)
            && matches!(self.stage, Stage::Preparing { .. } | Stage::Moving { .. })
    }

    /// Whether no shard was ordered to seal, or given to the new slave, yet.
    pub(crate) fn moved_nothing(&self, to: SlaveId, fleet: &Fleet) -> bool {
        let serves = |id: &ShardId| fleet.shards[*id].phase.serves();
        self.given.is_none() && fleet.holds_nothing(to) && self.in_flight.iter().all(serves)
    }

    /// Whether it may end as if it had never begun.
    pub(crate) fn can_just_end(&self, fleet: &Fleet) -> bool {
        match self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } => true,
            Stage::Moving { to, .. } => self.from.is_some() && self.moved_nothing(to, fleet),
            Stage::Work { .. }
            | Stage::Soaking { .. }
            | Stage::Retiring { .. }
            | Stage::RollingBack { .. } => false,
        }
    }

    /// How it ends when everything is at the new slave.
    pub(crate) fn success(&self) -> Outcome {
        match self.forced.clone() {
            Some(reason) => Outcome::Forced { reason },
            None => Outcome::Done,
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
