//! What a snapshot file looks like.
//!
//! ```text
//! magic 8 | version u32 | shard u32 | epoch u64 | session tag 16 | stands u64 | pieces u64
//! | boot 16 | since boot ms u64 | unix ms u64 | body length u64 | SHA-256 of the body 32
//! | first 16 bytes of the SHA-256 of all of that                               LE, 152 bytes
//! body: state frames, each  id u32 | length u32 | zstd block of its body
//! ```
//!
//! The frames are those of a copy on the wire, so a snapshot is taken in like a
//! copy. Every frame is a zstd block of its own: nothing is ever unpacked to more
//! than a frame may be long.

use std::{
    fs, io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use baton_protocol::{Epoch, Sequence, ShardId, state::StateFrame};
use bytes::{Buf, BufMut};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    sha256::Sha256,
    state::pack::{Packer, Unpacker, longest_block},
    telemetry::millis,
};

const MAGIC: &[u8; 8] = b"BATONSNP";

/// The newest version of the format, and the only one.
const VERSION: u32 = 1;

/// Bytes of a header.
pub(super) const HEADER: usize = 152;

/// A file with a longer body is not written, and not read.
pub(super) const MAX_BODY: u64 = 4 << 30;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) shard: ShardId,
    /// The epoch of the owner that wrote it.
    pub(super) epoch: Epoch,
    /// Names the session without giving it away.
    pub(super) tag: [u8; 16],
    /// The state holds every event up to here.
    pub(super) stands: Sequence,
    pub(super) pieces: u64,
    pub(super) written: Moment,
    pub(super) length: u64,
    pub(super) digest: [u8; 32],
}

/// A moment that another process, even after a restart of the host, can tell
/// the age of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Names the boot of the host.
    boot: [u8; 16],
    since_boot: Duration,
    unix: Duration,
}

/// Why a file is not one of ours, in words for an operator.
pub(super) type Wrong = &'static str;

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let mut out = &mut header[..];
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(self.shard.get());
        out.put_u64_le(self.epoch.get());
        out.put_slice(&self.tag);
        out.put_u64_le(self.stands.get());
        out.put_u64_le(self.pieces);
        out.put_slice(&self.written.boot);
        out.put_u64_le(millis(self.written.since_boot));
        out.put_u64_le(millis(self.written.unix));
        out.put_u64_le(self.length);
        out.put_slice(&self.digest);
        let (said, check) = header.split_at_mut(HEADER - 16);
        check.copy_from_slice(&Sha256::of(said)[..16]);
        header
    }

    pub(super) fn decode(header: &[u8; HEADER]) -> Result<Self, Wrong> {
        let (mut said, check) = header.split_at(HEADER - 16);
        if !said.starts_with(MAGIC) {
            return Err("it is no snapshot");
        }
        if Sha256::of(said)[..16] != *check {
            return Err("its header is damaged");
        }
        said.advance(MAGIC.len());
        if said.get_u32_le() != VERSION {
            return Err("it is of a version that this build does not read");
        }
        let shard = ShardId(said.get_u32_le());
        let epoch = Epoch(said.get_u64_le());
        let tag = array(&mut said);
        let stands = Sequence(said.get_u64_le());
        let pieces = said.get_u64_le();
        let written = Moment {
            boot: array(&mut said),
            since_boot: Duration::from_millis(said.get_u64_le()),
            unix: Duration::from_millis(said.get_u64_le()),
        };
        let length = said.get_u64_le();
        let digest = array(&mut said);
        if length > MAX_BODY {
            return Err("it is longer than any snapshot");
        }
        Ok(Self {
            shard,
            epoch,
            tag,
            stands,
            pieces,
            written,
            length,
            digest,
        })
    }
}

impl Moment {
    /// # Errors
    /// The host does not say which boot it is.
    pub(super) fn now() -> io::Result<Self> {
        let boot_id = fs::read("/proc/sys/kernel/random/boot_id")?;
        let mut boot = [0; 16];
        boot.copy_from_slice(&Sha256::of(boot_id.trim_ascii())[..16]);
        let clock = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::new(clock.tv_sec.unsigned_abs(), clock.tv_nsec as u32);
        Ok(Self {
            boot,
            since_boot,
            unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        })
    }

    /// How long ago it was at `now`. Within one boot no clock that is set counts;
    /// over a restart of the host the wall clock does. `None`: it is yet to come.
    pub(super) fn age(&self, now: &Self) -> Option<Duration> {
        if self.boot == now.boot {
            return now.since_boot.checked_sub(self.since_boot);
        }
        now.unix.checked_sub(self.unix)
    }
}

