//! The binary, its control port and its REST interface, over plain HTTP.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::common::{
    Client,
    process::{Process, http},
};
use serde_json::{Value, json};

#[tokio::test]
async fn the_control_port_steers_and_tells_everything() {
    let process = Process::start(&["--shards", "3", "--rate", "0", "--max-concurrency", "3"]);
    let (mut client, _) = Client::ready(&process.gateway, (1, 3)).await;

    let ok = process.post(
        "/traffic",
        &json!({"rate": 500.0, "burst": {"every_ms": 50, "size": 5}}),
    );
    assert_eq!(ok, (200, json!({"ok": true})));
    process.post("/traffic", &json!({"paused": true, "shard": 0}));
    process.post(
        "/probe",
        &json!({"shards": [1, 2], "every_us": 1000, "on": true}),
    );
    let mut probes = 0;
    while probes < 20 {
        probes += usize::from(client.payload().await["d"]["content"] == "probe");
    }
    process.post("/probe", &json!({"on": false}));
    process.post("/traffic", &json!({"paused": true}));
    assert_eq!(process.post("/traffic", &json!({"rate": -1.0})).0, 400);
    assert_eq!(process.post("/traffic", &json!({"shard": 3})).0, 400);
    assert_eq!(process.post("/faults", &json!({"name": "fire"})).0, 400);
    assert_eq!(
        process
            .post("/faults", &json!({"name": "no_resumed", "shard": 2}))
            .0,
        200
    );
    assert_eq!(process.json("/faults")["waiting"][0]["name"], "no_resumed");
    assert_eq!(process.request("DELETE", "/faults", "").0, 200);
    assert_eq!(process.json("/faults")["waiting"], json!([]));

    let status = process.json("/status");
    assert_eq!(status["sessions_connected"], 1);
    assert_eq!(status["counters"]["shards"]["1"]["identifies"], 1);
    assert_eq!(status["ledger"]["overflow"], false);

    let ledger = process.lines("/ledger?from=0");
    assert_eq!(ledger[0]["type"], "READY");
    assert!(ledger.iter().filter(|entry| entry["probe"] == true).count() >= 20);
    assert!(
        ledger
            .windows(2)
            .all(|two| two[0]["created_us"].as_u64() <= two[1]["created_us"].as_u64())
    );
    assert_eq!(process.lines("/ledger?from=3&limit=2"), ledger[3..5]);
    let log = process.lines("/log");
    let what: Vec<&str> = log
        .iter()
        .map(|line| line["what"].as_str().unwrap())
        .collect();
    assert_eq!(what[..3], ["connected", "hello", "identify"]);

    let guilds = process.json("/truth/guilds?shard=1");
    let guild = guilds[0].as_str().unwrap();
    let truth = process.json(&format!("/truth/guild/{guild}"));
    assert_eq!(truth["guild"]["id"], guild);
    let session = log[2]["session"].as_str().unwrap();
    assert!(truth["sequence_by_session"][session].as_u64().unwrap() > 1);
}

#[tokio::test]
async fn the_rest_interface_answers_as_discord_does() {
    let process = Process::start(&["--shards", "3"]);
    let address = process.gateway.strip_prefix("ws://").unwrap();
    let get = |path: &str, token: &str| {
        let headers = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: {token}\r\n")
        };
        http(address, "GET", path, &headers, "")
    };
    let bot = get("/api/v10/gateway/bot", "Bot x");
    let bot: Value = serde_json::from_str(&bot.1).unwrap();
    assert_eq!(
        (&bot["shards"], &bot["url"]),
        (&json!(3), &json!(process.gateway))
    );
    assert_eq!(bot["session_start_limit"]["max_concurrency"], 1);
    assert_eq!(get("/users/@me", "x").0, 200);
    assert_eq!(get("/gateway", "").0, 200);
    assert_eq!(get("/api/users/@me", "").0, 401);
    let (code, text) = get("/api/v10/nowhere", "x");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, body),
        (404, json!({"message": "404: Not Found", "code": 0}))
    );
    let headers = "Authorization: Bot x\r\n";
    let (code, text) = http(
        address,
        "POST",
        "/channels/5/messages",
        headers,
        r#"{"content":"hi"}"#,
    );
    assert_eq!(code, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap()["content"],
        "hi"
    );
}

#[test]
fn sigterm_ends_the_process_cleanly() {
    let mut process = Process::start(&[]);
    let pid = process.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let start = Instant::now();
    loop {
        if let Some(status) = process.child.try_wait().unwrap() {
            assert!(status.success());
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_wrong_setting_is_one_line_and_exit_code_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_baton-discord"))
        .args(["--shards", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "baton-discord: shards is 0: give a number from 1 to 4096\n"
    );
}
