//! A process with too much memory.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use twitch_mock::{Scope, Traffic};

use super::{LIMIT, ask, conduit_with, joined, names};

#[tokio::test]
async fn a_process_above_its_memory_limit_is_followed_by_another_and_nothing_is_lost() {
    // No process is that small: the next one is above it from its beginning, too.
    let mut fleet = conduit_with(2, 0, &["--memory-limit", "2M"]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(1..=20) })).await;
    joined(&fleet, 20).await;
    let traffic = |rate| Traffic {
        others: 0,
        channels: 20,
        ..Traffic::at_rate(rate)
    };
    fleet.twitch.set_traffic(traffic(200.0)).unwrap();
    let ended = fleet.news.wait("a deploy", LIMIT, |event| {
        event["type"] == "deploy_ended" && event["outcome"] == "done"
    });
    ended.await.unwrap();
    let said = fleet.news.all();
    let is_alarm = |text: &str| text.contains("may have 2.0 MiB");
    let alarms = said
        .iter()
        .filter(|event| event["detail"].as_str().is_some_and(is_alarm));
    assert_eq!(alarms.count(), 1);

    // The next one comes to be above the limit, too, and serves on.
    sleep(Duration::from_secs(12)).await;
    fleet.twitch.set_traffic(traffic(0.0)).unwrap();
    sleep(Duration::from_secs(2)).await;
    let status = fleet.status().await.unwrap();
    let slaves = status["slaves"].as_array().unwrap();
    assert_eq!(slaves.len(), 1, "{status}");
    assert_eq!(slaves[0]["memory"]["is_above"], true, "{status}");
    assert!(slaves[0]["memory"]["resident"].as_u64() > Some(2 << 20));
    let begun = fleet.news.all();
    let begun = begun
        .iter()
        .filter(|event| event["type"] == "deploy_accepted");
    assert_eq!(begun.count(), 1);

    let written = fleet.written().unwrap();
    let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
    let verdict = fleet.twitch.judge(&seen, &Scope::default());
    assert_eq!(
        (verdict.lost, verdict.dropped, verdict.repeated),
        (0, 0, 0),
        "{verdict:?}"
    );
    assert!(verdict.seen > 1_000, "{verdict:?}");
}
