// What must hold for any bytes that a peer sends: nothing panics, no memory is
// taken on a peer's word, and what decodes survives being written again.
// Shared by the fuzz target and the plain test.

use baton_protocol::{Frame, ToMaster, ToSlave, Trust, codec, go, handshake, message::agent};
use bytes::BytesMut;

/// Feeds a stream to the codec in parts and decodes what comes out, in both
/// directions.
pub(crate) fn stream(bytes: &[u8], part: usize, trust: Trust) {
    let mut buffer = BytesMut::new();
    for bytes in bytes.chunks(part.max(1)) {
        buffer.extend_from_slice(bytes);
        loop {
            let held = buffer.len();
            match codec::decode(&mut buffer, trust) {
                Ok(Some(frame)) => {
                    assert!(frame.body.len() <= trust.limit(frame.id));
                    message(&frame);
                }
                Ok(None) => {
                    let wanted = codec::wanted(&buffer, trust).expect("decode found no fault");
                    assert!(wanted > held, "a whole frame was left behind");
                    break;
                }
                Err(_) => return,
            }
        }
    }
}

/// Reads a frame as this class of peers would, and writes what it means again: the same
/// meaning, and from then on the same bytes.
macro_rules! survives {
    ($class:ty, $frame:expr) => {{
        let read = <$class>::from_frame($frame.clone()).ok();
        if let Some(message) = &read {
            let written = message.to_frame();
            let again = <$class>::from_frame(written.clone()).expect("our own frame");
            assert_eq!(&again, message);
            assert_eq!(again.to_frame(), written);
        }
        read
    }};
}

/// Decodes one frame as each side would, at each time.
pub(crate) fn message(frame: &Frame) {
    survives!(handshake::ToMaster, frame);
    survives!(handshake::ToSlave, frame);
    survives!(go::ToMaster, frame);
    survives!(go::ToSlave, frame);
    survives!(agent::FromAgent, frame);
    survives!(agent::ToAgent, frame);
    survives!(ToSlave, frame);
    if let Some(ToMaster::State(state)) = survives!(ToMaster, frame) {
        let _ = state.check();
        if let Ok((_, content)) = state.content() {
            let _ = state.fragments(content);
        }
    }
}
