//! What holds for every message, and for every way in which its bytes can come.
//! `PROPTEST_CASES=10000` tries more of them.

use baton_protocol::{
    Connection, DecodeError, Frame, Trust,
    codec::{self, HEADER},
    handshake,
    message::agent::{FromAgent, ToAgent},
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use tokio::io::AsyncWriteExt;

use crate::any::{ToMaster, ToSlave};

proptest! {
    #[test]
    fn every_message_to_a_master_survives_the_wire(message in crate::arbitrary::to_master()) {
        let frame = message.to_frame();
        prop_assert!(frame.body.len() <= Trust::Known.limit(frame.id));
        prop_assert_eq!(ToMaster::from_frame(frame)?, message);
    }

    #[test]
    fn every_message_to_a_slave_survives_the_wire(message in crate::arbitrary::to_slave()) {
        let frame = message.to_frame();
        prop_assert!(frame.body.len() <= Trust::Known.limit(frame.id));
        prop_assert_eq!(ToSlave::from_frame(frame)?, message);
    }

    #[test]
    fn a_hello_of_the_longest_names_is_short_enough_for_a_stranger(mut hello in crate::arbitrary::hello()) {
        hello.slot = "s".repeat(baton_protocol::message::MAX_NAME);
        hello.build = "b".repeat(baton_protocol::message::MAX_NAME);
        let hello = handshake::ToMaster::Hello { running: true, hello: Box::new(hello) };
        let frame = hello.to_frame();
        prop_assert!(frame.body.len() <= Trust::Stranger.limit(frame.id));
    }

    #[test]
    fn the_same_frames_come_out_however_the_stream_is_split(
        messages in vec(crate::arbitrary::to_master(), 0..6),
        cuts in vec(1_usize..80, 1..40),
    ) {
        let frames: Vec<Frame> = messages.iter().map(ToMaster::to_frame).collect();
        let stream: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        let mut buffer = BytesMut::new();
        let mut read = Vec::new();
        for part in parts(&stream, &cuts) {
            buffer.extend_from_slice(part);
            while let Some(frame) = codec::decode(&mut buffer, Trust::Known)? {
                read.push(frame);
            }
        }
        prop_assert_eq!(&read, &frames);
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(received(stream, cuts), frames);
    }

    #[test]
    fn no_header_makes_anybody_wait_for_more_than_its_id_allows(header in any::<[u8; HEADER]>()) {
        for trust in [Trust::Stranger, Trust::Known] {
            let mut buffer = BytesMut::from(&header[..]);
            let id = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            match codec::wanted(&buffer, trust) {
                Ok(wanted) => prop_assert!(wanted <= HEADER + trust.limit(id)),
                Err(error) => {
                    let named = matches!(error, DecodeError::TooLong { limit, .. } if limit == trust.limit(id));
                    prop_assert!(named, "{}", error);
                    prop_assert!(codec::decode(&mut buffer, trust).is_err());
                }
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_off_is_an_error(message in crate::arbitrary::to_slave(), at in any::<prop::sample::Index>()) {
        let mut frame = message.to_frame();
        let by_shape = [7, 1, 6].contains(&frame.id) || frame.id >= 100;
        if !by_shape && !frame.body.is_empty() {
            let kept = at.index(frame.body.len());
            // Without a body at all, this id is the Go wire's.
            prop_assume!(!(frame.id == 2 && kept == 0));
            frame.body.truncate(kept);
            let cut = ToSlave::from_frame(frame);
            let named = matches!(cut, Err(DecodeError::Truncated { have, .. }) if have == kept);
            prop_assert!(named, "{:?}", cut);
        }
    }
}

/// A list, a map, a string that say they hold four thousand million of something,
/// as the whole body or as the value of any field.
#[test]
fn what_a_body_claims_costs_nothing() {
    let claims: [&[u8]; 6] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff",
        b"\xdc\xff\xff",
    ];
    let fields = ["shards", "Baton", "ticket", "finished_above", "slot", "x"];
    for id in (0..100).filter(|id| *id != 7) {
        for claim in claims {
            let in_field = |name: &&str| {
                let mut body = vec![0x81, 0xa0 | u8::try_from(name.len()).expect("short")];
                body.extend(name.as_bytes());
                body.extend(claim);
                body
            };
            for body in fields.iter().map(in_field).chain([claim.to_vec()]) {
                let frame = Frame {
                    id,
                    body: Bytes::from(body),
                };
                // What an agent says no slave says, and the other way round.
                let answers = match id {
                    60..=76 => [
                        FromAgent::from_frame(frame.clone()).map(|_| ()),
                        ToAgent::from_frame(frame.clone()).map(|_| ()),
                    ],
                    _ => [
                        ToMaster::from_frame(frame.clone()).map(|_| ()),
                        ToSlave::from_frame(frame.clone()).map(|_| ()),
                    ],
                };
                for answer in answers {
                    let is_empty = [1, 6, 9, 10, 38].contains(&id);
                    let other_way = (60..=76).contains(&id)
                        && matches!(answer, Err(DecodeError::OutOfPlace { .. }));
                    let refused = matches!(
                        answer,
                        Err(DecodeError::Truncated { .. } | DecodeError::UnknownId { .. })
                    ) || other_way;
                    assert!(refused || is_empty, "{frame:?}: {answer:?}");
                }
            }
        }
    }
}

/// What a connection has read when its socket brings the stream in these parts.
fn received(stream: Vec<u8>, cuts: Vec<usize>) -> Vec<Frame> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (ours, mut peer) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours);
        connection.trust(Trust::Known);
        let writes = async move {
            for part in parts(&stream, &cuts) {
                peer.write_all(part).await.expect("it is read");
                tokio::task::yield_now().await;
            }
        };
        let reads = async {
            let mut read = Vec::new();
            while let Some(frame) = connection.recv().await.expect("good frames") {
                read.push(frame);
            }
            read
        };
        tokio::join!(writes, reads).1
    })
}

/// Cuts a stream into parts of these lengths, again and again.
fn parts<'a>(mut stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    for &cut in cuts.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (part, rest) = stream.split_at(cut.min(stream.len()));
        parts.push(part);
        stream = rest;
    }
    parts
}
