//! What the REST interface answers, and what it is told to answer.

use serde_json::{Value, json};

use crate::common::process::{Process, http, whole};

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
