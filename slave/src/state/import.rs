//! Taking in: pieces put together again, bounded, and what is known afterwards
//! of where each of them stands.

use std::collections::HashMap;

use baton_protocol::{
    Epoch, Sequence,
    state::{Fragment, MAX_PIECE, Packing, StateFrame},
};
use bytes::{Bytes, BytesMut};

use super::{SESSION_PIECE, pack::Unpacker};

/// One copy on its way in.
#[derive(Debug, Default)]
pub(crate) struct Import {
    epoch: Epoch,
    next_chunk: u32,
    broken: bool,
    session: Option<Box<str>>,
    pieces: HashMap<u64, Sequence>,
    partial: Option<Partial>,
    /// From the first frame that is packed to the end of its copy.
    unpacker: Option<Unpacker>,
}

#[derive(Debug)]
struct Partial {
    key: u64,
    sequence: Sequence,
    total: u32,
    bytes: BytesMut,
}

/// What one frame brought.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A new copy begins: forget the one before.
    Begins(Vec<Piece>),
    /// Whole pieces, maybe none.
    Pieces(Vec<Piece>),
    /// The copy is complete.
    Complete(Copied),
    /// It cannot be put together; nothing more of this copy is taken.
    Broken(String),
    /// A frame of a copy that was given up.
    Ignored,
}

/// One whole piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) key: u64,
    pub(crate) sequence: Sequence,
    pub(crate) bytes: Bytes,
}

/// Where each piece of a copied state stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The epoch of the owner that copied it.
    pub(crate) epoch: Epoch,
    /// Which session the sequences are of; `None`: there was no state.
    pub(crate) session: Option<Box<str>>,
    /// Where the copy began: what has no piece of its own stands here.
    pub(crate) began: Sequence,
    /// Where the copy as a whole stands: it holds every event up to here.
    pub(crate) lowest: Sequence,
    /// Where each piece stands.
    pieces: HashMap<u64, Sequence>,
    highest: Sequence,
}

impl Copied {
    /// State of this process itself, all of it at one sequence.
    pub(crate) fn own(at: Sequence) -> Self {
        Self {
            began: at,
            lowest: at,
            highest: at,
            ..Self::default()
        }
    }

    /// A copy of a session whose pieces stand there.
    #[cfg(test)]
    pub(crate) fn of_pieces(session: &str, lowest: u64, pieces: &[(u64, u64)]) -> Self {
        let pieces: HashMap<_, _> = pieces
            .iter()
            .map(|(key, sequence)| (*key, Sequence(*sequence)))
            .collect();
        let lowest = Sequence(lowest);
        Self {
            session: Some(session.into()),
            began: lowest,
            lowest,
            highest: pieces.values().copied().max().unwrap_or(lowest),
            pieces,
            ..Self::default()
        }
    }

    /// Whether the copy holds the event at `sequence` that changes `piece`.
    pub(crate) fn holds(&self, sequence: Sequence, piece: impl FnOnce() -> Option<u64>) -> bool {
        if sequence <= self.lowest {
            return true;
        }
        if sequence > self.highest || mutant!("piece-taken-twice") {
            return false;
        }
        let stands = piece().and_then(|key| self.pieces.get(&key)).copied();
        sequence <= stands.unwrap_or(self.began)
    }

    /// Whether nothing from `sequence` on can be in the copy.
    pub(crate) fn is_behind(&self, sequence: Sequence) -> bool {
        sequence > self.highest
    }

    /// Behind this event all of it stands at the same one.
    pub(crate) const fn highest(&self) -> Sequence {
        self.highest
    }

    /// How many pieces were taken in.
    pub(crate) fn count(&self) -> u64 {
        self.pieces.len() as u64
    }
}

/// What the first frame of a copy offers: the fingerprint of a session, and the number under
/// which the owner asks whether its reader can go on with the state where it is.
pub(crate) fn offer_in(frame: &StateFrame) -> Option<(Box<str>, u64)> {
    let (Packing::None, content) = frame.content().ok()? else {
        return None;
    };
    let mut fragments = frame.fragments(content).ok()?.into_iter();
    let first = fragments
        .next()
        .filter(|first| first.key == SESSION_PIECE)?;
    let (tag, offer) = str::from_utf8(&first.bytes).ok()?.split_once(' ')?;
    Some((tag.into(), u64::from_str_radix(offer, 16).ok()?))
}

