//! The frame, as the Go master defined it: `u32` event id, `u32` body length, body; little endian.
//!
//! A length is judged against the limit of its id before a byte of the body is
//! waited or allocated for.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{error::DecodeError, message::event};

/// Bytes before the body.
pub const HEADER: usize = 8;

/// Longest body before the hello is accepted. A stranger costs no more memory
/// than this.
pub const MAX_HELLO_BODY: usize = 4 * 1024;

/// Longest body of a control message (ids 1 to 99 without 7). A
/// [`Report`](crate::message::Report) of 256 shards whose windows are in the
/// worst order stays below it.
pub const MAX_CONTROL_BODY: usize = 4 * 1024 * 1024;

/// Longest body of a Go slave's guild state (id 7), legacy only.
pub const MAX_GUILD_STATE_BODY: usize = 16 * 1024 * 1024;

/// How much a peer may send. Opens with what the peer has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing yet: no body above [`MAX_HELLO_BODY`].
    Stranger,
    /// The hello is accepted: each id has its own limit.
    Known,
}

impl Trust {
    /// Longest body that this id may have.
    #[must_use]
    pub const fn limit(self, id: u32) -> usize {
        match self {
            Self::Stranger => MAX_HELLO_BODY,
            Self::Known if id >= event::FIRST_ROUTED => crate::state::MAX_STATE_BODY,
            Self::Known if id == event::GUILD_STATE => MAX_GUILD_STATE_BODY,
            Self::Known => MAX_CONTROL_BODY,
        }
    }
}

/// One frame, its body unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The event id.
    pub id: u32,
    /// The body; shares the bytes that it was read into.
    pub body: Bytes,
}

impl Frame {
    /// The eight bytes before the body.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&self.id.to_le_bytes());
        // Bodies are bounded far below 4 GiB by `Trust::limit`.
        header[4..].copy_from_slice(&(self.body.len() as u32).to_le_bytes());
        header
    }

    /// Header and body as they go over the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER + self.body.len());
        bytes.put_slice(&self.header());
        bytes.put_slice(&self.body);
        bytes.freeze()
    }
}

/// Takes the next frame off `buffer`, if it is all there.
///
/// # Errors
/// The announced length is above the limit of its id.
pub fn decode(buffer: &mut BytesMut, trust: Trust) -> Result<Option<Frame>, DecodeError> {
    let Some((id, length)) = peek(buffer, trust)? else {
        return Ok(None);
    };
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(Frame {
        id,
        body: buffer.split_to(length).freeze(),
    }))
}

/// Bytes of the frame at the head of `buffer`, as far as they are known: the
/// header's own length while that is incomplete.
///
/// # Errors
/// The announced length is above the limit of its id.
pub fn wanted(buffer: &BytesMut, trust: Trust) -> Result<usize, DecodeError> {
    Ok(peek(buffer, trust)?.map_or(HEADER, |(_, length)| HEADER + length))
}

fn peek(buffer: &BytesMut, trust: Trust) -> Result<Option<(u32, usize)>, DecodeError> {
    let Some(mut header) = buffer.get(..HEADER) else {
        return Ok(None);
    };
    let id = header.get_u32_le();
    let length = header.get_u32_le() as usize;
    let limit = trust.limit(id);
    if length > limit {
        return Err(DecodeError::TooLong { id, length, limit });
    }
    Ok(Some((id, length)))
}
