//! What is said when a shard goes from one slave to another, and of events that go with
//! it or are left behind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, Sequence, ShardId},
    ranges::SequenceRanges,
    ticket::Ticket,
};

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

/// Id 34, master → slave: seal when the connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LateSeal {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that is to seal it.
    pub epoch: Epoch,
    /// How long what is in doubt then may run, in milliseconds.
    pub drain_ms: u64,
    /// As in a [`StopShard`](super::StopShard), from version 6 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sequence>,
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
