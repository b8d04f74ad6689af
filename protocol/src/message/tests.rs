use super::*;
use crate::{
    codec::Frame,
    error::DecodeError,
    id::{Epoch, Sequence, ShardId},
    msgpack::MAX_DEPTH,
    ticket::Ticket,
};

#[test]
fn without_our_key_a_body_is_the_ancestors_to_the_byte() {
    let stop = ToMaster::StopShard(StopShard {
        shard: 0,
        session_id: "sess-0".to_owned(),
        sequence: 1000,
        extra: None,
    });
    assert_eq!(
        stop.to_frame().body[..],
        *b"\x83\xa5Shard\x00\xa9SessionID\xa6sess-0\xa8Sequence\xcd\x03\xe8"
    );
    let hello = ToMaster::SlaveHello(SlaveHello::default());
    assert_eq!(
        hello.to_frame().to_bytes()[..],
        *b"\x08\0\0\0\x0a\0\0\0\x81\xa7Running\xc2"
    );
    let start = ToSlave::FullStart(FullStart::default());
    assert_eq!(start.to_frame().to_bytes()[..], *b"\x02\0\0\0\0\0\0\0");
}

#[test]
fn every_message_survives_the_wire() {
    let ticket = Ticket {
        shard: ShardId(3),
        session_id: "s".to_owned(),
        handled: Sequence(70_000),
        finished_above: [Sequence(70_002), Sequence(70_003)].into_iter().collect(),
        ..Ticket::default()
    };
    let work = Work {
        epoch: Epoch(4),
        ticket: Bytes::from_static(b"\x00\xffcron"),
    };
    let state = StateFrame::from_body(100, Bytes::from(vec![9; 40])).expect("a header");
    let messages = [
        ToMaster::SlaveHello(SlaveHello {
            running: true,
            hello: Some(Box::new(Hello {
                build: "v2".to_owned(),
                nonce: Bytes::from_static(&[1; 16]),
                ..Hello::default()
            })),
        }),
        ToMaster::StopShard(StopShard {
            shard: 3,
            session_id: "s".to_owned(),
            sequence: 70_000,
            extra: Some(Box::new(StopExtra {
                epoch: Epoch(u64::MAX),
                drain_ms: 10_000,
                begins: None,
                ticket: Some(ticket.clone()),
            })),
        }),
        ToMaster::Report(Report {
            shards: vec![Held {
                epoch: Epoch(2),
                holding: Holding::Sealed,
                ticket: ticket.clone(),
                untouched: true,
            }],
            work: Epoch(1),
            ready: true,
            last: true,
        }),
        ToMaster::Checkpoint(Checkpoint {
            shards: vec![CheckpointEntry {
                shard: ShardId(3),
                epoch: Epoch(2),
                handled: ticket.handled,
                finished_above: ticket.finished_above.clone(),
                received: ticket.highest(),
                session: Some(ticket),
            }],
        }),
        ToMaster::StopWork(work),
        ToMaster::Shutdown,
        ToMaster::State(state),
    ];
    for message in messages {
        let again = ToMaster::from_frame(message.to_frame()).expect("it decodes");
        assert_eq!(again, message);
    }
}

#[test]
fn what_go_accepts_is_accepted() {
    let cases: [(&[u8], StopShard); 6] = [
        (b"\x80", StopShard::default()),
        (b"\xc0", StopShard::default()),
        (
            b"\x83\xa5Shard\xc0\xa9SessionID\xc0\xa8Sequence\xc0",
            StopShard::default(),
        ),
        (
            b"\x82\xa5Shard\xd3\0\0\0\0\0\0\0\x07\xa5Extra\x92\x01\xd4\x05\x00",
            StopShard {
                shard: 7,
                ..StopShard::default()
            },
        ),
        (b"\x81\xa5shard\x07", StopShard::default()),
        (
            b"\x81\xa5Shard\x07 and more",
            StopShard {
                shard: 7,
                ..StopShard::default()
            },
        ),
    ];
    for (body, expected) in cases {
        let message = ToMaster::from_frame(frame(event::STOP_SHARD, body)).expect("Go takes it");
        assert_eq!(message, ToMaster::StopShard(expected), "{body:?}");
    }
}

