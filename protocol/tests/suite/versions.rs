//! Old and new builds against each other: what a peer of each version of
//! `version.rs` writes is read here, and what a later one may add does no harm.

use baton_protocol::{
    DecodeError, Epoch, FleetId, Frame, HostId, ProcessIdentity, ShardId, SlaveId, Term, Trust,
    Version, codec,
    discord::SessionParameters,
    handshake,
    message::{
        self, Accepted, CopyState, Dial, Dialled, Hello, Pong, Proof, Refused, RefusedReason,
        Report, Role, Welcome,
        agent::{FromAgent, ToAgent},
    },
};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::any::{ToMaster, ToSlave};

/// The handshake as version 1 writes it. These bytes are for ever: a peer of any
/// version has to read them before a version is agreed on.
const HELLO: &[u8] = b"\x08\0\0\0\x5b\x01\0\0\x82\xa7Running\xc3\xa5Baton\x8a\
    \xa7version\x01\xa6lowest\x01\
    \xa4term\x82\xa5fleet\xd9\x2000000000000000000000000000000007\xa7counter\x03\
    \xa5slave\xd9\x200000000000000000000000000000000b\xa4role\xa9candidate\
    \xa4slot\xa4main\xa5build\xa2v1\
    \xaaparameters\x86\xa7intents\xcd\x02\x01\xabshard_count\x02\xabapi_version\x0a\
    \xa8encoding\xa4json\xabcompression\xabzstd-stream\xaflarge_threshold\x32\
    \xa7process\x84\xa3pid\xcd\x12\x67\xaastart_time\x63\xa7boot_id\xa4boot\xadpid_namespace\x05\
    \xa5nonce\xc4\x100123456789abcdef";
const WELCOME: &[u8] = b"\x0b\0\0\0\x78\0\0\0\x85\xa7version\x01\
    \xa4term\x82\xa5fleet\xd9\x2000000000000000000000000000000007\xa7counter\x03\
    \xa5proof\xc4\x04\xaa\xaa\xaa\xaa\xa9challenge\xc4\x100123456789abcdef\xadcheckpoint_ms\x0a";
const PROOF: &[u8] = b"\x0c\0\0\0\x0d\0\0\0\x81\xa5proof\xc4\x04\xaa\xaa\xaa\xaa";
const REPORT: &[u8] =
    b"\x0d\0\0\0\x1c\0\0\0\x84\xa6shards\x90\xa4work\x04\xa5ready\xc3\xa4last\xc3";
const ACCEPTED: &[u8] = b"\x0e\0\0\0\x0e\0\0\0\x81\xabshard_count\x02";
const REFUSED: &[u8] = b"\x0f\0\0\0\x1a\0\0\0\x82\xa6reason\xa4busy\xa6detail\xa5later";

