// What must hold for any bytes that a peer sends: nothing panics, no memory is
// taken on a peer's word, and what decodes survives being written again.
// Shared by the fuzz target and the plain test.

use baton_protocol::{Frame, ToMaster, ToSlave, Trust, codec};
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

/// Decodes one frame as either side would.
pub(crate) fn message(frame: &Frame) {
    if let Ok(message) = ToMaster::from_frame(frame.clone()) {
        let again = ToMaster::from_frame(message.to_frame()).expect("our own frame");
        assert_eq!(again, message);
        if let ToMaster::State(state) = message {
            let _ = state.check();
            if let Ok((_, content)) = state.content() {
                let _ = state.fragments(content);
            }
        }
    }
    if let Ok(message) = ToSlave::from_frame(frame.clone()) {
        let again = ToSlave::from_frame(message.to_frame()).expect("our own frame");
        assert_eq!(again, message);
    }
}
