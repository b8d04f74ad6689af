//! What operators and Prometheus are answered, on each way in.

use std::{path::PathBuf, process::Stdio, time::Duration};

use baton_protocol::message::Role;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    process::Child,
    time::{Instant, sleep, timeout},
};

use crate::fleet::{Fleet, LONG, until};

/// A master, and where it answers over TCP.
pub(crate) struct Master {
    pub(crate) child: Child,
    pub(crate) address: String,
}

pub(crate) async fn master(fleet: &Fleet) -> Master {
    let mut command = fleet.command(&["run", "--json-ready"]);
    command.stdout(Stdio::piped()).stderr(fleet.log_file());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let read = timeout(LONG, output.read_line(&mut line)).await;
    read.unwrap().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let http = ready["admin_http"].as_str().unwrap();
    let address = http.strip_prefix("http://").unwrap().to_owned();
    Master { child, address }
}

/// Status and the whole answer.
async fn ask(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    let request = format!("{request}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(LONG, socket.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

impl Master {
    pub(crate) async fn ask(&self, request: &str) -> (u16, String) {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        ask(socket, request).await
    }

    pub(crate) async fn get(&self, path: &str, header: &str) -> (u16, String) {
        let host = &self.address;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}{header}");
        self.ask(&request).await
    }

    /// Returns once all these lines stand in one answer to Prometheus: a slave knows of
    /// a change before its master.
    pub(crate) async fn shows(&self, lines: &[&str]) {
        let deadline = Instant::now() + LONG;
        loop {
            let (_, text) = self.get("/metrics", "").await;
            let missing = |line: &&&str| !text.lines().any(|is| is == **line);
            let Some(missing) = lines.iter().find(missing) else {
                return;
            };
            assert!(Instant::now() < deadline, "{missing}: {text}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A fleet whose TCP port wants the token `s3cret`, which lies in the folder.
pub(crate) fn with_token() -> (Fleet, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let fleet = Fleet::new(&format!(
        "shard_count = 1\nadmin_listen = \"127.0.0.1:0\"\nadmin_token_file = {file:?}\n"
    ));
    (fleet, dir)
}

fn admin_socket(fleet: &Fleet) -> PathBuf {
    fleet.socket().with_file_name("admin.sock")
}

#[tokio::test]
async fn prometheus_sees_the_fleet_and_a_deploy() {
    let fleet = Fleet::new("shard_count = 3\nadmin_listen = \"127.0.0.1:0\"\n");
    let master = master(&fleet).await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 3).await;
    // As Prometheus asks, and as a script does.
    let open = "\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (status, text) = master.get("/metrics", open).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let (status, text) = master.get("/metrics", "").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("content-type: text/plain; version=0.0.4"));
    master
        .shows(&[
            "baton_shards{state=\"serving\"} 3",
            "baton_deploys_total{outcome=\"done\"} 0",
            "baton_gap_seconds_count{way=\"on\"} 0",
            "baton_identify_permits_total 3",
            "baton_identify_requests_total{cause=\"cold\"} 3",
            "baton_slaves{role=\"owner\"} 1",
        ])
        .await;
    let new = fleet.slave("v2", Role::Candidate);
    until("all moved", || new.serving() == 3).await;
    fleet.settled().await;
    let socket = UnixStream::connect(admin_socket(&fleet)).await.unwrap();
    let (status, text) = ask(socket, "GET /metrics HTTP/1.1\r\nHost: x").await;
    assert_eq!(status, 200, "{text}");
    master
        .shows(&[
            "baton_deploys_total{outcome=\"done\"} 1",
            "baton_gap_seconds_count{way=\"on\"} 3",
            "baton_resumes_total{after=\"seal\"} 3",
            "baton_sessions_lost_total 0",
            "baton_identify_permits_total 3",
        ])
        .await;
}

#[tokio::test]
async fn the_page_needs_no_token_and_loads_nothing_from_elsewhere() {
    let (fleet, _dir) = with_token();
    let master = master(&fleet).await;
    let (status, text) = master.get("/", "").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("content-type: text/html"), "{text}");
    assert!(text.contains("default-src 'none'"), "{text}");
    let mut files = 0;
    for quoted in text.split('"').filter(|part| part.starts_with("/page/")) {
        files += 1;
        assert_eq!(master.get(quoted, "").await.0, 200, "{quoted}");
    }
    assert!(files >= 2, "{text}");
    assert_eq!(master.get("/page/none.js", "").await.0, 404);
}

#[tokio::test]
async fn what_deploys_did_is_told() {
    let fleet = Fleet::new("shard_count = 3\nadmin_listen = \"127.0.0.1:0\"\n");
    let master = master(&fleet).await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 3).await;
    let new = fleet.slave("v2", Role::Candidate);
    until("all moved", || new.serving() == 3).await;
    fleet.settled().await;
    let (_, text) = master.get("/v1/deploys", "").await;
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    let said: Value = serde_json::from_str(body).unwrap();
    let [deploy] = said["deploys"].as_array().unwrap().as_slice() else {
        panic!("{said}");
    };
    assert_eq!(
        (&deploy["from"], &deploy["to"]),
        (&"v1".into(), &"v2".into())
    );
    assert_eq!(
        (&deploy["outcome"], &deploy["shards"]),
        (&"done".into(), &3.into())
    );
    assert_eq!(deploy["gaps_ms"].as_array().unwrap().len(), 3);
    assert_eq!(said["running"], Value::Null);
}

#[tokio::test]
async fn without_a_token_only_programs_of_this_host_are_answered() {
    let fleet = Fleet::new("shard_count = 1\nadmin_listen = \"127.0.0.1:0\"\n");
    let master = master(&fleet).await;
    assert_eq!(master.get("/healthz", "").await.0, 200);
    let page = "\r\nOrigin: http://evil.example";
    assert_eq!(master.get("/v1/status", page).await.0, 403);
    let rebound = "GET /v1/status HTTP/1.1\r\nHost: rebound.example";
    assert_eq!(master.ask(rebound).await.0, 403);
}

#[tokio::test]
async fn with_a_token_nothing_is_answered_without_it() {
    let (fleet, _dir) = with_token();
    let master = master(&fleet).await;
    for path in ["/metrics", "/v1/status", "/v1/events", "/nowhere"] {
        let (status, text) = master.get(path, "").await;
        assert_eq!(status, 401, "{path}");
        assert!(text.contains("www-authenticate: Bearer"), "{text}");
        let wrong = "\r\nAuthorization: Bearer s3cre";
        assert_eq!(master.get(path, wrong).await.0, 401, "{path}");
    }
    let abort = "POST /v1/abort HTTP/1.1\r\nHost: x\r\nContent-Length: 0";
    assert_eq!(master.ask(abort).await.0, 401);
    assert_eq!(master.get("/healthz", "").await.0, 200);
    // No slave serves the shard, and the answer needs no token.
    assert_eq!(master.get("/readyz", "").await.0, 503);
    let token = "\r\nAuthorization: Bearer s3cret";
    assert_eq!(master.get("/metrics", token).await.0, 200);
    let (status, text) = master.get("/v1/status", token).await;
    assert!(status == 200 && !text.contains("s3cret"), "{text}");
    let status = fleet.status().await;
    assert_eq!(status["shard_count"], 1, "the socket needs none");
}
