//! What goes into the core.

use std::time::Duration;

use baton_protocol::{
    LaunchId, ShardId, SlaveId, ToMaster,
    message::{Hello, Report},
};
use bytes::Bytes;
use serde::Serialize;

use crate::{
    Members,
    event::Evidence,
    settings::{Settings, SlotSettings},
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A slave proved itself and reported everything that it holds (all its
    /// reports merged). It may be new, or back on another connection; the
    /// listener has closed an older connection of the same slave. Answered by
    /// [`ToSlave::Accepted`](baton_protocol::ToSlave::Accepted) or [`Action::Refuse`](super::Action::Refuse).
    Joined {
        /// Its hello.
        hello: Box<Hello>,
        /// Its reports, merged into one.
        report: Report,
    },
    /// A message of a joined slave.
    Said {
        /// Who.
        slave: SlaveId,
        /// What.
        message: ToMaster,
    },
    /// The connection of a joined slave ended. Its process may well be alive.
    Left {
        /// Who.
        slave: SlaveId,
    },
    /// A slave is dead. Comes once for each slave, after [`Input::Left`] if it was
    /// connected. The operator's word on one slave comes as [`Input::Fence`], which may
    /// be refused.
    Died {
        /// Who.
        slave: SlaveId,
        /// How that is known.
        evidence: Evidence,
    },
    /// A joined slave answered no ping for the hang time. Comes again with each further ping.
    Silent {
        /// Who.
        slave: SlaveId,
    },
    /// The agent of a host came, answered a ping, or went away. At the start all of them are away.
    Agent {
        /// Of which host.
        host: String,
        /// Which of the two.
        is: AgentIs,
    },
    /// A launched process came up. Its slave says in its hello of which launch it is; one
    /// that does not is known by this process id.
    Launched {
        /// Which launch.
        launch: LaunchId,
        /// The process, or the child of it that said hello.
        pid: u32,
    },
    /// A launch failed, or a launched process ended before it joined.
    LaunchFailed {
        /// Which launch.
        launch: LaunchId,
        /// Why, as what is said of the slave: `ended before it joined: exit code 1`.
        reason: String,
    },
    /// The operator asks for a deploy.
    Deploy {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// What is to be done.
        order: DeployOrder,
    },
    /// The operator stops a running deploy: what moved goes back.
    Abort {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// Of which slot; `None`: the only one.
        slot: Option<String>,
    },
    /// The operator holds a running deploy, or has it go on.
    Pause {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// Of which slot; `None`: the only one.
        slot: Option<String>,
        /// Which of the two.
        pause: Pause,
    },
    /// The operator says where shards are to be.
    Arrange {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// What is to be done.
        order: Arranging,
    },
    /// The operator restarts a shard at its owner, by RESUME.
    Restart {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// Which.
        shard: ShardId,
    },
    /// The operator has late seals tried again that the service refused once.
    LateSealsAgain {
        /// Names the request in [`News`](super::News).
        request: RequestId,
    },
    /// The operator has shards without a session try now, and from the reserve of the
    /// budget too.
    Identify {
        /// Names the request in [`News`](super::News).
        request: RequestId,
    },
    /// The operator changed the settings. Slots, shards and what sessions are
    /// identified with stay; deadlines that run stay what they are.
    Settings(Box<Settings>),
    /// The operator changed which slots there are, or the shards that the configuration names
    /// for one. Refused while a slot that is taken out has shards.
    Slots {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// The slots, in their order.
        slots: Vec<SlotSettings>,
    },
    /// The operator says that a slave is dead whose death cannot be known. Refused
    /// while it is connected and not being killed. From then on it is dead as
    /// after [`Input::Died`], and stays so, whatever it says should it come back.
    Fence {
        /// Names the request in [`News`](super::News).
        request: RequestId,
        /// Who.
        slave: SlaveId,
    },
    /// The master is asked to leave. It finishes or rolls back the shard in hand,
    /// then queues [`Action::Exit`](super::Action::Exit); at the latest after `shard_in_hand`.
    Leave,
    /// What the service said about the budget of permits.
    Budget(IdentifyBudget),
    /// An operator asks the once-per-bot work something. Answer:
    /// [`News::Answered`](super::News::Answered).
    Ask {
        /// To find the answer by.
        request: RequestId,
        /// What is asked; the master does not read it.
        body: Bytes,
    },
    /// A save failed (disk full, fsync error): nothing that relied on it was
    /// sent, the rest of the queued actions was dropped. The core must not
    /// assume it.
    SaveFailed {
        /// Why, for a person.
        reason: String,
    },
    /// The driver did not run for a while (paused process, suspended machine):
    /// contact deadlines start again, no slave is killed for silence.
    Resumed,
    /// A deadline named by [`Core::deadline`](crate::Core::deadline) may have
    /// come.
    Tick,
}

/// What a deploy is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployOrder {
    /// Which slot.
    pub slot: String,
    /// The new build's command; `None`: the slot's own command again.
    pub command: Option<Vec<String>>,
    /// How many shards move alone, first.
    pub canary: u32,
    /// How many shards move at once after that.
    pub width: u32,
    /// How long the old slave stays ready afterwards.
    pub soak: Duration,
    /// Whether shards are sealed late, where both slaves know how.
    pub late_seal: bool,
    /// Whether it may run while another slot is deployed.
    pub beside: Beside,
    /// It is refused unless the slot has this build: somebody else may have been quicker.
    pub expect: Option<String>,
}

/// What an operator says of where shards are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arranging {
    /// These shards are to be in this slot.
    Move {
        /// Which.
        shards: Members,
        /// The name of the slot.
        to: String,
    },
    /// Nothing is placed onto these hosts, and every shard of their slots goes to the least
    /// loaded slots of the others.
    Drain(Vec<String>),
    /// Nothing is placed onto these hosts.
    Cordon(Vec<String>),
    /// Something may be placed onto these hosts again.
    Uncordon(Vec<String>),
    /// As many shards are to be in each slot whose host is not cordoned.
    Rebalance,
    /// Nothing begins by itself: no standby steps in, nothing is launched, no shard changes
    /// its slot.
    Hold,
    /// It does again.
    Release,
    /// Shards that have not moved yet stay where they are.
    Stay,
}

impl Arranging {
    /// Its name in JSON and in the log: that of the command.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Move { .. } => "move",
            Self::Drain(_) => "drain",
            Self::Cordon(_) => "cordon",
            Self::Uncordon(_) => "uncordon",
            Self::Rebalance => "rebalance",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Stay => "stay",
        }
    }
}

/// Shards that are to be in another slot than they were to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Which.
    pub shards: Members,
    /// The slot in which they were to be.
    pub from: String,
    /// The slot in which they are to be.
    pub to: String,
}

/// What a deploy may run beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// No other deploy.
    #[default]
    Nothing,
    /// Those of other slots: they share the width and the replay budgets.
    Others,
}

/// Whether a host's agent carries out what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentIs {
    /// It is connected.
    Here,
    /// It is not: what is to be started there waits.
    Away,
}

/// What is asked of the running deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// To begin no further shard.
    Hold,
    /// To go on.
    Continue,
}

/// The budget of permits, as the service said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyBudget {
    /// IDENTIFYs a day.
    pub total: u32,
    /// Left until the reset.
    pub remaining: u32,
    /// Time until the reset.
    pub reset_after: Duration,
    /// How many may be sent in one window.
    pub at_once: u32,
}

/// One request of an operator, to find its answer by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RequestId(pub u64);
