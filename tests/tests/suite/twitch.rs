//! Fleets on the simulated Twitch.

mod consumers;
mod invite;
mod memory;
mod metrics;
mod saying;
mod scaling;
mod whole;

use std::{fs, time::Duration};

use baton_tests::{
    demo::twitch::{Options, run},
    twitch::{TwitchFleet, TwitchOptions, conduit},
    verdict::Judged,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use twitch_mock::{Config, Fault, FaultName, Irc, Limit, LogLine, Traffic};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn units_of_a_conduit_are_deployed_and_killed_and_nothing_is_lost_that_twitch_sent() {
    let options = Options {
        units: 4,
        channels: 100,
        rate: 200.0,
        jitter: Duration::from_millis(300),
        calm: Duration::from_secs(1),
        ..Options::default()
    };
    let verdict = run(options, |_| {}).await.unwrap();
    // How long nobody served, or a move took, is the machine's matter.
    let faults: Vec<_> = verdict
        .faults()
        .into_iter()
        .filter(|fault| !fault.contains("deaf") && !fault.contains("moved for"))
        .collect();
    assert_eq!(faults, [""; 0]);
    assert!(verdict.handled > 200, "{}", verdict.to_json());
}

/// How large a fleet of IRC is, and how strict its Twitch.
struct Size {
    channels: u32,
    /// Of one unit.
    a_unit: u32,
    /// In 10 s.
    joins: u32,
    jitter: Duration,
    settle: &'static str,
}

/// A small fleet, in which a deploy takes seconds.
async fn irc(channels: u32, more: &[&str]) -> TwitchFleet {
    let size = Size {
        channels,
        a_unit: 12,
        joins: 2000,
        jitter: Duration::from_millis(500),
        settle: "1s",
    };
    irc_of(size, more).await
}

/// Four units of one account, which is moderator in every channel: no cap keeps two
/// connections from being in the same.
async fn irc_of(size: Size, more: &[&str]) -> TwitchFleet {
    let channels = size.channels;
    let moderates = (1..=channels).map(|n| format!("channel{n}")).collect();
    let twitch = Config {
        channels,
        irc: Irc {
            join: Limit::new(size.joins, 10),
            jitter: size.jitter,
            ..Irc::default()
        },
        accounts: vec![twitch_mock::Account {
            login: "bot".to_owned(),
            token: "token-of-bot".to_owned(),
            moderates,
            banned_in: vec!["channel1".to_owned()],
        }],
        ..Config::default()
    };
    let options = TwitchOptions {
        twitch,
        units: 4,
        standbys: 0,
        limits: format!(
            "contact = \"300ms\"\nsoak = \"1s\"\ncanary_time = \"0s\"\ntwitch_joins = {}\n",
            size.joins
        ),
        arguments: more.iter().map(|more| (*more).to_owned()).collect(),
        keep: false,
    };
    TwitchFleet::start_in(options, |folder, _| {
        let accounts = folder.join("accounts");
        fs::write(&accounts, "bot token-of-bot\n").unwrap();
        let text = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
        Ok([
            text("--transport", "irc"),
            text("--account", "bot"),
            text("--accounts-file", &accounts.display().to_string()),
            text("--channels", &folder.join("channels").display().to_string()),
            text("--channels-a-unit", &size.a_unit.to_string()),
            text("--settle", size.settle),
        ]
        .concat()
        .into_iter()
        .chain(["--anybody".to_owned()])
        .collect())
    })
    .await
    .unwrap()
}

async fn ask(fleet: &TwitchFleet, question: Value) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        // The work may be on its way from one process to another.
        match fleet.admin.ask::<Value>("/v1/work", &question).await {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > end => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until so many channels are joined.
async fn joined(fleet: &TwitchFleet, channels: usize) {
    let end = Instant::now() + LIMIT;
    loop {
        let all = ask(fleet, json!({ "verb": "list" })).await;
        let rows = all["channels"].as_array().cloned().unwrap_or_default();
        let joined = rows.iter().filter(|row| row["state"] == "joined");
        if joined.count() == channels {
            return;
        }
        assert!(Instant::now() < end, "{all}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn names(channels: std::ops::RangeInclusive<u32>) -> Vec<String> {
    channels.map(|n| format!("channel{n}")).collect()
}

#[tokio::test]
async fn units_of_irc_are_deployed_without_loss_and_the_work_goes_on_without_a_join() {
    let mut fleet = irc(40, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    let answer = ask(&fleet, json!({ "verb": "join", "channels": names(1..=40) })).await;
    let answers = answer["channels"].as_array().unwrap();
    assert!(
        answers.iter().all(|row| row["answer"] == "resolved"),
        "{answer}"
    );
    joined(&fleet, 39).await;
    let banned = ask(&fleet, json!({ "verb": "where", "channels": ["channel1"] })).await;
    let why = banned["channels"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("banned"), "{banned}");
    let again = ask(&fleet, json!({ "verb": "join", "channels": ["channel2"] })).await;
    assert_eq!(again["channels"][0]["answer"], "ignored");

    let traffic = Traffic {
        others: 0,
        ..Traffic::at_rate(200.0)
    };
    // Not in the channel from which the bot is banned.
    fleet.twitch.set_traffic(traffic).unwrap();
    sleep(Duration::from_secs(1)).await;
    fleet.deploy("v2", LIMIT).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let parted = ask(&fleet, json!({ "verb": "part", "channels": ["channel40"] })).await;
    assert_eq!(parted["channels"][0]["answer"], "resolved");
    fleet.twitch.set_traffic(Traffic::at_rate(0.0)).unwrap();
    sleep(Duration::from_secs(2)).await;

    let written = fleet.written().unwrap();
    let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
    let scope = twitch_mock::Scope {
        channels: names(2..=39).into_iter().collect(),
        ..twitch_mock::Scope::default()
    };
    let verdict = fleet.twitch.judge(&seen, &scope);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert!(verdict.seen > 200, "{verdict:?}");
    assert_eq!(fleet.twitch.counters().kicks, 0);

    // Each of the two processes joined each channel once, wherever the work was.
    for channel in names(2..=39) {
        assert_eq!(joins(&fleet, &channel), 2, "{channel}");
    }
    // The units go on without a master, and join nothing anew.
    fleet.master.signal(Signal::TERM);
    fleet.twitch.set_traffic(Traffic::at_rate(200.0)).unwrap();
    let before = fleet.written().unwrap().len();
    let end = Instant::now() + LIMIT;
    while fleet.written().unwrap().len() < before + 100 {
        assert!(Instant::now() < end, "nothing is heard without a master");
        sleep(Duration::from_millis(50)).await;
    }
    for channel in names(2..=39) {
        assert_eq!(joins(&fleet, &channel), 2, "{channel}");
    }
}

/// JOINs of a channel so far.
fn joins(fleet: &TwitchFleet, channel: &str) -> usize {
    let log = fleet.twitch.log(0, 1_000_000);
    let of =
        |line: &&LogLine| line.what == "join" && line.detail.trim_start_matches('#') == channel;
    log.iter().filter(of).count()
}

/// Requests of a kind so far.
fn requests(fleet: &TwitchFleet, kind: &str) -> u64 {
    let counters = fleet.twitch.counters();
    counters.requests.get(kind).copied().unwrap_or(0)
}

/// Two shards of a conduit, with the chat of the first of its channels.
async fn conduit_of_two(subscribed: u32, more: &[&str]) -> TwitchFleet {
    conduit_with(2, subscribed, more).await
}

/// Two shards of a conduit, in a fleet that may have more units, with the chat of the first
/// channels of 30.
async fn conduit_with(units: u32, subscribed: u32, arguments: &[&str]) -> TwitchFleet {
    conduit_of(units, 0, subscribed, arguments).await
}

/// The same, with standbys.
async fn conduit_of(units: u32, standbys: u32, subscribed: u32, arguments: &[&str]) -> TwitchFleet {
    let options = TwitchOptions {
        twitch: Config {
            channels: 30,
            ..Config::default()
        },
        units,
        standbys,
        limits: "contact = \"300ms\"\nsoak = \"1s\"\ncanary_time = \"0s\"\nping = \"500ms\"\n"
            .to_owned(),
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        keep: false,
    };
    TwitchFleet::start_in(options, |folder, twitch| {
        let list = folder.join("channels").display().to_string();
        let id = conduit(twitch, 2, subscribed)?;
        let arguments = [
            "--conduit",
            &id,
            "--account-id",
            "1",
            "--anybody",
            "--channels",
            &list,
        ];
        Ok(arguments.map(str::to_owned).to_vec())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_work_on_a_conduit_asks_for_what_is_missing_and_after_a_deploy_for_nothing() {
    let mut fleet = conduit_of_two(10, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    let subscribe = "POST /helix/eventsub/subscriptions";
    let of_the_test = requests(&fleet, subscribe);
    let answer = ask(&fleet, json!({ "verb": "join", "channels": names(1..=15) })).await;
    assert_eq!(
        answer["channels"].as_array().map(Vec::len),
        Some(15),
        "{answer}"
    );
    joined(&fleet, 15).await;
    // Ten were there.
    assert_eq!(requests(&fleet, subscribe), of_the_test + 5);

    let users = requests(&fleet, "GET /helix/users");
    fleet.deploy("v2", LIMIT).await.unwrap();
    joined(&fleet, 15).await;
    assert_eq!(requests(&fleet, subscribe), of_the_test + 5);
    assert_eq!(requests(&fleet, "GET /helix/users"), users);
    assert_eq!(requests(&fleet, "DELETE /helix/eventsub/subscriptions"), 0);
    assert_eq!(requests(&fleet, "DELETE /helix/eventsub/conduits"), 0);
}

/// Messages come while Twitch does something, and for a second more: what was handled.
async fn judged_while(fleet: &TwitchFleet, fault: FaultName, within: u32) -> twitch_mock::Verdict {
    let traffic = |rate| Traffic {
        others: 0,
        channels: within,
        ..Traffic::at_rate(rate)
    };
    fleet.twitch.set_traffic(traffic(200.0)).unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(fleet.twitch.fault(Fault::new(fault)).unwrap() > 0);
    sleep(Duration::from_secs(3)).await;
    fleet.twitch.set_traffic(traffic(0.0)).unwrap();
    sleep(Duration::from_secs(2)).await;
    let written = fleet.written().unwrap();
    let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
    let scope = twitch_mock::Scope {
        channels: names(2..=within).into_iter().collect(),
        ..twitch_mock::Scope::default()
    };
    fleet.twitch.judge(&seen, &scope)
}

#[tokio::test]
async fn sessions_that_twitch_tells_to_reconnect_lose_and_repeat_nothing() {
    let fleet = conduit_of_two(20, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    let verdict = judged_while(&fleet, FaultName::SessionReconnect, 20).await;
    assert_eq!((verdict.lost, verdict.dropped, verdict.repeated), (0, 0, 0));
    assert!(verdict.seen > 300, "{verdict:?}");
}

#[tokio::test]
async fn irc_connections_that_twitch_tells_to_reconnect_lose_and_repeat_nothing() {
    let fleet = irc(20, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(2..=20) })).await;
    joined(&fleet, 19).await;
    let verdict = judged_while(&fleet, FaultName::IrcReconnect, 20).await;
    assert_eq!((verdict.lost, verdict.dropped, verdict.repeated), (0, 0, 0));
    assert!(verdict.seen > 300, "{verdict:?}");
    assert_eq!(fleet.twitch.counters().kicks, 0);
}

#[tokio::test]
async fn a_token_that_twitch_takes_no_more_is_renewed_and_what_was_asked_is_done() {
    let fleet = conduit_of_two(0, &[]).await;
    fleet.all_serving(LIMIT).await.unwrap();
    let refused = Fault {
        code: Some(401),
        ..Fault::new(FaultName::HelixStatus)
    };
    let tokens = requests(&fleet, "POST /oauth2/token");
    assert_eq!(tokens, 2, "one of this test, and one of the process");
    fleet.twitch.fault(refused).unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(1..=3) })).await;
    joined(&fleet, 3).await;
    assert_eq!(requests(&fleet, "POST /oauth2/token"), tokens + 1);
}