#[test]
fn the_handshake_is_read_and_written_as_version_1_had_it() {
    let term = Term {
        fleet: FleetId(7),
        counter: 3,
    };
    let hello = Hello {
        version: Version(1),
        lowest: Version(1),
        term,
        slave: SlaveId(0xb),
        role: Role::Candidate,
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        parameters: SessionParameters {
            intents: 513,
            shard_count: 2,
            api_version: 10,
            encoding: "json".to_owned(),
            compression: "zstd-stream".to_owned(),
            large_threshold: 50,
            service: String::new(),
        }
        .seal(),
        process: ProcessIdentity {
            pid: 4711,
            start_time: 99,
            boot_id: "boot".to_owned(),
            pid_namespace: 5,
            host: HostId(0),
            host_name: None,
        },
        nonce: Bytes::from_static(b"0123456789abcdef"),
        ..Hello::default()
    };
    let proof = Bytes::from_static(&[0xaa; 4]);
    let to_master = [
        (
            HELLO,
            ToMaster::Handshake(handshake::ToMaster::Hello {
                running: true,
                hello: Box::new(hello),
            }),
        ),
        (
            PROOF,
            ToMaster::Handshake(handshake::ToMaster::Proof(Proof {
                proof: proof.clone(),
            })),
        ),
        (
            REPORT,
            ToMaster::Handshake(handshake::ToMaster::Report(Report {
                shards: Vec::new(),
                work: Epoch(4),
                ready: true,
                lapsed: false,
                last: true,
            })),
        ),
    ];
    for (bytes, message) in to_master {
        assert_eq!(message.to_frame().to_bytes()[..], *bytes);
        assert_eq!(
            ToMaster::from_frame(frame(bytes)).expect("it is read"),
            message
        );
    }
    let to_slave = [
        (
            WELCOME,
            ToSlave::Handshake(handshake::ToSlave::Welcome(Welcome {
                version: Version(1),
                term,
                proof,
                challenge: Bytes::from_static(b"0123456789abcdef"),
                checkpoint_ms: 10,
            })),
        ),
        (
            ACCEPTED,
            ToSlave::Joined(message::ToSlave::Accepted(Accepted {
                shard_count: 2,
                ..Accepted::default()
            })),
        ),
        (
            REFUSED,
            ToSlave::Joined(message::ToSlave::Refused(Refused {
                reason: RefusedReason::Busy,
                detail: "later".to_owned(),
            })),
        ),
    ];
    for (bytes, message) in to_slave {
        assert_eq!(message.to_frame().to_bytes()[..], *bytes);
        assert_eq!(
            ToSlave::from_frame(frame(bytes)).expect("it is read"),
            message
        );
    }
}

#[test]
fn what_a_version_added_is_zero_where_an_older_peer_does_not_say_it() {
    // Version 2: how the handlers fare.
    let pong = of_body(17, b"\x81\xa6number\x05");
    let expected = Pong {
        number: 5,
        ..Pong::default()
    };
    assert_eq!(
        ToMaster::from_frame(pong).expect("version 1"),
        ToMaster::Joined(message::ToMaster::Pong(expected))
    );
    // Version 4: whether they keep up.
    assert_eq!(Pong::default().full_ms, 0);
    // Version 3: whether a connection could be dialled ahead; the messages are new,
    // so that a peer of before knows neither.
    let (dial, dialled) = (Box::new(Dial::default()), Dialled::default());
    assert_eq!(message::ToSlave::Dial(dial).to_frame().id, 32);
    assert_eq!(message::ToMaster::Dialled(dialled).to_frame().id, 33);
    assert_eq!(Version::DIAL, Version(3));
    // Version 5: which form of a copy its reader takes. Unsaid, the order is as it
    // always was.
    let plain = of_body(25, b"\x82\xa5shard\x03\xa5epoch\x07");
    let copy = ToSlave::Joined(message::ToSlave::CopyState(CopyState {
        shard: ShardId(3),
        epoch: Epoch(7),
        reader: Version(0),
        unacknowledged: 0,
    }));
    assert_eq!(copy.to_frame(), plain);
    assert_eq!(ToSlave::from_frame(plain).expect("version 4"), copy);
    assert_eq!(Version::CHECKED_STATE, Version(5));
}

#[test]
fn every_version_has_its_line() {
    let list = include_str!("../../src/version.rs");
    let mut lines = list.lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("/// | ")?.split_once(" |")?;
        number.parse::<u16>().ok()
    });
    for version in (0..=Version::NEWEST.0).rev() {
        assert_eq!(lines.next(), Some(version), "newest first");
    }
    assert_eq!(lines.next(), None);
}

