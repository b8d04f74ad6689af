//! Signals that are for a master reach its slaves, too: a unit is one.

use std::{process::Stdio, time::Duration};

use baton_protocol::auth::Secret;
use baton_slave::{SecretSource, Slave, SlaveConfig};
use tokio::{net::TcpListener, process::Command, time::timeout};

use crate::common::{LONG, Recorder};

/// Where the master of the process that is sent signals listens: this test program, in
/// another process.
const CHILD: &str = "BATON_TEST_SIGNALS";

#[tokio::test]
async fn signals_that_mean_something_to_a_master_do_nothing_to_a_slave() {
    if let Ok(master) = std::env::var(CHILD) {
        let mut config = SlaveConfig::new("token");
        config.masters = vec![master.parse().unwrap()];
        config.secret = SecretSource::Given(Secret::random().unwrap());
        config.timings.master_redial_max = Duration::from_millis(100);
        // Nobody follows.
        config.timings.followed = Duration::ZERO;
        let slave = Slave::builder(Recorder::default()).config(config);
        return slave.run().await.unwrap();
    }
    let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = master.local_addr().unwrap().to_string();
    let name = "signals::signals_that_mean_something_to_a_master_do_nothing_to_a_slave";
    let mut slave = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, &address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = slave.id().unwrap().to_string();
    for signal in ["HUP", "USR1", "USR2"] {
        // It dials again and again: it is there, and lives on.
        let dialled = timeout(LONG, master.accept()).await;
        assert!(dialled.is_ok(), "before {signal}: {:?}", slave.try_wait());
        let sent = Command::new("sh")
            .args(["-c", "kill -s $0 $1", signal, &pid])
            .status();
        assert!(sent.await.unwrap().success());
        let dialled = timeout(LONG, async {
            for _ in 0..2 {
                drop(master.accept().await);
            }
        });
        assert!(dialled.await.is_ok(), "{signal}: {:?}", slave.try_wait());
    }
    let sent = Command::new("sh")
        .args(["-c", "kill -s TERM $0", &pid])
        .status();
    assert!(sent.await.unwrap().success());
    let ended = timeout(LONG, slave.wait()).await.expect("SIGTERM ends it");
    assert_eq!(ended.unwrap().code(), Some(0));
}
