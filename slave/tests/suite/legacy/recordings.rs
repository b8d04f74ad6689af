//! The wire as a Go master wrote it, and frames that mean nothing.

use super::*;

const RECORDINGS: [&str; 2] = [
    "yagmaster-frames.json",
    "yagmaster-frames-compact-ints.json",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_master_moves_shards_out_of_a_slave() {
    for name in RECORDINGS {
        let mut scene = scene(2).await;
        for frame in recorded(name).iter().skip_while(|frame| frame.id != 3) {
            if frame.who != "slaveA" || frame.id == 7 {
                continue;
            }
            if frame.to_slave {
                scene.wire.raw(frame.id, &frame.body).await;
            } else {
                says_like(&mut scene.wire, frame, name).await;
            }
        }
        scene.wire.ends().await;
        scene.slave.ends().await.unwrap();
        assert_eq!(scene.discord.counters().total.identifies, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_master_moves_shards_into_a_slave_that_identifies_what_is_no_session() {
    for name in RECORDINGS {
        let discord = discord(|config| config.shards = 2).await;
        let master = Master::new().await;
        let slave = run(config(&master, &discord, 2), Recorder::default());
        let mut wire = master.slave(false).await;
        for frame in recorded(name).iter().skip_while(|frame| frame.id != 3) {
            if frame.who != "slaveB" || frame.id == 8 {
                continue;
            }
            if frame.to_slave {
                wire.raw(frame.id, &frame.body).await;
            } else {
                says_like(&mut wire, frame, name).await;
            }
        }
        // Discord knows no sess-0: said loudly, one IDENTIFY each.
        let total = discord.counters().total;
        let refused: u64 = total.resumes_refused.values().sum();
        assert_eq!((refused, total.identifies), (2, 2), "{name}");
        assert_eq!(slave.counts().await.sessions_lost, 2);
        // The recording's last connection: Running is true now.
        drop(wire);
        master.slave(true).await;
    }
}

/// The next frame is the recorded one, with the session that Discord gave.
async fn says_like(wire: &mut Wire, frame: &Recorded, name: &str) {
    let said = wire.frame().await;
    assert_eq!(said.id, frame.id);
    if frame.id != 4 && name.contains("compact") {
        assert_eq!(said.body[..], frame.body);
    }
    match ToMaster::from_frame(said).unwrap() {
        ToMaster::StopShard(stop) => {
            assert_eq!(frame.decoded["Shard"], stop.shard);
            assert!(!stop.session_id.is_empty() && stop.sequence > 0);
        }
        said => assert_eq!(
            said,
            ToMaster::from_frame(baton_protocol::Frame {
                id: frame.id,
                body: frame.body.clone().into(),
            })
            .unwrap()
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_without_a_meaning_here_are_passed_over() {
    let mut scene = scene(1).await;
    scene.wire.raw(7, &vec![0xff; 3_000_000]).await;
    for id in [8, 9, 10, 13, 14, 28, 100, 4_000_000] {
        scene.wire.raw(id, b"\x80").await;
    }
    for broken in [
        &b"\x81\xa5Shard\xff"[..],
        b"",
        b"\xc1",
        b"\x81\xa5Shard\xa1x",
    ] {
        for id in [3, 4, 5] {
            scene.wire.raw(id, broken).await;
        }
    }
    scene
        .wire
        .order(message::ToSlave::StopWork(Default::default()))
        .await;
    scene.wire.becomes_source(1).await;
}