/// An empty map: what a peer would write that knows none of our fields.
#[test]
fn a_message_of_ours_without_any_field_is_all_defaults() {
    for id in 11..100 {
        let frame = of_body(id, b"\x80");
        for answers in [
            [
                ToMaster::from_frame(frame.clone()).map(drop),
                FromAgent::from_frame(frame.clone()).map(drop),
            ],
            [
                ToSlave::from_frame(frame.clone()).map(drop),
                ToAgent::from_frame(frame.clone()).map(drop),
            ],
        ] {
            let read = answers.iter().any(Result::is_ok);
            let nobodys = answers
                .iter()
                .all(|answer| matches!(answer, Err(DecodeError::UnknownId { .. })));
            assert!(read || nobodys, "id {id}: {answers:?}");
        }
    }
    // So has what is inside of them.
    let term = b"\x81\xa4term\x81\xa7counter\x03";
    let welcome = ToSlave::from_frame(of_body(11, term)).expect("a term without a fleet");
    assert!(
        matches!(welcome, ToSlave::Handshake(handshake::ToSlave::Welcome(welcome)) if welcome.term.counter == 3)
    );
}

#[test]
fn ids_that_nobody_says_are_named_as_such_and_state_is_routed_whatever_its_id() {
    for id in (45..60).chain(77..100).chain([0, 18, 19]) {
        for body in [&b""[..], b"\x80", b"\xc1"] {
            let master = ToMaster::from_frame(of_body(id, body));
            assert!(matches!(master, Err(DecodeError::UnknownId { id: named }) if named == id));
            let slave = ToSlave::from_frame(of_body(id, body));
            assert!(matches!(slave, Err(DecodeError::UnknownId { id: named }) if named == id));
        }
    }
    for id in [102, 5000, u32::MAX] {
        let frame = of_body(id, &[0; 24]);
        let state = ToMaster::from_frame(frame.clone()).expect("a later kind of state");
        assert_eq!(state.to_frame(), frame);
    }
}

proptest! {
    #[test]
    fn a_field_that_a_later_version_adds_is_passed_over(
        to_master in crate::arbitrary::to_master(),
        to_slave in crate::arbitrary::to_slave(),
        value in prop::sample::select(VALUES),
    ) {
        if let Some(later) = with_field(&to_master.to_frame(), value) {
            prop_assert_eq!(ToMaster::from_frame(later)?, to_master);
        }
        if let Some(later) = with_field(&to_slave.to_frame(), value) {
            prop_assert_eq!(ToSlave::from_frame(later)?, to_slave);
        }
    }

    #[test]
    fn two_builds_agree_on_the_newest_version_that_both_speak(lowest in 0_u16..12, more in 0_u16..12) {
        let newest = lowest + more;
        let agreed = Version::agree(Version(lowest), Version(newest));
        let common = (Version::OLDEST.0..=Version::NEWEST.0)
            .rev()
            .find(|version| (lowest..=newest).contains(version));
        prop_assert_eq!(agreed, common.map(Version));
    }
}

/// What a field of a later version may hold.
const VALUES: &[&[u8]] = &[
    b"\x07",
    b"\xc0",
    b"\xa5later",
    b"\x93\x01\xc3\xc4\x02ab",
    b"\x82\xa1a\x91\x80\xa1b\xcb\0\0\0\0\0\0\0\0",
    b"\xd4\x05\x00",
];

/// The same map with one field more; `None`: it is no map.
fn with_field(frame: &Frame, value: &[u8]) -> Option<Frame> {
    let (&head, rest) = frame.body.split_first()?;
    let is_map = frame.id < 100 && frame.id != 7 && (0x80..0x8f).contains(&head);
    let body = [&[head.wrapping_add(1)], &b"\xa5Later"[..], value, rest].concat();
    is_map.then(|| of_body(frame.id, &body))
}

fn frame(bytes: &[u8]) -> Frame {
    let mut buffer = BytesMut::from(bytes);
    let frame = codec::decode(&mut buffer, Trust::Stranger).expect("short enough");
    assert!(buffer.is_empty());
    frame.expect("a whole frame")
}

fn of_body(id: u32, body: &[u8]) -> Frame {
    Frame {
        id,
        body: Bytes::copy_from_slice(body),
    }
}
