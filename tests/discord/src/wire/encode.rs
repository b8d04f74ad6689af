//! From a payload to a websocket message: the transport compression.
//!
//! One context lives as long as the connection and is flushed after each
//! payload, so every message can be read as soon as it arrives and no message
//! can be read without those before it. Source: "Transport Compression".

use std::io;

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use tokio_websockets::Message;
use zstd_safe::{CCtx, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

/// The value of `compress` in the gateway URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Text messages.
    None,
    /// One zlib stream, each payload ends with `00 00 ff ff`.
    Zlib,
    /// One zstd stream, flushed after each payload.
    Zstd,
}

impl Compression {
    /// The name in the URL; empty for none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zlib => "zlib-stream",
            Self::Zstd => "zstd-stream",
        }
    }

    /// The compression a URL asks for; `None` for one that does not exist.
    pub(crate) fn from_query(value: Option<&str>) -> Option<Self> {
        match value {
            None | Some("") => Some(Self::None),
            Some("zlib-stream") => Some(Self::Zlib),
            Some("zstd-stream") => Some(Self::Zstd),
            Some(_) => None,
        }
    }
}

/// The compression context of one connection.
pub(crate) enum Encoder {
    Plain,
    Zlib(Box<Compress>),
    Zstd(Box<CCtx<'static>>),
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain,
            Compression::Zlib => {
                Self::Zlib(Box::new(Compress::new(flate2::Compression::fast(), true)))
            }
            Compression::Zstd => {
                let mut context = CCtx::create();
                // Small windows keep a thousand connections affordable; events
                // repeat each other within a few kilobytes.
                let _ = context.set_parameter(zstd_safe::CParameter::CompressionLevel(1));
                let _ = context.set_parameter(zstd_safe::CParameter::WindowLog(17));
                Self::Zstd(Box::new(context))
            }
        }
    }

    /// The message that carries one payload.
    ///
    /// # Errors
    ///
    /// Fails when the compressor does, after which the connection is of no use.
    pub(crate) fn encode(&mut self, payload: String) -> io::Result<Message> {
        match self {
            Self::Plain => Ok(Message::text(payload)),
            Self::Zlib(context) => {
                let packed = deflate(context, payload.as_bytes())?;
                Ok(Message::binary(Bytes::from(packed)))
            }
            Self::Zstd(context) => {
                let packed = zstd(context, payload.as_bytes())?;
                Ok(Message::binary(Bytes::from(packed)))
            }
        }
    }
}

fn deflate(context: &mut Compress, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() / 2 + 64);
    let before = context.total_in();
    loop {
        let consumed = usize::try_from(context.total_in() - before).unwrap_or(payload.len());
        context
            .compress_vec(&payload[consumed..], &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        let consumed = usize::try_from(context.total_in() - before).unwrap_or(payload.len());
        // Spare room in the output means that the flush is complete.
        if consumed == payload.len() && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(out.capacity().max(64));
    }
}

fn zstd(context: &mut CCtx<'static>, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(payload.len()) + 64);
    let mut input = InBuffer::around(payload);
    loop {
        let written = out.len();
        let mut output = OutBuffer::around_pos(&mut out, written);
        let left = context
            .compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush)
            .map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
        if left == 0 && input.pos == payload.len() {
            return Ok(out);
        }
        out.reserve(left.max(1024));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use zstd_safe::{DCtx, InBuffer, OutBuffer};

    use super::{Compression, Encoder};

    const PAYLOADS: [&str; 3] = [
        "{\"op\":10}",
        "{}",
        "{\"op\":0,\"d\":\"xxxxxxxxxxxxxxxxx\"}",
    ];

    #[test]
    fn each_zlib_message_can_be_read_on_arrival_and_ends_with_the_marker() {
        let mut encoder = Encoder::new(Compression::Zlib);
        let mut reader = Decompress::new(true);
        for payload in payloads() {
            let message = encoder.encode(payload.clone()).unwrap();
            let packed = message.as_payload();
            assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
            let mut out = Vec::with_capacity(payload.len() + 16);
            reader
                .decompress_vec(packed, &mut out, FlushDecompress::Sync)
                .unwrap();
            assert_eq!(out, payload.as_bytes());
        }
    }

    #[test]
    fn each_zstd_message_can_be_read_on_arrival() {
        let mut encoder = Encoder::new(Compression::Zstd);
        let mut reader = DCtx::create();
        for payload in payloads() {
            let message = encoder.encode(payload.clone()).unwrap();
            let packed = message.as_payload();
            let mut out = Vec::with_capacity(payload.len() + 16);
            let mut input = InBuffer::around(packed);
            while input.pos < packed.len() {
                let written = out.len();
                let mut output = OutBuffer::around_pos(&mut out, written);
                reader.decompress_stream(&mut output, &mut input).unwrap();
            }
            assert_eq!(out, payload.as_bytes());
        }
    }

    fn payloads() -> Vec<String> {
        let mut all: Vec<String> = PAYLOADS.iter().map(|p| (*p).to_owned()).collect();
        all.push("y".repeat(300_000));
        all.push(
            (0..100_000)
                .map(|n: u32| char::from(b'a' + (n % 997 * n % 23) as u8))
                .collect(),
        );
        all
    }
}
