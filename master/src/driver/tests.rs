#![allow(clippy::unwrap_used)]

mod agents;
mod connections;
mod disk;
mod rig;
mod strangers;

use std::{path::Path, sync::atomic::Ordering};

use baton_core::event::{Beside, DeployOrder, EndedBy, News};
use baton_protocol::{
    DeployId, Epoch, ProcessIdentity, Sequence, SequenceRanges, ShardId, SlaveId, Ticket, ToMaster,
    ToSlave, discord,
    message::{Checkpoint, CheckpointEntry, Hello, Pong, RefusedReason, Report},
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use self::rig::{LONG, Rig, Stage, hello};
use super::*;
use crate::{news::Stamped, process::Dialled};

/// The order of an operator; without words: the slot's own command.
fn deploy(
    slot: &str,
    command: &[&str],
    answer: Option<oneshot::Sender<Result<DeployId, String>>>,
) -> Notice {
    let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
    let order = DeployOrder {
        expect: None,
        slot: slot.to_owned(),
        command: (!command.is_empty()).then_some(command),
        canary: 1,
        width: 1,
        soak: Duration::ZERO,
        late_seal: false,
        beside: Beside::Nothing,
    };
    Notice::Deploy {
        order,
        build: None,
        answer,
    }
}

#[tokio::test]
async fn a_slave_whose_process_ended_is_known_dead() {
    let mut rig = Rig::start(None);
    let mut process = tokio::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let identity = ProcessIdentity::of(process.id().unwrap()).unwrap();
    let mut slave = rig
        .join(Hello {
            process: identity,
            ..hello(1)
        })
        .await;
    slave
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    assert_eq!(rig.look().await.slaves.len(), 1);
    process.kill().await.unwrap();
    timeout(LONG, slave.end()).await.unwrap();
    rig.until(|view| view.slaves.is_empty()).await;
}

#[tokio::test]
async fn a_death_is_told_once_and_with_its_cause() {
    let (deaths, _) = deaths_of("echo $$ >> {pids}; exec sleep 1000").await;
    assert_eq!(deaths, [EndedBy::Signal(9)]);
}

#[tokio::test]
async fn a_command_that_leaves_its_slave_behind_is_not_its_death() {
    let script = "sleep 1000 & echo $! >> {pids}; until [ -e {joined} ]; do sleep 0.01; done";
    let (deaths, early) = deaths_of(script).await;
    assert_eq!(early, 0, "the slave lives");
    assert_eq!(deaths, [EndedBy::Unknown]);
    // A shell that waits for it knows.
    let (deaths, _) = deaths_of("sleep 1000 & echo $! >> {pids}; wait $!").await;
    assert_eq!(deaths, [EndedBy::Code(137)]);
}

/// A command that goes into the background, out of its process group, and leaves its slave
/// behind: that is no failed launch, and no death.
#[tokio::test]
async fn a_slave_that_left_the_group_of_its_launch_is_known_by_the_launch_that_it_names() {
    let script = "echo $BATON_LAUNCH > {launch}; setsid sleep 1000 & echo $! >> {pids}; \
                  while [ ! -e {joined} ]; do sleep 0.01; done";
    let (deaths, early) = deaths_of(script).await;
    assert_eq!(early, 0, "what was launched came to nothing");
    assert_eq!(deaths, [EndedBy::Unknown]);
}

/// What is told of the end of a slave that joins from this script and is killed, and how
/// many times before it was.
async fn deaths_of(script: &str) -> (Vec<EndedBy>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let files = ["pids", "joined", "launch", "shell"].map(|name| dir.path().join(name));
    let [pids, joined, launch, shell] = files;
    let goes_away = script.contains("{joined}");
    std::fs::write(&pids, "").unwrap();
    let script = script.replace("{pids}", &pids.display().to_string());
    let script = script.replace("{joined}", &joined.display().to_string());
    let script = script.replace("{launch}", &launch.display().to_string());
    // A process that is launched after the first one ends at once, also when the folder
    // is gone.
    let first = format!("[ -e {0} ] && [ ! -s {0} ]", pids.display());
    let script = format!("{first} || exit 1; echo $$ > {}; {script}", shell.display());
    let mut rig = Rig::start_with(Some(["sh", "-c", &script].map(str::to_owned).to_vec()));
    let launched = async {
        while pids_in(&pids).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, launched).await.unwrap();
    let pid = pids_in(&pids)[0];
    rig.dialler = Dialled::Local(Some(pid));
    let process = ProcessIdentity::of(pid).unwrap();
    let said = std::fs::read_to_string(&launch).unwrap_or_default();
    let mut slave = rig
        .join(Hello {
            process,
            launch: said.trim().parse().unwrap_or_default(),
            ..hello(1)
        })
        .await;
    slave
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    std::fs::write(&joined, "").unwrap();
    if goes_away {
        let process = Path::new("/proc").join(pids_in(&shell)[0].to_string());
        let gone = async {
            while process.exists() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, gone).await.unwrap();
    }
    // Time for what must not be told.
    sleep(Duration::from_millis(100)).await;
    let early = told_deaths(&mut rig, &[None, Some(SlaveId(1))]).len();
    kill(pid);
    // Its connection stays open: the end of its process is known first.
    rig.until(|view| view.slaves.is_empty()).await;
    sleep(Duration::from_millis(100)).await;
    let deaths = told_deaths(&mut rig, &[Some(SlaveId(1))]);
    pids_in(&pids).into_iter().for_each(kill);
    (deaths, early)
}

/// What was told of the ends of these; `None`: of what ended before it joined.
fn told_deaths(rig: &mut Rig, of: &[Option<SlaveId>]) -> Vec<EndedBy> {
    let told = std::iter::from_fn(|| rig.news.try_recv().ok());
    told.filter_map(|told| {
        let News::SlaveEnded(death) = &told.news else {
            return None;
        };
        of.contains(&death.slave).then_some(death.ending)
    })
    .collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn the_last_words_of_a_dead_slave_count() {
    let mut rig = Rig::start(None);
    let mut process = tokio::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let process_of_first = ProcessIdentity::of(process.id().unwrap()).unwrap();
    let mut first = rig
        .join(Hello {
            process: process_of_first,
            ..hello(1)
        })
        .await;
    first
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    process.kill().await.unwrap();
    // Time for the pidfd to be ready before what is on the way is read.
    sleep(Duration::from_millis(50)).await;
    let shards = [0, 1].map(|shard| CheckpointEntry {
        shard: ShardId(shard),
        epoch: Epoch(1),
        handled: Sequence(7),
        finished_above: SequenceRanges::new(),
        received: Sequence(0),
        session: Some(Ticket {
            shard: ShardId(shard),
            session: discord::Session::with_id("session").seal(),
            handled: Sequence(7),
            ..Ticket::default()
        }),
    });
    let checkpoint = Checkpoint {
        shards: shards.to_vec(),
    };
    first.say(ToMaster::Checkpoint(checkpoint)).await;
    drop(first);
    rig.until(|view| view.slaves.is_empty()).await;
    let mut second = rig.join(hello(2)).await;
    let order = |message: &ToSlave| matches!(message, ToSlave::Resume(_) | ToSlave::FullStart(_));
    loop {
        let message = timeout(LONG, second.hear()).await.unwrap();
        if order(&message) {
            assert!(matches!(message, ToSlave::Resume(_)), "{message:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_launched_process_that_ends_before_it_joins_is_a_failed_launch() {
    let mut rig = Rig::start(Some("false"));
    rig.until(|view| view.slots[0].failed_launches > 0).await;
}

#[tokio::test]
async fn a_candidate_that_never_says_hello_leaves_no_process_behind() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let mut rig = Rig::start(Some("false"));
    // A build that hangs, with a child of its own.
    let script = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
    let deploy = deploy("main", &["sh", "-c", &script], None);
    rig.notices.send(deploy).await.unwrap();
    let ended = async {
        while !matches!(
            rig.news.recv().await.unwrap().news,
            News::DeployEnded { .. }
        ) {}
    };
    timeout(LONG, ended).await.unwrap();
    let processes = pids_in(&pids);
    assert_eq!(processes.len(), 2);
    let dead = async {
        while processes.iter().any(|&pid| is_alive(pid)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, dead).await.unwrap();
}

#[tokio::test]
async fn a_slot_gets_its_next_process_when_the_one_before_is_known_dead() {
    let dir = tempfile::tempdir().unwrap();
    let [pids, overlap] = ["pids", "overlap"].map(|name| dir.path().join(name));
    std::fs::write(&pids, "").unwrap();
    let (pids_name, overlap_name) = (pids.display(), overlap.display());
    let script = format!(
        "for pid in $(cat {pids_name}); do kill -0 $pid 2>/dev/null && touch {overlap_name}; done; \
         echo $$ >> {pids_name}; exec sleep 1000"
    );
    let _rig = Rig::start_with(Some(["sh", "-c", &script].map(str::to_owned).to_vec()));
    let third = async {
        while pids_in(&pids).len() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, third).await.unwrap();
    let processes = pids_in(&pids);
    processes.iter().copied().for_each(kill);
    assert!(!overlap.exists(), "two of {processes:?} at a time");
}

fn pids_in(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// A process that ended and is not waited for is dead too.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test(start_paused = true)]
async fn a_paused_master_launches_nothing_for_the_time_it_did_not_run() {
    let mut rig = Rig::start(Some("false"));
    let launching = |told: Arc<Stamped>| matches!(told.news, News::Launching { .. });
    // Half of the contact time, then an hour in which no task runs.
    sleep(Duration::from_millis(500)).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    rig.look().await;
    assert!(!rig.news.try_recv().is_ok_and(launching));
    sleep(Duration::from_millis(900)).await;
    assert!(
        !rig.news.try_recv().is_ok_and(launching),
        "contact starts again"
    );
    timeout(LONG, async {
        while !launching(rig.news.recv().await.unwrap()) {}
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered() {
    let rig = Rig::start(None);
    let (answer, answered) = oneshot::channel();
    let deploy = deploy("elsewhere", &[], Some(answer));
    rig.notices.send(deploy).await.unwrap();
    let reason = answered.await.unwrap().unwrap_err();
    assert!(reason.contains("elsewhere"), "{reason}");

    let (answer, answered) = oneshot::channel();
    rig.notices
        .send(Notice::Abort { slot: None, answer })
        .await
        .unwrap();
    assert!(answered.await.unwrap().is_err(), "no deploy runs");
}

#[tokio::test]
async fn whoever_asked_for_a_deploy_is_answered_when_the_observers_know_what_it_brings() {
    let mut rig = Rig::start(Some("/nonexistent/old"));
    let mut slave = rig.join(hello(1)).await;
    slave
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    let (answer, answered) = oneshot::channel();
    let deploy = deploy("main", &["/nonexistent/new"], Some(answer));
    rig.notices.send(deploy).await.unwrap();
    let deploy = answered.await.unwrap().unwrap();
    let heard = std::iter::from_fn(|| rig.news.try_recv().ok());
    let accepted = heard.into_iter().find(
        |told| matches!(&told.news, News::DeployAccepted { deploy: id, .. } if *id == deploy),
    );
    let brought = accepted
        .expect("it was told by then")
        .brought
        .clone()
        .unwrap();
    assert_eq!(brought.command.unwrap(), ["/nonexistent/new"]);
    assert_eq!(brought.before.unwrap(), ["/nonexistent/old"]);
}

#[tokio::test]
async fn a_deploy_that_goes_on_under_the_next_master_brings_what_it_was_to_bring() {
    let words = |word: &str| vec![word.to_owned()];
    for (command, goes_on, due) in [
        (Some("new"), true, Some("new")),
        (None, true, Some("old")),
        // Somebody started its slave.
        (None, false, None),
    ] {
        let mut stage = Stage::new(Some(words("old")));
        stage.driver.tell(News::DeployAccepted {
            request: None,
            deploy: DeployId(4),
            slot: "main".to_owned(),
            from: None,
            command: command.map(words),
            goes_on,
        });
        let brought = stage.news.try_recv().unwrap().brought.clone();
        let command = brought.clone().and_then(|brought| brought.command);
        assert_eq!(command, due.map(words));
        let before = brought.and_then(|brought| brought.before);
        assert_eq!(before, due.map(|_| words("old")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_master_that_is_asked_to_leave_leaves_and_its_slaves_are_only_disconnected() {
    let mut rig = Rig::start(None);
    let mut slave = rig.join(hello(1)).await;
    slave
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    rig.notices.send(Notice::Leave).await.unwrap();
    let ending = timeout(LONG, &mut rig.driver).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Left);
    let mut heard = Vec::new();
    while let Some(message) = slave.next().await {
        heard.push(message);
    }
    assert!(!heard.contains(&ToSlave::Shutdown), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_master_that_lost_one_of_its_tasks_ends_and_says_which() {
    let mut rig = Rig::start(None);
    rig.notices.send(Notice::Broken("listener")).await.unwrap();
    let ending = timeout(LONG, &mut rig.driver).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Broken("listener"));

    let mut rig = Rig::start(None);
    rig.disk.broken.store(true, Ordering::SeqCst);
    let _slave = rig.join(hello(1)).await;
    let ending = timeout(LONG, &mut rig.driver).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Broken("journal"));
}

/// A process of its own, which ends with the test.
fn process() -> (tokio::process::Child, ProcessIdentity) {
    let mut command = tokio::process::Command::new("sleep");
    let child = command.arg("1000").kill_on_drop(true).spawn().unwrap();
    let process = ProcessIdentity::of(child.id().unwrap()).unwrap();
    (child, process)
}
