//! A process whose log nobody reads any more: the master that it inherited its
//! standard error from is dead, and so is whoever read that master's.

use std::process::Stdio;

use tokio::{net::TcpListener, process::Command, time::timeout};

use crate::common::LONG;

#[tokio::test]
async fn a_slave_whose_log_was_closed_goes_on() {
    let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = master.local_addr().unwrap().to_string();
    let mut slave = Command::new(env!("CARGO_BIN_EXE_baton-slave"))
        .env_clear()
        .env("DISCORD_TOKEN", "token")
        .env("BATON_SECRET", "ab".repeat(32))
        .env("BATON_LOG", "debug")
        .args(["--master", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(slave.stderr.take());
    // It says each time that there is no master, and dials again.
    for _ in 0..4 {
        let dialled = timeout(LONG, master.accept()).await;
        assert!(dialled.is_ok(), "{:?}", slave.try_wait());
    }
}