#[cfg(test)]
impl Moment {
    /// So long ago, before the host was started.
    pub(super) fn before(age: Duration) -> Self {
        let now = Self::now().expect("a clock");
        Self {
            boot: [0; 16],
            unix: now.unix - age,
            ..now
        }
    }
}

fn array<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let mut array = [0; N];
    bytes.copy_to_slice(&mut array);
    array
}

/// A session tag as the header has it; `None`: it is no tag.
pub(super) fn tag(session: &str) -> Option<[u8; 16]> {
    session.as_bytes().try_into().ok()
}

/// One frame as it stands in the file.
pub(super) fn pack(packer: &mut Packer, frame: &StateFrame, out: &mut Vec<u8>) -> io::Result<()> {
    let block = packer.block(frame.body())?;
    out.clear();
    out.put_u32_le(frame.id());
    out.put_u32_le(block.len() as u32);
    out.put_slice(block);
    Ok(())
}

/// The next frame.
///
/// # Errors
/// The body ends inside it, or it is none.
pub(super) fn unpack(unpacker: &mut Unpacker, from: &mut impl io::Read) -> io::Result<StateFrame> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    let mut head = &head[..];
    let (id, length) = (head.get_u32_le(), head.get_u32_le() as usize);
    if length > longest_block() {
        return Err(io::Error::other("a block is longer than any"));
    }
    let mut block = vec![0; length];
    from.read_exact(&mut block)?;
    StateFrame::from_body(id, unpacker.unpack(&block)?).map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn header() -> Header {
        Header {
            shard: ShardId(7),
            epoch: Epoch(9),
            tag: tag("0123456789abcdef").unwrap(),
            stands: Sequence(1234),
            pieces: 5,
            written: Moment {
                boot: [3; 16],
                since_boot: Duration::from_millis(5000),
                unix: Duration::from_millis(1_700_000_000_000),
            },
            length: 99,
            digest: [4; 32],
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_any_changed_byte_is_noticed() {
        let written = header().encode();
        assert_eq!(Header::decode(&written), Ok(header()));
        for at in 0..HEADER {
            let mut changed = written;
            changed[at] ^= 1;
            assert!(Header::decode(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn ages_are_told_by_the_clock_since_boot_and_over_a_boot_by_the_wall_clock() {
        let written = header().written;
        let later = |boot, since_boot, unix| Moment {
            boot: [boot; 16],
            since_boot: Duration::from_millis(since_boot),
            unix: Duration::from_millis(1_700_000_000_000) + Duration::from_secs(unix),
        };
        let seconds = Duration::from_secs;
        // An hour that the wall clock jumped is none.
        assert_eq!(written.age(&later(3, 7000, 3600)), Some(seconds(2)));
        assert_eq!(written.age(&later(3, 4000, 0)), None);
        assert_eq!(written.age(&later(4, 1000, 30)), Some(seconds(30)));
        let before = Moment {
            unix: Duration::ZERO,
            ..later(4, 0, 0)
        };
        assert_eq!(written.age(&before), None);
        let now = Moment::now().unwrap();
        assert!(now.age(&Moment::now().unwrap()).unwrap() < seconds(60));
    }

    #[test]
    fn a_frame_is_unpacked_as_it_was_packed_and_a_torn_one_is_an_error() {
        let body = Bytes::from(vec![5; 40_000]);
        let frame = StateFrame::from_body(100, body).unwrap();
        let mut packed = Vec::new();
        pack(&mut Packer::new().unwrap(), &frame, &mut packed).unwrap();
        assert!(packed.len() < 1000);
        let mut unpacker = Unpacker::new().unwrap();
        assert_eq!(unpack(&mut unpacker, &mut &packed[..]).unwrap(), frame);
        for length in [0, 7, packed.len() - 1] {
            assert!(
                unpack(&mut unpacker, &mut &packed[..length]).is_err(),
                "{length}"
            );
        }
        // A block that would grow beyond a frame is refused, not unpacked.
        let mut bomb = vec![0; 1000];
        let length = zstd_safe::compress(&mut bomb[..], &vec![0; 1 << 20], 1).unwrap();
        let mut packed = Vec::new();
        packed.put_u32_le(100);
        packed.put_u32_le(length as u32);
        packed.put_slice(&bomb[..length]);
        assert!(unpack(&mut unpacker, &mut &packed[..]).is_err());
    }
}
