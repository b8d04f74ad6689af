//! What a master knows when it starts: everything that its journal gave back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::{
    DeployId, Epoch, LaunchId, Parameters, ShardId, SlaveId, Ticket,
    message::{Hello, ResumeAfter},
};

use super::entry::{Arrangement, Basis, Hold, Identifies, LastDeploy};

/// Everything that a journal gave back at the start of a master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Pinned parameters, if there are any.
    pub pinned: Option<Parameters>,
    /// The last [`Entry::Owner`](crate::event::Entry::Owner) of each shard.
    pub shards: BTreeMap<ShardId, Row>,
    /// Epoch and owner of the once-per-bot work.
    pub work: Option<(Epoch, SlaveId)>,
    /// Slaves that were known and not gone, whose processes are still alive
    /// (checked by the driver: pid, start time, boot id, pid namespace).
    pub slaves: BTreeMap<SlaveId, Hello>,
    /// Slaves that are dead by the operator's word and not known to be.
    pub fenced: BTreeSet<SlaveId>,
    /// The last deploy of all that were begun.
    pub last_deploy: LastDeploy,
    /// The last one of each slot, by its name.
    pub deploys: BTreeMap<String, LastDeploy>,
    /// The launches of this master are those behind this one. Drawn anew for each start, so
    /// that no two launches of a fleet are taken for one.
    pub launches: LaunchId,
    /// Deploys that did not come about.
    pub given_up: BTreeSet<DeployId>,
    /// The last [`Entry::Ticket`](crate::event::Entry::Ticket) of each shard.
    pub tickets: BTreeMap<ShardId, RecoveredTicket>,
    /// What operators changed of where shards are to be.
    pub arrangement: Arrangement,
    /// Whether the service refused a late seal, and no operator had it forgotten.
    pub late_seal_refused: bool,
    /// Slaves of these that seal themselves when they heard nothing of a leader for so long.
    pub leases: BTreeMap<SlaveId, Duration>,
    /// What is known of permits by now; `None`: no master ever gave one.
    pub identifies: Option<Identifies>,
    /// Whether this is everything that was ever saved.
    pub journal: JournalState,
    /// No epoch up to this one is used: a journal that was lost may have used it.
    pub floor: Epoch,
}

/// Whose a shard is, or is about to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The highest epoch that was used up.
    pub epoch: Epoch,
    /// Whom it belongs to, or is reserved for.
    pub owner: SlaveId,
    /// Which of the two.
    pub hold: Hold,
    /// What that slave goes on from.
    pub basis: Basis,
}

/// Whether a journal gave back everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalState {
    /// It was readable, or there never was one.
    #[default]
    Intact,
    /// It was set aside as torn or corrupt: slaves may be alive that it does not
    /// name, so reports are collected for the whole adopt grace.
    Lost,
}

/// A ticket that a journal gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredTicket {
    /// The epoch of the slave that it is of.
    pub epoch: Epoch,
    /// Whether it was made at a seal.
    pub after: ResumeAfter,
    /// The ticket.
    pub ticket: Ticket,
    /// How long ago it was written, or a master last ran, by the wall clock; zero
    /// if that clock was set back.
    pub age: Duration,
}
