//! Processes whose log is not read, or no longer read.

#[path = "../../../../log/testing/unread.rs"]
mod unread;

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

use self::unread::full_pipe;
use crate::LONG;

/// The master that it inherited its standard error from is dead, and so is the process that read
/// that master's.
#[tokio::test]
async fn a_slave_whose_log_was_closed_goes_on() {
    let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slave = slave(&master, Stdio::piped());
    drop(slave.stderr.take());
    dials_again_and_again(&master, &mut slave).await;
}

/// Every line of its log would block its writer, from the first one on.
#[tokio::test]
async fn a_slave_whose_log_nobody_reads_goes_on_and_leaves_when_it_is_told_to() {
    let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_unread, full) = full_pipe();
    let mut slave = slave(&master, Stdio::from(full));
    dials_again_and_again(&master, &mut slave).await;
    let pid = i32::try_from(slave.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let ended = timeout(LONG, slave.wait()).await;
    assert!(ended.is_ok(), "it waits for a reader at its end");
}

/// What a process says at its end does not hold it either.
#[tokio::test]
async fn a_slave_that_cannot_start_ends_although_nobody_reads_why() {
    let (_unread, full) = full_pipe();
    let mut slave = Command::new(env!("CARGO_BIN_EXE_baton-slave"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(full))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(LONG, slave.wait()).await.expect("an end").unwrap();
    assert_eq!(ended.code(), Some(2), "no token");
}

fn slave(master: &TcpListener, stderr: Stdio) -> Child {
    let address = master.local_addr().unwrap().to_string();
    Command::new(env!("CARGO_BIN_EXE_baton-slave"))
        .env_clear()
        .env("DISCORD_TOKEN", "token")
        .env("BATON_SECRET", "ab".repeat(32))
        .env("BATON_LOG", "debug")
        .args(["--master", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// It says each time that there is no master, and dials again.
async fn dials_again_and_again(master: &TcpListener, slave: &mut Child) {
    for _ in 0..4 {
        let dialled = timeout(LONG, master.accept()).await;
        assert!(dialled.is_ok(), "{:?}", slave.try_wait());
    }
}
