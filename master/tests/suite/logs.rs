//! A master whose output is not read.

#[path = "../../../log/testing/unread.rs"]
mod unread;

use std::process::Stdio;

use baton_protocol::message::Role;
use rustix::process::Signal;
use tokio::time::timeout;

use self::unread::full_pipe;
use crate::fleet::{Fleet, LONG, Master, until};

/// Every line of its log, and the one that says that it is ready, would block the thread that
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
