//! The program itself, with slaves that speak the protocol over real sockets.

use std::{process::Stdio, time::Duration};

use crate::fake::Fake;
use crate::fleet::{Fleet, LONG, is_alive, lines, until};
use baton_protocol::message::{RefusedReason, Role};
use rustix::process::Signal;
use tokio::time::timeout;

#[tokio::test]
async fn a_cold_start_identifies_at_the_legal_pace() {
    let fleet =
        Fleet::new("shard_count = 5\nmax_concurrency = 2\n[limits]\nidentify_window = \"300ms\"\n");
    let _master = fleet.master().await;
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 5).await;
    let permits = slave.seen().permits.clone();
    // Buckets 0 and 1, each once a window, in shard order.
    for bucket in 0..2 {
        let of_bucket: Vec<_> = permits
            .iter()
            .filter(|(shard, _)| shard.get() % 2 == bucket)
            .collect();
        for pair in of_bucket.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{permits:?}");
            // Permits are given by the master's clock and seen by ours.
            assert!(
                pair[1].1 - pair[0].1 > Duration::from_millis(250),
                "{permits:?}"
            );
        }
    }
    until("the work runs", || slave.seen().work.get() > 0).await;
    let status = fleet.status().await;
    assert_eq!(status["shard_count"], 5);
    assert_eq!(status["slots"][0]["slave"], status["slaves"][0]["slave"]);
}

#[tokio::test]
async fn a_candidate_takes_every_shard_over_and_the_old_slave_ends() {
    let fleet = Fleet::new("shard_count = 20\n");
    let _master = fleet.master().await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 20).await;
    let new = fleet.slave("v2", Role::Candidate);
    until("all moved", || new.serving() == 20).await;
    until("the old one ended", || !is_alive(old.process.pid)).await;
    assert!(new.seen().permits.is_empty(), "a deploy spends no IDENTIFY");
    assert!(new.seen().work.get() > 0);
    // The canary moved alone.
    let seals: Vec<_> = old
        .seen()
        .orders
        .iter()
        .filter(|(what, _)| *what == "seal")
        .copied()
        .collect();
    assert_eq!(seals.len(), 20);
    fleet.settled().await;
}

#[tokio::test]
async fn the_deploy_command_shows_its_steps_and_ends_with_0() {
    let fleet = Fleet::new("shard_count = 4\n");
    let _master = fleet.master().await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 4).await;
    let mut deploy = fleet.command(&["deploy", "--width", "2", "--"]);
    deploy.args(fleet.pid_command()).stdout(Stdio::piped());
    let deploy = tokio::spawn(async move { deploy.output().await.unwrap() });
    let new = fleet.launched("v2").await;
    let output = timeout(LONG, deploy).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for expected in [
        "starting",
        "canary",
        "moving",
        "soaking",
        "4 of 4 shards on the new build",
        "done",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(new.serving(), 4);
}

