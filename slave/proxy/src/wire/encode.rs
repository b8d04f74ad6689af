//! From the text of a payload to a message: the compression.
//!
//! Transport compression has one context for a whole connection, which is flushed after each
//! payload. Payload compression is a zlib document for each payload; it is asked for in
//! IDENTIFY and used for those that are worth it. Source: "Encoding and Compression".

use std::io;

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

/// Makes the messages of one connection.
pub(crate) enum Encoder {
    /// As text, or as a zlib document each.
    Single {
        /// IDENTIFY asked for payload compression.
        compresses: bool,
    },
    Zlib(Box<Compress>),
    Zstd(Box<CCtx<'static>>),
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Single { compresses: false },
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
        if let Self::Single { compresses } = self {
            *compresses = true;
        }
    }

    /// The message of one payload.
    ///
    /// # Errors
    /// The compressor failed: the connection is of no use any more.
    pub(crate) fn message(&mut self, payload: String) -> io::Result<Message> {
        match self {
            Self::Single { compresses } if *compresses && payload.len() >= WORTH_IT => {
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
        }
    }
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
        let mut encoder = Encoder::new(Compression::Zlib);
        let mut reader = Decompress::new(true);
        for payload in payloads() {
            let message = encoder.message(payload.clone()).unwrap();
            let part = message.as_payload();
            assert!(part.ends_with(&[0, 0, 0xff, 0xff]), "its end is marked");
            let mut out = Vec::with_capacity(payload.len() + 16);
            let flush = FlushDecompress::Sync;
            reader.decompress_vec(part, &mut out, flush).unwrap();
            assert!(out == payload.as_bytes());
        }
    }

    #[test]
    fn each_message_of_a_zstd_stream_can_be_read_when_it_comes() {
        let mut encoder = Encoder::new(Compression::Zstd);
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
            assert!(out == payload.as_bytes());
        }
    }

    #[test]
    fn payload_compression_is_a_document_for_each_payload_that_is_worth_it() {
        let mut encoder = Encoder::new(Compression::None);
        encoder.compress_payloads();
        for payload in payloads() {
            let message = encoder.message(payload.clone()).unwrap();
            assert_eq!(message.is_binary(), payload.len() >= WORTH_IT);
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
