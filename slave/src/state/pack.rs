//! Packing and unpacking: one frame, one zstd block that knows nothing of any
//! other.

use std::{fmt, io};

use baton_protocol::state::{MAX_STATE_BODY, MIN_PACKED_BLOCK, Pack};
use bytes::Bytes;

/// Compression that costs little: events are served beside it.
const LEVEL: i32 = 1;

/// The longest block that can be made of a frame's content.
pub(crate) fn longest_block() -> usize {
    zstd_safe::compress_bound(MAX_STATE_BODY)
}

/// Packs what is not longer than a frame may be.
pub(crate) struct Packer {
    context: zstd_safe::CCtx<'static>,
    block: Vec<u8>,
}

impl Packer {
    /// `None`: there is no memory for it.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            context: zstd_safe::CCtx::try_create()?,
            block: Vec::with_capacity(longest_block()),
        })
    }

    /// # Errors
    /// It is longer than a frame may be, or zstd fails.
    pub(crate) fn block(&mut self, content: &[u8]) -> io::Result<&[u8]> {
        self.block.clear();
        self.context
            .compress(&mut self.block, content, LEVEL)
            .map_err(failed)?;
        Ok(&self.block)
    }
}

impl Pack for Packer {
    fn pack(&mut self, fragments: &[u8]) -> Option<&[u8]> {
        self.block(fragments).ok()?;
        fill_up(&mut self.block);
        (self.block.len() < fragments.len()).then_some(&self.block)
    }
}

/// A block that is shorter than a frame may be gets a skippable one behind it, which every
/// reader of zstd passes over.
fn fill_up(block: &mut Vec<u8>) {
    let missing = MIN_PACKED_BLOCK.saturating_sub(block.len());
    if missing == 0 || mutant!("frames-of-no-length") {
        return;
    }
    let content = missing.saturating_sub(SKIPPED_HEADER);
    block.extend_from_slice(&SKIPPED.to_le_bytes());
    block.extend_from_slice(&(content as u32).to_le_bytes());
    block.resize(block.len() + content, 0);
}

/// How a frame begins that a reader of zstd skips, before its length.
const SKIPPED: u32 = 0x184D_2A50;
const SKIPPED_HEADER: usize = 8;

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// Unpacks what a [`Packer`] packed.
pub(crate) struct Unpacker(zstd_safe::DCtx<'static>);

impl Unpacker {
    /// `None`: there is no memory for it.
    pub(crate) fn new() -> Option<Self> {
        zstd_safe::DCtx::try_create().map(Self)
    }

    /// Never more than the longest frame, even if the block says more.
    ///
    /// # Errors
    /// It is no block, or would be longer.
    pub(crate) fn unpack(&mut self, block: &[u8]) -> io::Result<Bytes> {
        let said = zstd_safe::get_frame_content_size(block).ok().flatten();
        let room = said.and_then(|length| usize::try_from(length).ok());
        let room = room.unwrap_or(MAX_STATE_BODY).min(MAX_STATE_BODY);
        let mut content = Vec::with_capacity(room);
        self.0.decompress(&mut content, block).map_err(failed)?;
        if content.len() > MAX_STATE_BODY {
            return Err(io::Error::other("a block is more than a frame"));
        }
        Ok(content.into())
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_what_would_not_be_shorter_is_not_packed() {
        let mut packer = Packer::new().unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        for length in [1000, MAX_STATE_BODY] {
            let content: Vec<u8> = (0..length).map(|at| (at / 100) as u8).collect();
            let block = packer.block(&content).unwrap();
            assert!(block.len() < length / 10, "{} of {length}", block.len());
            assert_eq!(unpacker.unpack(block).unwrap(), content);
        }
        assert_eq!(packer.pack(b"xyz"), None);
        assert_eq!(packer.pack(b""), None);
    }

    #[test]
    fn frames_on_their_way_are_never_so_short_that_their_bytes_do_not_bound_their_number() {
        let mut packer = Packer::new().unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        for length in [MIN_PACKED_BLOCK + 1, 4000, MAX_STATE_BODY] {
            let content = vec![7; length];
            assert!(packer.block(&content).unwrap().len() < 100);
            let block = packer.pack(&content).unwrap();
            assert_eq!(block.len(), MIN_PACKED_BLOCK);
            assert_eq!(unpacker.unpack(block).unwrap(), content);
        }
        // One byte more than fits is no reason for one byte less than a header.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for length in 900..1100 {
            let mut content: Vec<u8> = (0..length).map(|_| random.random()).collect();
            content.resize(2000, 0);
            let block = packer.pack(&content).unwrap();
            assert!(block.len() >= MIN_PACKED_BLOCK);
            assert_eq!(unpacker.unpack(block).unwrap(), content);
        }
    }

    #[test]
    fn a_block_of_more_than_a_frame_is_refused_and_not_unpacked() {
        let mut bomb = vec![0; MAX_STATE_BODY];
        let length = zstd_safe::compress(&mut bomb[..], &vec![0; 8 << 20], 1).unwrap();
        assert!(Unpacker::new().unwrap().unpack(&bomb[..length]).is_err());
        // Several in a row are no way around it.
        let one = zstd_safe::compress(&mut bomb[..], &vec![0; MAX_STATE_BODY], 1).unwrap();
        let many = bomb[..one].repeat(100);
        assert!(Unpacker::new().unwrap().unpack(&many).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic_or_unpack_to_more_than_a_frame() {
        let given = std::env::var("BATON_SEED").ok();
        let seed = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
        eprintln!("BATON_SEED={seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut packer = Packer::new().unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        for round in 0..2000 {
            let length = random.random_range(0..4000);
            let content: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
            let mut block = packer.block(&content).unwrap().to_vec();
            if round % 2 == 0 {
                // Bytes of no meaning behind the mark of a block.
                block.truncate(4);
                block.extend((0..200).map(|_| random.random::<u8>()));
            } else {
                let at = random.random_range(0..block.len());
                block[at] ^= random.random_range(1..=255);
            }
            if let Ok(content) = unpacker.unpack(&block) {
                assert!(content.len() <= MAX_STATE_BODY);
            }
        }
    }
}
