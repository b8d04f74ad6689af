use bytes::Bytes;

use super::*;
use crate::{
    codec::Frame,
    discord,
    error::DecodeError,
    go,
    id::{Epoch, Sequence, ShardId},
    msgpack::MAX_DEPTH,
    ticket::Ticket,
};

#[test]
fn without_our_key_a_body_is_the_go_programs_to_the_byte() {
    let stop = go::ToMaster::StopShard(go::Session {
        shard: 0,
        session_id: "sess-0".to_owned(),
        sequence: 1000,
    });
    assert_eq!(
        stop.to_frame().body[..],
        *b"\x83\xa5Shard\x00\xa9SessionID\xa6sess-0\xa8Sequence\xcd\x03\xe8"
    );
    let hello = go::ToMaster::Hello { running: false };
    assert_eq!(
        hello.to_frame().to_bytes()[..],
        *b"\x08\0\0\0\x0a\0\0\0\x81\xa7Running\xc2"
    );
    let start = go::ToSlave::FullStart;
    assert_eq!(start.to_frame().to_bytes()[..], *b"\x02\0\0\0\0\0\0\0");
}

#[test]
fn every_message_survives_the_wire() {
    let ticket = Ticket {
        shard: ShardId(3),
        session: discord::Session::with_id("s").seal(),
        handled: Sequence(70_000),
        finished_above: [Sequence(70_002), Sequence(70_003)].into_iter().collect(),
        ..Ticket::default()
    };
    let work = Work {
        epoch: Epoch(4),
        ticket: Bytes::from_static(b"\x00\xffcron"),
    };
    let state = StateFrame::from_body(100, Bytes::from(vec![9; 40])).expect("a header");
    for message in [
        handshake::ToMaster::Hello {
            running: true,
            hello: Box::new(Hello {
                build: "v2".to_owned(),
                nonce: Bytes::from_static(&[1; 16]),
                ..Hello::default()
            }),
        },
        handshake::ToMaster::Report(Report {
            shards: vec![Held {
                epoch: Epoch(2),
                holding: Holding::Sealed,
                ticket: ticket.clone(),
                untouched: true,
            }],
            work: Epoch(1),
            ready: true,
            lapsed: true,
            last: true,
        }),
    ] {
        let again = handshake::ToMaster::from_frame(message.to_frame()).expect("it decodes");
        assert_eq!(again, message);
    }
    let messages = [
        ToMaster::Sealed(Box::new(Sealed {
            epoch: Epoch(u64::MAX),
            ticket: ticket.clone(),
        })),
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
    let cases: [(&[u8], go::Session); 6] = [
        (b"\x80", go::Session::default()),
        (b"\xc0", go::Session::default()),
        (
            b"\x83\xa5Shard\xc0\xa9SessionID\xc0\xa8Sequence\xc0",
            go::Session::default(),
        ),
        (
            b"\x82\xa5Shard\xd3\0\0\0\0\0\0\0\x07\xa5Extra\x92\x01\xd4\x05\x00",
            go::Session {
                shard: 7,
                ..go::Session::default()
            },
        ),
        (b"\x81\xa5shard\x07", go::Session::default()),
        (
            b"\x81\xa5Shard\x07 and more",
            go::Session {
                shard: 7,
                ..go::Session::default()
            },
        ),
    ];
    for (body, expected) in cases {
        let message =
            go::ToMaster::from_frame(frame(event::STOP_SHARD, body)).expect("Go takes it");
        assert_eq!(message, go::ToMaster::StopShard(expected), "{body:?}");
    }
}

#[test]
fn what_is_wrong_with_a_body_is_named() {
    let deep = [vec![0x81, 0xa5], b"Extra".to_vec(), vec![0x91; 100]].concat();
    let check = |id, body: &[u8], is: fn(&DecodeError) -> bool| {
        let read = match id {
            event::SLAVE_HELLO => handshake::ToMaster::from_frame(frame(id, body)).map(drop),
            _ => ToMaster::from_frame(frame(id, body)).map(drop),
        };
        let error = read.expect_err("it is wrong");
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
    let welcome = handshake::ToSlave::from_frame(frame(event::WELCOME, b"\x81\xa7version\x01"))
        .expect("an older master");
    assert!(
        matches!(welcome, handshake::ToSlave::Welcome(welcome) if welcome.version.0 == 1 && welcome.proof.is_empty())
    );
}

#[test]
fn a_reason_that_a_later_version_added_is_still_a_refusal() {
    let refused =
        handshake::ToSlave::from_frame(frame(event::REFUSED, b"\x81\xa6reason\xa7moonset"))
            .expect("a newer master");
    assert!(
        matches!(refused, handshake::ToSlave::Refused(refused) if refused.reason == RefusedReason::Other)
    );
}

#[test]
fn a_frame_of_another_class_says_whose_it_is_not() {
    let no_place = |error: DecodeError, who: &str| {
        assert!(matches!(error, DecodeError::OutOfPlace { .. }), "{error}");
        assert!(error.to_string().contains(who), "{error}");
    };
    // What is said once, before a slave has joined.
    for id in [event::SLAVE_HELLO, event::PROOF, event::REPORT] {
        let error = ToMaster::from_frame(frame(id, b"\x80")).expect_err("it has joined");
        no_place(error, "a joined slave");
    }
    let error = ToSlave::from_frame(frame(event::WELCOME, b"\x80")).expect_err("welcome twice");
    no_place(error, "a joined slave's master");
    // What is said only after that.
    for id in [event::PONG, event::STOP_SHARD, event::STATE_PIECES] {
        let error = handshake::ToMaster::from_frame(frame(id, &[0; 24])).expect_err("too early");
        no_place(error, "a slave that joins");
    }
    let error = handshake::ToSlave::from_frame(frame(event::PING, b"\x80")).expect_err("early");
    no_place(error, "a master that is said hello to");
    // What only a Go program says, and what it never does.
    for answer in [
        ToMaster::from_frame(frame(event::GUILD_STATE, b"?")).map(drop),
        ToSlave::from_frame(frame(event::GUILD_STATE, b"?")).map(drop),
        go::ToMaster::from_frame(frame(event::PROOF, b"\x80")).map(drop),
        go::ToSlave::from_frame(frame(event::STATE_END, &[0; 24])).map(drop),
    ] {
        no_place(answer.expect_err("it is another class's"), "says");
    }
    // Nobody's.
    let skipped = ToMaster::from_frame(frame(event::SHARD_STOPPED, b"")).expect_err("no word");
    assert!(matches!(skipped, DecodeError::UnknownId { id: 10 }));
}

#[test]
fn every_id_is_said_by_somebody_in_its_direction_and_by_nobody_else() {
    let known = |answer: Result<(), DecodeError>| {
        !matches!(
            answer,
            Err(DecodeError::OutOfPlace { .. } | DecodeError::UnknownId { .. })
        )
    };
    for id in 0..event::FIRST_ROUTED {
        let frame = frame(id, b"\x80");
        let by_slaves = known(ToMaster::from_frame(frame.clone()).map(drop))
            || known(handshake::ToMaster::from_frame(frame.clone()).map(drop))
            || known(go::ToMaster::from_frame(frame.clone()).map(drop))
            || known(agent::FromAgent::from_frame(frame.clone()).map(drop));
        let listed = event::OF_SLAVES.contains(&id) || id == event::SHARD_STOPPED;
        assert_eq!(by_slaves, listed, "id {id} to a master");
        let by_masters = known(ToSlave::from_frame(frame.clone()).map(drop))
            || known(handshake::ToSlave::from_frame(frame.clone()).map(drop))
            || known(go::ToSlave::from_frame(frame.clone()).map(drop))
            || known(agent::ToAgent::from_frame(frame).map(drop));
        assert_eq!(
            by_masters,
            event::OF_MASTERS.contains(&id),
            "id {id} to a slave or an agent"
        );
    }
}

#[test]
fn a_body_in_the_go_form_and_a_shard_without_its_own_ticket_are_refused() {
    for id in [3, 4, 5] {
        let go = frame(id, b"\x81\xa5Shard\x07");
        for answer in [
            ToMaster::from_frame(go.clone()).map(drop),
            ToSlave::from_frame(go).map(drop),
        ] {
            let error = answer.expect_err("no epoch, no ticket");
            assert!(matches!(error, DecodeError::NoBaton { id: named } if named == id));
        }
    }
    let start = ToSlave::from_frame(frame(event::FULL_START, b"")).expect_err("no shards");
    assert!(matches!(start, DecodeError::NoBaton { id: 2 }));
    let hello = handshake::ToMaster::from_frame(frame(8, b"\x81\xa7Running\xc3"));
    assert!(matches!(hello, Err(DecodeError::NoBaton { id: 8 })));

    let empty = b"\x82\xa5Shard\x07\xa5Baton\x80";
    let other = b"\x82\xa5Shard\x07\xa5Baton\x81\xa6ticket\x81\xa5shard\x08";
    for (body, expected) in [
        (&empty[..], "missing"),
        (&other[..], "shard 7, its ticket about shard 8"),
    ] {
        for answer in [
            ToMaster::from_frame(frame(event::STOP_SHARD, body)).map(drop),
            ToSlave::from_frame(frame(event::RESUME, body)).map(drop),
        ] {
            let error = answer.expect_err("nothing to go on from").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

fn frame(id: u32, body: &[u8]) -> Frame {
    Frame {
        id,
        body: Bytes::copy_from_slice(body),
    }
}
