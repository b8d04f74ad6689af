//! IRC at Twitch's own limits: it takes minutes, which are those of the joins.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use twitch_mock::{Scope, Traffic};

use super::{Size, ask, irc_of, joins, names};

/// 320 joins at 20 in 10 s take 160 s.
const LIMIT: Duration = Duration::from_secs(400);

#[tokio::test]
#[ignore = "eight minutes: see tests/README.md"]
#[allow(clippy::print_stdout, reason = "its figures")]
async fn four_units_of_90_channels_are_deployed_at_20_joins_in_10_seconds_without_loss() {
    let size = Size {
        channels: 320,
        a_unit: 90,
        joins: 20,
        jitter: Duration::from_secs(3),
        settle: "4s",
    };
    let mut fleet = irc_of(size, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    ask(
        &fleet,
        json!({ "verb": "join", "channels": names(2..=320) }),
    )
    .await;
    let end = Instant::now() + LIMIT;
    loop {
        let all = ask(&fleet, json!({ "verb": "list" })).await;
        let rows = all["channels"].as_array().cloned().unwrap_or_default();
        let joined = rows.iter().filter(|row| row["state"] == "joined");
        if joined.count() == 319 {
            break;
        }
        assert!(Instant::now() < end, "{all}");
        sleep(Duration::from_secs(1)).await;
    }
    // Not in the channel from which the bot is banned.
    let traffic = |rate| Traffic {
        others: 0,
        ..Traffic::at_rate(rate)
    };
    fleet.twitch.set_traffic(traffic(200.0)).unwrap();
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    fleet.deploy("v2", LIMIT).await.unwrap();
    let took = began.elapsed();
    sleep(Duration::from_secs(1)).await;
    fleet.twitch.set_traffic(traffic(0.0)).unwrap();
    sleep(Duration::from_secs(5)).await;

    let written = fleet.written().unwrap();
    let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
    let scope = Scope {
        channels: names(2..=320).into_iter().collect(),
        ..Scope::default()
    };
    let verdict = fleet.twitch.judge(&seen, &scope);
    assert!(verdict.is_clean(), "{verdict:?}");
    println!("deployed in {took:?}: {} messages", verdict.seen);
    assert_eq!(fleet.twitch.counters().kicks, 0);
    for channel in names(2..=320) {
        assert_eq!(joins(&fleet, &channel), 2, "{channel}");
    }
}
