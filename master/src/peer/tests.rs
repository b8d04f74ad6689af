#![allow(clippy::unwrap_used)]

mod floods;

use baton_protocol::{
    Epoch, FleetId, Frame, ProcessIdentity, ShardId, Term, Version, go, handshake,
    message::{FullStart, Hello, Pong, Progress, Proof, Unit},
    state::StateWriter,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    rig::{Master, hello, hello_frame, local, report},
    *,
};
use crate::{link, process::Dialled};

#[tokio::test(start_paused = true)]
async fn a_slave_that_proves_itself_joins_with_its_reports_as_one() {
    let mut master = Master::new();
    let mut slave = master.dial(Origin::Tcp);
    let welcome = slave.greet(hello(1)).await;
    assert_eq!(welcome.term, master.context.term);
    assert_eq!(welcome.checkpoint_ms, 10);
    let proof = master
        .context
        .secret
        .master_proof(b"0123456789abcdef", SlaveId(1));
    assert_eq!(welcome.proof, proof);
    slave.prove(&master.context.secret, &welcome).await;
    slave.report(report(0..256, false)).await;
    let mut last = report(256..300, true);
    last.work = Epoch(4);
    slave.report(last).await;
    let joining = master.joined().await;
    assert_eq!(joining.hello.slave, SlaveId(1));
    assert_eq!(joining.report.shards.len(), 300);
    assert_eq!(joining.report.work, Epoch(4));
    assert!(joining.watch.is_some());
}

