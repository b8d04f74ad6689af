//! State frames (ids 100 and above): a shard's state on its way to its next
//! owner, routed by 24 fixed bytes and otherwise unread.
//!
//! The body is the routing header and then, for
//! [`STATE_PIECES`](crate::message::event::STATE_PIECES), fragments of pieces.
//! A *piece* is the smallest thing that is exported at one sequence: for a bot
//! with a cache, one guild. A piece larger than a frame travels as several
//! fragments, in order.
//!
//! ```text
//! header    shard u32 | chunk u32 | epoch u64 | state sequence u64          LE
//! fragment  key u64 | sequence u64 | total u32 | offset u32 | length u32    LE, then `length` bytes
//! ```
//!
//! `chunk` counts the frames of one copy from 0. The header's state sequence is
//! the lowest sequence of the frame's pieces; in a `STATE_END` it is the sequence
//! at which the copy as a whole stands, and `chunk` is the number of frames
//! before it. A piece may come more than once: the last one counts.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    error::DecodeError,
    id::{Epoch, Sequence, ShardId},
};

/// A state frame's body is at most this long, its header included.
pub const MAX_STATE_BODY: usize = 64 * 1024;

/// At most so many bytes of state bodies are on their way to one peer without an
/// acknowledgement.
pub const MAX_UNACKNOWLEDGED: u64 = 256 * 1024;

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

    fn put(self, out: &mut BytesMut) {
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

    /// The fragments of a `STATE_PIECES` frame, in order, without a copy.
    ///
    /// # Errors
    /// A fragment reaches past the body, or past its own piece, or its piece is
    /// larger than [`MAX_PIECE`].
    pub fn fragments(&self) -> Result<Vec<Fragment>, DecodeError> {
        let mut rest = self.body.slice(StateHeader::LENGTH..);
        let mut fragments = Vec::new();
        while rest.has_remaining() {
            fragments.push(self.fragment(&mut rest)?);
        }
        Ok(fragments)
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

/// Cuts pieces into state frames of one copy, each filled up to
/// [`MAX_STATE_BODY`].
#[derive(Debug)]
pub struct StateWriter {
    shard: ShardId,
    epoch: Epoch,
    chunk: u32,
    /// Body under construction, its header not yet written.
    fragments: BytesMut,
    /// Lowest sequence in `fragments`.
    lowest_here: Option<Sequence>,
}

impl StateWriter {
    /// Begins a copy of `shard` by its owner at `epoch`.
    #[must_use]
    pub fn new(shard: ShardId, epoch: Epoch) -> Self {
        Self {
            shard,
            epoch,
            chunk: 0,
            fragments: BytesMut::new(),
            lowest_here: None,
        }
    }

    /// Adds one piece; gives the frames that are full.
    ///
    /// # Errors
    /// The piece is larger than [`MAX_PIECE`].
    pub fn piece(
        &mut self,
        key: u64,
        sequence: Sequence,
        piece: &[u8],
    ) -> Result<Vec<StateFrame>, DecodeError> {
        const ROOM: usize = MAX_STATE_BODY - StateHeader::LENGTH;
        let total = u32::try_from(piece.len())
            .ok()
            .filter(|total| *total as usize <= MAX_PIECE)
            .ok_or(DecodeError::TooLong {
                id: crate::message::event::STATE_PIECES,
                length: piece.len(),
                limit: MAX_PIECE,
            })?;
        let mut full = Vec::new();
        let mut offset = 0;
        loop {
            // A fragment carries at least one byte, unless its piece has none.
            if self.fragments.len() + Fragment::HEADER + usize::from(total > 0) > ROOM {
                full.push(self.cut());
            }
            let room = ROOM - self.fragments.len() - Fragment::HEADER;
            let length = room.min(piece.len() - offset);
            self.fragments.put_u64_le(key);
            self.fragments.put_u64_le(sequence.get());
            self.fragments.put_u32_le(total);
            self.fragments.put_u32_le(offset as u32);
            self.fragments.put_u32_le(length as u32);
            self.fragments.put_slice(&piece[offset..offset + length]);
            self.lowest_here = Some(self.lowest_here.map_or(sequence, |low| low.min(sequence)));
            offset += length;
            if offset == piece.len() {
                return Ok(full);
            }
        }
    }

    /// Ends the copy: the frame that is not yet full, and the end frame.
    ///
    /// `sequence` is where the copy stands: no event at or below it is missing in
    /// any piece, also where a piece itself was exported before and did not
    /// change since.
    #[must_use]
    pub fn end(mut self, sequence: Sequence) -> Vec<StateFrame> {
        let mut frames = Vec::with_capacity(2);
        if !self.fragments.is_empty() {
            frames.push(self.cut());
        }
        let header = StateHeader {
            shard: self.shard,
            chunk: self.chunk,
            epoch: self.epoch,
            sequence,
        };
        let mut body = BytesMut::with_capacity(StateHeader::LENGTH);
        header.put(&mut body);
        frames.push(StateFrame {
            id: crate::message::event::STATE_END,
            header,
            body: body.freeze(),
        });
        frames
    }

    fn cut(&mut self) -> StateFrame {
        let header = StateHeader {
            shard: self.shard,
            chunk: self.chunk,
            epoch: self.epoch,
            sequence: self.lowest_here.take().unwrap_or_default(),
        };
        let fragments = self.fragments.split();
        let mut body = BytesMut::with_capacity(StateHeader::LENGTH + fragments.len());
        header.put(&mut body);
        body.extend_from_slice(&fragments);
        self.chunk = self.chunk.saturating_add(1);
        StateFrame {
            id: crate::message::event::STATE_PIECES,
            header,
            body: body.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::message::event;

    proptest! {
        #[test]
        fn pieces_of_every_size_arrive_whole(sizes in prop::collection::vec(0_usize..200_000, 0..8)) {
            let pieces: BTreeMap<u64, Vec<u8>> = sizes
                .iter()
                .enumerate()
                .map(|(key, size)| (key as u64, (0..*size).map(|at| (at % 251) as u8).collect()))
                .collect();
            let mut writer = StateWriter::new(ShardId(3), Epoch(7));
            let mut frames = Vec::new();
            for (key, piece) in &pieces {
                frames.extend(writer.piece(*key, Sequence(100 - key), piece)?);
            }
            frames.extend(writer.end(Sequence(500)));

            let end = frames.pop().expect("an end");
            prop_assert_eq!(end.id(), event::STATE_END);
            prop_assert_eq!(end.header().chunk as usize, frames.len());
            prop_assert_eq!(end.header().sequence, Sequence(500));
            let mut read: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for (number, frame) in frames.into_iter().enumerate() {
                prop_assert!(frame.body().len() <= MAX_STATE_BODY);
                prop_assert_eq!(frame.header().chunk as usize, number);
                let again = StateFrame::from_body(frame.id(), frame.body().clone())?;
                prop_assert_eq!(&again, &frame);
                for fragment in again.fragments()? {
                    let piece = read.entry(fragment.key).or_default();
                    prop_assert_eq!(piece.len(), fragment.offset as usize);
                    prop_assert_eq!(fragment.sequence, Sequence(100 - fragment.key));
                    piece.extend_from_slice(&fragment.bytes);
                    prop_assert_eq!(fragment.is_last(), piece.len() == fragment.total as usize);
                }
            }
            prop_assert_eq!(read, pieces);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(frame) = StateFrame::from_body(event::STATE_PIECES, bytes.into()) {
                let _ = frame.fragments();
            }
        }
    }

    #[test]
    fn a_fragment_past_its_piece_is_refused() {
        let mut body = BytesMut::new();
        StateHeader::default().put(&mut body);
        body.put_u64_le(1);
        body.put_u64_le(1);
        body.put_u32_le(3);
        body.put_u32_le(2);
        body.put_u32_le(2);
        body.put_slice(b"xy");
        let frame = StateFrame::from_body(100, body.freeze()).expect("a header");
        assert!(matches!(
            frame.fragments(),
            Err(DecodeError::BadFragment {
                key: 1,
                total: 3,
                offset: 2,
                length: 2
            })
        ));
    }
}
