//! Taking in: pieces put together again, bounded, and what is known afterwards
//! of where each of them stands.

use std::collections::HashMap;

use baton_protocol::{
    Epoch, Sequence,
    message::event,
    state::{Fragment, MAX_PIECE, StateFrame},
};
use bytes::{Bytes, BytesMut};

use super::SESSION_PIECE;

/// One copy on its way in.
#[derive(Debug, Default)]
pub(crate) struct Import {
    epoch: Epoch,
    next_chunk: u32,
    broken: bool,
    session: Option<Box<str>>,
    pieces: HashMap<u64, Sequence>,
    partial: Option<Partial>,
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

    /// Whether the copy holds the event at `sequence` that changes `piece`.
    pub(crate) fn holds(&self, sequence: Sequence, piece: impl FnOnce() -> Option<u64>) -> bool {
        if sequence <= self.lowest {
            return true;
        }
        if sequence > self.highest || cfg!(mutant = "piece-taken-twice") {
            return false;
        }
        let stands = piece().and_then(|key| self.pieces.get(&key)).copied();
        sequence <= stands.unwrap_or(self.began)
    }

    /// Whether nothing from `sequence` on can be in the copy.
    pub(crate) fn is_behind(&self, sequence: Sequence) -> bool {
        sequence > self.highest
    }

    /// How many pieces were taken in.
    pub(crate) fn count(&self) -> u64 {
        self.pieces.len() as u64
    }
}

impl Import {
    /// Takes a state frame of an owner's copy.
    pub(crate) fn take(&mut self, frame: &StateFrame) -> Taken {
        let header = frame.header();
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
        if frame.id() == event::STATE_END {
            return self.end(header.sequence);
        }
        self.next_chunk = self.next_chunk.saturating_add(1);
        let fragments = match frame.fragments() {
            Ok(fragments) => fragments,
            Err(error) => return self.broken(error.to_string()),
        };
        let mut whole = Vec::new();
        for fragment in fragments {
            match self.fragment(fragment) {
                Ok(piece) => whole.extend(piece),
                Err(why) => return self.broken(why),
            }
        }
        if begins {
            Taken::Begins(whole)
        } else {
            Taken::Pieces(whole)
        }
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
        self.pieces.clear();
        Taken::Broken(why)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use baton_protocol::ShardId;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::state::CopyOut;

    fn frames(keys: &[u64]) -> Vec<StateFrame> {
        let budget = Arc::new(Semaphore::new(usize::MAX >> 4));
        let mut copy = CopyOut::new(
            ShardId(1),
            Epoch(4),
            Sequence(10),
            Some("tag"),
            keys.to_vec(),
            budget,
        );
        let mut frames = Vec::new();
        let mut at = 10;
        while !copy.is_over() {
            at += 1;
            frames.extend(copy.step(Sequence(at), |key| {
                (key != 13).then(|| Bytes::from(vec![key as u8; key as usize * 10_000]))
            }));
        }
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_arrives_whole_and_each_piece_stands_where_it_was_exported() {
        let mut import = Import::default();
        let mut whole = Vec::new();
        let mut copied = None;
        for frame in frames(&[0, 7, 13, 20]) {
            match import.take(&frame) {
                Taken::Begins(pieces) | Taken::Pieces(pieces) => whole.extend(pieces),
                Taken::Complete(complete) => copied = Some(complete),
                Taken::Broken(why) => panic!("{why}"),
                Taken::Ignored => panic!("ignored"),
            }
        }
        let copied = copied.unwrap();
        let keys: Vec<(u64, usize)> = whole.iter().map(|p| (p.key, p.bytes.len())).collect();
        assert_eq!(keys, [(7, 70_000), (20, 200_000)]);
        assert_eq!(copied.session.as_deref(), Some("tag"));
        assert_eq!((copied.began, copied.count()), (Sequence(10), 2));
        assert!(copied.lowest > whole[1].sequence, "nothing changed since");
        assert!(copied.holds(copied.lowest, || Some(99)));
        assert!(copied.is_behind(Sequence(copied.lowest.get() + 1)));
    }

    #[test]
    fn above_the_copy_as_a_whole_each_piece_stands_for_itself() {
        let copied = Copied {
            began: Sequence(10),
            lowest: Sequence(12),
            highest: Sequence(20),
            pieces: HashMap::from([(7, Sequence(20)), (8, Sequence(11))]),
            ..Copied::default()
        };
        assert!(copied.holds(Sequence(12), || Some(99)));
        assert!(copied.holds(Sequence(20), || Some(7)));
        assert!(!copied.holds(Sequence(13), || Some(8)));
        assert!(!copied.holds(Sequence(13), || Some(99)), "not copied");
        assert!(!copied.is_behind(Sequence(20)) && copied.is_behind(Sequence(21)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_is_missing_breaks_the_copy_and_a_new_copy_heals_it() {
        let all = frames(&[20]);
        let mut import = Import::default();
        assert!(matches!(import.take(&all[0]), Taken::Begins(_)));
        assert!(matches!(import.take(&all[2]), Taken::Broken(_)));
        assert!(matches!(import.take(&all[3]), Taken::Ignored));
        assert!(matches!(import.take(&all[0]), Taken::Begins(_)));
        assert!(matches!(import.take(&all[1]), Taken::Pieces(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_without_state_sends_an_empty_copy() {
        let budget = Arc::new(Semaphore::new(1000));
        let mut copy = CopyOut::new(ShardId(1), Epoch(4), Sequence(10), None, vec![], budget);
        let end = copy.step(Sequence(10), |_| None).unwrap();
        assert!(copy.is_over());
        let Taken::Complete(copied) = Import::default().take(&end) else {
            panic!("an empty copy is complete");
        };
        assert_eq!((copied.count(), copied.lowest), (0, Sequence(0)));
    }
}
