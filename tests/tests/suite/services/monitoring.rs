//! Alerts and dashboard: what they ask for is there, and each alert fires when it is
//! to.

use std::{io::Write, process::Stdio};

use baton_tests::{
    discord::DiscordOptions,
    fleet::{Fleet, FleetOptions},
};

use tokio::time::{Instant, sleep};

use super::*;

/// Every metric, label and value that alerts and dashboard name is in the answer of a
/// master with a fleet that deployed once.
#[tokio::test]
async fn alerts_and_dashboard_name_only_what_a_master_answers() {
    if !there("python3", "python3") {
        return;
    }
    let fleet = Fleet::start(FleetOptions {
        discord: DiscordOptions {
            shards: 2,
            guilds_per_shard: 1,
            members_per_guild: 2,
            ..DiscordOptions::default()
        },
        soak: Duration::ZERO,
        launch: true,
        ..FleetOptions::default()
    })
    .await
    .unwrap();
    fleet.all_serving(LIMIT).await.unwrap();
    let deployed = fleet.deploy_command("v2").unwrap().output().await.unwrap();
    assert!(deployed.status.success(), "{deployed:?}");
    fleet.discord.traffic(50.0).await.unwrap();
    // How busy shards are is known after some seconds of traffic.
    let deadline = Instant::now() + LIMIT;
    let text = loop {
        let text = fleet.admin.get_bytes("/metrics").await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        if text.contains("\nbaton_replay_budget_least_seconds ") {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(100)).await;
    };
    fleet.shut_down().await.unwrap();

    let (code, said) = check(&text);
    assert_eq!(code, Some(0), "{said}");
    if there("promtool", "prometheus") {
        let mut command = Command::new("promtool");
        command.args(["check", "metrics"]);
        let (code, said) = fed(command, &text);
        assert_eq!((code, said.as_str()), (Some(0), ""));
    }
    let (code, said) = check(&text.replace("baton_gap_seconds", "baton_gop_seconds"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("baton_gap_seconds"), "{said}");
}

fn check(metrics: &str) -> (Option<i32>, String) {
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/packaging/check-metrics"));
    fed(command, metrics)
}

fn fed(mut command: Command, metrics: &str) -> (Option<i32>, String) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn each_alert_is_silent_when_all_is_well_and_fires_when_it_is_not() {
    if !there("promtool", "prometheus") {
        return;
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new("promtool");
        let output = command
            .args(arguments)
            .current_dir(root().join("scripts/packaging/prometheus"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    run(&["check", "rules", "alerts.yaml"]);
    run(&["check", "config", "prometheus.yaml"]);
    run(&["test", "rules", "alerts_test.yaml", "alerts_day_test.yaml"]);
}
