//! A shard's state: on its way, copied out while the old owner serves and taken in
//! by the next one; or where it stays (`stays`).
//!
//! Pieces stand at different sequences, because events go on while they are
//! exported. Piece `0` is ours and comes first: its sequence is where the copy
//! began, its bytes name the session that all sequences of the copy are of.

mod allowance;
mod channel;
mod export;
mod import;
mod pack;
pub(crate) mod snapshot;
#[cfg_attr(
    not(feature = "store"),
    allow(dead_code, reason = "the store is the one place there is")
)]
pub(crate) mod stays;

pub use self::snapshot::Snapshots;
pub(crate) use self::{
    allowance::Allowance,
    channel::StateChannel,
    export::{CopyOut, Exported, Form, Heartbeat, Way},
    import::{Copied, Import, Piece, Taken, offer_in, offer_of},
};

/// Key of the piece that names the session.
pub(crate) const SESSION_PIECE: u64 = 0;
