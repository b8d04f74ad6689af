//! What goes into the core and what comes out: data, no I/O.
//!
//! The driver gives one [`Input`] and the time, then carries the queued
//! [`Action`]s out in their order. That order is the durability order: an
//! [`Action::Save`] stands before the [`Action::Send`] that relies on it, and
//! the driver makes it durable before it goes on.

use std::{fmt, time::Duration};

use baton_protocol::{
    DeployId, Epoch, SessionParameters, ShardId, SlaveId, Ticket, ToMaster, ToSlave,
    message::{Hello, Refused, Report, ResumeAfter, Role},
};

pub use super::recovered::{History, Recovered, RecoveredTicket, Row};

/// Monotonic time since the driver started. Never goes back; stands still while
/// the driver does not run (see [`Input::Resumed`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// This time and `span` more.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A slave proved itself and reported everything that it holds (all its
    /// reports merged). It may be new, or back on another connection; the
    /// listener has closed an older connection of the same slave. Answered by
    /// [`ToSlave::Accepted`] or [`Action::Refuse`].
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
        /// What. Never `SlaveHello`, `Proof` or `Report`: the peer handles these
        /// itself.
        message: ToMaster,
    },
    /// The connection of a joined slave ended. Its process may well be alive.
    Left {
        /// Who.
        slave: SlaveId,
    },
    /// The process of a slave is known to be dead (pidfd, or the operator's
    /// `fence`). Comes once for each slave, after [`Input::Left`] if it was
    /// connected.
    Died {
        /// Who.
        slave: SlaveId,
    },
    /// A joined slave is alive and answered no ping for the hang time.
    Silent {
        /// Who.
        slave: SlaveId,
    },
    /// A launched process came up: it is expected to join as `slave` says in its
    /// hello (`hello.process.pid == pid`).
    Launched {
        /// Into which slot.
        slot: String,
        /// With which role it was launched.
        role: Role,
        /// The process.
        pid: u32,
    },
    /// A launch failed, or a launched process ended before it joined.
    LaunchFailed {
        /// Into which slot.
        slot: String,
        /// With which role it was launched.
        role: Role,
        /// Why, for a person.
        reason: String,
    },
    /// The operator asks for a deploy.
    Deploy {
        /// Names the request in [`News`].
        request: RequestId,
        /// What is to be done.
        order: DeployOrder,
    },
    /// The operator stops the running deploy: what moved goes back.
    Abort {
        /// Names the request in [`News`].
        request: RequestId,
    },
    /// The operator says that a slave is dead whose death cannot be known. Refused
    /// while it is connected and not being killed. From then on it is dead as
    /// after [`Input::Died`], and stays so, whatever it says should it come back.
    Fence {
        /// Names the request in [`News`].
        request: RequestId,
        /// Who.
        slave: SlaveId,
    },
    /// The master is asked to leave. It finishes or rolls back the shard in hand,
    /// then queues [`Action::Exit`]; at the latest after `shard_in_hand`.
    Leave,
    /// What `GET /gateway/bot` said about the identify budget.
    Budget(IdentifyBudget),
    /// A save failed (disk full, fsync error): nothing that relied on it was
    /// sent, the rest of the queued actions was dropped. The core must not
    /// assume it.
    SaveFailed {
        /// Why, for a person.
        reason: String,
    },
    /// The driver did not run for a while (paused process, suspended machine):
    /// contact deadlines start again, nobody is killed for silence.
    Resumed,
    /// A deadline named by [`Core::deadline`](super::Core::deadline) may have
    /// come.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make this durable before the next action is carried out.
    Save(Vec<Entry>, Durability),
    /// Say something to a joined slave. If its connection is gone the message is
    /// dropped: the core says it again when the slave joins again.
    Send(SlaveId, ToSlave),
    /// Refuse a slave that joined, and close its connection.
    Refuse(SlaveId, Refused),
    /// Start a slave process into this slot, in a process group of its own. A
    /// process that was launched into the slot before and has not joined is killed
    /// first, and known dead before this one starts: there is at most one.
    Launch {
        /// The slot.
        slot: String,
        /// With which role it is to say hello.
        role: Role,
        /// The command of a deploy, instead of the slot's configured one.
        command: Option<Vec<String>>,
    },
    /// `SIGKILL` the process that was launched into this slot and has not joined,
    /// with its group: nobody waits for it any more, and nobody is told its end.
    GiveUp {
        /// The slot.
        slot: String,
    },
    /// `SIGKILL` this slave's process. [`Input::Died`] follows when it is dead.
    Kill(SlaveId),
    /// Tell whoever watches.
    Tell(News),
    /// The master may leave now.
    Exit,
}

