//! What is said when a shard goes from one slave to another, and of events that go with
//! it or are left behind.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    body::millis,
    id::{DeployId, Epoch, Sequence, ShardId},
    ranges::SequenceRanges,
    ticket::Ticket,
};

/// Id 3, both ways: a deploy begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMigrationStart {
    /// Which deploy this is.
    pub deploy: DeployId,
    /// Whether shards leave the slave that this is said to, or comes from.
    pub from_this_slave: bool,
    /// How many shards; `0` in the master's question to the old slave.
    pub shards: u32,
}

/// Ids 4 and 34, master → slave: seal, at once or when the connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seal {
    /// The shard.
    pub shard: ShardId,
    /// The epoch at which the addressed slave owns the shard. A slave that owns
    /// it at another epoch does nothing.
    pub epoch: Epoch,
    /// How long what is in doubt then may still run; whole milliseconds travel.
    #[serde(rename = "drain_ms", with = "millis")]
    pub drain: Duration,
    /// From version 6 on: behind this sequence the next owner's RESUME begins.
    /// An owner whose heartbeats have named more may answer
    /// [`CopyAnew`](super::ToMaster::CopyAnew). Absent: it seals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sequence>,
}

/// Id 4, slave → master: sealed. The ticket names the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The epoch at which it was sealed.
    pub epoch: Epoch,
    /// What its next owner goes on from.
    pub ticket: Ticket,
}

/// Id 5, master → slave: a shard is given to this slave. The ticket names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The epoch at which the addressed slave owns the shard from now on.
    pub epoch: Epoch,
    /// How the shard came free.
    pub after: ResumeAfter,
    /// The slave's state of the shard is more events behind than
    /// Discord replays, and is not used. A session outlives that, and its events do.
    pub state_too_old: bool,
    /// Processes died again and again with events of this shard in hand. What is
    /// replayed before RESUMED is handed out one at a time, each after [`Trying`] was
    /// answered. Only from version 6 on.
    pub alone: bool,
    /// These killed the process that had them, alone: what becomes of them the bot's
    /// configuration says. Only from version 6 on.
    pub deadly: SequenceRanges,
    /// These killed once more when the bot still wanted them: they are
    /// not handed out. All of them are `deadly` too. Only from version 6 on.
    pub skipped: SequenceRanges,
    /// What it goes on from.
    pub ticket: Ticket,
}

impl Resume {
    /// Which shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.ticket.shard
    }
}

/// How a shard came free, which decides what must be marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeAfter {
    /// The owner sealed it: the ticket is exact, what is in doubt waits for
    /// [`Settled`], nothing else is marked.
    #[default]
    Seal,
    /// The owner died: the ticket is its last checkpoint. What is replayed
    /// before RESUMED and not known finished is marked.
    Death,
}

/// Id 24, slave → master → slave: what was in doubt at a seal is settled.
/// Sent once for each seal, also when nothing was in doubt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settled {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that sealed it.
    pub epoch: Epoch,
    /// Not finished: the new owner handles them, marked.
    pub unfinished: SequenceRanges,
    /// The events themselves, of those that Discord may not replay any more, the
    /// oldest first: at most [`Settled::MAX_EVENTS`] with [`Settled::MAX_BYTES`]
    /// together. None before version 6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<CarriedEvent>,
}

impl Settled {
    /// More events are not carried in one message.
    pub const MAX_EVENTS: usize = 64;

    /// Nor more bytes of them.
    pub const MAX_BYTES: usize = 256 * 1024;
}

/// One dispatch on its way from one process to another.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarriedEvent {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: String,
    /// The whole payload, as Discord sent it.
    pub json: String,
}

impl fmt::Debug for CarriedEvent {
    /// Without the payload: events are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedEvent")
            .field("sequence", &self.sequence)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Id 32, master → slave: have a connection to Discord ready for this shard. It
/// is held after HELLO: the RESUME goes out when the shard is given to the slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dial {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that serves it.
    pub epoch: Epoch,
    /// Its last checkpoint. The RESUME begins there, or where the copied state
    /// stands: what the owner handles later is replayed once more, and dropped.
    pub ticket: Ticket,
}

/// Id 33, slave → master: answers [`Dial`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialled {
    /// The shard.
    pub shard: ShardId,
    /// The epoch that the order named.
    pub epoch: Epoch,
    /// Why there is no connection, for a person; empty: HELLO came.
    pub failed: String,
}

/// Id 36, slave → master: answers [`Overtake`](super::ToSlave::Overtake).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overtaken {
    /// The shard.
    pub shard: ShardId,
    /// The epoch that the order named.
    pub epoch: Epoch,
    /// Why the session was not resumed, for a person; empty: RESUMED came.
    pub failed: String,
}

/// Id 39, slave → master: this event is about to be handed out, alone, because
/// processes died with it or its like in hand. Answer: id 40, the same shard, epoch
/// and sequence; until it comes nothing is handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trying {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// The event's sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: String,
    /// Its guild; zero: none.
    pub guild: u64,
}

/// Id 41, slave → master: this event killed each process that had it, and is set
/// aside. The master keeps it where an operator finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetAside {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its guild; zero: none.
    pub guild: u64,
    /// Whether it is handed out once more, as the bot is configured.
    pub handed_out: bool,
    /// The event. One of more than [`SetAside::MAX_BYTES`] comes without its payload.
    pub event: CarriedEvent,
}

impl SetAside {
    /// A longer payload is not sent.
    pub const MAX_BYTES: usize = 256 * 1024;
}
