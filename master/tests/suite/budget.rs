//! Where a master learns how many shards there are, and how many IDENTIFYs.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::fleet::{Fleet, LONG, lines, until};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use baton_protocol::message::Role;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

#[tokio::test]
async fn discord_says_how_many_shards_and_how_fast() {
    let discord = Discord::start(0).await;
    let fleet = discord.fleet();
    let mut master = fleet.master().await;
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 3).await;
    let status = fleet.status().await;
    assert_eq!(status["shard_count"], 3);
    assert_eq!(status["identifies_left"], 97);
    assert_eq!(discord.asked.load(Ordering::SeqCst), 1);

    // The count is pinned: a master that comes back waits for no answer.
    discord.status.store(500, Ordering::SeqCst);
    master.signal(Signal::KILL);
    master.child.wait().await.unwrap();
    let _next = fleet.master().await;
    until("it is accepted again", || slave.seen().accepted == 2).await;
    // And it knows what is left of the day, though nobody says it.
    let status = fleet.status().await;
    assert_eq!(
        (&status["shard_count"], &status["identifies_left"]),
        (&json!(3), &json!(97))
    );
    assert_eq!(status["identifies_limit"], 1000);
}

#[tokio::test]
async fn a_first_start_waits_until_discord_answers() {
    let discord = Discord::start(503).await;
    let fleet = discord.fleet();
    let asked = Arc::clone(&discord.asked);
    let status = Arc::clone(&discord.status);
    let healed = tokio::spawn(async move {
        until("a question", || asked.load(Ordering::SeqCst) > 0).await;
        status.store(0, Ordering::SeqCst);
    });
    let _master = fleet.master().await;
    healed.await.unwrap();
    assert_eq!(fleet.status().await["shard_count"], 3);
}

#[tokio::test]
async fn a_refused_token_is_one_line_and_exit_code_2() {
    let discord = Discord::start(401).await;
    let fleet = discord.fleet();
    let run = fleet.command(&["run"]).output();
    let output = timeout(LONG, run).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("DISCORD_TOKEN"), "{text}");
    assert!(!text.contains("MTA1"), "a token is a secret: {text}");
    assert_eq!(lines(&output.stderr), 1, "{text}");
}

#[tokio::test]
async fn a_master_that_is_told_to_wait_does_not_ask_again_before() {
    let discord = Discord::start(429).await;
    let fleet = discord.fleet();
    // It has a count, so that it starts: the periodic question comes right after.
    let text = std::fs::read_to_string(&fleet.config).unwrap();
    std::fs::write(&fleet.config, format!("shard_count = 3\n{text}")).unwrap();
    let _master = fleet.master().await;
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 3).await;
    assert_eq!(discord.asked.load(Ordering::SeqCst), 1);
}

/// Answers one question.
struct Discord {
    address: String,
    asked: Arc<AtomicU32>,
    /// Answered with this status, 0: with the answer.
    status: Arc<AtomicU32>,
}

impl Discord {
    async fn start(status: u32) -> Self {
        let status = Arc::new(AtomicU32::new(status));
        let asked = Arc::new(AtomicU32::new(0));
        let router = Router::new()
            .route("/api/v10/gateway/bot", get(answer))
            .with_state((Arc::clone(&asked), Arc::clone(&status)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            asked,
            status,
        }
    }

    /// A fleet with a token and no shard count.
    fn fleet(&self) -> Fleet {
        let fleet = Fleet::new(&format!(
            "api_url = {:?}\ntoken_file = \"token\"\n",
            self.address
        ));
        let token = fleet.config.with_file_name("token");
        std::fs::write(&token, "MTA1.simulated.token\n").unwrap();
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&token, own).unwrap();
        let text = std::fs::read_to_string(&fleet.config).unwrap();
        let text = text.replace("\"token\"", &format!("{token:?}"));
        std::fs::write(&fleet.config, text).unwrap();
        fleet
    }
}

type Counts = (Arc<AtomicU32>, Arc<AtomicU32>);

async fn answer(State((asked, status)): State<Counts>) -> (StatusCode, Json<Value>) {
    asked.fetch_add(1, Ordering::SeqCst);
    let status = u16::try_from(status.load(Ordering::SeqCst)).unwrap();
    if status > 0 {
        let trouble = json!({ "message": format!("{status}: no"), "code": 0 });
        return (StatusCode::from_u16(status).unwrap(), Json(trouble));
    }
    let answer = json!({
        "url": "ws://127.0.0.1:1", "shards": 3,
        "session_start_limit": {
            "total": 1000, "remaining": 100, "reset_after": 3_600_000, "max_concurrency": 16,
        },
    });
    (StatusCode::OK, Json(answer))
}