/// How an offer is written.
pub(crate) fn offer_of(tag: &str, offer: u64) -> String {
    format!("{tag} {offer:016x}")
}

impl Import {
    /// Takes a state frame of an owner's copy.
    pub(crate) fn take(&mut self, frame: &StateFrame) -> Taken {
        let header = frame.header();
        // Not even its number is believed before that.
        if let Err(error) = frame.check()
            && !mutant!("checksum-unheeded")
        {
            return self.broken(error.to_string());
        }
        let begins = header.chunk == 0;
        if begins {
            *self = Self {
                epoch: header.epoch,
                ..Self::default()
            };
        }
        if self.broken || header.epoch != self.epoch {
            return Taken::Ignored;
        }
        if header.chunk != self.next_chunk {
            return self.broken(format!(
                "frame {} came where {} was due",
                header.chunk, self.next_chunk
            ));
        }
        if frame.is_end() {
            return self.end(header.sequence);
        }
        self.next_chunk = self.next_chunk.saturating_add(1);
        match self.pieces_of(frame) {
            Ok(whole) if begins => Taken::Begins(whole),
            Ok(whole) => Taken::Pieces(whole),
            Err(why) => self.broken(why),
        }
    }

    fn pieces_of(&mut self, frame: &StateFrame) -> Result<Vec<Piece>, String> {
        let (packing, mut content) = frame.content().map_err(|error| error.to_string())?;
        if packing == Packing::Zstd {
            let unpacker = match &mut self.unpacker {
                Some(unpacker) => unpacker,
                none @ None => none.insert(Unpacker::new().ok_or("no memory to unpack it")?),
            };
            content = unpacker
                .unpack(&content)
                .map_err(|error| format!("it cannot be unpacked: {error}"))?;
        }
        let fragments = frame.fragments(content);
        let mut whole = Vec::new();
        for fragment in fragments.map_err(|error| error.to_string())? {
            whole.extend(self.fragment(fragment)?);
        }
        Ok(whole)
    }

    fn fragment(&mut self, fragment: Fragment) -> Result<Option<Piece>, String> {
        let last = fragment.is_last();
        let Fragment {
            key,
            sequence,
            total,
            offset,
            bytes,
        } = fragment;
        let bytes = match self.partial.take() {
            None if offset == 0 && last => bytes,
            None if offset == 0 => {
                let mut start = BytesMut::with_capacity((total as usize).min(MAX_PIECE));
                start.extend_from_slice(&bytes);
                self.partial = Some(Partial {
                    key,
                    sequence,
                    total,
                    bytes: start,
                });
                return Ok(None);
            }
            Some(mut partial)
                if partial.key == key
                    && partial.sequence == sequence
                    && partial.total == total
                    && partial.bytes.len() == offset as usize =>
            {
                partial.bytes.extend_from_slice(&bytes);
                if !last {
                    self.partial = Some(partial);
                    return Ok(None);
                }
                partial.bytes.freeze()
            }
            None | Some(_) => return Err(format!("a fragment of piece {key} is missing")),
        };
        self.pieces.insert(key, sequence);
        if key == SESSION_PIECE {
            self.session = Some(String::from_utf8_lossy(&bytes).into());
            return Ok(None);
        }
        Ok(Some(Piece {
            key,
            sequence,
            bytes,
        }))
    }

    fn end(&mut self, lowest: Sequence) -> Taken {
        if let Some(partial) = &self.partial {
            let why = format!("piece {} is not whole at the end", partial.key);
            return self.broken(why);
        }
        self.unpacker = None;
        let mut pieces = std::mem::take(&mut self.pieces);
        let began = pieces.remove(&SESSION_PIECE).unwrap_or(lowest);
        let highest = pieces.values().copied().max().unwrap_or(began).max(lowest);
        Taken::Complete(Copied {
            epoch: self.epoch,
            session: self.session.take(),
            began,
            lowest,
            pieces,
            highest,
        })
    }

    fn broken(&mut self, why: String) -> Taken {
        self.broken = true;
        self.partial = None;
        self.unpacker = None;
        self.pieces.clear();
        Taken::Broken(why)
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
