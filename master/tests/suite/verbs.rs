//! What an operator can order besides a deploy, with the program itself.

use std::{process::Stdio, time::Duration};

use baton_protocol::message::Role;
use rustix::process::Signal;
use tokio::{process::Command, time::timeout};

use crate::{
    fake::Fake,
    fleet::{Fleet, LONG, until},
};

#[tokio::test]
async fn a_rollback_brings_the_command_before_back_also_under_another_master() {
    let mut fleet = Fleet::new("shard_count = 2\n[limits]\ncontact = \"50ms\"\n");
    fleet.slot();
    let mut master = fleet.master().await;
    let first = fleet.launched("v1").await;
    until("all serve", || first.serving() == 2).await;
    fleet.settled().await;
    let refused = fleet.says(&["rollback"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("no other command before"),
        "{refused:?}"
    );

    let mut next = fleet.pid_command();
    next[2] = next[2].replace("1000", "1001");
    let second = deployed(&fleet, fleet.command(&["deploy", "--"]).args(next), "v2").await;
    assert!(command_of(second.process.pid).contains("1001"));
    // The history is written behind the answer.
    let written = async {
        while fleet.says(&["history", "--json"]).await.out.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, written)
        .await
        .expect("the history is written");
    master.signal(Signal::KILL);
    master.child.wait().await.unwrap();
    let _master = fleet.master().await;
    fleet.settled().await;
    let back = deployed(&fleet, &mut fleet.command(&["rollback"]), "v1").await;
    assert!(command_of(back.process.pid).contains("1000"));
    let forth = deployed(&fleet, &mut fleet.command(&["rollback"]), "v2").await;
    assert!(command_of(forth.process.pid).contains("1001"), "and forth");

    // What an earlier master saw counts as well.
    let text = fleet.says(&["history", "--json"]).await.out;
    let deploys: Vec<serde_json::Value> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(deploys.len(), 3, "{text}");
    let (first, second) = (&deploys[0]["deploy"], &deploys[1]["deploy"]);
    assert!(
        deploys[1]["command"][2].as_str().unwrap().contains("1000"),
        "{text}"
    );
    let to = second.to_string();
    let refused = fleet.says(&["rollback", "--to", "999"]).await;
    assert_eq!(refused.code, Some(1));
    let known = format!("known are {first}, {second}");
    assert!(refused.err.contains(&known), "{refused:?}");
    let third = deployed(&fleet, &mut fleet.command(&["rollback", "--to", &to]), "v1").await;
    assert!(command_of(third.process.pid).contains("1000"), "by number");
    drop(_master);
    let text = fleet.says(&["events", "--since", "1h"]).await.out;
    for part in [
        "a master started",
        "joined slot main: build v2",
        ": done; 2 shards",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_build_has_the_name_that_the_operator_gives_it_and_keeps_it() {
    let mut fleet =
        Fleet::new("shard_count = 1\n[limits]\ncontact = \"20ms\"\nbackoff = \"20ms\"\n");
    fleet.slot();
    let _master = fleet.master().await;
    let first = fleet.launched("v1").await;
    until("all serve", || first.serving() == 1).await;
    fleet.settled().await;
    let next = fleet.pid_command();
    let mut deploy = fleet.command(&["deploy", "--build", "two words", "--"]);
    let second = deployed(&fleet, deploy.args(next), "v2").await;
    let environment = |pid: u32| {
        let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    assert!(environment(second.process.pid).contains("BATON_BUILD=two words\0"));
    let status = fleet.status().await;
    assert_eq!(status["slots"][0]["command"][1], "BATON_BUILD=two words");
    assert_eq!(status["slots"][0]["command_before"][0], "sh");
    // The next one of this slot is called so too.
    std::fs::remove_file(fleet.pid_file()).unwrap();
    second.die();
    let third = fleet.launched("v2").await;
    assert!(environment(third.process.pid).contains("BATON_BUILD=two words\0"));
    assert_eq!(fleet.says(&["deploy", "--build", ""]).await.code, Some(1));
}

#[tokio::test]
async fn a_typo_in_the_file_does_not_disable_the_tools_of_a_running_fleet() {
    let fleet = Fleet::new("shard_count = 1\n");
    let _master = fleet.master().await;
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 1).await;
    let good = std::fs::read_to_string(&fleet.config).unwrap();
    for (typo, said) in [
        ("witdh = 3\n", "did you mean `width`"),
        ("oops oops\n", "warning"),
        ("[[slot]]\ncommand = \"a b\"\n", "slot[0].command"),
    ] {
        std::fs::write(&fleet.config, format!("{good}{typo}")).unwrap();
        for command in ["status", "doctor", "history", "events"] {
            let told = fleet.says(&[command]).await;
            if command != "doctor" {
                assert_eq!(told.code, Some(0), "{command} {typo}: {told:?}");
                assert!(told.err.contains(said), "{command} {typo}: {told:?}");
            }
            assert!(
                !told.err.contains("no master"),
                "{command} {typo}: {told:?}"
            );
        }
    }
}

async fn doctor_finds(fleet: &Fleet, check: &str) {
    let finds = |status: &serde_json::Value| {
        let found = status["doctor"].as_array().unwrap();
        found.iter().any(|finding| finding["check"] == check)
    };
    fleet.shows("what the doctor found", finds).await;
}

/// The slave that a command of the operator launches, once everything moved to it.
async fn deployed(fleet: &Fleet, command: &mut Command, build: &str) -> Fake {
    std::fs::remove_file(fleet.pid_file()).unwrap();
    let asking = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let slave = fleet.launched(build).await;
    let output = timeout(LONG, asking.unwrap().wait_with_output()).await;
    let output = output.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    slave
}

fn command_of(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8_lossy(&line).into_owned()
}

#[tokio::test]
async fn why_a_slave_ended_is_said_wherever_an_operator_looks() {
    let mut fleet =
        Fleet::new("shard_count = 2\n[limits]\ncontact = \"20ms\"\nbackoff = \"20ms\"\n");
    fleet.slot_of(&["sh", "-c", "echo the token is missing >&2; exit 3"]);
    let _master = fleet.master().await;
    fleet
        .shows("a death of the slot", |status| {
            let death = status["deaths"].as_array().unwrap().last();
            death.is_some_and(|death| {
                death["ending"] == "exit code 3"
                    && death["last_lines"][0] == "the token is missing"
                    && death["slot"] == "main"
            })
        })
        .await;
    let text = fleet.says(&["status"]).await.out;
    assert!(text.contains("exit code 3, after"), "{text}");
    assert!(text.contains("    | the token is missing"), "{text}");
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 2).await;
    fleet.settled().await;
    let script = "echo bad flag --hlep >&2; exit 2";
    let deploy = ["deploy", "--", "sh", "-c", script];
    let ended = fleet.says(&deploy).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        "exit code 2",
        "    | bad flag --hlep",
        "its last words: bad flag --hlep",
    ] {
        assert!(ended.out.contains(part), "{part}: {ended:?}");
    }
}

#[tokio::test]
async fn a_shard_is_restarted_where_it_is() {
    let fleet = Fleet::new("shard_count = 2\n");
    let (_master, slave) = fleet.served(2).await;
    let restarted = fleet.says(&["restart-shard", "--json", "1"]).await;
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    let said: serde_json::Value = serde_json::from_str(&restarted.out).unwrap();
    assert_eq!((&said["shard"], &said["epoch"]), (&1.into(), &2.into()));
    assert_eq!(slave.serving(), 2);
    assert!(slave.seen().permits.len() <= 2, "by RESUME");

    let refused = fleet.says(&["restart-shard", "7"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("they are 0 to 1"), "{refused:?}");
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_with_and_without_a_master() {
    let fleet = Fleet::new("shard_count = 2\n");
    let examine = || async {
        let examined = fleet.says(&["doctor", "--json"]).await;
        let said: serde_json::Value = serde_json::from_str(&examined.out).unwrap();
        let checks = said["findings"].as_array().unwrap().clone();
        let find = move |check: &str| {
            let found = checks.iter().find(|finding| finding["check"] == check);
            found.map(|found| found["level"].as_str().unwrap().to_owned())
        };
        (examined.code, find)
    };
    let (code, level) = examine().await;
    assert_eq!(code, Some(1));
    assert_eq!(level("master").as_deref(), Some("error"));
    assert_eq!(level("port").as_deref(), Some("ok"));

    let (_master, slave) = fleet.served(2).await;
    let (code, level) = examine().await;
    assert_eq!(code, Some(0));
    for check in ["shards", "link", "lag", "disk", "files", "journal"] {
        assert_eq!(level(check).as_deref(), Some("ok"), "{check}");
    }
    slave.cut_off();
    doctor_finds(&fleet, "shards").await;
    let (code, level) = examine().await;
    assert_eq!((code, level("shards").as_deref()), (Some(1), Some("error")));
}

#[tokio::test]
async fn in_development_the_master_ends_at_the_first_thing_that_goes_wrong() {
    let fleet = Fleet::new("shard_count = 2\nfail_on_error = true\n");
    let (mut master, slave) = fleet.served(2).await;
    slave.die();
    let ended = timeout(LONG, master.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1));
    let log = fleet.log();
    assert!(log.contains("fail_on_error: slave"), "{log}");
    assert!(log.contains("died with 2 shards"), "{log}");
}

#[tokio::test]
async fn a_monitor_is_told_in_one_line_and_an_exit_code() {
    let fleet = Fleet::new("shard_count = 2\n");
    let check = || async {
        let checked = fleet.says(&["status", "--check"]).await;
        (checked.code, checked.out)
    };
    let (code, line) = check().await;
    assert_eq!(code, Some(2), "{line}");
    assert!(line.starts_with("CRITICAL - no master listens"), "{line}");
    let (_master, slave) = fleet.served(2).await;
    let (code, line) = check().await;
    assert_eq!(code, Some(0), "{line}");
    assert_eq!(line, "OK - 2 of 2 shards serving | serving=2;;;0;2\n");
    slave.cut_off();
    doctor_finds(&fleet, "shards").await;
    assert_eq!(check().await.0, Some(2));
    std::fs::remove_file(&fleet.config).unwrap();
    assert_eq!(check().await.0, Some(3), "it cannot be told");
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_exit_code() {
    let fleet = Fleet::new("shard_count = 1\n");
    let _master = fleet.master().await;
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["completions", "bash"],
        &["events"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut asked = match command[0] {
            "completions" => {
                let mut asked = Command::new(env!("CARGO_BIN_EXE_baton-master"));
                asked.args(command);
                asked
            }
            _ => fleet.command(command),
        };
        let output = asked.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(74), "{command:?}: {said}");
        assert!(said.contains("No space left"), "{command:?}: {said}");
    }
}
