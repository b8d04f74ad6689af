//! What is asked for at the command line.

use std::process::Command;

#[test]
fn what_cannot_work_is_refused_before_anything_is_dialled() {
    let refused = |arguments: &[&str], word: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_baton-slave"))
            .args(arguments)
            .env("DISCORD_TOKEN", "token")
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(
            error.contains(word) && error.lines().count() == 1,
            "{error}"
        );
    };
    refused(&["--legacy"], "--shards N");
    refused(&["--shards", "2"], "--legacy");
    refused(&["--legacy", "--shards", "0"], "shards is 0");
    let shards = ["--legacy", "--shards", "2", "--master"];
    refused(
        &[&shards[..], &["10.0.0.5:7447"]].concat(),
        "not on this host",
    );
    refused(&[&shards[..], &["unix:/run/x"]].concat(), "TCP only");
    refused(&["--store-limit", "0"], "`0` is no size");
    let secret = "nats://me:secret@127.0.0.1";
    refused(&["--sink", secret], "--sink-credentials FILE");
    refused(&["--sink", "kafka://127.0.0.1"], "nats://");
    let sink = ["--sink", "nats://127.0.0.1:1"];
    refused(
        &[&sink[..], &["--sink-name", "a.b"]].concat(),
        "sink: name: ",
    );
    let file = ["--sink-credentials", "/nowhere/at/all"];
    refused(
        &[&sink[..], &file].concat(),
        "/nowhere/at/all cannot be read",
    );
    let proxy = ["--proxy", "127.0.0.1:0", "--state", "store"];
    refused(&[&sink[..], &proxy].concat(), "give one of the two");
    refused(&["--proxy", "0.0.0.0:7878"], "--proxy-cert, --proxy-key");
    refused(&["--proxy", "nowhere"], "give IP:PORT");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slave.toml");
    for none in ["0", "\"0MiB\""] {
        std::fs::write(&file, format!("store_limit = {none}")).unwrap();
        // One that is taken for a size ends in another error.
        let words = ["--config", file.to_str().unwrap(), "--master", "nowhere"];
        refused(&words, "is no size");
    }
}
