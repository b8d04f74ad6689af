//! The stand-in against a client of somebody else.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{io::Write, path::Path, time::Duration};

use baton_lavalink::{Config, Lavalink, What};
use tokio::process::Command;

#[tokio::test]
async fn a_client_of_somebody_else_agrees_with_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = here.join("../../target/brokers/python");
    if !libraries.join("lavalink").is_dir() {
        let all = std::env::var_os("BATON_BROKERS").is_some_and(|word| word == "all");
        assert!(
            !all,
            "no Python library lavalink here: scripts/brokers installs it"
        );
        let what = "PASSED OVER: no Python library lavalink here; scripts/brokers installs it";
        let _ = writeln!(std::io::stderr(), "{what}");
        return;
    }
    let lavalink = Lavalink::start(Config {
        player_update: Duration::from_millis(100),
        voice_scheme: "ws",
        ..Config::default()
    });
    let lavalink = lavalink.await.unwrap();
    let address = lavalink.address();
    let client = Command::new("python3")
        .arg(here.join("tests/suite/client.py"))
        .args([address.ip().to_string(), address.port().to_string()])
        .env("PYTHONPATH", libraries)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&client.stderr);
    assert!(client.status.success(), "{said}");
    let happened: Vec<What> = lavalink
        .ledger()
        .into_iter()
        .map(|line| line.what)
        .collect();
    assert!(happened.contains(&What::Resumed) && happened.contains(&What::VoiceClosed(4014)));
}
