//! Everybody who can reach a port of the master, and what they can do to it.

use std::{os::unix::process::CommandExt, process::Stdio, time::Duration};

use baton_protocol::message::Role;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    fleet::{Fleet, LONG, until},
    operators::{master, with_token},
};

/// Neither this user's nor root's.
const NOBODY: u32 = 65534;

const OPEN: &str = "shard_count = 2\nadmin_listen = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn another_user_of_this_host_can_look_and_change_nothing() {
    let fleet = Fleet::new(OPEN);
    let master = master(&fleet).await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    let file = tempfile::tempdir().unwrap();
    let proof = file.path().join("proof");
    let command = format!("{{\"command\": [\"/bin/touch\", {proof:?}]}}");
    let answer = as_nobody(&master.address, "GET", "/v1/status", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = as_nobody(&master.address, "POST", "/v1/deploy", &command).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("admin_token_file"), "says how: {answer}");
    for verb in [
        "abort",
        "pause",
        "continue",
        "rollback",
        "restart-shard",
        "fence",
    ] {
        let path = format!("/v1/{verb}");
        let answer = as_nobody(&master.address, "POST", &path, "{}").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{verb}: {answer}");
    }
    let (_, access) = master.get("/v1/access", "").await;
    assert!(access.contains("\"operate\":false"), "{access}");
    // What was refused did not happen, and the operator's own way is open.
    assert!(fleet.status().await["deploy"].is_null());
    assert!(!proof.exists());
    let mut deploy = fleet.command(&["deploy", "--no-wait", "--", "/bin/touch"]);
    deploy.arg(&proof);
    assert!(deploy.status().await.unwrap().success());
    until("the operator's own deploy", || proof.exists()).await;
}

#[tokio::test]
async fn the_readers_token_shows_everything_and_changes_nothing() {
    let (fleet, dir) = with_token();
    let file = dir.path().join("reader");
    std::fs::write(&file, "r3ader\n").unwrap();
    let toml = std::fs::read_to_string(&fleet.config).unwrap();
    let toml = format!("admin_read_token_file = {file:?}\n{toml}");
    std::fs::write(&fleet.config, toml).unwrap();
    let master = master(&fleet).await;
    let post = |token: &str| {
        format!(
            "POST /v1/abort HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0"
        )
    };
    let reader = "\r\nAuthorization: Bearer r3ader";
    assert_eq!(master.get("/metrics", reader).await.0, 200);
    assert_eq!(master.get("/v1/status", reader).await.0, 200);
    assert_eq!(master.ask(&post("r3ader")).await.0, 403);
    // Nothing runs that could be aborted: it was heard.
    assert_eq!(master.ask(&post("s3cret")).await.0, 409);
}

#[tokio::test]
async fn wrong_tokens_are_answered_late_and_said_a_few_times() {
    let (fleet, _dir) = with_token();
    let master = master(&fleet).await;
    let began = std::time::Instant::now();
    let tries = (0..40).map(|_| master.get("/v1/status", "\r\nAuthorization: Bearer no"));
    for (status, _) in futures_util::future::join_all(tries).await {
        assert_eq!(status, 401);
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    let said = fleet.log().matches("a wrong token").count();
    assert!((1..=5).contains(&said), "{said}: {}", fleet.log());
}

#[tokio::test]
async fn garbage_is_logged_a_few_times_and_counted() {
    let fleet = Fleet::new(OPEN);
    let master = master(&fleet).await;
    let listen = fleet.status().await["master"]["listen"].clone();
    for _ in 0..300 {
        let mut socket = TcpStream::connect(listen.as_str().unwrap()).await.unwrap();
        // It may be closed in the middle of it.
        let _ = socket.write_all(&[b'x'; 200]).await;
        let _ = socket.read(&mut [0]).await;
    }
    master.shows(&["baton_connections_garbled_total 300"]).await;
    let said = fleet.log().matches("connection dropped").count();
    assert!((1..=10).contains(&said), "{said}");
}

/// Connections that say nothing, that say a byte now and then, and that follow the
/// events for ever: more than there are places.
#[tokio::test]
async fn a_flooded_port_holds_up_neither_the_command_line_nor_a_deploy_nor_itself() {
    let fleet = Fleet::new(OPEN);
    let master = master(&fleet).await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    let (mut held, mut refused) = (Vec::new(), 0);
    for number in 0..400 {
        let mut socket = TcpStream::connect(&master.address).await.unwrap();
        if number % 2 == 0 {
            let ask = "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
            // Either may be cut off for a later one.
            let _ = socket.write_all(ask.as_bytes()).await;
            let mut first = [0; 12];
            let read = timeout(LONG, socket.read_exact(&mut first)).await.unwrap();
            refused += u32::from(read.is_ok() && first.ends_with(b"503"));
        } else {
            let _ = socket.write_all(b"G").await;
        }
        held.push(socket);
    }
    assert_eq!(refused, 200 - 64, "more streams than there is room for");
    let pid = master.child.id().unwrap();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    assert!(files < 300, "{files} open files");
    let new = fleet.slave("v2", Role::Candidate);
    until("all moved", || new.serving() == 2).await;
    fleet.settled().await;
    // Who is quick gets through the slow ones.
    assert_eq!(master.get("/readyz", "").await.0, 200);
    let status: Value = fleet.status().await;
    let doctor = status["doctor"].as_array().unwrap();
    let said = doctor.iter().find(|finding| finding["check"] == "doors");
    let said = said.unwrap_or_else(|| panic!("{doctor:?}"));
    assert!(said["detail"].as_str().unwrap().contains("admin_listen"));
    drop(held);
}

#[tokio::test]
async fn a_master_listens_on_the_loopback_alone_unless_it_is_told_otherwise() {
    let default = baton_master::config::Config::check(Default::default(), None).unwrap();
    assert!(default.listen.ip().is_loopback());
    assert_eq!((default.admin_listen, default.certificate), (None, None));
    let fleet = Fleet::new("shard_count = 2\n");
    let master = fleet.master().await;
    let pid = master.child.id().unwrap();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|to| {
            Some(
                to.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let mut listening = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            // Its state is LISTEN.
            if fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]) {
                listening.push(fields[1].to_owned());
            }
        }
    }
    assert_eq!(listening.len(), 1, "{listening:?}");
    assert!(listening[0].starts_with("0100007F:"), "{listening:?}");
}

/// What another user of the host gets, or this one, where tests do not run as root.
async fn as_nobody(address: &str, method: &str, path: &str, body: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let script = "exec 3<>\"/dev/tcp/$0/$1\"; printf %s \"$2\" >&3; cat <&3";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, host, port, &request]);
    command.stdin(Stdio::null()).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let asked = timeout(LONG, Command::from(command).output()).await;
    String::from_utf8(asked.unwrap().unwrap().stdout).unwrap()
}
