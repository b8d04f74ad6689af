//! From the text of a payload to a message: the compression.
//!
//! Transport compression has one context for a whole connection, which is flushed after each
//! payload. Payload compression is a zlib document for each payload; it is asked for in
//! IDENTIFY and used for those that are worth it. Source: "Encoding and Compression".
//!
//! Within a host, bytes cost less than the time that it takes to save them. There a stream has
//! its form, and its text as it is: blocks that are stored (zlib) or raw (zstd).

use std::{io, net::IpAddr};

use flate2::{Compress, FlushCompress, Status};
use tokio_websockets::Message;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

/// Payloads from this size on are compressed where IDENTIFY asks for it.
const WORTH_IT: usize = 8 * 1024;
/// The window of a connection's zstd: events repeat each other within a few kilobytes.
const ZSTD_WINDOW_LOG: u32 = 17;

/// The transport compression of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Text.
    None,
    /// One zlib stream.
    Zlib,
    /// One zstd stream.
    Zstd,
}

impl Compression {
    /// The one of this name in a URL; `None`: there is none of it.
    pub(crate) fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("") => Some(Self::None),
            Some("zlib-stream") => Some(Self::Zlib),
            Some("zstd-stream") => Some(Self::Zstd),
            Some(_) => None,
        }
    }

    /// Its name in logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib-stream",
            Self::Zstd => "zstd-stream",
        }
    }
}

/// What a client's bytes cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// They go over a network.
    Compress,
    /// They stay on this host.
    Store,
}

impl Effort {
    /// For a client that connects from there.
    pub(crate) const fn for_peer(address: IpAddr) -> Self {
        match address.to_canonical().is_loopback() {
            true => Self::Store,
            false => Self::Compress,
        }
    }
}

