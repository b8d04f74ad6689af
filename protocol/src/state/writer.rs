//! Cutting: from pieces to the frames of one copy.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{CHECKED, Fragment, MAX_PIECE, MAX_STATE_BODY, Packing, StateFrame, StateHeader};
use crate::{
    error::DecodeError,
    id::{Epoch, Sequence, ShardId},
    message::event,
};

/// Packs the fragments of a frame.
pub trait Pack: fmt::Debug + Send {
    /// One zstd block that unpacks by itself; `None`: it would not be shorter.
    fn pack(&mut self, fragments: &[u8]) -> Option<&[u8]>;
}

/// A piece on its way into frames.
#[derive(Clone, Debug)]
pub struct Outgoing {
    key: u64,
    sequence: Sequence,
    bytes: Bytes,
    /// How much of it is in frames.
    cut: usize,
    is_cut: bool,
}

impl Outgoing {
    /// A piece as it stands at `sequence`.
    ///
    /// # Errors
    /// It is larger than [`MAX_PIECE`].
    pub fn new(key: u64, sequence: Sequence, bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_PIECE {
            return Err(DecodeError::TooLong {
                id: event::STATE_PIECES,
                length: bytes.len(),
                limit: MAX_PIECE,
            });
        }
        Ok(Self {
            key,
            sequence,
            bytes,
            cut: 0,
            is_cut: false,
        })
    }

    /// Whether all of it is in frames.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// Cuts pieces into state frames of one copy, each filled up to
/// [`MAX_STATE_BODY`] before it is packed.
#[derive(Debug)]
pub struct StateWriter {
    shard: ShardId,
    epoch: Epoch,
    chunk: u32,
    form: Form,
    /// Under construction: nothing, or room for the headers and then fragments.
    body: BytesMut,
    /// Lowest sequence in `body`.
    lowest_here: Option<Sequence>,
}

#[derive(Debug)]
enum Form {
    Plain,
    Checked(Option<Box<dyn Pack>>),
}

impl Form {
    /// Bytes before the fragments.
    const fn head(&self) -> usize {
        match self {
            Self::Plain => StateHeader::LENGTH,
            Self::Checked(_) => CHECKED,
        }
    }
}

impl StateWriter {
    /// Begins a copy of `shard` by its owner at `epoch`, in the plain form.
    #[must_use]
    pub fn new(shard: ShardId, epoch: Epoch) -> Self {
        Self::of(shard, epoch, Form::Plain)
    }

    /// The same in the checked form, for a reader of
    /// [`Version::CHECKED_STATE`](crate::Version::CHECKED_STATE) or newer; with
    /// frames as `pack` packs them.
    #[must_use]
    pub fn checked(shard: ShardId, epoch: Epoch, pack: Option<Box<dyn Pack>>) -> Self {
        Self::of(shard, epoch, Form::Checked(pack))
    }

    fn of(shard: ShardId, epoch: Epoch, form: Form) -> Self {
        Self {
            shard,
            epoch,
            chunk: 0,
            form,
            body: BytesMut::new(),
            lowest_here: None,
        }
    }

    /// Adds as much of a piece as goes into one frame; gives that frame when it is
    /// full. To be called until the piece [is cut](Outgoing::is_cut).
    pub fn add(&mut self, piece: &mut Outgoing) -> Option<StateFrame> {
        let whole = piece.bytes.len();
        let rest = whole - piece.cut;
        if self.body.is_empty() {
            let head = self.form.head();
            let wanted = head + Fragment::HEADER + rest;
            self.body.reserve(wanted.min(MAX_STATE_BODY));
            self.body.put_bytes(0, head);
        } else if self.body.capacity() - self.body.len() < Fragment::HEADER + rest {
            // At once: small pieces come in numbers.
            self.body.reserve(MAX_STATE_BODY - self.body.len());
        }
        let length = rest.min(MAX_STATE_BODY - self.body.len() - Fragment::HEADER);
        self.body.put_u64_le(piece.key);
        self.body.put_u64_le(piece.sequence.get());
        self.body.put_u32_le(whole as u32);
        self.body.put_u32_le(piece.cut as u32);
        self.body.put_u32_le(length as u32);
        self.body
            .put_slice(&piece.bytes[piece.cut..piece.cut + length]);
        let lowest = self.lowest_here.unwrap_or(piece.sequence);
        self.lowest_here = Some(lowest.min(piece.sequence));
        piece.cut += length;
        piece.is_cut = piece.cut == whole;
        // A fragment carries at least one byte, unless its piece has none.
        (self.body.len() + Fragment::HEADER >= MAX_STATE_BODY).then(|| self.cut())
    }

