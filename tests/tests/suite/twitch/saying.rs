//! What the bot says over IRC: by the connections that read, each message at most once.

use std::{collections::BTreeMap, time::Duration};

use baton_tests::twitch::TwitchFleet;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{LIMIT, ask, irc, joined, names};

/// What the bot has said at Twitch, in its order: where, and the number of it.
fn said(fleet: &TwitchFleet) -> Vec<(String, usize)> {
    let log = fleet.twitch.log(0, 1_000_000);
    let said = log.into_iter().filter(|line| line.what == "said");
    said.map(|line| {
        let (place, number) = line.detail.split_once(": number ").unwrap();
        let channel = place.trim_start_matches("bot in ");
        (channel.to_owned(), number.parse().unwrap())
    })
    .collect()
}

/// Waits until the bot has said so much.
async fn has_said(fleet: &TwitchFleet, most: usize) {
    let end = Instant::now() + LIMIT;
    while said(fleet).len() < most {
        assert!(Instant::now() < end, "{} of {most}", said(fleet).len());
        sleep(Duration::from_millis(50)).await;
    }
}

fn says(channel: &str, number: usize) -> Value {
    let text = format!("number {number}");
    json!({ "verb": "say", "channels": [channel], "text": text, "id": number.to_string() })
}

#[tokio::test]
async fn a_moderator_says_more_than_20_messages_in_30_seconds_and_twitch_ignores_nobody() {
    let fleet = irc(20, &["--say-by", "irc"]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(2..=11) })).await;
    joined(&fleet, 10).await;
    for number in 0..60 {
        let channel = format!("channel{}", 2 + number % 10);
        let answer = ask(&fleet, says(&channel, number)).await;
        assert_eq!(answer["channels"][0]["answer"], "resolved", "{answer}");
    }
    // Without knowing that it is moderator, 20 of them would come within half a minute.
    has_said(&fleet, 60).await;
    assert_eq!(fleet.twitch.counters().ignored, 0);
    // One that is asked for twice is said once.
    let again = ask(&fleet, says("channel2", 0)).await;
    assert_eq!(again["channels"][0]["answer"], "ignored", "{again}");

    // A raw line goes by the connection that is in the channel.
    let writes =
        |channel: &str, line: &str| json!({ "verb": "write", "channels": [channel], "line": line });
    let written = ask(&fleet, writes("channel3", "NAMES #channel3")).await;
    assert_eq!(written["channels"][0]["answer"], "resolved", "{written}");
    let refused = ask(&fleet, writes("channel3", "PRIVMSG #channel3 :hello")).await;
    assert!(
        refused["error"].as_str().unwrap().contains("`say`"),
        "{refused}"
    );
    let nowhere = ask(&fleet, writes("channel19", "NAMES #channel19")).await;
    assert!(
        nowhere["error"].as_str().unwrap().contains("join"),
        "{nowhere}"
    );
}

#[tokio::test]
async fn what_is_said_by_irc_during_a_deploy_is_said_at_most_once_and_in_its_order() {
    let mut fleet = irc(20, &["--say-by", "irc"]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(2..=11) })).await;
    joined(&fleet, 10).await;
    let admin = fleet.admin.clone();
    let talks = tokio::spawn(async move {
        for number in 0..80 {
            let channel = format!("channel{}", 2 + number % 10);
            let question = says(&channel, number);
            // The work may be on its way; the id says that it is the same.
            while admin.ask::<Value>("/v1/work", &question).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    sleep(Duration::from_secs(1)).await;
    fleet.deploy("v2", LIMIT).await.unwrap();
    talks.await.unwrap();
    // What is on its way comes, or its time is over.
    sleep(Duration::from_secs(3)).await;
    has_said(&fleet, 75).await;

    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (channel, number) in said(&fleet) {
        numbers.entry(channel).or_default().push(number);
    }
    let all: usize = numbers.values().map(Vec::len).sum();
    assert!(all <= 80, "{all}");
    for (channel, numbers) in numbers {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted, "{channel}: once each, in their order");
    }
    assert_eq!(fleet.twitch.counters().ignored, 0);
}
