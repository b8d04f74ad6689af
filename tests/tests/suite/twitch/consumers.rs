//! A consumer behind a broker, as the guide has it: the connections outlive it, and it pays
//! nothing for its return.

use std::{fs, path::Path, process::Command, time::Duration};

use baton_brokers::{Nats, Process, or_pass_over, parts, worker::block};
use baton_tests::twitch::TwitchFleet;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use twitch_mock::{Scope, Traffic};

use super::{LIMIT, conduit_of_two, irc, joins, names, requests};

/// So many seconds the consumer is away; a minute needs more patience than all tests have
/// together.
const AWAY: &str = "BATON_CORE_AWAY";
const USUALLY: u64 = 3;

/// The consumer of the guide, in all of its lives.
struct Consumer<'n> {
    nats: &'n Nats,
    library: std::path::PathBuf,
    channels: String,
    process: Option<Process>,
    lives: u32,
}

impl<'n> Consumer<'n> {
    fn new(nats: &'n Nats, library: std::path::PathBuf, channels: &[String]) -> Self {
        let text = block("twitch-consumers.md", "python", "CHANNELS").unwrap();
        fs::write(nats.dir().join("consumer.py"), text).unwrap();
        Self {
            nats,
            library,
            channels: channels.join(","),
            process: None,
            lives: 0,
        }
    }

    fn said(&self, life: u32) -> std::path::PathBuf {
        self.nats.dir().join(format!("consumer-{life}"))
    }

    fn starts(&mut self) {
        self.lives += 1;
        let mut command = Command::new("python3");
        command
            .arg(self.nats.dir().join("consumer.py"))
            .env("PYTHONPATH", &self.library)
            .env("NATS_URL", self.nats.url())
            .env("CHANNELS", &self.channels)
            .env("GIVEN_UP_AFTER", "1");
        let process = Process::start(&mut command, &self.said(self.lives)).unwrap();
        self.process = Some(process);
    }

    /// As `kill -9` does.
    fn dies(&mut self) {
        self.process = None;
    }

    /// What it wrote in its last life.
    fn lines(&self) -> Vec<Value> {
        lines(&self.said(self.lives))
    }

