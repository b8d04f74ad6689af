//! State frames (ids 100 and above): a shard's state on its way to its next
//! owner, routed by 24 fixed bytes and otherwise unread.
//!
//! The body is the routing header and then, in a frame of pieces, fragments of
//! them. A *piece* is the smallest thing that is exported at one sequence: for a
//! bot with a cache, one guild. A piece larger than a frame travels as several
//! fragments, in order.
//!
//! ```text
//! header    shard u32 | chunk u32 | epoch u64 | state sequence u64          LE
//! check     CRC-32 u32 | packing u32                        LE, from version 5 on
//! fragment  key u64 | sequence u64 | total u32 | offset u32 | length u32    LE, then `length` bytes
//! ```
//!
//! `chunk` counts the frames of one copy from 0. The header's state sequence is
//! the lowest sequence of the frame's pieces; in an end frame it is the sequence
//! at which the copy as a whole stands, and `chunk` is the number of frames
//! before it. A piece may come more than once: the last one counts.
//!
//! A copy has one of two forms, which its reader knows by the ids. In the *plain*
//! one (`STATE_PIECES`, `STATE_END`) nothing stands between header and fragments.
//! In the *checked* one (`STATE_CHECKED`, `STATE_CHECKED_END`) the checksum is of
//! the id and of everything else in the body, the routing header included; and the
//! fragments of a frame may be one zstd block ([`Packing::Zstd`]). Each block
//! unpacks by itself, to no more than a frame may be long.

mod writer;

use bytes::{Buf, BufMut, Bytes};

pub use self::writer::{Outgoing, Pack, StateWriter};
use crate::{
    error::DecodeError,
    id::{Epoch, Sequence, ShardId},
    message::event,
};

/// A state frame's body is at most this long, its header included.
pub const MAX_STATE_BODY: usize = 64 * 1024;

/// At most so many bytes of state bodies are on their way to one peer without an
/// acknowledgement.
pub const MAX_UNACKNOWLEDGED: u64 = 256 * 1024;

/// The same for a slave whose state crosses the network between two hosts, where it is said
/// with the order to copy ([`CopyState`](crate::message::CopyState)): 200 MB/s at a round
/// trip of 40 ms, from slave to slave and back. How many of them are used follows the round
/// trip.
pub const MAX_UNACKNOWLEDGED_BETWEEN_HOSTS: u64 = 8 * 1024 * 1024;

/// What is packed is at least this long, so that the number of frames on their way is bounded
/// by their bytes: a block that would be shorter has a skippable frame of zstd behind it.
pub const MIN_PACKED_BLOCK: usize = 1024;

/// A piece larger than this is refused by the importing side (and is not
/// exported): 2,500 guilds of it would be 40 GiB.
pub const MAX_PIECE: usize = 16 * 1024 * 1024;

/// The fixed bytes by which the master routes a state frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHeader {
    /// Whose state.
    pub shard: ShardId,
    /// Number of this frame in the copy, from 0.
    pub chunk: u32,
    /// The epoch of the slave that copies.
    pub epoch: Epoch,
    /// The lowest sequence at which a piece of this frame stands.
    pub sequence: Sequence,
}

impl StateHeader {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 24;

    fn put(self, out: &mut impl BufMut) {
        out.put_u32_le(self.shard.get());
        out.put_u32_le(self.chunk);
        out.put_u64_le(self.epoch.get());
        out.put_u64_le(self.sequence.get());
    }
}

/// One state frame: its id, its header, and its whole body as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFrame {
    id: u32,
    header: StateHeader,
    body: Bytes,
}

impl StateFrame {
    /// Reads the header of a body; the body itself is kept as it is.
    ///
    /// # Errors
    /// The body is shorter than a header or longer than [`MAX_STATE_BODY`].
    pub fn from_body(id: u32, body: Bytes) -> Result<Self, DecodeError> {
        if body.len() > MAX_STATE_BODY {
            return Err(DecodeError::TooLong {
                id,
                length: body.len(),
                limit: MAX_STATE_BODY,
            });
        }
        let mut bytes = &body[..];
        if bytes.len() < StateHeader::LENGTH {
            return Err(DecodeError::Truncated {
                id,
                have: bytes.len(),
                want: StateHeader::LENGTH,
            });
        }
        let header = StateHeader {
            shard: ShardId(bytes.get_u32_le()),
            chunk: bytes.get_u32_le(),
            epoch: Epoch(bytes.get_u64_le()),
            sequence: Sequence(bytes.get_u64_le()),
        };
        Ok(Self { id, header, body })
    }

    /// The event id, 100 or above.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// By what it is routed.
    #[must_use]
    pub const fn header(&self) -> StateHeader {
        self.header
    }

