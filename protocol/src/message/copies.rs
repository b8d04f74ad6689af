//! What is said of state that is copied, and of once-per-bot work.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Unit;
use crate::{
    id::{Epoch, Sequence, ShardId},
    version::Version,
};

/// Id 25, master → slave: copy a shard's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyState {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its owner, who copies it.
    pub epoch: Epoch,
    /// The version that master and reader agreed on, for the form of the copy. A
    /// master before version 5 does not say it: the plain form.
    #[serde(skip_serializing_if = "is_unsaid")]
    pub reader: Version,
    /// The copy crosses the network between two hosts: so many bytes of it, and of every
    /// other copy of this slave, may be unacknowledged, and packing is worth its time. 0, and
    /// a master that does not say it: all of it stays on one host, and
    /// [`MAX_UNACKNOWLEDGED`](crate::state::MAX_UNACKNOWLEDGED) bytes may be.
    #[serde(skip_serializing_if = "is_nothing")]
    pub unacknowledged: u64,
}

fn is_unsaid(version: &Version) -> bool {
    *version == Version::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

impl CopyState {
    /// What is copied.
    #[must_use]
    pub const fn unit(self) -> Unit {
        Unit {
            shard: self.shard,
            epoch: self.epoch,
        }
    }
}

/// Id 26, slave → master: the copied state of a shard is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateReady {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that copied it.
    pub epoch: Epoch,
    /// The lowest sequence at which a copied piece stands.
    pub state_at: Sequence,
    /// How many pieces (guilds) were imported.
    pub pieces: u64,
}

/// Id 27, slave → master → slave: so many bytes of state frames were taken in.
/// The sender keeps at most [`crate::state::MAX_UNACKNOWLEDGED`] on the way, or what
/// [`CopyState::unacknowledged`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateAck {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that copies it.
    pub epoch: Epoch,
    /// Body bytes since the last acknowledgement.
    pub bytes: u64,
}

/// Id 28 (stop) and 29 (start), both ways: the once-per-bot work.
///
/// Order to stop: answered with the ticket. Order to start: carries the ticket,
/// answered without. A slave at a higher epoch ignores either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// The epoch at which the addressed slave runs, or is to run, the work.
    pub epoch: Epoch,
    /// What the bot wrote down for its successor; at most
    /// [`Work::MAX_TICKET`] bytes.
    pub ticket: Bytes,
}

impl Work {
    /// Longer tickets are refused.
    pub const MAX_TICKET: usize = 256 * 1024;
}