#[tokio::test(start_paused = true)]
async fn without_the_secret_nobody_joins_by_tcp() {
    for proof in [b"".to_vec(), vec![0; 32]] {
        let master = Master::new();
        let mut slave = master.dial(Origin::Tcp);
        slave.greet(hello(1)).await;
        let proof = Proof {
            proof: proof.into(),
        };
        slave.say(handshake::ToMaster::Proof(proof)).await;
        assert_eq!(slave.refused().await, RefusedReason::Secret);
        assert_eq!(master.context.counters.read().refused, 1);
    }
    let mut master = Master::new();
    let mut slave = master.dial(Origin::UnixStranger(local().dialled()));
    slave.greet(hello(1)).await;
    slave.report(report(0..1, true)).await;
    assert!(slave.dropped().await, "a report is no proof");
    assert!(master.notices.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_masters_own_user_needs_no_proof_on_the_unix_socket() {
    for proves in [true, false] {
        let mut master = Master::new();
        let mut slave = master.dial(local());
        slave.greet(hello(1)).await;
        if proves {
            slave
                .say(handshake::ToMaster::Proof(Proof::default()))
                .await;
        }
        slave.report(report(0..1, true)).await;
        assert_eq!(master.joined().await.report.shards.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_does_not_fit_is_refused_with_the_reason() {
    let term = |fleet, counter| Term {
        fleet: FleetId(fleet),
        counter,
    };
    let mut gone = ProcessIdentity::current().unwrap();
    gone.start_time += 1;
    let cases: [(Hello, RefusedReason); 7] = [
        (
            Hello {
                version: Version(9),
                lowest: Version(8),
                ..hello(1)
            },
            RefusedReason::Version,
        ),
        (
            Hello {
                term: term(8, 1),
                ..hello(1)
            },
            RefusedReason::Fleet,
        ),
        (
            Hello {
                term: term(7, 4),
                ..hello(1)
            },
            RefusedReason::Fleet,
        ),
        (
            Hello {
                build: "x".repeat(200),
                ..hello(1)
            },
            RefusedReason::Other,
        ),
        (
            Hello {
                slot: "x".repeat(200),
                ..hello(1)
            },
            RefusedReason::Other,
        ),
        (
            Hello {
                nonce: "short".into(),
                ..hello(1)
            },
            RefusedReason::Other,
        ),
        (
            Hello {
                process: gone,
                ..hello(1)
            },
            RefusedReason::Other,
        ),
    ];
    for (hello, reason) in cases {
        let master = Master::new();
        let mut slave = master.dial(local());
        slave.say(hello_frame(hello)).await;
        assert_eq!(slave.refused().await, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_stranger_sends_costs_only_its_own_connection() {
    let mut oversized = 8_u32.to_le_bytes().to_vec();
    oversized.extend(5000_u32.to_le_bytes());
    let whole = hello_frame(hello(1)).to_bytes();
    let from_go = go::ToMaster::Hello { running: false }.to_frame().to_bytes();
    let cases: [(&str, Vec<u8>); 6] = [
        ("garbage", vec![0xff; 64]),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("oversized", oversized),
        ("half a frame", whole[..whole.len() / 2].to_vec()),
        (
            "another message",
            ToMaster::Shutdown.to_frame().to_bytes().to_vec(),
        ),
        ("a Go slave's hello", from_go.to_vec()),
    ];
    let mut master = Master::new();
    let mut innocent = master.join(1).await;
    let count = cases.len() as u64;
    for (what, bytes) in cases {
        let mut socket = master.dial_raw(Origin::Tcp);
        socket.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        // The half frame runs into its deadline, everything else ends at once.
        let ended = timeout(Duration::from_secs(11), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty(), "{what}: {rest:?}");
    }
    assert_eq!(master.context.counters.read().garbage, count);
    innocent.say(ToMaster::SoftStartComplete).await;
    let said = master.notices.recv().await.unwrap();
    assert!(
        matches!(
            said,
            Notice::Said {
                slave: SlaveId(1),
                ..
            }
        ),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_says_nothing_is_dropped_in_time_at_every_step() {
    let master = Master::new();
    let mut silent = master.dial(Origin::Tcp);
    let started = Instant::now();
    assert!(silent.dropped().await);
    assert_eq!(started.elapsed(), crate::peer::handshake::HELLO_DEADLINE);

    let mut unproved = master.dial(Origin::Tcp);
    unproved.greet(hello(1)).await;
    let started = Instant::now();
    assert!(unproved.dropped().await);
    assert_eq!(started.elapsed(), crate::peer::handshake::HELLO_DEADLINE);

    let mut unreported = master.dial(Origin::Tcp);
    let welcome = unreported.greet(hello(1)).await;
    unreported.prove(&master.context.secret, &welcome).await;
    let started = Instant::now();
    assert!(unreported.dropped().await);
    assert_eq!(started.elapsed(), crate::peer::handshake::REPORT_DEADLINE);
    assert_eq!(master.context.counters.read().garbage, 3);
}

#[tokio::test(start_paused = true)]
async fn reports_without_end_are_cut_off() {
    let mut master = Master::new();
    let mut slave = master.dial(local());
    slave.greet(hello(1)).await;
    for _ in 0..1000 {
        let frame = handshake::ToMaster::Report(report(0..256, false)).to_frame();
        if slave.0.send(&frame).await.is_err() {
            break;
        }
    }
    assert!(slave.dropped().await);
    assert!(master.notices.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_joined_slave_that_sends_garbage_leaves() {
    for frame in [
        Frame {
            id: 20,
            body: vec![0xc1].into(),
        },
        hello_frame(hello(1)),
        handshake::ToMaster::Report(report(0..1, true)).to_frame(),
        go::ToMaster::GuildState(Vec::new().into()).to_frame(),
        // A ticket of the Go form: no epoch says who may give it.
        go::ToMaster::StopShard(go::Session::default()).to_frame(),
        Frame {
            id: 100,
            body: vec![1].into(),
        },
    ] {
        let mut master = Master::new();
        let mut slave = master.join(1).await;
        slave.0.send(&frame).await.unwrap();
        let left = master.notices.recv().await.unwrap();
        assert!(
            matches!(
                left,
                Notice::Left {
                    slave: SlaveId(1),
                    ..
                }
            ),
            "{left:?}"
        );
        assert!(slave.dropped().await);
        assert_eq!(master.context.counters.read().garbage, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_newer_slave_is_ignored() {
    let mut master = Master::new();
    let mut slave = master.join(1).await;
    let newer = Frame {
        id: 77,
        body: vec![0x80].into(),
    };
    slave.0.send(&newer).await.unwrap();
    slave.say(ToMaster::Shutdown).await;
    let said = master.notices.recv().await.unwrap();
    assert!(matches!(
        said,
        Notice::Said {
            message: ToMaster::Shutdown,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_answers_no_ping_is_silent_and_one_that_does_is_not() {
    let mut master = Master::new();
    let mut slave = master.join(1).await;
    let started = Instant::now();
    // It takes its pings and does not answer: its link is fine, it hangs.
    let silent = loop {
        tokio::select! {
            notice = master.notices.recv() => break notice.unwrap(),
            message = slave.hear() => assert!(matches!(message, ToSlave::Ping(_))),
        }
    };
    assert!(
        matches!(
            silent,
            Notice::Silent {
                slave: SlaveId(1),
                ..
            }
        ),
        "{silent:?}"
    );
    assert_eq!(started.elapsed(), master.context.hang + master.context.ping);

    let mut master = Master::new();
    let mut slave = master.join(2).await;
    let until = Instant::now() + 10 * master.context.hang;
    while Instant::now() < until {
        let ToSlave::Ping(ping) = slave.hear().await else {
            panic!("only pings are sent");
        };
        slave
            .say(ToMaster::Pong(Pong {
                number: ping.number,
                ..Pong::default()
            }))
            .await;
    }
    while let Ok(notice) = master.notices.try_recv() {
        assert!(matches!(notice, Notice::Said { .. }), "{notice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn control_messages_overtake_state() {
    let mut master = Master::new();
    let mut slave = master.join(1).await;
    let link = master.link.take().unwrap();
    let state = StateWriter::new(ShardId(0), Epoch(1)).end(baton_protocol::Sequence(5));
    for frame in state {
        link.send(ToSlave::State(frame)).unwrap();
    }
    link.send(ToSlave::SoftStart).unwrap();
    assert_eq!(slave.hear().await, ToSlave::SoftStart);
    assert!(matches!(slave.hear().await, ToSlave::State(_)));
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_takes_nothing_loses_its_connection() {
    let mut master = Master::new();
    // The slave keeps its socket and never reads.
    let _slave = master.join(1).await;
    let link = master.link.take().unwrap();
    let started = Instant::now();
    // More than the socket holds, less than the outbox.
    for _ in 0..4000 {
        let start = FullStart {
            shards: vec![Unit::default(); 100],
            shard_count: 1,
        };
        link.send(ToSlave::FullStart(start)).unwrap();
    }
    let left = master.notices.recv().await.unwrap();
    assert!(matches!(left, Notice::Left { .. }), "{left:?}");
    assert_eq!(started.elapsed(), link::STUCK);
    assert_eq!(master.context.counters.read().stuck, 1);
}

#[tokio::test(start_paused = true)]
async fn an_outbox_is_bounded() {
    let (link, _outbox) = Link::new(LinkId(1), Dialled::Remote);
    let taken = (0..100_000)
        .take_while(|_| link.send(ToSlave::SoftStart).is_ok())
        .count();
    assert!(taken < 10_000, "{taken}");
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_is_written_before_a_link_closes() {
    let mut master = Master::new();
    let mut slave = master.join(1).await;
    let link = master.link.take().unwrap();
    link.send(ToSlave::SoftStart).unwrap();
    link.send(ToSlave::Refused(Refused::default())).unwrap();
    drop(link);
    assert_eq!(slave.hear().await, ToSlave::SoftStart);
    assert_eq!(slave.refused().await, RefusedReason::Other);
    assert!(slave.dropped().await);
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_a_bounded_number_of_slaves() {
    let mut master = Master::new();
    let full = Arc::clone(&master.context.room);
    let places = full
        .acquire_many_owned(u32::try_from(MAX_JOINED).unwrap())
        .await
        .unwrap();
    let mut slave = master.dial(local());
    slave.greet(hello(1)).await;
    slave.report(report(0..0, true)).await;
    assert_eq!(slave.refused().await, RefusedReason::Other);
    drop(places);
    master.join(2).await;
}
