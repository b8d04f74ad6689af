#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use baton_protocol::{ProcessIdentity, auth::Secret, message::Role};
use tokio::time::timeout;

use super::*;
use crate::{config::Slot, core::event::EndedBy};

/// Only a broken test waits this long.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_launched_process_leads_its_own_group_and_finds_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("slave.log");
    let script = "echo $BATON_MASTER $BATON_SLOT $BATON_ROLE $BATON_RUNTIME_DIR ${#BATON_SECRET} $OWN; \
                  cut -d' ' -f5 /proc/$$/stat; echo $$; echo oops >&2";
    let launcher = launcher(dir.path(), &["sh", "-c", script], Some(&log));
    let (pid, mut child) = launcher.launch("main", Role::Candidate, None).unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
    let text = fs::read_to_string(&log).unwrap();
    let mut lines = text.lines();
    let expected = format!(
        "unix:/r/slave.sock main candidate {} 64 yes",
        dir.path().display()
    );
    assert_eq!(lines.next(), Some(expected.as_str()));
    assert_eq!(lines.next(), Some(pid.to_string().as_str()), "its group");
    assert_eq!(lines.next(), Some(pid.to_string().as_str()));
    assert_eq!(lines.next(), Some("oops"));
    assert!(is_of_launch(pid, pid));
    assert!(!is_of_launch(std::process::id(), pid));
}

#[tokio::test]
async fn what_a_deploy_brought_is_launched_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut launcher = launcher(dir.path(), &["true"], None);
    let other = ["sh", "-c", "exit 7"].map(str::to_owned);
    launcher.remember("main", &other);
    let (_, mut child) = launcher.launch("main", Role::Relaunch, None).unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(7));
}

#[tokio::test]
async fn how_a_process_ended_and_its_last_words_are_known_with_and_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("slave.log");
    fs::write(&log, "of the one before\n").unwrap();
    for log in [None, Some(log.as_path())] {
        for (script, ending) in [
            ("echo no token >&2; exit 3", EndedBy::Code(3)),
            ("echo no token >&2; kill -ABRT $$", EndedBy::Signal(6)),
        ] {
            let mut launcher = launcher(dir.path(), &["sh", "-c", script], log);
            launcher.write_to(Outputs::open(dir.path()).unwrap());
            let (pid, mut child) = launcher.launch("main", Role::Relaunch, None).unwrap();
            let ended = child.wait().await;
            assert_eq!(ended, (ending, vec!["no token".to_owned()]));
            let lines = launcher.output_of("main", pid).unwrap().read().await;
            assert_eq!(lines.last().unwrap(), "no token", "for the next master too");
        }
    }
}

#[tokio::test]
async fn a_slave_whose_output_cannot_be_kept_is_launched_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut launcher = launcher(dir.path(), &["true"], None);
    launcher.write_to(Outputs::open(dir.path()).unwrap());
    fs::remove_dir_all(dir.path().join("output")).unwrap();
    fs::write(dir.path().join("output"), "in the way").unwrap();
    let (_, mut child) = launcher.launch("main", Role::Relaunch, None).unwrap();
    assert_eq!(child.wait().await, (EndedBy::Code(0), Vec::new()));
}

#[tokio::test]
async fn a_launch_that_cannot_be_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let launcher = launcher(dir.path(), &[], None);
    for (slot, command, expected) in [
        ("other", None, "no slot `other`"),
        ("main", None, "has no command"),
        (
            "main",
            Some(vec!["no-such-program".to_owned()]),
            "no-such-program",
        ),
    ] {
        let launched = launcher.launch(slot, Role::Candidate, command.as_deref());
        let reason = launched.unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn the_death_of_a_process_that_is_no_child_is_known() {
    // The shell ends at once; what it started in the background is not ours.
    let output = tokio::process::Command::new("sh")
        .args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"])
        .output()
        .await
        .unwrap();
    let pid: u32 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let process = ProcessIdentity::of(pid).unwrap();
    let watch = Watch::open(&process).unwrap();
    assert!(
        timeout(Duration::from_millis(20), watch.dead())
            .await
            .is_err()
    );
    watch.kill().unwrap();
    timeout(LONG, watch.dead()).await.unwrap().unwrap();
    watch.kill().unwrap();
}

#[tokio::test]
async fn a_pid_that_another_process_has_now_is_a_dead_process() {
    let mut child = tokio::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let mut process = ProcessIdentity::of(child.id().unwrap()).unwrap();
    process.start_time += 1;
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
    process.start_time -= 1;
    Watch::open(&process).unwrap();
    child.kill().await.unwrap();
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
}

#[tokio::test]
async fn a_process_of_another_boot_is_dead_and_one_of_another_namespace_is_not_judged() {
    let mut process = ProcessIdentity::current().unwrap();
    process.pid_namespace += 1;
    assert!(matches!(Watch::open(&process), Err(WatchError::Elsewhere)));
    process.boot_id = "another".to_owned();
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
    let nameless = ProcessIdentity::default();
    assert!(matches!(Watch::open(&nameless), Err(WatchError::Elsewhere)));
}

fn launcher(dir: &Path, command: &[&str], log: Option<&Path>) -> Launcher {
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    let slot = Slot {
        name: "main".to_owned(),
        command: (!command.is_empty()).then_some(command),
        shards: None,
        env: BTreeMap::from([("OWN".to_owned(), "yes".to_owned())]),
        log: log.map(Path::to_owned),
    };
    let secret = Secret::random().unwrap();
    Launcher::new(
        dir,
        Path::new("/r/slave.sock"),
        secret,
        &[slot],
        BTreeMap::new(),
    )
}