    /// The whole body, header included.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether it is the last of its copy.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self.id, event::STATE_END | event::STATE_CHECKED_END)
    }

    /// Whether this build knows frames of this id and, where it has a checksum,
    /// every byte is as it was written. Ask before the header is believed.
    ///
    /// # Errors
    /// [`DecodeError::UnknownId`], [`DecodeError::Truncated`] or
    /// [`DecodeError::Damaged`].
    pub fn check(&self) -> Result<(), DecodeError> {
        let id = self.id;
        match id {
            event::STATE_PIECES | event::STATE_END => Ok(()),
            event::STATE_CHECKED | event::STATE_CHECKED_END => {
                let said = self.field(0)?;
                if said == checksum(id, &self.body) {
                    Ok(())
                } else {
                    Err(DecodeError::Damaged { id })
                }
            }
            _ => Err(DecodeError::UnknownId { id }),
        }
    }

    /// What is behind the headers, without a copy, and how it is packed.
    ///
    /// # Errors
    /// The frame is too short, or packed in a way that this build does not know.
    pub fn content(&self) -> Result<(Packing, Bytes), DecodeError> {
        if !is_checked(self.id) {
            return Ok((Packing::None, self.body.slice(StateHeader::LENGTH..)));
        }
        let packing = match self.field(1)? {
            0 => Packing::None,
            1 => Packing::Zstd,
            packing => {
                return Err(DecodeError::UnknownPacking {
                    id: self.id,
                    packing,
                });
            }
        };
        Ok((packing, self.body.slice(CHECKED..)))
    }

    /// The fragments in the content of a frame, in order, without a copy.
    ///
    /// # Errors
    /// A fragment reaches past the content, or past its own piece, or its piece is
    /// larger than [`MAX_PIECE`].
    pub fn fragments(&self, content: Bytes) -> Result<Vec<Fragment>, DecodeError> {
        let mut rest = content;
        let mut fragments = Vec::new();
        while rest.has_remaining() {
            fragments.push(self.fragment(&mut rest)?);
        }
        Ok(fragments)
    }

    /// A number behind the routing header of a checked frame.
    fn field(&self, number: usize) -> Result<u32, DecodeError> {
        let at = StateHeader::LENGTH + 4 * number;
        match self.body.get(at..at + 4) {
            Some(mut bytes) => Ok(bytes.get_u32_le()),
            None => Err(DecodeError::Truncated {
                id: self.id,
                have: self.body.len(),
                want: CHECKED,
            }),
        }
    }

    fn fragment(&self, rest: &mut Bytes) -> Result<Fragment, DecodeError> {
        if rest.len() < Fragment::HEADER {
            return Err(DecodeError::Truncated {
                id: self.id,
                have: rest.len(),
                want: Fragment::HEADER,
            });
        }
        let key = rest.get_u64_le();
        let sequence = Sequence(rest.get_u64_le());
        let total = rest.get_u32_le();
        let offset = rest.get_u32_le();
        let length = rest.get_u32_le();
        if rest.len() < length as usize {
            return Err(DecodeError::Truncated {
                id: self.id,
                have: rest.len(),
                want: length as usize,
            });
        }
        let end = u64::from(offset) + u64::from(length);
        if total as usize > MAX_PIECE || end > u64::from(total) {
            return Err(DecodeError::BadFragment {
                key,
                total,
                offset,
                length,
            });
        }
        Ok(Fragment {
            key,
            sequence,
            total,
            offset,
            bytes: rest.split_to(length as usize),
        })
    }
}

/// How the content of a frame is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is fragments.
    None,
    /// It is one zstd block of fragments.
    Zstd,
}

/// Bytes before the content of a checked frame.
const CHECKED: usize = StateHeader::LENGTH + 8;

const fn is_checked(id: u32) -> bool {
    matches!(id, event::STATE_CHECKED | event::STATE_CHECKED_END)
}

/// Of a checked frame; `body` is longer than its headers.
fn checksum(id: u32, body: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&id.to_le_bytes());
    checksum.update(&body[..StateHeader::LENGTH]);
    checksum.update(&body[StateHeader::LENGTH + 4..]);
    checksum.finalize()
}

/// Some consecutive bytes of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the piece is, for the bot; a guild id.
    pub key: u64,
    /// The sequence at which the piece was exported.
    pub sequence: Sequence,
    /// Length of the whole piece.
    pub total: u32,
    /// Where these bytes begin in it.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes,
}

impl Fragment {
    const HEADER: usize = 28;

    /// Whether these are the last bytes of their piece.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.offset as usize + self.bytes.len() == self.total as usize
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