/// Makes the messages of one connection.
pub(crate) enum Encoder {
    /// As text, or as a zlib document each.
    Single {
        effort: Effort,
        /// IDENTIFY asks for payload compression.
        compresses: bool,
    },
    Zlib(Box<Compress>),
    Zstd(Box<CCtx<'static>>),
    /// A stream of stored blocks, which begins with this.
    Stored(Stored, &'static [u8]),
}

/// A form in which text may stand as it is.
#[derive(Clone, Copy)]
pub(crate) enum Stored {
    Zlib,
    Zstd,
}

impl Encoder {
    pub(crate) fn new(compression: Compression, effort: Effort) -> Self {
        match compression {
            Compression::None => Self::Single {
                effort,
                compresses: false,
            },
            Compression::Zlib if effort == Effort::Store => {
                Self::Stored(Stored::Zlib, &ZLIB_BEGINS)
            }
            Compression::Zstd if effort == Effort::Store => {
                Self::Stored(Stored::Zstd, &ZSTD_BEGINS)
            }
            Compression::Zlib => {
                Self::Zlib(Box::new(Compress::new(flate2::Compression::fast(), true)))
            }
            Compression::Zstd => {
                let mut context = CCtx::create();
                let parameters = [
                    CParameter::CompressionLevel(1),
                    CParameter::WindowLog(ZSTD_WINDOW_LOG),
                ];
                for parameter in parameters {
                    // Both are within the library's bounds.
                    let _ = context.set_parameter(parameter);
                }
                Self::Zstd(Box::new(context))
            }
        }
    }

    /// IDENTIFY asks for payload compression. Beside a transport compression it is nothing.
    pub(crate) const fn compress_payloads(&mut self) {
        if let Self::Single {
            effort: Effort::Compress,
            compresses,
        } = self
        {
            *compresses = true;
        }
    }

    /// The message of one payload.
    ///
    /// # Errors
    /// The compressor failed: the connection is of no use any more.
    pub(crate) fn message(&mut self, payload: String) -> io::Result<Message> {
        match self {
            Self::Single { compresses, .. } if *compresses && payload.len() >= WORTH_IT => {
                let mut context = Compress::new(flate2::Compression::fast(), true);
                let whole = zlib(&mut context, payload.as_bytes(), FlushCompress::Finish)?;
                Ok(Message::binary(whole))
            }
            Self::Single { .. } => Ok(Message::text(payload)),
            Self::Zlib(context) => {
                let part = zlib(context, payload.as_bytes(), FlushCompress::Sync)?;
                Ok(Message::binary(part))
            }
            Self::Zstd(context) => Ok(Message::binary(zstd(context, payload.as_bytes())?)),
            Self::Stored(form, begins) => {
                let begins = std::mem::take(begins);
                Ok(Message::binary(stored(*form, begins, payload.as_bytes())))
            }
        }
    }
}

/// The head of a zlib stream. Source: RFC 1950.
const ZLIB_BEGINS: [u8; 2] = [0x78, 0x01];
/// An empty stored block, which is how a flush ends. Source: RFC 1951, 3.2.4.
const FLUSHED: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// The head of a zstd frame with a window of 128 KiB, of no known length and without a
/// checksum. Source: RFC 8878, 3.1.1.
const ZSTD_BEGINS: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
/// Bytes of a raw block, at most.
const RAW: usize = 128 * 1024;

/// The part of a stream that has this payload as it is.
fn stored(form: Stored, begins: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    out.extend_from_slice(begins);
    match form {
        Stored::Zlib => {
            for block in payload.chunks(u16::MAX.into()) {
                // It has the length of a chunk.
                let length = (block.len() as u16).to_le_bytes();
                out.extend([0, length[0], length[1], !length[0], !length[1]]);
                out.extend_from_slice(block);
            }
            out.extend(FLUSHED);
        }
        Stored::Zstd => {
            for block in payload.chunks(RAW) {
                let head = (block.len() << 3).to_le_bytes();
                out.extend_from_slice(&head[..3]);
                out.extend_from_slice(block);
            }
        }
    }
    out
}

fn zlib(context: &mut Compress, mut input: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 3 + 64);
    loop {
        let before = context.total_in();
        let status = context
            .compress_vec(input, &mut out, flush)
            .map_err(io::Error::other)?;
        let taken = usize::try_from(context.total_in() - before).unwrap_or(input.len());
        input = &input[taken..];
        // With room to spare in `out` nothing is left inside.
        let is_flushed = status == Status::StreamEnd || out.len() < out.capacity();
        if input.is_empty() && is_flushed {
            return Ok(out);
        }
        out.reserve(out.capacity());
    }
}

fn zstd(context: &mut CCtx<'static>, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut input = InBuffer::around(payload);
    let mut out = Vec::with_capacity(payload.len() / 3 + 128);
    loop {
        let at = out.len();
        let mut into = OutBuffer::around_pos(&mut out, at);
        let left = context
            .compress_stream2(&mut into, &mut input, ZSTD_EndDirective::ZSTD_e_flush)
            .map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
        if left == 0 && input.pos == payload.len() {
            return Ok(out);
        }
        out.reserve(left.max(out.capacity()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use flate2::{Decompress, FlushDecompress, read::ZlibDecoder};
    use zstd_safe::DCtx;

    use super::*;

    /// Short, long, empty, and what cannot be made shorter.
    fn payloads() -> Vec<String> {
        let mut odd = 1u32;
        let noise = (0..200_000).map(|_| {
            odd = odd.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + u8::try_from((odd >> 24) % 90).unwrap())
        });
        vec![
            r#"{"op":11}"#.to_owned(),
            "x".repeat(300_000),
            "{}".to_owned(),
            noise.collect(),
            r#"{"op":0}"#.to_owned(),
        ]
    }

    #[test]
    fn each_message_of_a_zlib_stream_can_be_read_when_it_comes() {
        for effort in [Effort::Compress, Effort::Store] {
            let mut encoder = Encoder::new(Compression::Zlib, effort);
            let mut reader = Decompress::new(true);
            for payload in payloads() {
                let message = encoder.message(payload.clone()).unwrap();
                let part = message.as_payload();
                assert!(part.ends_with(&[0, 0, 0xff, 0xff]), "its end is marked");
                let mut out = Vec::with_capacity(payload.len() + 16);
                let flush = FlushDecompress::Sync;
                reader.decompress_vec(part, &mut out, flush).unwrap();
                assert!(out == payload.as_bytes(), "{effort:?}");
            }
        }
    }

    #[test]
    fn each_message_of_a_zstd_stream_can_be_read_when_it_comes() {
        for effort in [Effort::Compress, Effort::Store] {
            let mut encoder = Encoder::new(Compression::Zstd, effort);
            let mut reader = DCtx::create();
            for payload in payloads() {
                let message = encoder.message(payload.clone()).unwrap();
                let part = message.as_payload();
                let mut out = Vec::with_capacity(payload.len() + 16);
                let mut input = InBuffer::around(part);
                while input.pos < part.len() {
                    let at = out.len();
                    let mut into = OutBuffer::around_pos(&mut out, at);
                    reader.decompress_stream(&mut into, &mut input).unwrap();
                }
                assert!(out == payload.as_bytes(), "{effort:?}");
            }
        }
    }

    #[test]
    fn what_stays_on_the_host_is_not_made_smaller() {
        let payload = "x".repeat(300_000);
        for compression in [Compression::Zlib, Compression::Zstd] {
            let bytes = |effort| {
                let mut encoder = Encoder::new(compression, effort);
                let message = encoder.message(payload.clone()).unwrap();
                message.as_payload().len()
            };
            assert!(bytes(Effort::Compress) < 10_000);
            assert!((300_000..300_100).contains(&bytes(Effort::Store)));
        }
        for (peer, effort) in [
            ("127.0.0.9", Effort::Store),
            ("::1", Effort::Store),
            ("::ffff:127.0.0.1", Effort::Store),
            ("10.0.0.1", Effort::Compress),
            ("fe80::1", Effort::Compress),
        ] {
            assert_eq!(Effort::for_peer(peer.parse().unwrap()), effort, "{peer}");
        }
    }

    #[test]
    fn payload_compression_is_a_document_for_each_payload_that_is_worth_it() {
        for effort in [Effort::Compress, Effort::Store] {
            let mut encoder = Encoder::new(Compression::None, effort);
            encoder.compress_payloads();
            for payload in payloads() {
                let message = encoder.message(payload.clone()).unwrap();
                let is_worth_it = payload.len() >= WORTH_IT && effort == Effort::Compress;
                assert_eq!(message.is_binary(), is_worth_it);
                let mut out = String::new();
                if message.is_binary() {
                    let mut whole = ZlibDecoder::new(&message.as_payload()[..]);
                    whole.read_to_string(&mut out).unwrap();
                } else {
                    out.push_str(message.as_text().unwrap());
                }
                assert!(out == payload);
            }
        }
    }
}
