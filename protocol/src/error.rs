//! What can be wrong with a peer, and how much of it.

#[cfg(feature = "io")]
use std::{io, time::Duration};

use crate::id::ShardId;

/// A body that is not what its id says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The id is not spoken, or not in this direction.
    #[error("event id {id} is not known in this direction")]
    UnknownId {
        /// The id.
        id: u32,
    },
    /// The id is spoken in this direction, but not by this peer, or not yet, or not any
    /// more.
    #[error("event id {id} is nothing that {speaker} says")]
    OutOfPlace {
        /// The id.
        id: u32,
        /// Who was due to speak.
        speaker: &'static str,
    },
    /// A body of ids 2, 3, 4, 5 or 8 as a Go program writes it.
    #[error("event id {id}: no `Baton` key in the body, so a Go program of 2018 wrote it")]
    NoBaton {
        /// The id.
        id: u32,
    },
    /// A shard is handed on without what its next owner goes on from.
    #[error("event id {id}: the ticket is missing")]
    NoTicket {
        /// The id.
        id: u32,
    },
    /// A shard is handed on with the ticket of another one.
    #[error("event id {id} is about shard {shard}, its ticket about shard {ticket}")]
    TicketOfAnother {
        /// The id.
        id: u32,
        /// The shard that the body names.
        shard: ShardId,
        /// The shard that the ticket names.
        ticket: ShardId,
    },
    /// The body is longer than its id allows.
    #[error("event id {id}: body of {length} bytes, the limit is {limit}")]
    TooLong {
        /// The id.
        id: u32,
        /// Announced or found.
        length: usize,
        /// Allowed.
        limit: usize,
    },
    /// The body ends inside a value.
    #[error("event id {id}: body ends after {have} bytes, {want} needed")]
    Truncated {
        /// The id.
        id: u32,
        /// Bytes there are.
        have: usize,
        /// Bytes that the value needs.
        want: usize,
    },
    /// The body goes on after its value.
    #[error("event id {id}: {extra} bytes after the end of the body's value")]
    Trailing {
        /// The id.
        id: u32,
        /// Bytes too many.
        extra: usize,
    },
    /// Maps and lists inside each other, deeper than anything we send.
    #[error("event id {id}: nested deeper than {limit}")]
    TooDeep {
        /// The id.
        id: u32,
        /// Allowed.
        limit: usize,
    },
    /// A byte that msgpack reserves.
    #[error("event id {id}: byte 0x{byte:02x} at {at} is not msgpack")]
    NotMsgpack {
        /// The id.
        id: u32,
        /// The byte.
        byte: u8,
        /// Where, from 0.
        at: usize,
    },
    /// A field of another type, or a value out of its range.
    #[error("event id {id}: {detail}")]
    WrongType {
        /// The id.
        id: u32,
        /// Which and why.
        detail: String,
    },
    /// A state frame of which not every byte is as it was written.
    #[error("event id {id}: the frame is damaged, its checksum is another")]
    Damaged {
        /// The id.
        id: u32,
    },
    /// A state frame that is packed in a way of a later version.
    #[error("event id {id}: packing {packing} is not known")]
    UnknownPacking {
        /// The id.
        id: u32,
        /// The number in the frame.
        packing: u32,
    },
    /// A fragment of state that does not fit its piece.
    #[error("piece {key} of {total} bytes: no room for {length} bytes at {offset}")]
    BadFragment {
        /// Key of the piece.
        key: u64,
        /// Its length.
        total: u32,
        /// Where the fragment claims to stand.
        offset: u32,
        /// Its length.
        length: u32,
    },
}

/// A connection that cannot be used any longer.
#[cfg(feature = "io")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The operating system's word.
    #[error("connection lost")]
    Io(#[from] io::Error),
    /// The peer closed the connection inside a frame.
    #[error("the peer closed the connection after {have} of {want} bytes of a frame")]
    CutInside {
        /// Bytes that came.
        have: usize,
        /// Bytes of the whole frame, or of its header while that is incomplete.
        want: usize,
    },
    /// A frame was begun and not finished in time.
    #[error("{have} of {want} bytes of a frame after {after:?}")]
    Stalled {
        /// Bytes that came.
        have: usize,
        /// Bytes of the whole frame, or of its header while that is incomplete.
        want: usize,
        /// How long it was waited for.
        after: Duration,
    },
    /// The peer took nothing for so long.
    #[error("the peer took no byte for {after:?}")]
    Blocked {
        /// How long it was waited for.
        after: Duration,
    },
    /// A frame that is not what it says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}
