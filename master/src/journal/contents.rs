//! What `journal show` and `journal verify` say of a journal.

use std::path::PathBuf;

use baton_protocol::discord::SessionParameters;
use serde::Serialize;

/// What a journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Its file.
    pub file: PathBuf,
    /// Version of its schema.
    pub schema: i64,
    /// The lowest schema that a master has to know to use it.
    pub oldest_reader: Option<i64>,
    /// Which fleet it is of; `None`: no master began a term with it.
    pub fleet: Option<String>,
    /// How often a master started.
    pub term: u64,
    /// The number of the last deploy.
    pub last_deploy: u64,
    /// How long ago it was noted that a master runs, in milliseconds.
    pub seen_ms_ago: Option<u64>,
    /// Whether every shard has a row since a journal was lost.
    pub whole: bool,
    /// Shards of the whole bot, pinned at the first start.
    pub shard_count: Option<u32>,
    /// What the fleet's sessions are identified with.
    pub pinned: Option<SessionParameters>,
    /// The slave that has the once-per-bot work, and its epoch.
    pub work: Option<WorkRow>,
    /// Slaves that are not known to be gone.
    pub slaves: Vec<SlaveRow>,
    /// Slaves that are dead by the operator's word.
    pub fenced: Vec<String>,
    /// The last deploy of each slot.
    pub deploys: Vec<DeployRow>,
    /// Commands that deploys brought.
    pub commands: Vec<CommandRow>,
    /// Every shard that has a row or a ticket.
    pub shards: Vec<ShardRow>,
}

/// The once-per-bot work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkRow {
    /// The epoch of its owner.
    pub epoch: u64,
    /// Its owner.
    pub owner: String,
}

/// One slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlaveRow {
    /// Its id.
    pub slave: String,
    /// Its slot.
    pub slot: String,
    /// Its build.
    pub build: String,
    /// Version of the wire that it speaks.
    pub version: u16,
    /// Its process.
    pub pid: u32,
}

/// The last deploy of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeployRow {
    /// The slot.
    pub slot: String,
    /// Its number.
    pub deploy: u64,
    /// How long ago it was begun, in milliseconds; `None`: an earlier build began it.
    pub begun_ms_ago: Option<u64>,
    /// `done` or `given up`; `None`: it runs, or its end was not written down.
    pub ended: Option<&'static str>,
    /// How long ago the last one that was done was, this or an earlier one, in
    /// milliseconds; `None`: not known.
    pub done_ms_ago: Option<u64>,
}

/// The command of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandRow {
    /// The slot.
    pub slot: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What was configured when a deploy brought it: it counts until that changes.
    pub configured: Vec<String>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardRow {
    /// The shard.
    pub shard: u32,
    /// The highest epoch that is used up; 0: it has no row.
    pub epoch: u64,
    /// Whose it is, or whom that epoch is used up for.
    pub owner: Option<String>,
    /// `owned` or `reserved`.
    pub hold: Option<&'static str>,
    /// What its owner goes on from: `cold`, `death`, or `seal` and an epoch.
    pub basis: Option<String>,
    /// Its ticket.
    pub ticket: Option<TicketRow>,
}

/// Where a shard stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketRow {
    /// Of the owner at which epoch.
    pub epoch: u64,
    /// `seal`: exact; `death`: a checkpoint.
    pub after: &'static str,
    /// The last handled sequence.
    pub handled: u64,
    /// How long ago it was written, in milliseconds.
    pub age_ms: u64,
}

/// What is wrong with a journal, and what is only worth knowing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Each one breaks a rule.
    pub problems: Vec<String>,
    /// No reason to act.
    pub notes: Vec<String>,
}
