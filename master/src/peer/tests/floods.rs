//! Too much of everything: messages, connections, versions.

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::task::TaskTracker;

use super::*;
use crate::listener;

#[tokio::test(start_paused = true)]
async fn a_slave_that_floods_waits_for_the_driver_and_takes_no_other_slaves_turn() {
    let mut master = Master::new();
    let mut flooder = master.join(1).await;
    let mut innocent = master.join(2).await;
    // The driver takes nothing: what fits stands in queues, the rest waits outside.
    let frame = ToMaster::Progress(Progress::default()).to_frame();
    let mut sent = 0_usize;
    while timeout(Duration::from_secs(1), flooder.0.send(&frame))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 10_000, "somebody takes all of it");
    }
    innocent.say(ToMaster::SoftStartComplete).await;
    let mut taken = 0;
    while let Notice::Said { slave, .. } = master.notices.recv().await.unwrap()
        && slave == SlaveId(1)
    {
        taken += 1;
    }
    // What was queued before it, and one turn each.
    assert!(taken <= sent.min(66), "{taken} of {sent} came first");
}

#[tokio::test]
async fn thousands_that_never_say_hello_hold_a_bounded_number_of_places_and_keep_no_slave_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slave.sock");
    let mut master = Master::new();
    let tasks = TaskTracker::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let context = &master.context;
    tokio::spawn(listener::tcp(Arc::clone(context), tcp, tasks.clone()));
    tokio::spawn(listener::unix(Arc::clone(context), unix, tasks.clone()));

    let mut held = Vec::new();
    for _ in 0..2000 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let sent_away = 2000 - MAX_STRANGERS;
    let counted = async {
        while master.context.counters.read().too_many < sent_away as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(Duration::from_secs(30), counted).await.is_ok());
    // The oldest, and without a word.
    let read = timeout(Duration::from_secs(30), held[0].read(&mut [0])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    assert!(context.strangers.tcp.was_full(Duration::from_secs(60)));

    // A slave that the master launched comes by the unix socket.
    let socket = UnixStream::connect(&path).await.unwrap();
    let mut connection = Connection::new(socket);
    connection.trust(baton_protocol::Trust::Known);
    let mut slave = rig::Slave(connection);
    slave.greet(hello(1)).await;
    slave.report(report(0..1, true)).await;
    assert_eq!(master.joined().await.hello.slave, SlaveId(1));

    // One that is quick gets through them by TCP too.
    let socket = TcpStream::connect(address).await.unwrap();
    let mut slave = rig::Slave(Connection::new(socket));
    let welcome = slave.greet(hello(1)).await;
    slave.prove(&master.context.secret, &welcome).await;
    slave.report(report(0..1, true)).await;
    assert_eq!(master.joined().await.hello.slave, SlaveId(1));
    master.context.closing.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_stops_at_any_step_of_its_handshake_is_gone_in_time() {
    let master = Master::new();
    let started = Instant::now();
    let mut crowd = Vec::new();
    for number in 0..300_u128 {
        let mut one = master.dial(Origin::Tcp);
        match number % 3 {
            0 => {}
            1 => {
                one.greet(hello(1)).await;
            }
            _ => {
                let welcome = one.greet(hello(1)).await;
                one.prove(&master.context.secret, &welcome).await;
                one.report(report(0..1, false)).await;
            }
        }
        crowd.push(one);
    }
    for mut one in crowd {
        assert!(one.dropped().await);
    }
    assert!(started.elapsed() <= crate::peer::handshake::REPORT_DEADLINE);
    assert_eq!(master.context.counters.read().garbage, 300);
    assert_eq!(Arc::strong_count(&master.context), 1, "every task ended");
}

#[tokio::test(start_paused = true)]
async fn every_listed_version_is_spoken_with_and_a_newer_peer_speaks_ours() {
    let cases = (Version::OLDEST.0..=Version::NEWEST.0)
        .map(|version| (version, version, version))
        .chain([(1, 99, Version::NEWEST.0), (0, 1, 1)]);
    for (lowest, newest, spoken) in cases {
        let mut master = Master::new();
        let mut slave = master.dial(local());
        let welcome = slave
            .greet(Hello {
                lowest: Version(lowest),
                version: Version(newest),
                ..hello(1)
            })
            .await;
        assert_eq!(welcome.version, Version(spoken));
        slave.report(report(0..1, true)).await;
        let joining = master.joined().await;
        assert_eq!(
            joining.hello.version,
            Version(newest),
            "as the core knows it"
        );
    }
    for (lowest, newest) in [(0, 0), (Version::NEWEST.0 + 1, 99), (99, 98)] {
        let master = Master::new();
        let mut slave = master.dial(local());
        let hello = Hello {
            lowest: Version(lowest),
            version: Version(newest),
            ..hello(1)
        };
        slave.say(hello_frame(hello)).await;
        assert_eq!(slave.refused().await, RefusedReason::Version);
    }
}
