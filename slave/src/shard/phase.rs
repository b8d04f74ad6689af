//! Where a shard is in its life, and what it has to look at there.

use baton_protocol::{SequenceRanges, Ticket};
use tokio::time::{Duration, Instant};

use super::{gateway::Incoming, order::Turn};
use crate::{
    bot::{Settles, StateStatus},
    state::{
        snapshot::Read,
        stays::{Refusal, Taken},
    },
};

/// Where a shard is, with what exists only there. `run` has the diagram.
pub(super) enum Phase {
    Idle,
    Claiming(Then),
    Recalling,
    Serving,
    /// The bot comes to rest, then the ticket is given, with so long a drain.
    Settling(Settles, Duration),
    Sealed(Box<Seal>),
    Failed,
    Gone,
}

/// What comes when the state is claimed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// A new session.
    Begin,
    /// A session goes on here, and what travels of its state is like this.
    GoOn(StateStatus),
    /// A session goes on here, and what travels of its state did not come.
    Recall,
}

/// What exists of a shard while it is sealed.
pub(super) struct Seal {
    pub(super) ticket: Ticket,
    pub(super) drain_until: Instant,
    /// Since when nothing runs any more.
    pub(super) rests: Option<Instant>,
    pub(super) settled: Option<SequenceRanges>,
}

/// What a phase has to look at itself. The rest is done where a shard waits for it, in
/// `inputs`.
pub(super) enum Input {
    /// An order that may end the phase.
    Turn(Turn),
    /// A permit for this epoch.
    Permit,
    /// From the connection.
    Gateway(Incoming),
    /// An event was finished or given back, or the bot has room again.
    Finished,
    /// From the snapshot that is being read.
    Read(Read),
    /// What became of the claim.
    Claimed(Result<Taken, Refusal>),
    /// The time that was asked for has come.
    Due,
}
