//! Frames as earlier builds wrote them, each of every id and direction
//! (`fixtures/frames-of-version-6.txt`): they are read, and written again to the same bytes.

use std::collections::BTreeSet;

use baton_protocol::{Frame, Trust, codec::decode};
use bytes::BytesMut;

use crate::{
    any::{ToMaster, ToSlave},
    recorded_frames::from_hex,
};

const FRAMES: &str = include_str!("../fixtures/frames-of-version-6.txt");

#[test]
fn every_frame_of_version_6_is_read_and_written_to_the_same_bytes() {
    let mut ids = BTreeSet::new();
    for line in FRAMES.lines() {
        let (to, hex) = line.split_once(' ').expect("direction and bytes");
        let frame = frame(hex);
        ids.insert((to, frame.id));
        let again = match to {
            "to-master" => {
                let message = ToMaster::from_frame(frame.clone()).expect(line);
                assert!(!matches!(message, ToMaster::Go(_)), "{line}");
                message.to_frame()
            }
            "to-slave" => {
                let message = ToSlave::from_frame(frame.clone()).expect(line);
                assert!(!matches!(message, ToSlave::Go(_)), "{line}");
                message.to_frame()
            }
            other => panic!("{other} is no direction"),
        };
        assert_eq!(again, frame, "{line}");
    }
    assert_eq!(ids.len(), 28 + 24, "ids and directions");
}

fn frame(hex: &str) -> Frame {
    let mut buffer = BytesMut::from(&from_hex(hex)[..]);
    let frame = decode(&mut buffer, Trust::Known).expect("short enough");
    assert!(buffer.is_empty());
    frame.expect("a whole frame")
}