/// How soon an entry must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the next action (SQLite `synchronous=FULL`): reservations.
    Now,
    /// With the next checkpoint of the database.
    Soon,
}

/// One row of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Shards of the whole bot and what its sessions are identified with;
    /// pinned at the first start.
    Pinned(SessionParameters),
    /// `shard` belongs, or is about to belong, to `owner` at `epoch`.
    Owner {
        /// The shard.
        shard: ShardId,
        /// At which epoch.
        epoch: Epoch,
        /// Whom it belongs to, or is reserved for.
        owner: SlaveId,
        /// Which of the two.
        hold: Hold,
        /// What the owner goes on from.
        basis: Basis,
    },
    /// The once-per-bot work belongs to `owner` at `epoch`.
    Work {
        /// At which epoch.
        epoch: Epoch,
        /// Whose.
        owner: SlaveId,
    },
    /// A slave is known: how to know that it is dead.
    Slave(Box<Hello>),
    /// A slave is dead or was told to leave; forget it.
    Gone(SlaveId),
    /// The operator said that a slave is dead: forget it, and believe it nothing
    /// until [`Entry::Gone`] says that it is known to be.
    Fenced(SlaveId),
    /// Where a shard stands: its last checkpoint, or its ticket at a seal. At most
    /// one each `checkpoint_to_disk` and shard. A secret: it holds a session id.
    Ticket {
        /// The epoch of the slave that it is of.
        epoch: Epoch,
        /// [`ResumeAfter::Seal`]: made at a seal, exact.
        after: ResumeAfter,
        /// The ticket.
        ticket: Box<Ticket>,
    },
    /// The number of the last deploy.
    Deploy(DeployId),
    /// The master runs now, by the wall clock: every session was alive then, or
    /// known to be over.
    Seen,
    /// Every shard has a row again: a journal that took the place of a lost one
    /// is whole ([`History::Whole`]).
    Whole,
    /// The command that fills a slot from now on (a deploy brought it).
    Command {
        /// The slot.
        slot: String,
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// Whether a shard is owned or only reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Written before a seal: this epoch is used up, whoever gets the shard.
    Reserved,
    /// RESUMED or READY was confirmed at this epoch.
    #[default]
    Owned,
}

/// What the owner of a shard goes on from. Where the next master finds a ticket
/// it tells whether anybody can have gone on from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// Nothing: a new session.
    Cold,
    /// The last checkpoint of an owner that died; also what is not known.
    #[default]
    Death,
    /// The ticket of the owner that sealed it at this epoch.
    Seal(Epoch),
}

/// One request of an operator, to find its answer by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

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
}

/// The identify budget of `GET /gateway/bot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyBudget {
    /// IDENTIFYs a day.
    pub total: u32,
    /// Left until the reset.
    pub remaining: u32,
    /// Time until the reset.
    pub reset_after: Duration,
    /// How many may be sent in one window, one in each bucket.
    pub max_concurrency: u32,
}

