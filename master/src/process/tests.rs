#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap, fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path,
    sync::Arc, time::Duration,
};

use baton_core::event::EndedBy;
use baton_protocol::{DeployId, HostId, LaunchId, ProcessIdentity, auth::Secret, message::Role};
use tokio::time::timeout;

use super::*;
use crate::config::{DEFAULT_API_URL, Slot};

/// Only a broken test waits this long.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_launched_process_leads_its_own_group_and_finds_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("slave.log");
    let script = "echo $BATON_MASTER $BATON_SLOT $BATON_ROLE $BATON_RUNTIME_DIR ${#BATON_SECRET} $OWN $BATON_DEPLOY $BATON_LAUNCH; \
                  cut -d' ' -f5 /proc/$$/stat; echo $$; echo oops >&2";
    let launcher = launcher(dir.path(), &["sh", "-c", script], Some(&log));
    let (pid, mut child) = launch(&launcher, Role::Candidate, Some(DeployId(7)))
        .await
        .unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
    let text = fs::read_to_string(&log).unwrap();
    let mut lines = text.lines();
    let expected = format!(
        "unix:/r/slave.sock main candidate {} 64 yes 7 {}",
        dir.path().display(),
        LaunchId(0xa1)
    );
    assert_eq!(lines.next(), Some(expected.as_str()));
    assert_eq!(lines.next(), Some(pid.to_string().as_str()), "its group");
    assert_eq!(lines.next(), Some(pid.to_string().as_str()));
    assert_eq!(lines.next(), Some("oops"));
    assert!(is_of_launch(pid, pid));
    assert!(!is_of_launch(std::process::id(), pid));
}

