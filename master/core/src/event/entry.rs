//! What is to be remembered beyond this master: the rows of the journal.

use std::{collections::BTreeSet, time::Duration};

use baton_protocol::{
    DeployId, Epoch, Parameters, ShardId, SlaveId, Ticket,
    message::{Hello, ResumeAfter},
};

use crate::Members;

/// How soon an entry must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// With the next checkpoint of the database.
    Soon,
    /// Before the next action (SQLite `synchronous=FULL`): reservations.
    Now,
}

impl Durability {
    /// Whether nothing that follows relies on these entries: checkpoints, of which the
    /// newest of each shard is written when the journal has nothing else to do.
    #[must_use]
    pub fn is_only_taken(self, entries: &[Entry]) -> bool {
        let is_ticket = |entry: &Entry| matches!(entry, Entry::Ticket { .. });
        self == Self::Soon && entries.iter().all(is_ticket)
    }
}

/// One row of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Shards of the whole bot and what its sessions are identified with;
    /// pinned at the first start.
    Pinned(Parameters),
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
    /// one each `checkpoint_to_disk` and shard. A secret: it holds a session.
    Ticket {
        /// The epoch of the slave that it is of.
        epoch: Epoch,
        /// [`ResumeAfter::Seal`]: made at a seal, exact.
        after: ResumeAfter,
        /// The ticket.
        ticket: Box<Ticket>,
    },
    /// The last deploy of a slot: when it was begun, and again when it is done.
    Deploy(LastDeploy),
    /// This deploy did not come about: a candidate of it is refused, also by the next
    /// master.
    GivenUp(DeployId),
    /// The master runs now, by the wall clock: every session was alive then, or
    /// known to be over.
    Seen,
    /// Every shard has a row again: a journal that took the place of a lost one
    /// is whole ([`JournalState::Intact`](super::JournalState::Intact)).
    Whole,
    /// Whether the service refused a RESUME while the old connection was open.
    LateSealRefused(bool),
    /// A slave seals itself when it heard nothing of a leader for so long; zero: it does not,
    /// or it is not known.
    Leased {
        /// Which.
        slave: SlaveId,
        /// For how long.
        lease: Duration,
    },
    /// What is left of the budget of permits, and what holds them up. Saved before the
    /// permit that it counts is sent, so that no start of a master gives one twice.
    Identifies(Identifies),
    /// What operators changed of where shards are to be.
    Arrangement(Arrangement),
    /// The command that fills a slot from now on (a deploy brought it).
    Command {
        /// The slot.
        slot: String,
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// What operators changed of where shards are to be. What the configuration says is the
/// beginning: it is not written down, but for the shards that were moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arrangement {
    /// Shards that were moved.
    pub moved: Vec<Moved>,
    /// Hosts onto which nothing is placed.
    pub cordoned: BTreeSet<String>,
    /// Whether nothing begins by itself.
    pub held: bool,
}

/// Shards that an operator moved to another slot. It counts while the configuration names the
/// same slot for them as it did then: what it says later is the newer word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moved {
    /// Which.
    pub shards: Members,
    /// The slot that the configuration named for them.
    pub configured: String,
    /// The slot that they are to be in.
    pub to: String,
}

/// The last deploy of a slot: what a master needs that has it go on, or that follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastDeploy {
    /// Its number; zero: there was none.
    pub deploy: DeployId,
    /// Its slot; empty: not known, as in the journal of an earlier build.
    pub slot: String,
    /// The command that it brings; `None`: the slot's own, or not known.
    pub command: Option<Vec<String>>,
    /// The last one of the slot that was done: it or an earlier one.
    pub done: Option<Done>,
}

impl LastDeploy {
    /// Whether it is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.is_some_and(|done| done.deploy == self.deploy)
    }
}

/// A deploy that was done: its new slave had the slot from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Done {
    /// Its number.
    pub deploy: DeployId,
    /// How long ago that was; zero: now.
    pub ago: Duration,
    /// How old the oldest unfinished event was before, as a rule; `None`: not known.
    pub lag_before: Option<Duration>,
}

/// What a master has to know of the permits that were given before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identifies {
    /// Of a whole budget; zero: nobody said how many there are.
    pub total: u32,
    /// Left until the reset.
    pub remaining: u32,
    /// The time until the reset; zero: it is past.
    pub resets_in: Duration,
    /// Rounds in a row that failed.
    pub refused: u32,
    /// How often the circuit breaker opened, or a trial failed, since it was calm.
    pub trips: u32,
    /// Why the breaker holds permits up, for a person; empty: it does not.
    pub held: String,
    /// Since when there was no calm.
    pub began_ago: Duration,
    /// When the breaker opened last, or a trial failed.
    pub tripped_ago: Duration,
}

impl Identifies {
    /// The same, so much later.
    #[must_use]
    pub fn older(self, age: Duration) -> Self {
        Self {
            resets_in: self.resets_in.saturating_sub(age),
            began_ago: self.began_ago.saturating_add(age),
            tripped_ago: self.tripped_ago.saturating_add(age),
            ..self
        }
    }
}

impl From<DeployId> for LastDeploy {
    fn from(deploy: DeployId) -> Self {
        Self {
            deploy,
            ..Self::default()
        }
    }
}

/// Whether a shard is owned or only reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Written before a seal: this epoch is used up, no matter which slave gets the shard.
    Reserved,
    /// It served at this epoch.
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
