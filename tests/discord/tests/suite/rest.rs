//! What the REST interface answers, by itself and by faults.

use serde_json::{Value, json};

use baton_discord::{DiscordConfig, intents};

use crate::common::{
    Client, identify,
    process::{Process, http, whole},
    start,
};

const TOKEN: &str = "Authorization: Bot x\r\n";

#[test]
fn gateway_bot_answers_what_it_is_told_as_often_as_it_is_told_and_counts_it() {
    let process = Process::start(&["--shards", "3"]);
    let rest = process.gateway.strip_prefix("ws://").unwrap();
    let ask = || whole(rest, "GET", "/api/v10/gateway/bot", TOKEN, "");
    let told = |fault: Value| {
        assert_eq!(process.request("DELETE", "/faults", "").0, 200);
        assert_eq!(process.post("/faults", &fault).0, 200, "{fault}");
        let (head, body) = ask();
        (head.to_ascii_lowercase(), body)
    };

    let (head, body) = told(json!({"name": "bot_429", "duration_ms": 64_570, "count": 0}));
    assert!(
        head.starts_with("http/1.0 429") && head.contains("retry-after: 65"),
        "{head}"
    );
    assert!(body.contains(r#""retry_after":64.57"#), "{body}");
    for _ in 0..3 {
        assert!(ask().0.contains(" 429 "), "until it is cleared");
    }
    let (head, body) = told(json!({"name": "bot_429_body", "duration_ms": 2500}));
    assert!(
        head.contains(" 429 ") && !head.contains("retry-after"),
        "{head}"
    );
    assert!(body.contains(r#""retry_after":2.5"#), "{body}");
    assert!(ask().0.contains(" 200 "), "only once");
    let (head, body) = told(json!({"name": "bot_429_bare"}));
    assert!(head.contains(" 429 ") && body.is_empty(), "{head}{body}");
    let (head, body) = told(json!({"name": "bot_1015"}));
    assert!(
        head.contains(" 429 ") && head.contains("text/html"),
        "{head}"
    );
    assert!(body.contains("1015"), "{body}");
    let (head, body) = told(json!({"name": "bot_status", "code": 502}));
    assert!(
        head.contains(" 502 ") && body.contains("<html>"),
        "{head}{body}"
    );
    let (head, body) = told(json!({"name": "bot_status", "code": 401}));
    assert!(head.contains(" 401 ") && body.contains("401: Unauthorized"));

    let left = json!({"session_start_limit": {"remaining": 0}});
    let (_, body) = told(json!({"name": "bot_answer", "value": left}));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["session_start_limit"]["remaining"], 0);
    assert_eq!(body["session_start_limit"]["total"], 1000);
    assert_eq!(body["shards"], 3);
    let (_, body) = told(json!({"name": "bot_answer", "value": [1]}));
    assert_eq!(body, "[1]");

    let counted = process.json("/status")["counters"]["total"]["gateway_bot"].clone();
    assert_eq!(counted, json!({"200": 3, "401": 1, "429": 7, "502": 1}));
}

#[test]
fn a_request_for_a_websocket_gets_an_answer_of_http_if_it_is_told_so_and_is_counted() {
    let process = Process::start(&["--shards", "3"]);
    let rest = process.gateway.strip_prefix("ws://").unwrap();
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let ask = |path| {
        let (head, body) = whole(rest, "GET", path, handshake, "");
        (head.to_ascii_lowercase(), body)
    };
    let tell = |fault: Value| assert_eq!(process.post("/faults", &fault).0, 200, "{fault}");
    tell(json!({"name": "bot_429", "when": "upgrade", "duration_ms": 2500}));
    let (head, body) = ask("/?v=10&encoding=json");
    assert!(
        head.contains(" 429 ") && head.contains("retry-after: 3"),
        "{head}"
    );
    assert!(body.contains(r#""retry_after":2.5"#), "{body}");
    tell(json!({"name": "bot_status", "code": 503, "when": "upgrade", "shard": 2}));
    let (head, body) = ask("/resume/2/?v=10");
    assert!(
        head.contains(" 503 ") && body.contains("<html>"),
        "{head}{body}"
    );
    let (_, status) = process.request("GET", "/status", "");
    let status: Value = serde_json::from_str(&status).unwrap();
    let refused = &status["counters"]["total"]["upgrades_refused"];
    assert_eq!(refused, &json!({"429": 1, "503": 1}));
}

#[test]
fn the_start_limit_can_be_set_and_gateway_bot_says_so() {
    let process = Process::start(&[]);
    let rest = process.gateway.strip_prefix("ws://").unwrap();
    let done = process.post("/settings", &json!({"identifies_left": 7}));
    assert_eq!(done.0, 200);
    let (_, body) = http(rest, "GET", "/gateway/bot", TOKEN, "");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["session_start_limit"]["remaining"], 7);
    for wrong in [
        json!({"identifies_left": 1001}),
        json!({"heartbeat_interval_ms": 0, "skip_every": 5}),
        json!({"resume_while_connected": "perhaps"}),
        json!({"skip_evry": 5}),
    ] {
        assert_eq!(process.post("/settings", &wrong).0, 400, "{wrong}");
    }
    assert_eq!(process.json("/status")["config"]["skip_every"], 0);
    let change = json!({"resume_while_connected": "refuse_false", "heartbeat_trims": true});
    assert_eq!(process.post("/settings", &change).0, 200);
    let config = process.json("/status")["config"].clone();
    assert_eq!(config["resume_while_connected"], "refuse_false");
    assert_eq!(config["heartbeat_trims"], true);
}

#[test]
fn one_fault_can_be_ended_and_the_others_go_on() {
    let process = Process::start(&[]);
    for fault in [
        json!({"name": "op9_false", "when": "identify", "count": 0}),
        json!({"name": "slow_ready", "count": 0, "for_ms": 60_000}),
        json!({"name": "resume_url_dead", "duration_ms": 0}),
    ] {
        assert_eq!(process.post("/faults", &fault).0, 200);
    }
    let faults = process.json("/faults");
    assert_eq!(faults["waiting"].as_array().unwrap().len(), 2);
    assert_eq!(faults["lasting"], json!(["resume_url_dead"]));
    assert_eq!(
        process.request("DELETE", "/faults?name=op9_false", "").0,
        200
    );
    let faults = process.json("/faults");
    assert_eq!(faults["waiting"][0]["name"], "slow_ready");
    assert_eq!(faults["lasting"], json!(["resume_url_dead"]));
    assert_eq!(process.request("DELETE", "/faults?name=fire", "").0, 400);
}

/// What bots send, and what Discord answers when all is well.
const ROUTES: &[(&str, &str, &str, u16)] = &[
    (
        "POST",
        "/interactions/5/TOKEN/callback",
        r#"{"type":4,"data":{"content":"x"}}"#,
        204,
    ),
    (
        "POST",
        "/interactions/5/TOKEN/callback",
        r#"{"type":4}"#,
        400,
    ),
    (
        "POST",
        "/interactions/6/OTHER/callback?with_response=true",
        r#"{"type":5}"#,
        200,
    ),
    (
        "POST",
        "/webhooks/400000000000000001/TOKEN",
        r#"{"content":"follow-up"}"#,
        200,
    ),
    (
        "PATCH",
        "/webhooks/400000000000000001/TOKEN/messages/@original",
        r#"{"content":"y"}"#,
        200,
    ),
    (
        "DELETE",
        "/webhooks/400000000000000001/TOKEN/messages/@original",
        "",
        204,
    ),
    ("POST", "/webhooks/77/secret", r#"{"content":"x"}"#, 204),
    (
        "POST",
        "/webhooks/77/secret?wait=true",
        r#"{"content":"x"}"#,
        200,
    ),
    (
        "POST",
        "/channels/CHANNEL/messages",
        r#"{"embeds":[{"title":"x"}]}"#,
        200,
    ),
    (
        "POST",
        "/channels/CHANNEL/messages",
        r#"{"content":""}"#,
        400,
    ),
    (
        "PATCH",
        "/channels/CHANNEL/messages/9",
        r#"{"content":"edited"}"#,
        200,
    ),
    ("DELETE", "/channels/CHANNEL/messages/9", "", 204),
    (
        "POST",
        "/channels/CHANNEL/messages/bulk-delete",
        r#"{"messages":["1","2"]}"#,
        204,
    ),
    (
        "PUT",
        "/channels/CHANNEL/messages/9/reactions/%F0%9F%91%8D/@me",
        "",
        204,
    ),
    ("POST", "/channels/CHANNEL/typing", "", 204),
    ("POST", "/channels/CHANNEL/threads", r#"{"name":"t"}"#, 201),
    ("GET", "/channels/CHANNEL", "", 200),
    ("GET", "/channels/5", "", 404),
    ("GET", "/guilds/GUILD", "", 200),
    ("GET", "/guilds/5", "", 404),
    (
        "PUT",
        "/guilds/GUILD/bans/8",
        r#"{"delete_message_seconds":0}"#,
        204,
    ),
    ("DELETE", "/guilds/GUILD/bans/8", "", 204),
    (
        "POST",
        "/guilds/GUILD/bulk-ban",
        r#"{"user_ids":["8"]}"#,
        200,
    ),
    ("POST", "/guilds/GUILD/roles", r#"{"name":"r"}"#, 200),
    ("PUT", "/guilds/GUILD/members/8/roles/9", "", 204),
    ("PATCH", "/guilds/GUILD/members/@me", r#"{"nick":"n"}"#, 200),
    ("DELETE", "/guilds/GUILD/members/8", "", 204),
    (
        "GET",
        "/guilds/GUILD/audit-logs?action_type=22&limit=1",
        "",
        200,
    ),
    ("POST", "/guilds/GUILD/prune", r#"{"days":7}"#, 200),
    ("GET", "/guilds/GUILD/auto-moderation/rules", "", 200),
    (
        "POST",
        "/guilds/GUILD/auto-moderation/rules",
        r#"{"name":"r","event_type":1,"trigger_type":4}"#,
        200,
    ),
    (
        "PUT",
        "/applications/1/commands",
        r#"[{"name":"a"},{"name":"b"}]"#,
        200,
    ),
    (
        "POST",
        "/applications/1/guilds/2/commands",
        r#"{"name":"a"}"#,
        201,
    ),
    (
        "POST",
        "/users/@me/channels",
        r#"{"recipient_id":"8"}"#,
        200,
    ),
    ("GET", "/nowhere", "", 404),
];

#[test]
fn what_bots_send_is_answered_and_written_down() {
    let process = Process::start(&["--rest-bucket", "0", "--rest-per-second", "0"]);
    let rest = process.gateway.strip_prefix("ws://").unwrap();
    let guild = process.json("/truth/guilds?shard=0")[0].clone();
    let guild = guild.as_str().unwrap();
    let truth = process.json(&format!("/truth/guild/{guild}"));
    let channel = truth["guild"]["channels"][0]["id"].as_str().unwrap();
    for (method, path, body, status) in ROUTES {
        let path = path.replace("GUILD", guild).replace("CHANNEL", channel);
        // Those with a token in the path need none in a header.
        let free = path.starts_with("/interactions") || path.starts_with("/webhooks");
        let headers = if free { "" } else { TOKEN };
        let (code, answer) = http(rest, method, &format!("/api/v10{path}"), headers, body);
        assert_eq!(code, *status, "{method} {path}: {answer}");
        if !free {
            assert_eq!(
                http(rest, method, &path, "", body).0,
                401,
                "{method} {path}"
            );
        }
    }
    let written = process.lines("/rest");
    let written: Vec<&Value> = written
        .iter()
        .filter(|line| line["status"] != 401)
        .collect();
    assert_eq!(written.len(), ROUTES.len());
    for (line, (method, _, body, status)) in written.iter().zip(ROUTES) {
        assert_eq!(
            (&line["method"], &line["status"]),
            (&json!(method), &json!(status))
        );
        let body: Value = serde_json::from_str(body).unwrap_or(json!(""));
        assert_eq!(line["body"], body);
    }
    assert_eq!(written[0]["path"], "/interactions/5/TOKEN/callback");
    assert!(
        written
            .windows(2)
            .all(|two| two[0]["at_us"].as_u64() <= two[1]["at_us"].as_u64())
    );
}

#[test]
fn a_bucket_that_is_used_up_is_a_429_with_its_headers_and_too_many_of_them_are_a_ban() {
    let process = Process::start(&["--rest-bucket-window", "1h", "--invalid-requests", "3"]);
    let rest = process.gateway.strip_prefix("ws://").unwrap();
    let post = || {
        whole(
            rest,
            "POST",
            "/channels/5/messages",
            TOKEN,
            r#"{"content":"x"}"#,
        )
    };
    for left in (0..5).rev() {
        let head = post().0.to_ascii_lowercase();
        assert!(head.contains(" 200 "), "{head}");
        assert!(
            head.contains(&format!("x-ratelimit-remaining: {left}")),
            "{head}"
        );
    }
    for _ in 0..3 {
        let (head, body) = post();
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains(" 429 ") && head.contains("x-ratelimit-scope: user"),
            "{head}"
        );
        assert!(head.contains("retry-after: 3"), "{head}");
        assert!(body.contains("\"global\":false"), "{body}");
    }
    let (head, body) = whole(rest, "GET", "/gateway/bot", TOKEN, "");
    assert!(head.contains(" 429 ") && body.contains("1015"), "{head}");
}

#[tokio::test]
async fn what_clients_send_over_the_gateway_is_written_down_without_their_token() {
    let discord = start(DiscordConfig {
        member_request_window: std::time::Duration::from_secs(3600),
        ..DiscordConfig::quick()
    })
    .await;
    let mut client = Client::hello(&discord.url()).await;
    // A client that names a compression there, and a presence of null.
    let mut login = identify((0, 1));
    login["d"]["compress"] = json!("zlib-stream");
    login["d"]["presence"] = Value::Null;
    client.send(login).await;
    let ready = client.event("READY").await;
    for field in [
        "session_type",
        "application",
        "user",
        "shard",
        "guilds",
        "private_channels",
        "relationships",
        "presences",
        "auth",
        "user_settings",
        "resume_gateway_url",
    ] {
        assert!(!ready["d"][field].is_null(), "{field}");
    }
    assert_eq!(ready["d"]["user"]["system"], false);
    for _ in ready["d"]["guilds"].as_array().unwrap() {
        client.event("GUILD_CREATE").await;
    }
    let guild = ready["d"]["guilds"][0]["id"].clone();
    let all = |nonce: &str| json!({"op": 8, "d": {"guild_id": guild, "query": "", "limit": 0, "nonce": nonce}});
    // A nonce may have 32 bytes.
    client.send(all(&"n".repeat(33))).await;
    assert_eq!(
        client.event("GUILD_MEMBERS_CHUNK").await["d"].get("nonce"),
        None
    );
    client.send(all("again")).await;
    let limited = client.event("RATE_LIMITED").await;
    assert_eq!(
        limited["d"]["meta"],
        json!({"guild_id": guild, "nonce": "again"})
    );
    assert!(limited["d"]["retry_after"].as_f64().unwrap() > 3000.0);

    let commands = discord.commands(0);
    let ops: Vec<u64> = commands.iter().map(|line| line.op).collect();
    assert_eq!(ops, [2, 8, 8]);
    assert!(commands.iter().all(|line| !line.data.contains("abc")));
    assert_eq!((commands[0].session, commands[1].shard), (None, Some(0)));
    assert!(commands[1].session.is_some());
    assert_ne!(intents::ALL & intents::GUILD_MEMBERS, 0);
}