    /// The frame that is not yet full, for a reader that is to have it now, and not packed;
    /// `None`: nothing is in it.
    pub fn flush(&mut self) -> Option<StateFrame> {
        (!self.body.is_empty()).then(|| self.cut_as_it_is())
    }

    /// Ends the copy: the frame that is not yet full, and the end frame.
    ///
    /// `sequence` is where the copy stands: no event at or below it is missing in
    /// any piece, also where a piece itself was exported before and did not
    /// change since.
    #[must_use]
    pub fn end(mut self, sequence: Sequence) -> Vec<StateFrame> {
        let mut frames = Vec::with_capacity(2);
        if !self.body.is_empty() {
            frames.push(self.cut());
        }
        let id = match self.form {
            Form::Plain => event::STATE_END,
            Form::Checked(_) => event::STATE_CHECKED_END,
        };
        let body = BytesMut::zeroed(self.form.head());
        frames.push(self.frame(id, sequence, Packing::None, body));
        frames
    }

    fn cut(&mut self) -> StateFrame {
        let sequence = self.lowest_here.take().unwrap_or_default();
        let head = self.form.head();
        let (id, packed) = match &mut self.form {
            Form::Plain => (event::STATE_PIECES, None),
            Form::Checked(None) => (event::STATE_CHECKED, None),
            Form::Checked(Some(pack)) => (event::STATE_CHECKED, pack.pack(&self.body[head..])),
        };
        let (packing, body) = match packed {
            Some(packed) => {
                let mut body = BytesMut::with_capacity(head + packed.len());
                body.put_bytes(0, head);
                body.put_slice(packed);
                self.body.clear();
                (Packing::Zstd, body)
            }
            None => (Packing::None, self.body.split()),
        };
        self.next_frame(id, sequence, packing, body)
    }

    fn cut_as_it_is(&mut self) -> StateFrame {
        let sequence = self.lowest_here.take().unwrap_or_default();
        let id = match self.form {
            Form::Plain => event::STATE_PIECES,
            Form::Checked(_) => event::STATE_CHECKED,
        };
        let body = self.body.split();
        self.next_frame(id, sequence, Packing::None, body)
    }

    fn next_frame(
        &mut self,
        id: u32,
        sequence: Sequence,
        packing: Packing,
        body: BytesMut,
    ) -> StateFrame {
        let frame = self.frame(id, sequence, packing, body);
        self.chunk = self.chunk.saturating_add(1);
        frame
    }

    /// Writes the headers into the room before the content.
    fn frame(
        &self,
        id: u32,
        sequence: Sequence,
        packing: Packing,
        mut body: BytesMut,
    ) -> StateFrame {
        let header = StateHeader {
            shard: self.shard,
            chunk: self.chunk,
            epoch: self.epoch,
            sequence,
        };
        header.put(&mut &mut body[..StateHeader::LENGTH]);
        if super::is_checked(id) {
            let packing: u32 = match packing {
                Packing::None => 0,
                Packing::Zstd => 1,
            };
            body[StateHeader::LENGTH + 4..CHECKED].copy_from_slice(&packing.to_le_bytes());
            let checksum = super::checksum(id, &body);
            body[StateHeader::LENGTH..][..4].copy_from_slice(&checksum.to_le_bytes());
        }
        StateFrame {
            id,
            header,
            body: body.freeze(),
        }
    }
}
