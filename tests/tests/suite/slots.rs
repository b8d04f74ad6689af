//! Several slots: shards that move between them, hosts that are drained, a deploy of all.

use std::time::Duration;

use baton_tests::{
    checker::Exactness,
    fleet::{Fleet, FleetOptions},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs an order; its exit code and everything that it said.
async fn ordered(fleet: &Fleet, order: &[&str]) -> (Option<i32>, String) {
    let output = fleet.order(order).expect("a command").output().await;
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

async fn shards_of(fleet: &Fleet) -> Value {
    let status = fleet.status().await.expect("status");
    let slots = status["slots"].as_array().expect("slots").iter();
    slots
        .map(|slot| slot["shards"].clone())
        .collect::<Vec<_>>()
        .into()
}

async fn builds(fleet: &Fleet) -> Vec<String> {
    let status = fleet.status().await.expect("status");
    let slaves = status["slaves"].as_array().expect("slaves").iter();
    let mut builds: Vec<String> = slaves
        .filter(|slave| slave["role"] == "owner")
        .map(|slave| format!("{} {}", slave["slot"], slave["build"]).replace('"', ""))
        .collect();
    builds.sort();
    builds
}

async fn exact(fleet: &Fleet) {
    fleet.discord.traffic(0.0).await.expect("traffic");
    let handled = fleet
        .settle(Duration::from_secs(10))
        .await
        .expect("records");
    let sent = fleet.discord.ledger().await.expect("a ledger");
    let verdict = Exactness::of(&sent, &handled);
    assert!(verdict.is_exact(), "{verdict:#?}");
}

fn options(slots: &[&'static str], launch: bool) -> FleetOptions {
    let mut options = FleetOptions {
        launch,
        ..FleetOptions::default()
    };
    options.special.slot_keys = slots.to_vec();
    options
}

#[tokio::test]
async fn shards_move_to_another_slot_and_are_balanced_again_without_a_deploy() {
    let last = FleetOptions::default().discord.shards - 1;
    let all = options(
        &["name = \"one\"", "name = \"two\"\nshards = { count = 1 }"],
        true,
    );
    let mut fleet = Fleet::start(all).await.expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(50.0).await.expect("traffic");
    let counts = fleet.discord.counts().await.expect("counts");
    assert_eq!(shards_of(&fleet).await, json!([format!("1-{last}"), "0"]));

    let (code, said) = ordered(&fleet, &["move", &format!("1-{last}"), "--to", "two"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shards_of(&fleet).await, json!(["", format!("0-{last}")]));
    // The next master finds them where they are.
    assert_eq!(fleet.master.stop().await.expect("it leaves"), 0);
    fleet.restart_master().await.expect("the next one");
    fleet.all_serving(LIMIT).await.expect("adopted");
    assert_eq!(shards_of(&fleet).await, json!(["", format!("0-{last}")]));

    let (code, said) = ordered(&fleet, &["rebalance", "--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("from two to one"), "{said}");
    assert_eq!(shards_of(&fleet).await, json!(["", format!("0-{last}")]));
    let (code, said) = ordered(&fleet, &["rebalance"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_ne!(shards_of(&fleet).await[0], "", "slot one has some again");

    let after = fleet.discord.counts().await.expect("counts");
    assert_eq!(
        after.identifies, counts.identifies,
        "no move costs an IDENTIFY"
    );
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

/// Whose process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Killed {
    Old,
    New,
    Master,
}

#[tokio::test]
async fn nothing_is_lost_whoever_is_killed_in_the_middle_of_a_move() {
    for (who, phase) in [
        (Killed::Old, "copying"),
        (Killed::Old, "sealing"),
        (Killed::New, "sealing"),
        (Killed::New, "resuming"),
        (Killed::Master, "sealing"),
        (Killed::Master, "resuming"),
    ] {
        killed_in_a_move(who, phase).await;
    }
}

async fn killed_in_a_move(who: Killed, phase: &str) {
    let mut all = options(
        &["name = \"one\"", "name = \"two\"\nshards = { count = 1 }"],
        true,
    );
    all.special.limits = [("backoff", "200ms"), ("adopt_grace", "1500ms")]
        .map(|(name, limit)| (name, limit.to_owned()))
        .into();
    let mut fleet = Fleet::start(all).await.expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(50.0).await.expect("traffic");
    let counts = fleet.discord.counts().await.expect("counts");
    let pid = |slot: &str, status: &Value| {
        let slaves = status["slaves"].as_array().expect("slaves").iter();
        let mut of = slaves.filter(|slave| slave["slot"] == slot && slave["role"] == "owner");
        let pid = of.next().and_then(|slave| slave["pid"].as_i64());
        Pid::from_raw(i32::try_from(pid.expect("a slave")).expect("a pid")).expect("a pid")
    };
    let status = fleet.status().await.expect("status");
    let body = json!({ "shards": "1-3", "to": "two" });
    let _: Value = fleet
        .admin
        .ask("/v1/move", &body)
        .await
        .expect("it is taken");
    let is = |event: &Value| event["type"] == "migration" && event["phase"] == phase;
    fleet.news.wait(phase, LIMIT, is).await.expect("it moves");
    match who {
        Killed::Old => kill_process(pid("one", &status), Signal::KILL).expect("it lived"),
        Killed::New => kill_process(pid("two", &status), Signal::KILL).expect("it lived"),
        Killed::Master => {
            fleet.master.signal(Signal::KILL);
            fleet.master.ended(LIMIT).await.expect("it is dead");
            fleet.restart_master().await.expect("the next one");
        }
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        fleet.all_serving(LIMIT).await.expect("all serve again");
        let status = fleet.status().await.expect("status");
        if status["moves"]["left"] == 0 && status["adopting"] == false {
            break;
        }
        assert!(Instant::now() < deadline, "{who:?} {phase}: {status}");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        shards_of(&fleet).await,
        json!(["", "0-3"]),
        "{who:?} {phase}"
    );
    let after = fleet.discord.counts().await.expect("counts");
    assert_eq!(after.identifies, counts.identifies, "{who:?} {phase}");
    fleet.discord.traffic(0.0).await.expect("traffic");
    let handled = fleet
        .settle(Duration::from_secs(10))
        .await
        .expect("records");
    let sent = fleet.discord.ledger().await.expect("a ledger");
    let verdict = Exactness::of(&sent, &handled);
    let wrong = verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.invented;
    assert_eq!(wrong, 0, "{who:?} {phase}: {verdict:#?}");
    if who == Killed::Master {
        assert!(verdict.is_exact(), "{who:?} {phase}: {verdict:#?}");
    }
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_host_is_drained_by_its_name_and_gets_shards_again_when_it_is_open() {
    let all = options(
        &[
            "name = \"one\"\nhost = \"east\"",
            "name = \"two\"\nhost = \"west\"\nshards = [0, 0]",
        ],
        false,
    );
    let fleet = Fleet::start(all).await.expect("a fleet");
    let _one = fleet.start_slave_with("v1", &["--slot", "one"]).await;
    let _two = fleet
        .start_slave_with("v2", &["--slot", "two", "--build", "v1"])
        .await;
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(50.0).await.expect("traffic");
    let counts = fleet.discord.counts().await.expect("counts");

    let (code, said) = ordered(&fleet, &["drain", "north"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there are east, west"), "{said}");
    let (code, said) = ordered(&fleet, &["drain", "east", "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    let answer: Value = serde_json::from_str(said.trim()).expect("one object");
    assert_eq!(answer["moves"][0]["to"], "two", "{answer}");
    assert_eq!(shards_of(&fleet).await[0], "");
    let status = fleet.status().await.expect("status");
    assert_eq!(status["cordoned"], json!(["east"]));
    let (code, said) = ordered(&fleet, &["move", "0", "--to", "one"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("baton-master uncordon east"), "{said}");
    for order in [&["uncordon", "east"][..], &["rebalance"]] {
        let (code, said) = ordered(&fleet, order).await;
        assert_eq!(code, Some(0), "{said}");
    }
    assert_ne!(shards_of(&fleet).await[0], "");

    let after = fleet.discord.counts().await.expect("counts");
    assert_eq!(after.identifies, counts.identifies);
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}

#[tokio::test]
async fn a_deploy_of_all_slots_stops_at_the_first_that_fails_and_goes_through_with_a_good_build() {
    let all = options(&["name = \"one\"", "name = \"two\"\nshards = [0, 0]"], true);
    let fleet = Fleet::start(all).await.expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    fleet.discord.traffic(50.0).await.expect("traffic");
    let bad = fleet
        .slave_command("v2", &["--intents", "1"])
        .expect("it is built");
    let deploy = ["deploy", "--all", "--order", "two", "--"];
    let words = |command: &[String]| {
        let words = deploy.iter().map(|word| (*word).to_owned());
        words.chain(command.iter().cloned()).collect::<Vec<_>>()
    };
    let run = |command: Vec<String>| {
        let fleet = &fleet;
        async move {
            let words = words(&command);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            ordered(fleet, &words).await
        }
    };
    let (code, said) = run(bad).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not begun: one"), "{said}");
    assert_eq!(builds(&fleet).await, ["one v1", "two v1"]);

    let good = fleet.slave_command("v3", &[]).expect("it is built");
    let (code, said) = run(good).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("every slot has the new build: two, one"),
        "{said}"
    );
    assert_eq!(builds(&fleet).await, ["one v3", "two v3"]);
    let refused = ["deploy", "--slot", "one", "--expect", "v1", "--no-wait"];
    let (code, said) = ordered(&fleet, &refused).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("somebody else was quicker"), "{said}");
    exact(&fleet).await;
    fleet.shut_down().await.expect("it ends");
}
