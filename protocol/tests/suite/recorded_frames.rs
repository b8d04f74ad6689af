//! Recorded frames of the Go master and slaves: read as Go reads them, written as it writes them.

use baton_protocol::{
    DecodeError, Frame, Trust,
    codec::decode,
    go::{Migration, Session, ToMaster, ToSlave},
};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;

#[test]
fn ids_3_4_5_and_8_are_written_as_the_compact_recording_has_them() {
    let mut compared = 0;
    for recorded in recording("yagmaster-frames-compact-ints.json") {
        let frame = recorded.frame();
        if ![3, 4, 5, 8].contains(&frame.id) {
            continue;
        }
        let again = match recorded.read().expect("a known message") {
            Read::ToMaster(message) => message.to_frame(),
            Read::ToSlave(message) => message.to_frame(),
        };
        assert_eq!(again, frame, "recorded frame {}", recorded.seq);
        compared += 1;
    }
    assert_eq!(compared, 17);
}

#[test]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other message would be a misread frame"
)]
fn both_recordings_say_the_same_whatever_the_width_of_their_integers() {
    let mut read = 0;
    let wide = recording("yagmaster-frames.json");
    let compact = recording("yagmaster-frames-compact-ints.json");
    for recorded in wide.iter().chain(&compact) {
        let decoded = &recorded.decoded;
        match recorded.read().expect("a known message") {
            Read::ToMaster(ToMaster::Hello { running }) => assert_eq!(running, hello_of(decoded)),
            Read::ToMaster(ToMaster::ShardMigrationStart(start))
            | Read::ToSlave(ToSlave::ShardMigrationStart(start)) => {
                assert_eq!(start, migration_of(decoded));
            }
            Read::ToMaster(ToMaster::StopShard(stop)) | Read::ToSlave(ToSlave::StopShard(stop)) => {
                assert_eq!(stop, stop_of(decoded));
            }
            Read::ToMaster(ToMaster::Resume(resume)) | Read::ToSlave(ToSlave::Resume(resume)) => {
                assert_eq!(resume, stop_of(decoded));
            }
            Read::ToMaster(ToMaster::GuildState(body))
            | Read::ToSlave(ToSlave::GuildState(body)) => {
                assert_eq!(body, recorded.frame().body, "guild state is not touched");
            }
            Read::ToSlave(ToSlave::FullStart) => {}
            other => panic!("frame {}: {other:?}", recorded.seq),
        }
        read += 1;
    }
    assert_eq!(read, wide.len() + compact.len());
    assert!(read > 40, "{read} frames");
}

#[test]
fn a_whole_recording_comes_out_of_one_stream_in_any_cut() {
    let frames: Vec<Frame> = recording("yagmaster-frames.json")
        .iter()
        .map(Recorded::frame)
        .collect();
    let stream: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
    for step in [1, 3, 7, 64, stream.len()] {
        let mut buffer = BytesMut::new();
        let mut read = Vec::new();
        for part in stream.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(frame) = decode(&mut buffer, Trust::Known).expect("good frames") {
                read.push(frame);
            }
        }
        assert_eq!(read, frames, "in parts of {step} bytes");
    }
}

#[derive(Deserialize)]
struct Recorded {
    seq: u64,
    direction: String,
    event_id: Option<u32>,
    #[serde(default)]
    header_hex: String,
    #[serde(default)]
    body_hex: String,
    #[serde(default)]
    decoded: Value,
}

#[derive(Debug)]
enum Read {
    ToMaster(ToMaster),
    ToSlave(ToSlave),
}

impl Recorded {
    fn frame(&self) -> Frame {
        let frame = Frame {
            id: self.event_id.expect("a frame"),
            body: Bytes::from(from_hex(&self.body_hex)),
        };
        assert_eq!(
            frame.header()[..],
            from_hex(&self.header_hex),
            "header of frame {}",
            self.seq
        );
        frame
    }

    fn read(&self) -> Result<Read, DecodeError> {
        if self.direction == "slave->master" {
            ToMaster::from_frame(self.frame()).map(Read::ToMaster)
        } else {
            ToSlave::from_frame(self.frame()).map(Read::ToSlave)
        }
    }
}

fn recording(name: &str) -> Vec<Recorded> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the recording");
    let entries: Vec<Recorded> = serde_json::from_str(&text).expect("its form");
    entries
        .into_iter()
        .filter(|entry| entry.event_id.is_some())
        .collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn hello_of(decoded: &Value) -> bool {
    decoded["Running"].as_bool().expect("Running")
}

fn migration_of(decoded: &Value) -> Migration {
    Migration {
        from_this_slave: decoded["FromThisSlave"].as_bool().expect("FromThisSlave"),
        num_shards: number(decoded, "NumShards") as u32,
    }
}

fn stop_of(decoded: &Value) -> Session {
    Session {
        shard: number(decoded, "Shard") as u32,
        session_id: decoded["SessionID"].as_str().expect("SessionID").to_owned(),
        sequence: number(decoded, "Sequence"),
    }
}

fn number(decoded: &Value, key: &str) -> u64 {
    decoded[key].as_u64().expect(key)
}