#[test]
fn what_is_wrong_with_a_body_is_named() {
    let deep = [vec![0x81, 0xa5], b"Extra".to_vec(), vec![0x91; 100]].concat();
    let check = |id, body: &[u8], is: fn(&DecodeError) -> bool| {
        let error = ToMaster::from_frame(frame(id, body)).expect_err("it is wrong");
        assert!(is(&error), "{body:02x?}: {error}");
    };
    check(event::STOP_SHARD, b"", |e| {
        matches!(
            e,
            DecodeError::Truncated {
                id: 4,
                have: 0,
                want: 1
            }
        )
    });
    check(event::STOP_SHARD, b"\x81\xa5Sha", |e| {
        matches!(
            e,
            DecodeError::Truncated {
                have: 5,
                want: 7,
                ..
            }
        )
    });
    check(event::STOP_SHARD, b"\x81\xa5Shard\xa1x", |e| {
        matches!(e, DecodeError::WrongType { .. })
    });
    check(event::STOP_SHARD, b"\x81\xa5Shard\xff", |e| {
        matches!(e, DecodeError::WrongType { .. })
    });
    check(event::STOP_SHARD, b"\x81\xa9SessionID\x07", |e| {
        matches!(e, DecodeError::WrongType { .. })
    });
    check(event::STOP_SHARD, b"\x07", |e| {
        matches!(e, DecodeError::WrongType { .. })
    });
    check(event::SLAVE_HELLO, b"\x81\xa7Running\xc0", |e| {
        matches!(e, DecodeError::WrongType { .. })
    });
    check(event::STOP_SHARD, b"\xc1", |e| {
        matches!(e, DecodeError::NotMsgpack { byte: 0xc1, .. })
    });
    check(event::STOP_SHARD, &deep, |e| {
        matches!(
            e,
            DecodeError::TooDeep {
                limit: MAX_DEPTH,
                ..
            }
        )
    });
    check(event::PONG, b"\x81\xa6number\x01\x02", |e| {
        matches!(e, DecodeError::Trailing { id: 17, extra: 1 })
    });
    check(event::PONG, b"\x81\xa6number\xc0", |e| {
        matches!(e, DecodeError::WrongType { id: 17, .. })
    });
    check(event::FULL_START, b"", |e| {
        matches!(e, DecodeError::UnknownId { id: 2 })
    });
    check(99, b"", |e| matches!(e, DecodeError::UnknownId { id: 99 }));
    check(0, b"", |e| matches!(e, DecodeError::UnknownId { id: 0 }));
    check(100, b"short", |e| {
        matches!(
            e,
            DecodeError::Truncated {
                id: 100,
                have: 5,
                want: 24
            }
        )
    });
}

#[test]
fn a_missing_field_of_ours_has_its_default() {
    let welcome = ToSlave::from_frame(frame(event::WELCOME, b"\x81\xa7version\x01"))
        .expect("an older master");
    assert!(
        matches!(welcome, ToSlave::Welcome(welcome) if welcome.version.0 == 1 && welcome.proof.is_empty())
    );
}

#[test]
fn a_reason_that_a_later_version_added_is_still_a_refusal() {
    let refused = ToSlave::from_frame(frame(event::REFUSED, b"\x81\xa6reason\xa7moonset"))
        .expect("a newer master");
    assert!(matches!(refused, ToSlave::Refused(refused) if refused.reason == RefusedReason::Other));
}

fn frame(id: u32, body: &[u8]) -> Frame {
    Frame {
        id,
        body: Bytes::copy_from_slice(body),
    }
}
