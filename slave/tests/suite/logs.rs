//! Bots that log nothing.

use std::process::Command;

use tokio::time::timeout;

use crate::common::LONG;

/// A bot whose author gave it no subscriber: this test program, in another process.
#[tokio::test]
async fn a_bot_that_logs_nothing_says_so_once_on_standard_error() {
    const CHILD: &str = "BATON_TEST_MUTE";
    if std::env::var_os(CHILD).is_some() {
        for _ in 0..2 {
            let mut config = baton_slave::SlaveConfig::new("token");
            config.slot = "slot".to_owned();
            config.masters = vec!["unix:/nowhere/slave.sock".parse().unwrap()];
            let stop = tokio_util::sync::CancellationToken::new();
            stop.cancel();
            let bot = crate::common::Recorder::default();
            let slave = baton_slave::Slave::builder(bot).config(config).stop(stop);
            timeout(LONG, slave.run()).await.unwrap().unwrap();
        }
        return;
    }
    let name = "logs::a_bot_that_logs_nothing_says_so_once_on_standard_error";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let said = text.matches("has no tracing subscriber").count();
    assert_eq!(said, 1, "{text}");
    assert!(text.contains("baton_slave::log::start()"), "{text}");
}
