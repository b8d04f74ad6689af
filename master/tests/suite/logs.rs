//! A master whose output nobody reads.

use std::{os::fd::OwnedFd, process::Stdio};

use baton_protocol::message::Role;
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::Signal,
};
use tokio::time::timeout;

use crate::fleet::{Fleet, LONG, Master, until};

/// Every line of its log, and the one that says that it is ready, would block whoever
/// writes it.
#[tokio::test]
async fn a_master_whose_output_nobody_reads_serves_deploys_and_leaves() {
    let fleet = Fleet::new("shard_count = 4\nlog = \"trace\"\n");
    let ((_unread, out), (_unread_too, log)) = (full_pipe(), full_pipe());
    let mut command = fleet.command(&["run", "--json-ready"]);
    command.stdout(Stdio::from(out)).stderr(Stdio::from(log));
    let mut master = Master {
        child: command.spawn().unwrap(),
    };
    until("its socket", || fleet.socket().exists()).await;
    let _first = fleet.slave("one", Role::Relaunch);
    fleet.settled().await;
    let _second = fleet.slave("two", Role::Candidate);
    fleet
        .shows("everything with the second slave", |status| {
            let shards = status["shards"].as_array().unwrap();
            let moved = shards
                .iter()
                .all(|shard| shard["epoch"].as_u64() >= Some(2));
            moved && status["deploy"].is_null()
        })
        .await;
    master.signal(Signal::TERM);
    let ended = timeout(LONG, master.child.wait()).await;
    assert!(ended.expect("it leaves").unwrap().success());
}

/// A pipe in which there is no room for a byte, and its reader, who reads nothing.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&writer, 4096).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    for part in [4096, 1] {
        let part = vec![b'\n'; part];
        while rustix::io::write(&writer, &part).is_ok() {}
    }
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}
