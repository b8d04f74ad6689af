//! The record that says what a store is and where it stands. It is written in the
//! transaction of each change.

use baton_protocol::{Epoch, Sequence};

use crate::{error::Damage, packed::Level, resources::Resources};

/// The format of this build. One line a change, newest first.
///
/// - 1: the first.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"batonst\0";
/// Magic, format: these never change.
const FROZEN: usize = 10;
/// Up to the session.
const FIXED: usize = 94;
/// Of a session's fingerprint.
pub(crate) const LONGEST_SESSION: usize = 128;

/// Which process owns the shard, as it names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub [u8; 16]);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) level: Level,
    pub(crate) shard: u32,
    pub(crate) resources: Resources,
    /// The boot of the host in which it is written.
    pub(crate) boot: [u8; 16],
    pub(crate) epoch: Epoch,
    pub(crate) owner: Owner,
    /// The last index that a guild took.
    pub(crate) index: u32,
    pub(crate) sequence: Sequence,
    /// The size limit of the last owner, in bytes; 0: it did not say.
    pub(crate) most: u64,
    /// Below this sequence the state is not whole: it was copied piece by piece, and some
    /// pieces are ahead of others. Zero: it was not.
    pub(crate) whole_at: Sequence,
    /// Empty: no session began.
    pub(crate) session: Box<str>,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Damaged(Damage),
    /// Of another format, or of a later level of this one.
    Format(u16),
}

impl Header {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.session.len() + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.level.names.to_le_bytes());
        bytes.extend_from_slice(&self.level.texts.to_le_bytes());
        bytes.extend_from_slice(&self.shard.to_le_bytes());
        bytes.extend_from_slice(&self.resources.bits().to_le_bytes());
        bytes.extend_from_slice(&self.boot);
        bytes.extend_from_slice(&self.epoch.get().to_le_bytes());
        bytes.extend_from_slice(&self.owner.0);
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.get().to_le_bytes());
        bytes.extend_from_slice(&self.most.to_le_bytes());
        bytes.extend_from_slice(&self.whole_at.get().to_le_bytes());
        // Room for what a later build of this format adds.
        bytes.resize(FIXED, 0);
        bytes.extend_from_slice(self.session.as_bytes());
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let damaged = || Unread::Damaged(Damage::Header);
        if bytes.len() < FROZEN || !bytes.starts_with(MAGIC) {
            return Err(damaged());
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        if format != FORMAT {
            return Err(Unread::Format(format));
        }
        let (body, sum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if body.len() < FIXED || crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(damaged());
        }
        let mut fields = Fields(&body[FROZEN..]);
        let header = (|| {
            Some(Self {
                level: Level {
                    names: u16::from_le_bytes(fields.take()?),
                    texts: u16::from_le_bytes(fields.take()?),
                },
                shard: u32::from_le_bytes(fields.take()?),
                resources: Resources::of_bits(u32::from_le_bytes(fields.take()?)),
                boot: fields.take()?,
                epoch: Epoch(u64::from_le_bytes(fields.take()?)),
                owner: Owner(fields.take()?),
                index: u32::from_le_bytes(fields.take()?),
                sequence: Sequence(u64::from_le_bytes(fields.take()?)),
                most: u64::from_le_bytes(fields.take()?),
                whole_at: Sequence(u64::from_le_bytes(fields.take()?)),
                session: str::from_utf8(&body[FIXED..]).ok()?.into(),
            })
        })();
        let header = header.ok_or_else(damaged)?;
        if !header.level.is_readable() {
            return Err(Unread::Format(format));
        }
        Ok(header)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}

/// The boot of this host; zeros where it cannot be known.
pub(crate) fn this_boot() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_or([0; 16], u128::to_be_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            level: Level::OWN,
            shard: 3,
            resources: Resources::default(),
            boot: [9; 16],
            epoch: Epoch(7),
            owner: Owner([1; 16]),
            index: 12,
            sequence: Sequence(1 << 40),
            most: 8 << 30,
            whole_at: Sequence(3),
            session: "0123456789abcdef".into(),
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_each_damaged_byte_is_seen() {
        let bytes = header().to_bytes();
        assert_eq!(Header::read(&bytes), Ok(header()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Header::read(&damaged).is_err(), "{at}");
            assert!(Header::read(&bytes[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn another_format_and_a_later_level_are_said_and_an_earlier_level_is_read() {
        let mut bytes = header().to_bytes();
        bytes[8] = 2;
        assert_eq!(Header::read(&bytes), Err(Unread::Format(2)));
        let mut later = header();
        later.level.names += 1;
        assert_eq!(Header::read(&later.to_bytes()), Err(Unread::Format(FORMAT)));
        let mut earlier = header();
        earlier.level.texts -= 1;
        assert_eq!(Header::read(&earlier.to_bytes()), Ok(earlier));
    }

    #[test]
    fn the_boot_of_a_host_is_the_same_twice() {
        assert_eq!(this_boot(), this_boot());
    }
}