/// A token that was changed is the next slave's, without a restart of the master.
#[tokio::test]
async fn each_launched_process_gets_the_token_as_it_is_in_the_file_then() {
    let dir = tempfile::tempdir().unwrap();
    let (log, file) = (dir.path().join("slave.log"), dir.path().join("token"));
    let script = "echo $DISCORD_TOKEN";
    let mut launcher = launcher(dir.path(), &["sh", "-c", script], Some(&log));
    launcher.take_token_from(Some(file.clone()));
    for text in ["DISCORD_TOKEN=one\n", "two\n"] {
        fs::write(&file, text).unwrap();
        let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
        assert_eq!(child.wait().await.0, EndedBy::Code(0));
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    fs::write(&file, "# nothing\n").unwrap();
    let refused = launch(&launcher, Role::Relaunch, None).await.unwrap_err();
    assert!(
        refused.contains("token_file") && refused.contains("no token"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_launched_process_is_told_where_http_goes_unless_it_is_discord() {
    for (url, told) in [
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        (DEFAULT_API_URL, "unset"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("slave.log");
        let command = ["sh", "-c", "echo ${BATON_API_URL:-unset}"];
        let launcher = launcher(dir.path(), &command, Some(&log)).with_api_url(url);
        let (_, mut child) = launch(&launcher, Role::Candidate, None).await.unwrap();
        child.wait().await;
        assert_eq!(fs::read_to_string(&log).unwrap().trim(), told);
    }
}

#[tokio::test]
async fn what_a_deploy_brought_is_launched_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut launcher = launcher(dir.path(), &["true"], None);
    let other = ["sh", "-c", "exit 7"].map(str::to_owned);
    launcher.remember("main", &other);
    let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
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
            let (pid, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
            let ended = child.wait().await;
            assert_eq!(ended, (ending, vec!["no token".to_owned()]));
            let lines = launcher.output_of("main", pid).unwrap().read().await;
            assert_eq!(lines.last().unwrap(), "no token", "for the next master too");
        }
    }
}

#[tokio::test]
async fn a_log_is_made_for_its_user_alone_and_one_that_is_there_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("slave.log");
    let mode = || fs::metadata(&log).unwrap().permissions().mode() & 0o777;
    for due in [0o600, 0o644] {
        let launcher = launcher(dir.path(), &["true"], Some(&log));
        let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
        child.wait().await;
        assert_eq!(mode(), due);
        fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[tokio::test]
async fn a_slave_whose_output_cannot_be_kept_is_launched_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut launcher = launcher(dir.path(), &["true"], None);
    launcher.write_to(Outputs::open(dir.path()).unwrap());
    fs::remove_dir_all(dir.path().join("output")).unwrap();
    fs::write(dir.path().join("output"), "in the way").unwrap();
    let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
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
        let reason =
            match launcher.plan(slot, Role::Candidate, command.as_deref(), None, LaunchId(1)) {
                Ok(plan) => plan.start().await.unwrap_err(),
                Err(reason) => reason,
            };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_log_that_is_a_pipe_without_a_reader_refuses_the_launch_and_one_with_a_reader_is_written()
{
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &log, mode).unwrap();
    let launcher = launcher(dir.path(), &["echo", "said"], Some(&log));
    let refused = timeout(LONG, launch(&launcher, Role::Relaunch, None)).await;
    let refused = refused.expect("nobody waits for a reader").unwrap_err();
    assert!(refused.contains("pipe: "), "{refused}");
    // Both ends, so that it opens at once.
    let mut reader = fs::File::options()
        .read(true)
        .write(true)
        .open(&log)
        .unwrap();
    let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
    let mut said = [0; 5];
    std::io::Read::read_exact(&mut reader, &mut said).unwrap();
    assert_eq!(&said, b"said\n");
}

#[tokio::test]
async fn a_process_that_cannot_be_started_leaves_no_file_for_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&program, executable).unwrap();
    let mut launcher = launcher(dir.path(), &[program.to_str().unwrap()], None);
    launcher.write_to(Outputs::open(dir.path()).unwrap());
    launch(&launcher, Role::Relaunch, None).await.unwrap_err();
    let left: Vec<_> = fs::read_dir(dir.path().join("output")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn launch(
    launcher: &Launcher,
    role: Role,
    deploy: Option<DeployId>,
) -> Result<(u32, Child), String> {
    launcher
        .plan("main", role, None, deploy, LaunchId(0xa1))?
        .start()
        .await
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
async fn a_child_that_ended_and_is_not_waited_for_is_dead() {
    let mut child = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let process = ProcessIdentity::of(child.id()).unwrap();
    let watch = Watch::open(&process).unwrap();
    child.kill().unwrap();
    timeout(LONG, watch.dead()).await.unwrap().unwrap();
    // Its pid is still taken, and so is its entry in `/proc`.
    assert!(Path::new(&format!("/proc/{}", process.pid)).exists());
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
    child.wait().unwrap();
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
}

#[tokio::test]
async fn a_process_of_another_host_boot_or_namespace_is_not_judged() {
    let mut process = ProcessIdentity::current().unwrap();
    // What a certificate says wins over what the process says of itself.
    process.host_name = "eu-1".parse().ok();
    assert!(matches!(Watch::open(&process), Err(WatchError::Elsewhere)));
    process.host_name = None;
    process.pid_namespace += 1;
    assert!(matches!(Watch::open(&process), Err(WatchError::Elsewhere)));
    process.pid_namespace -= 1;
    // Of another host, perhaps: there it may live.
    process.boot_id = "another".to_owned();
    assert!(matches!(Watch::open(&process), Err(WatchError::Elsewhere)));
    // A restored image of a machine may even have the same boot.
    let mut process = ProcessIdentity::current().unwrap();
    process.host = HostId(process.host.0 ^ 1);
    if ProcessIdentity::current().unwrap().host.is_said() {
        assert!(matches!(Watch::open(&process), Err(WatchError::Elsewhere)));
    }
    // Slaves from before the field do not say it.
    process.host = HostId(0);
    Watch::open(&process).unwrap();
    let nameless = ProcessIdentity::default();
    assert!(matches!(Watch::open(&nameless), Err(WatchError::Elsewhere)));
}

#[tokio::test]
async fn who_was_named_on_a_boot_that_is_over_is_dead() {
    let mut process = ProcessIdentity::current().unwrap();
    let this = process.boot_id.clone();
    Watch::open_again(&process, Some(&this)).unwrap();
    Watch::open_again(&process, Some("another")).unwrap();
    process.boot_id = "another".to_owned();
    for (boot, dead) in [(Some("another"), true), (Some(&this), false), (None, false)] {
        let opened = Watch::open_again(&process, boot);
        let judged = matches!(opened, Err(WatchError::Dead));
        assert_eq!(judged, dead, "the master before ran on {boot:?}");
    }
    // The master before ran on another host, which may still be up.
    process.host = HostId(process.host.0 ^ 1);
    if ProcessIdentity::current().unwrap().host.is_said() {
        let opened = Watch::open_again(&process, Some("another"));
        assert!(matches!(opened, Err(WatchError::Elsewhere)), "{opened:?}");
    }
    process.host = HostId(0);
    let opened = Watch::open_again(&process, Some("another"));
    assert!(matches!(opened, Err(WatchError::Dead)), "{opened:?}");
}

#[tokio::test]
async fn what_proc_does_not_show_is_not_dead() {
    let mut child = tokio::process::Command::new("sleep")
        .arg("1000")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let process = ProcessIdentity::of(child.id().unwrap()).unwrap();
    let hidden = hide(process.pid);
    assert!(matches!(Watch::open(&process), Err(WatchError::Unseen(_))));
    // The kernel named it: nothing needs to be read.
    let watch = Watch::of_peer(&process).unwrap();
    drop(hidden);
    Watch::open(&process).unwrap();
    child.kill().await.unwrap();
    timeout(LONG, watch.dead()).await.unwrap().unwrap();
    let _hidden = hide(process.pid);
    // No process has its pid: that needs no look at `/proc` either.
    assert!(matches!(Watch::open(&process), Err(WatchError::Dead)));
}

#[test]
fn a_hello_names_the_process_that_dialled_or_a_child_of_it() {
    let own = std::process::id();
    let child = |seconds: &str| {
        let child = std::process::Command::new("sleep").arg(seconds).spawn();
        let child = child.unwrap();
        let process = ProcessIdentity::of(child.id()).unwrap();
        (child, process)
    };
    let (mut one, first) = child("1000");
    let (mut two, second) = child("1001");
    let local = |pid| Dialled::Local(Some(pid));
    let master = second.pid;
    assert_eq!(may_be(&first, local(first.pid), master), Ok(()));
    assert_eq!(may_be(&first, local(own), master), Ok(()), "its parent");
    assert_eq!(may_be(&first, Dialled::Remote, master), Ok(()));
    for (dialled, says) in [
        (local(second.pid), "dialled"),
        (Dialled::Local(None), "in another one"),
    ] {
        let refused = may_be(&first, dialled, master).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    // The master itself, its parents, and what every process descends from.
    let this = ProcessIdentity::current().unwrap();
    let init = ProcessIdentity {
        pid: 1,
        ..this.clone()
    };
    for (process, says) in [
        (&second, "the master's own"),
        (&this, "started by"),
        (&init, "started by"),
    ] {
        for dialled in [local(process.pid), Dialled::Remote] {
            let refused = may_be(process, dialled, master).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
    let elsewhere = ProcessIdentity {
        pid_namespace: 1,
        ..second
    };
    assert_eq!(may_be(&elsewhere, Dialled::Local(None), master), Ok(()));
    for child in [&mut one, &mut two] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// As a service manager passes its own, and with the process that was launched.
#[tokio::test]
async fn a_process_of_a_slot_with_an_address_gets_its_socket_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("slave.log");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let script = "[ $LISTEN_PID = $$ ] && echo $LISTEN_FDS $LISTEN_FDNAMES $1 \
                  && readlink /proc/$$/fd/3 && readlink /proc/$$/fd/0";
    let command = ["sh", "-c", script, "sh", "a word"];
    let mut slot = slot(&command, Some(&log));
    slot.listen = Some(address);
    let mut launcher = launcher_of(dir.path(), slot);
    launcher.pass_on(Arc::new(Listeners::new(dir.path(), Vec::new())));
    let (pid, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
    assert!(is_of_launch(pid, pid));
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
    let said = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "1 main a word");
    assert!(lines[1].starts_with("socket:"), "{said}");
    assert_eq!(lines[2], "/dev/null");
    assert!(TcpListener::bind(address).is_err(), "the master has it too");

    let script = "echo ${LISTEN_FDS:-none} && ! [ -e /proc/$$/fd/3 ]";
    let other = self::launcher(dir.path(), &["sh", "-c", script], Some(&log));
    let (_, mut child) = launch(&other, Role::Relaunch, None).await.unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
}

#[tokio::test]
async fn a_slave_whose_address_another_process_has_is_launched_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slot = slot(&["sh", "-c", "[ -z $LISTEN_FDS ]"], None);
    slot.listen = Some(taken.local_addr().unwrap());
    let mut launcher = launcher_of(dir.path(), slot);
    launcher.pass_on(Arc::new(Listeners::new(dir.path(), Vec::new())));
    let (_, mut child) = launch(&launcher, Role::Relaunch, None).await.unwrap();
    assert_eq!(child.wait().await.0, EndedBy::Code(0));
}

fn launcher(dir: &Path, command: &[&str], log: Option<&Path>) -> Launcher {
    launcher_of(dir, slot(command, log))
}

fn slot(command: &[&str], log: Option<&Path>) -> Slot {
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    Slot {
        name: "main".to_owned(),
        command: (!command.is_empty()).then_some(command),
        shards: None,
        host: None,
        lease: None,
        env: BTreeMap::from([("OWN".to_owned(), "yes".to_owned())]),
        log: log.map(Path::to_owned),
        listen: None,
    }
}

fn launcher_of(dir: &Path, slot: Slot) -> Launcher {
    let secret = Secret::random().unwrap();
    Launcher::new(
        dir,
        Path::new("/r/slave.sock"),
        secret,
        &[slot],
        BTreeMap::new(),
    )
}