#[tokio::test]
async fn a_deploy_whose_slave_ends_at_once_ends_with_1_and_the_reason() {
    let fleet = Fleet::new("shard_count = 2\n");
    let _master = fleet.master().await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    let output = fleet
        .command(&["deploy", "--", "sh", "-c", "exit 7"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("aborted") && text.contains('7'), "{text}");
    assert_eq!(old.serving(), 2);

    let output = fleet
        .command(&["deploy", "--", "no-such-program"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = fleet
        .command(&["deploy", "--slot", "elsewhere"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output.stderr), 1);
}

#[tokio::test]
async fn a_master_that_is_killed_in_the_deploys_of_two_slots_is_followed_by_one_that_ends_both() {
    // The canary of each deploy is looked at until the master is killed.
    let fleet = Fleet::new(
        "shard_count = 8\n[[slot]]\nname = \"a\"\nshards = [0, 3]\n\
         [[slot]]\nname = \"b\"\nshards = [4, 7]\n[limits]\ncanary_time = \"60s\"\n",
    );
    let mut master = fleet.master().await;
    let slots = ["a", "b"];
    let old = slots.map(|slot| fleet.slave("v1", Role::Candidate).of_slot(slot));
    until("all serve", || old.iter().all(|old| old.serving() == 4)).await;
    fleet.settled().await;
    let mut orders = Vec::new();
    let mut new = Vec::new();
    for slot in slots {
        let mut deploy = fleet.command(&["deploy", "--beside", "--slot", slot, "--"]);
        deploy.args(fleet.pid_command_of(slot));
        let quiet = deploy.stdout(Stdio::null()).stderr(Stdio::null());
        orders.push(quiet.spawn().unwrap());
        new.push(fleet.launched_in(slot, "v2").await);
        let canary = new.last().unwrap();
        until("a canary serves", || canary.serving() == 1).await;
    }
    master.signal(Signal::KILL);
    timeout(LONG, master.child.wait()).await.unwrap().unwrap();
    assert!(new.iter().all(|new| new.serving() == 1), "in the middle");

    let _master = fleet.master().await;
    until("all have moved", || {
        new.iter().all(|new| new.serving() == 4)
    })
    .await;
    fleet.settled().await;
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(old.serving(), 0, "two owners");
        assert!(new.seen().permits.is_empty(), "no session was lost");
        assert!(is_alive(new.process.pid));
    }
}

#[tokio::test]
async fn slaves_outlive_the_master_and_the_next_one_adopts_them() {
    for signal in [Signal::TERM, Signal::KILL] {
        let fleet = Fleet::new("shard_count = 4\n");
        let mut master = fleet.master().await;
        let slave = fleet.slave("v1", Role::Candidate);
        until("all serve", || slave.serving() == 4).await;
        until("the work runs", || slave.seen().work.get() > 0).await;
        let orders = slave.seen().orders.clone();
        master.signal(signal);
        let code = timeout(LONG, master.child.wait())
            .await
            .unwrap()
            .unwrap()
            .code();
        assert_eq!(
            code,
            if signal == Signal::TERM {
                Some(0)
            } else {
                None
            }
        );
        assert_eq!(slave.serving(), 4);

        let _next = fleet.master().await;
        until("it is accepted again", || slave.seen().accepted == 2).await;
        fleet.settled().await;
        assert_eq!(slave.seen().orders, orders, "nothing was started or moved");
        assert_eq!(slave.seen().term.counter, 2);
    }
}

#[tokio::test]
async fn a_master_that_slept_while_another_took_its_place_ends_with_4_and_the_other_serves_on() {
    let fleet = Fleet::new("shard_count = 2\n");
    let (mut first, slave) = fleet.served(2).await;
    first.signal(Signal::STOP);
    // A careless hand: nothing keeps a second master out any more.
    std::fs::remove_file(fleet.socket().with_file_name("master.lock")).unwrap();
    let _second = fleet.master().await;
    first.signal(Signal::CONT);
    let ended = timeout(LONG, first.child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(4), "{}", fleet.log());
    let log = fleet.log();
    assert!(
        log.contains("another master has taken over from start 1"),
        "{log}"
    );
    until("the second one has it", || slave.seen().accepted == 2).await;
    fleet.settled().await;
    assert_eq!(slave.serving(), 2);
    assert_eq!(slave.seen().term.counter, 2);
    // Nor has the one that is gone taken anything of the other along.
    let mut verify = tokio::process::Command::new(env!("CARGO_BIN_EXE_baton-master"));
    verify.args(["journal", "verify", "--config"]);
    let verified = verify.arg(&fleet.config).output().await.unwrap();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

#[tokio::test]
async fn a_dead_slave_is_replaced_by_one_that_resumes() {
    let fleet = Fleet::new("shard_count = 3\n");
    let _master = fleet.master().await;
    let first = fleet.slave("v1", Role::Candidate);
    until("all serve", || first.serving() == 3).await;
    // Checkpoints are the master's when it answers.
    fleet.settled().await;
    first.die();
    // No slave is launched beside an owner that seems to live.
    fleet
        .shows("an empty slot", |status| {
            status["slots"][0]["slave"].is_null()
        })
        .await;
    let second = fleet.slave("v1", Role::Relaunch);
    until("all serve again", || second.serving() == 3).await;
    assert!(
        second.seen().permits.is_empty(),
        "no IDENTIFY inside the resume window"
    );
}

#[tokio::test]
async fn a_build_with_other_intents_is_refused_before_anything_moves() {
    let fleet = Fleet::new("shard_count = 2\n");
    let _master = fleet.master().await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    let new = Fake::start(&fleet.socket(), "v2", Role::Candidate, 1);
    until("refused", || new.seen().refused.is_some()).await;
    let refused = new.seen().refused.clone().unwrap();
    assert_eq!(refused.reason, RefusedReason::Parameters);
    assert!(refused.detail.contains("intents"), "{}", refused.detail);
    assert!(old.seen().orders.iter().all(|(what, _)| *what == "start"));
}

#[tokio::test]
async fn an_empty_slot_gets_a_slave_and_sigusr1_replaces_it() {
    let mut fleet = Fleet::new("shard_count = 2\n[limits]\ncontact = \"50ms\"\n");
    fleet.slot();
    let master = fleet.master().await;
    let first = fleet.launched("v1").await;
    until("all serve", || first.serving() == 2).await;
    std::fs::remove_file(fleet.pid_file()).unwrap();
    master.signal(Signal::HUP);
    master.signal(Signal::USR1);
    let second = fleet.launched("v1").await;
    until("all moved", || second.serving() == 2).await;
    until("the old one ended", || !is_alive(first.process.pid)).await;
}

#[tokio::test]
async fn wrong_configuration_is_one_line_and_exit_code_2() {
    let fleet = Fleet::new("shard_count = 2\n");
    let _master = fleet.master().await;
    // Another fleet for everything but the port.
    let held = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let cases = [
        (
            "shard_count = 2\n",
            vec!["--listen", taken.as_str()],
            "another process uses it",
        ),
        (
            "shard_count = 2\n",
            vec!["--listen", "0.0.0.0:0"],
            "baton-master certs init",
        ),
        ("", vec![], "no token"),
        ("shard_cuont = 2\n", vec![], ":3: unknown key `shard_cuont`"),
        (
            "shard_count = 2\n",
            vec!["--", "no-such-program"],
            "not found in PATH",
        ),
        ("shard_count = 2\n[limits]\nsoak = 3\n", vec![], "15s"),
        ("shard_count = 2\nlog = \"a=b=c\"\n", vec![], "log:"),
    ];
    for (toml, more, expected) in cases {
        let other = Fleet::new(toml);
        let output = other.command(&["run"]).args(more).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(lines(&output.stderr), 1, "{text}");
    }
    let output = fleet.command(&["run"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another master (pid "));
}

#[tokio::test]
async fn the_pinned_shard_count_wins_over_a_changed_configuration() {
    let fleet = Fleet::new("shard_count = 2\n");
    let mut master = fleet.master().await;
    master.signal(Signal::TERM);
    master.child.wait().await.unwrap();
    let output = fleet
        .command(&["run", "--shard-count", "3"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains('2') && text.contains('3') && text.contains("shard_count"),
        "{text}"
    );
    // Without a configured count the pinned one holds, and nobody is asked.
    std::fs::write(&fleet.config, fleet.base()).unwrap();
    let _master = fleet.master().await;
    assert_eq!(fleet.status().await["shard_count"], 2);
}

#[tokio::test]
async fn a_slave_is_dead_by_the_operators_word_where_nobody_can_know_it() {
    let fleet = Fleet::new("shard_count = 2\n");
    let mut master = fleet.master().await;
    let old = Fake::elsewhere(&fleet.socket(), "v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    fleet.settled().await;
    let id = fleet.status().await["slaves"][0]["slave"].clone();
    let id = id.as_str().unwrap().to_owned();

    let output = fleet.command(&["fence", &id]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("connected and answers"), "{text}");
    let other = if id.starts_with('0') { "1" } else { "0" };
    let output = fleet.command(&["fence", other]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&id[..8]), "known ones are listed: {text}");
    let output = fleet.command(&["fence", "x-ray"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));

    old.cut_off();
    let away = || async { fleet.status().await["slaves"][0]["connected"] == false };
    while !away().await {}
    let output = fleet.command(&["fence", "--json", &id[..8]]).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["slave"], id);
    let next = fleet.slave("v1", Role::Relaunch);
    until("the next one serves", || next.serving() == 2).await;
    assert!(next.seen().permits.is_empty(), "no IDENTIFY");

    // It lives after all, and neither this master nor the next one believes it.
    master.signal(Signal::KILL);
    master.child.wait().await.unwrap();
    let _next = fleet.master().await;
    fleet.settled().await;
    old.come_back();
    until("it was told to end", || !is_alive(old.process.pid)).await;
    assert_eq!(next.serving(), 2);
    fleet.settled().await;
}

#[tokio::test]
async fn a_living_process_is_fenced_only_by_killing_it() {
    let fleet = Fleet::new("shard_count = 2\n");
    let _master = fleet.master().await;
    let old = fleet.slave("v1", Role::Candidate);
    until("all serve", || old.serving() == 2).await;
    fleet.settled().await;
    let id = fleet.status().await["slaves"][0]["slave"].clone();
    let id = id.as_str().unwrap().to_owned();
    old.cut_off();
    let away = || async { fleet.status().await["slaves"][0]["connected"] == false };
    while !away().await {}
    let output = fleet.command(&["fence", &id]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("is alive") && text.contains("--kill"),
        "{text}"
    );
    assert!(is_alive(old.process.pid));
    let output = fleet.command(&["fence", "--kill", &id]).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!is_alive(old.process.pid));
    let next = fleet.slave("v1", Role::Relaunch);
    until("the next one serves", || next.serving() == 2).await;
}