/// What whoever watches is told: the progress lines of the CLI, the log, the
/// server-sent events.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A request was taken.
    DeployAccepted {
        /// Whose; `None`: a candidate or a signal started it.
        request: Option<RequestId>,
        /// Its number.
        deploy: DeployId,
    },
    /// A request was refused; nothing changed.
    RequestRefused {
        /// Whose.
        request: RequestId,
        /// Why, and what to do.
        reason: String,
    },
    /// A slave is dead by the operator's word.
    Fenced {
        /// Whose request.
        request: RequestId,
        /// Who.
        slave: SlaveId,
    },
    /// A deploy reached its next step.
    DeployStep {
        /// Its number.
        deploy: DeployId,
        /// What begins.
        step: DeployStep,
    },
    /// The soak is shorter than was asked for: what Discord would replay covers no
    /// more.
    SoakShortened {
        /// Its number.
        deploy: DeployId,
        /// The busiest shard.
        shard: ShardId,
        /// How many events it gets in a second, rounded up.
        per_second: u64,
        /// The soak that was asked for.
        asked: Duration,
        /// The soak that it is.
        soak: Duration,
    },
    /// One shard got further.
    Migration {
        /// Its deploy.
        deploy: DeployId,
        /// The shard.
        shard: ShardId,
        /// From whom.
        from: SlaveId,
        /// To whom.
        to: SlaveId,
        /// The epoch of the next owner.
        epoch: Epoch,
        /// Where it is.
        phase: Phase,
    },
    /// A deploy ended.
    DeployEnded {
        /// Its number.
        deploy: DeployId,
        /// How.
        outcome: Outcome,
        /// Shards that the new slave serves now.
        moved: u32,
        /// From the first StopShard sent to the last RESUMED, soak excluded.
        migrating: Duration,
        /// From the trigger to the end.
        total: Duration,
    },
    /// A slave came.
    SlaveJoined {
        /// Who.
        slave: SlaveId,
        /// Its build.
        build: String,
        /// Its slot.
        slot: String,
        /// Whether it was known before.
        back: bool,
    },
    /// A slave's connection ended, or its process did.
    SlaveGone {
        /// Who.
        slave: SlaveId,
        /// Whether it is known to be dead.
        dead: bool,
    },
    /// A shard serves (READY or RESUMED) outside a migration.
    ShardServing {
        /// The shard.
        shard: ShardId,
        /// At which epoch.
        epoch: Epoch,
        /// By whom.
        slave: SlaveId,
    },
    /// Discord ended a session: a span of events is lost.
    SessionLost {
        /// The shard.
        shard: ShardId,
        /// Whose it is.
        slave: SlaveId,
    },
    /// A slave is started into an empty slot.
    Launching {
        /// The slot.
        slot: String,
        /// Starts that failed in a row.
        attempt: u32,
        /// How long the next attempt waits if this one fails.
        backoff: Duration,
    },
    /// An operator must act.
    Alarm {
        /// What is wrong and what to do.
        detail: String,
    },
}

/// Steps of a deploy, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeployStep {
    /// M1: the new slave starts and says hello.
    Starting,
    /// The new slave builds its bot.
    Preparing,
    /// The canary moves.
    Canary,
    /// The other shards move.
    Moving,
    /// The once-per-bot work moves.
    Work,
    /// M7: everything moved, the old slave stays ready.
    Soaking,
    /// The old slave is told to leave.
    Retiring,
    /// Shards go back.
    RollingBack,
}

/// Where one migration is (`M2` to `M6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// M2: its state is copied while the old slave serves.
    Copying,
    /// M3: the new slave dials Discord while the old one serves.
    Dialling,
    /// M4: reserved and told to seal.
    Sealing,
    /// M5: the new slave has the ticket.
    Resuming,
    /// M6: Discord said RESUMED.
    Moved,
    /// It is being taken back.
    TakingBack,
    /// The old slave serves it again.
    Back,
}

/// How a deploy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every shard moved, the old slave is dead.
    Done,
    /// Nothing had moved.
    Aborted {
        /// Why.
        reason: String,
    },
    /// What had moved is back where it was.
    RolledBack {
        /// The shard that failed, if one did.
        shard: Option<ShardId>,
        /// Why.
        reason: String,
    },
    /// The old slave died on the way; the new one has everything.
    Forced {
        /// Why.
        reason: String,
    },
    /// The master leaves: some shards moved, the next master goes on.
    HandedOn,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Aborted { reason } => write!(f, "aborted before anything moved: {reason}"),
            Self::RolledBack {
                shard: Some(shard),
                reason,
            } => write!(f, "rolled back: shard {shard}: {reason}"),
            Self::RolledBack {
                shard: None,
                reason,
            } => write!(f, "rolled back: {reason}"),
            Self::HandedOn => f.write_str("the master leaves, the next one goes on"),
            Self::Forced { reason } => write!(f, "completed without the old slave: {reason}"),
        }
    }
}

macro_rules! lower_case_names {
    ($type:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $type {
            /// Its name in logs, JSON and on the screen.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

lower_case_names!(DeployStep {
    Starting => "starting",
    Preparing => "preparing",
    Canary => "canary",
    Moving => "moving",
    Work => "work",
    Soaking => "soaking",
    Retiring => "retiring",
    RollingBack => "rolling back",
});

lower_case_names!(Phase {
    Copying => "copying",
    Dialling => "dialling",
    Sealing => "sealing",
    Resuming => "resuming",
    Moved => "moved",
    TakingBack => "taking back",
    Back => "back",
});
