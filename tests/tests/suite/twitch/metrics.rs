//! What the master counts of a fleet on Twitch: no value that is shown is a constant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_tests::{http::Endpoint, twitch::TwitchFleet};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle, time::sleep};
use twitch_mock::{Fault, FaultName, Traffic};

use super::{LIMIT, ask, conduit_of, joined, names};

/// Every value that each series of a family had.
type Seen = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Asks again and again.
struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    fn begin(master: Endpoint) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                if let Ok(text) = master.get_bytes("/metrics").await {
                    note(&kept, &String::from_utf8_lossy(&text));
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { seen, task }
    }

    /// Families of which no series ever changed.
    fn constants(self) -> BTreeSet<String> {
        self.task.abort();
        let seen = self.seen.lock().unwrap();
        let is_constant = |series: &BTreeMap<String, BTreeSet<String>>| {
            series.values().all(|values| values.len() == 1)
        };
        let families = seen.iter().filter(|(_, series)| is_constant(series));
        families.map(|(name, _)| name.clone()).collect()
    }
}

fn note(seen: &Mutex<Seen>, text: &str) {
    let mut seen = seen.lock().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or(series).to_owned();
        let values = seen.entry(name).or_default();
        values
            .entry(series.to_owned())
            .or_default()
            .insert(value.to_owned());
    }
}

/// What is a constant of its nature, and what does not happen in this test. That the latter
/// follows what it shows is looked at in `master/src/metrics/tests/twitch.rs`.
const ELSEWHERE: [&str; 22] = [
    "baton_build_info",
    "process_max_fds",
    "process_start_time_seconds",
    // What is configured.
    "baton_slave_memory_limit_bytes",
    "baton_slot_standbys_wanted",
    // A master that has just been started, and has nothing to collect; a slave that it does not
    // hear; slaves that fail one after the other, and what an operator has to see to.
    "baton_adopting",
    "baton_alarms_total",
    "baton_shard_failures_total",
    "baton_slave_connected",
    "baton_slave_events_failed_total",
    "baton_slot_failed_launches",
    // Another slot, or another host.
    "baton_moves_in_hand",
    "baton_moves_left",
    "baton_slot_shards",
    "baton_leases_over_total",
    // Strangers, and clients that do not read.
    "baton_connections_refused_total",
    "baton_connections_stuck_total",
    "baton_connections_too_many_total",
    "baton_connections_untrusted_total",
    "baton_disbelieved_total",
    // The disk is full; nobody reads the log.
    "baton_journal_save_failures_total",
    "baton_log_lines_dropped_total",
];

/// What the operator orders.
async fn order(fleet: &TwitchFleet, path: &str, body: Value) {
    let answer: Value = fleet.admin.ask(path, &body).await.unwrap();
    assert!(answer["error"].is_null(), "{path}: {answer}");
    sleep(Duration::from_millis(200)).await;
}

/// Waits until every unit serves, and for the next pongs.
async fn rests(fleet: &TwitchFleet) {
    sleep(Duration::from_millis(500)).await;
    fleet.all_serving(LIMIT).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn every_metric_of_a_fleet_on_twitch_changes_when_what_it_counts_happens() {
    let arguments = ["--memory-limit", "64G"];
    let mut fleet = conduit_of(4, 1, 0, &arguments).await;
    let watch = Watch::begin(fleet.admin.clone());
    fleet.all_serving(LIMIT).await.unwrap();
    ask(&fleet, json!({ "verb": "join", "channels": names(1..=20) })).await;
    joined(&fleet, 20).await;
    let traffic = Traffic {
        others: 0,
        channels: 20,
        ..Traffic::at_rate(200.0)
    };
    fleet.twitch.set_traffic(traffic).unwrap();
    rests(&fleet).await;
    fleet.deploy("v2", LIMIT).await.unwrap();
    rests(&fleet).await;

    // Two processes die: the one that serves, and the standby that follows it.
    for _ in 0..2 {
        fleet.kill_owner().await.unwrap();
        rests(&fleet).await;
    }
    // Every session ends.
    let reset = Fault::new(FaultName::SessionReset);
    assert!(fleet.twitch.fault(reset).unwrap() > 0);
    rests(&fleet).await;
    order(&fleet, "/v1/hold", json!({})).await;
    order(&fleet, "/v1/hold", json!({ "release": true })).await;
    order(&fleet, "/v1/cordon", json!({ "hosts": ["local"] })).await;
    order(&fleet, "/v1/uncordon", json!({ "hosts": ["local"] })).await;
    // Somebody who is no slave.
    let status = fleet.status().await.unwrap();
    let listen = status["master"]["listen"].as_str().unwrap().to_owned();
    let mut stranger = TcpStream::connect(listen).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    rests(&fleet).await;
    let constants = watch.constants();
    let unexpected: Vec<_> = constants
        .iter()
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .collect();
    assert_eq!(unexpected, [""; 0]);
}