    /// The answer that it waited for.
    async fn ready(&self) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(ready) = self.lines().into_iter().next() {
                return ready;
            }
            assert!(Instant::now() < end, "it is not ready");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The ids of what it handled in all of its lives, in its order. What a life had in hand
    /// when it was killed came again, and counts once.
    fn seen(&self) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for life in 1..=self.lives {
            let of_life = lines(&self.said(life)).into_iter();
            let ids = of_life.filter_map(|line| Some(line["id"].as_str()?.to_owned()));
            for (place, id) in ids.enumerate() {
                if place > 0 || seen.last() != Some(&id) {
                    seen.push(id);
                }
            }
        }
        seen
    }

    /// Waits until it has handled so many.
    async fn has_seen(&self, most: usize) {
        let end = Instant::now() + LIMIT;
        while self.seen().len() < most {
            assert!(Instant::now() < end, "{} of {most}", self.seen().len());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The last line may be cut off.
fn lines(said: &Path) -> Vec<Value> {
    let text = fs::read_to_string(said).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn away() -> Duration {
    let seconds = std::env::var(AWAY).map_or(USUALLY, |away| away.parse().unwrap());
    Duration::from_secs(seconds)
}

/// It is killed while messages come, is away for a while, and comes back: what it was told at
/// its start.
async fn is_killed_and_comes_back(fleet: &TwitchFleet, consumer: &mut Consumer<'_>) -> Value {
    let traffic = |rate| Traffic {
        others: 0,
        ..Traffic::at_rate(rate)
    };
    fleet.twitch.set_traffic(traffic(50.0)).unwrap();
    consumer.has_seen(50).await;
    consumer.dies();
    sleep(away()).await;
    consumer.starts();
    let ready = consumer.ready().await;
    fleet.twitch.set_traffic(traffic(0.0)).unwrap();
    // What is on its way comes.
    sleep(Duration::from_secs(2)).await;
    ready
}

/// What was said in these channels.
fn within(channels: std::ops::RangeInclusive<u32>) -> Scope {
    Scope {
        channels: names(channels).into_iter().collect(),
        ..Scope::default()
    }
}

/// Nothing was lost, and the order is that of each channel.
async fn has_all(fleet: &TwitchFleet, consumer: &Consumer<'_>, scope: &Scope) {
    let end = Instant::now() + LIMIT;
    loop {
        let verdict = fleet.twitch.judge(&consumer.seen(), scope);
        if verdict.lost == 0 {
            assert!(verdict.is_clean() && verdict.seen > 100, "{verdict:?}");
            return;
        }
        assert!(Instant::now() < end, "{verdict:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_consumer_of_irc_that_is_away_loses_nothing_and_joins_nothing_when_it_comes_back() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::python("nats")),
    ) else {
        return;
    };
    let mut fleet = irc(20, &["--sink", &nats.url()]).await;
    let wanted = names(1..=20);
    let mut consumer = Consumer::new(&nats, library, &wanted);
    consumer.starts();
    let ready = consumer.ready().await;
    let told = (&ready["ready"], &ready["joined"], &ready["changed"]);
    assert_eq!(told, (&json!(true), &json!(19), &json!(20)), "{ready}");
    let banned = &ready["others"][0];
    assert_eq!(banned["channel"], "channel1", "{ready}");
    assert!(
        banned["why"].as_str().unwrap().contains("banned"),
        "{ready}"
    );

    let ready = is_killed_and_comes_back(&fleet, &mut consumer).await;
    assert_eq!(ready["changed"], 0, "{ready}");
    has_all(&fleet, &consumer, &within(2..=20)).await;
    for channel in names(2..=20) {
        assert_eq!(joins(&fleet, &channel), 1, "{channel}");
    }
    assert_eq!(fleet.twitch.counters().kicks, 0);

    // Only what differs is changed, also by whoever runs the work next.
    fleet.deploy("v2", LIMIT).await.unwrap();
    consumer.dies();
    consumer.channels = names(2..=19).join(",");
    consumer.starts();
    let ready = consumer.ready().await;
    let told = (&ready["channels"], &ready["joined"], &ready["changed"]);
    assert_eq!(told, (&json!(18), &json!(18), &json!(2)), "{ready}");
    for channel in names(2..=19) {
        assert_eq!(
            joins(&fleet, &channel),
            2,
            "once for each process: {channel}"
        );
    }
}

#[tokio::test]
async fn a_consumer_of_a_conduit_that_is_away_loses_nothing_and_asks_twitch_for_nothing() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::python("nats")),
    ) else {
        return;
    };
    // The account reads and speaks.
    let url = nats.url();
    let more = [
        "--sink",
        &url,
        "--account",
        "channel20",
        "--account-id",
        "100020",
    ];
    let fleet = conduit_of_two(0, &more).await;
    let wanted = names(1..=20);
    let mut consumer = Consumer::new(&nats, library, &wanted);
    consumer.starts();
    let ready = consumer.ready().await;
    assert_eq!(ready["joined"], 20, "{ready}");

    let asked = || {
        let counters = fleet.twitch.counters();
        let mut asked = counters.requests;
        // How many shards there are is looked at from time to time, whoever comes and goes.
        asked.remove("GET /helix/eventsub/conduits");
        asked
    };
    let before = asked();
    let ready = is_killed_and_comes_back(&fleet, &mut consumer).await;
    let told = (&ready["ready"], &ready["joined"], &ready["changed"]);
    assert_eq!(told, (&json!(true), &json!(20), &json!(0)), "{ready}");
    has_all(&fleet, &consumer, &within(1..=20)).await;
    assert_eq!(asked(), before);

    // It has the bot answer, once, and is told so.
    let kind = twitch_mock::Kind::Message;
    fleet
        .twitch
        .happen(kind, "channel3", "somebody", "!ping")
        .unwrap();
    let end = Instant::now() + LIMIT;
    let answer = loop {
        let answer = consumer
            .lines()
            .into_iter()
            .find(|line| line["channels"][0]["answer"].is_string());
        if let Some(answer) = answer {
            break answer;
        }
        assert!(Instant::now() < end, "no pong");
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(answer["channels"][0]["answer"], "sent", "{answer}");
    assert!(answer["channels"][0]["message_id"].is_string(), "{answer}");
    assert_eq!(requests(&fleet, "POST /helix/chat/messages"), 1);
}

/// Asks by a queue, and waits for the answer.
async fn asks(nats: &Nats, queue: &str, question: Value) -> Value {
    let broker = async_nats::connect(nats.url()).await.unwrap();
    let inbox = broker.new_inbox();
    let mut answers = broker.subscribe(inbox.clone()).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("baton-answer", inbox);
    headers.insert("baton-ttl", "60000");
    let context = async_nats::jetstream::new(broker);
    let subject = format!("baton.commands.{queue}");
    let end = Instant::now() + LIMIT;
    loop {
        let body = question.to_string().into();
        let sent = context.publish_with_headers(subject.clone(), headers.clone(), body);
        if sent.await.unwrap().await.is_ok() {
            break;
        }
        // The work has not begun yet.
        assert!(Instant::now() < end, "{question}");
        sleep(Duration::from_millis(100)).await;
    }
    let answer = tokio::time::timeout(2 * LIMIT, answers.next()).await;
    serde_json::from_slice(&answer.unwrap().unwrap().payload).unwrap()
}

/// The process that sends a message is killed before Twitch has answered: the next one answers
/// that nobody knows, and does not send it again; what waited behind it is said once.
#[tokio::test]
async fn what_a_killed_process_was_saying_is_not_said_again_and_what_waited_is_said_once() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let url = nats.url();
    let more = [
        "--sink",
        &url,
        "--account",
        "channel20",
        "--account-id",
        "100020",
    ];
    let fleet = conduit_of_two(0, &more).await;
    fleet.all_serving(LIMIT).await.unwrap();
    let start = json!({"control": "start", "want": {"channels": names(1..=2)}});
    let ready = asks(&nats, "control", start).await;
    assert_eq!(ready["joined"], 2, "{ready}");

    let slow = twitch_mock::Fault {
        request: Some("POST /helix/chat/messages".to_owned()),
        duration_ms: 60_000,
        ..twitch_mock::Fault::new(twitch_mock::FaultName::HelixSlow)
    };
    fleet.twitch.fault(slow).unwrap();
    let says = |channel: &str| json!({"channels": [channel], "text": "hello"});
    let sends = async {
        let end = Instant::now() + LIMIT;
        while requests(&fleet, "POST /helix/chat/messages") == 0 {
            assert!(Instant::now() < end, "nothing is sent");
            sleep(Duration::from_millis(20)).await;
        }
        fleet.kill_owner().await.unwrap();
    };
    let (first, second, ()) = tokio::join!(
        asks(&nats, "say", says("channel1")),
        async {
            // Behind the other one.
            sleep(Duration::from_millis(300)).await;
            asks(&nats, "say", says("channel2")).await
        },
        async {
            sleep(Duration::from_secs(1)).await;
            sends.await;
        },
    );
    assert_eq!(first["channels"][0]["answer"], "unknown", "{first}");
    assert_eq!(second["channels"][0]["answer"], "sent", "{second}");
    assert_eq!(requests(&fleet, "POST /helix/chat/messages"), 2);
}
