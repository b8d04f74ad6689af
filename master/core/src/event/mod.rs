//! What goes into the core and what comes out: data, no I/O.
//!
//! The driver gives one [`Input`] and the time, then carries the queued
//! [`Action`]s out in their order. That order is the durability order: an
//! [`Action::Save`] stands before the [`Action::Send`] that relies on it, and
//! the driver makes it durable before it goes on.

mod news;
mod outcome;
mod recovered;

use std::time::Duration;

use baton_protocol::{
    DeployId, Epoch, SessionParameters, ShardId, SlaveId, Ticket, ToMaster, ToSlave,
    message::{Hello, Refused, Report, ResumeAfter, Role, SetAside},
};

pub use self::{
    news::{Death, EndedBy, News},
    outcome::{DeployStep, Losses, MovePhase, Outcome, STOPPED},
    recovered::{JournalState, Recovered, RecoveredTicket, Row},
};
use crate::settings::Settings;

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
        /// Why, as what is said of the slave: `ended before it joined: exit code 1`.
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
    /// The operator holds the running deploy, or has it go on.
    Pause {
        /// Names the request in [`News`].
        request: RequestId,
        /// Which of the two.
        pause: Pause,
    },
    /// The operator restarts a shard at its owner, by RESUME.
    Restart {
        /// Names the request in [`News`].
        request: RequestId,
        /// Which.
        shard: ShardId,
    },
    /// The operator has late seals tried again that Discord refused once.
    LateSealsAgain {
        /// Names the request in [`News`].
        request: RequestId,
    },
    /// The operator has shards without a session try now, and from the reserve of the
    /// budget too.
    Identify {
        /// Names the request in [`News`].
        request: RequestId,
    },
    /// The operator changed the settings. Slots, shards and what sessions are
    /// identified with stay; deadlines that run stay what they are.
    Settings(Box<Settings>),
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
    /// contact deadlines start again, no slave is killed for silence.
    Resumed,
    /// A deadline named by [`Core::deadline`](crate::Core::deadline) may have
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
        /// For which deploy; it is to say so in its hello.
        deploy: Option<DeployId>,
    },
    /// `SIGKILL` the process that was launched into this slot and has not joined,
    /// with its group: no task waits for it any more, and its end is not reported.
    GiveUp {
        /// The slot.
        slot: String,
    },
    /// `SIGKILL` this slave's process. [`Input::Died`] follows when it is dead.
    Kill(SlaveId),
    /// Keep an event where an operator finds it: it killed each process that had it.
    Keep(Box<SetAside>),
    /// Tell the observers.
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
    /// A slave is dead or was ordered to leave; forget it.
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
    /// This deploy did not come about: a candidate of it is refused, also by the next
    /// master.
    GivenUp(DeployId),
    /// The master runs now, by the wall clock: every session was alive then, or
    /// known to be over.
    Seen,
    /// Every shard has a row again: a journal that took the place of a lost one
    /// is whole ([`JournalState::Intact`]).
    Whole,
    /// Whether Discord refused a RESUME while the old connection was open.
    LateSealRefused(bool),
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
    /// Written before a seal: this epoch is used up, no matter which slave gets the shard.
    Reserved,
    /// RESUMED or READY was confirmed at this epoch.
    #[default]
    Owned,
}

/// What the owner of a shard goes on from. Where the next master finds a ticket
/// it tells whether another slave can have gone on from it.
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

/// What is asked of the running deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// To begin no further shard.
    Hold,
    /// To go on.
    Continue,
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
