//! A conduit whose shards follow its channels.

use std::time::Duration;

use baton_tests::twitch::{TwitchFleet, enabled_shards};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use twitch_mock::{Scope, Traffic};

use super::{LIMIT, ask, conduit_with, joined, names};

/// Two shards, five channels a shard, and room for eight units.
async fn conduit(pause: &str) -> TwitchFleet {
    let arguments = ["--channels-a-unit", "5", "--units-pause", pause];
    let fleet = conduit_with(8, 0, &arguments).await;
    fleet.all_serving(LIMIT).await.unwrap();
    fleet
}

/// Waits until the conduit has so many shards, each with a session, and says so itself.
async fn has(fleet: &TwitchFleet, units: usize) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let said = ask(fleet, json!({ "verb": "units" })).await;
        let sessions = enabled_shards(&fleet.twitch).unwrap();
        if (said["units"].as_u64(), sessions) == (Some(units as u64), units) {
            return said;
        }
        assert!(Instant::now() < end, "{said}, and {sessions} sessions");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn change(fleet: &TwitchFleet, verb: &str, channels: Vec<String>) {
    let answer = ask(fleet, json!({ "verb": verb, "channels": channels })).await;
    let rows = answer["channels"].as_array().cloned().unwrap_or_default();
    assert!(!rows.is_empty(), "{answer}");
    assert!(
        rows.iter().all(|row| row["answer"] == "resolved"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_conduit_grows_with_its_channels_and_shrinks_with_them_and_no_message_is_lost() {
    let fleet = conduit("1s").await;
    change(&fleet, "join", names(1..=5)).await;
    joined(&fleet, 5).await;
    assert_eq!(has(&fleet, 2).await["held"], false);
    let traffic = |rate| Traffic {
        others: 0,
        channels: 5,
        ..Traffic::at_rate(rate)
    };
    fleet.twitch.set_traffic(traffic(200.0)).unwrap();

    // At 70 per cent of seven units each has its room, and these are 32 channels.
    change(&fleet, "join", names(6..=24)).await;
    has(&fleet, 7).await;
    joined(&fleet, 24).await;
    change(&fleet, "part", names(6..=24)).await;
    has(&fleet, 2).await;

    fleet.twitch.set_traffic(traffic(0.0)).unwrap();
    sleep(Duration::from_secs(2)).await;
    let written = fleet.written().unwrap();
    let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
    let verdict = fleet.twitch.judge(&seen, &Scope::default());
    assert_eq!(
        (verdict.lost, verdict.dropped, verdict.repeated),
        (0, 0, 0),
        "{verdict:?}"
    );
    assert!(verdict.seen > 500, "{verdict:?}");
}

#[tokio::test]
async fn the_count_the_pause_and_what_an_operator_said_survive_a_restart_of_the_work() {
    let mut fleet = conduit("1h").await;
    change(&fleet, "join", names(1..=20)).await;
    has(&fleet, 6).await;
    // One channel needs no six, but a pause holds them.
    change(&fleet, "part", names(2..=20)).await;
    fleet.kill_owner().await.unwrap();
    joined(&fleet, 1).await;
    assert_eq!(has(&fleet, 6).await["held"], false);

    let said = ask(&fleet, json!({ "verb": "units", "units": 4 })).await;
    assert_eq!(said, json!({ "units": 4, "held": true }));
    has(&fleet, 4).await;
    fleet.deploy("v2", LIMIT).await.unwrap();
    joined(&fleet, 1).await;
    assert_eq!(has(&fleet, 4).await["held"], true);
    // More than there is room for: it holds whatever the channels are.
    change(&fleet, "join", names(2..=30)).await;
    joined(&fleet, 30).await;
    assert_eq!(has(&fleet, 4).await["held"], true);

    let said = ask(&fleet, json!({ "verb": "units", "auto": true })).await;
    assert_eq!(said["held"], false);
    has(&fleet, 8).await;
}
