//! State that outlives its process.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, Once},
    time::Duration,
};

use crate::common::{FakeMaster, LONG, Peer, Recorder, Running, config, discord, run, until};
use baton_discord::{Discord, Fault, FaultName, What, When};
use baton_protocol::{
    SequenceRanges, ShardId, Ticket,
    message::{IdentifyCause, ResumeAfter},
};
use baton_slave::{Mark, OnLostState, SlaveConfig, Snapshots, StateStatus};
use tempfile::TempDir;

/// A fleet of one shard whose first owner serves and writes snapshots.
struct Scene {
    discord: Discord,
    master: FakeMaster,
    dir: TempDir,
    slave: Running,
    peer: Peer,
}

async fn scene() -> Scene {
    let discord = discord(|config| {
        // So many guilds that a snapshot is of use however late it is read.
        config.guilds_per_shard = 40;
        config.members_per_guild = 10;
    })
    .await;
    let master = FakeMaster::new(1).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&master, &discord, dir.path());
    let slave = run(settings, Recorder::with_cache());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    crate::common::traffic(&discord, 200.0);
    Scene {
        discord,
        master,
        dir,
        slave,
        peer,
    }
}

fn settings(master: &FakeMaster, discord: &Discord, dir: &Path) -> SlaveConfig {
    let mut settings = config(master, discord);
    settings.large_threshold = 250;
    settings.snapshots = Some(Snapshots {
        every: Duration::from_millis(150),
        ..Snapshots::new(dir)
    });
    settings
}

impl Scene {
    fn file(&self) -> PathBuf {
        self.dir.path().join("shard-0.snapshot")
    }

    /// Waits for the next snapshot, and then for more events.
    async fn writes(&self) {
        let before = stands(&self.file());
        until("a snapshot", || stands(&self.file()) > before).await;
        flows(&self.slave).await;
    }

    /// The owner dies, its snapshot somewhat behind what the master knows of the
    /// shard.
    async fn dies(&mut self) -> Ticket {
        self.writes().await;
        let snapshot = fs::read(self.file()).unwrap();
        let behind = stands(&self.file());
        let ticket = loop {
            flows(&self.slave).await;
            self.peer.catch_up().await;
            let ticket = self.peer.checkpoints.get(&ShardId(0));
            if let Some(ticket) = ticket.filter(|ticket| ticket.handled.get() > behind) {
                break ticket.clone();
            }
        };
        flows(&self.slave).await;
        self.is_killed().await;
        fs::write(self.file(), snapshot).unwrap();
        ticket
    }

    /// Ends the owner, as far as a test can kill a task of its own process: a thread of
    /// it may still write a snapshot, so what follows has a folder of its own, empty.
    async fn is_killed(&mut self) {
        self.slave.task.abort();
        until("the old connection to end", || {
            self.discord.sessions_connected() == 0
        })
        .await;
        self.dir = tempfile::tempdir().unwrap();
    }

    /// The next owner, with nothing yet.
    async fn next(&self, change: impl FnOnce(&mut SlaveConfig)) -> (Running, Peer) {
        let mut settings = settings(&self.master, &self.discord, self.dir.path());
        change(&mut settings);
        let slave = run(settings, Recorder::with_cache());
        (slave, self.master.accept().await)
    }
}

async fn flows(slave: &Running) {
    let told = || slave.bot.told.lock().unwrap().len();
    let before = told();
    until("more events", || told() > before + 20).await;
}

fn states(slave: &Running) -> Vec<StateStatus> {
    let states = slave.bot.states.lock().unwrap();
    states.iter().map(|(_, state)| *state).collect()
}

/// Epoch and sequence in a file's header; zero without a file.
fn header(file: &Path) -> (u64, u64) {
    let bytes = fs::read(file).unwrap_or_default();
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8);
        bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
    };
    (number(16), number(40))
}

fn stands(file: &Path) -> u64 {
    header(file).1
}

/// What was logged of this folder.
fn logged(dir: &Path) -> Vec<String> {
    let log = LOG.lock().unwrap();
    let text = String::from_utf8_lossy(&log);
    let name = dir.to_str().unwrap();
    let lines = text.lines().filter(|line| line.contains(name));
    lines.map(str::to_owned).collect()
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn log() {
    struct Log;
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_the_state_is_complete_and_true_and_nothing_is_handed_out_twice() {
    let mut scene = scene().await;
    let ticket = scene.dies().await;
    let stood = stands(&scene.file());
    let (slave, mut peer) = scene.next(|_| {}).await;
    peer.resume(2, ResumeAfter::Death, ticket.clone()).await;
    flows(&slave).await;
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(states(&slave), [StateStatus::Complete]);
    assert_eq!(slave.counts().await.snapshots_used, 1);
    assert_eq!(scene.discord.counters().total.identifies, 1);
    // RESUME went below what was handled, as far as the state was behind.
    let resumes = crate::common::logged(&scene.discord, What::Resume);
    assert!(stood < ticket.handled.get());
    assert_eq!(resumes.last().unwrap().detail, format!("seq {stood}"));
    let ledger = scene.discord.ledger(0, usize::MAX);
    let resumed = ledger
        .iter()
        .rfind(|entry| entry.kind.name() == "RESUMED")
        .unwrap();
    for told in slave.bot.told() {
        assert!(told.states == 1 && told.sequence > ticket.handled.get());
        let replayed = told.sequence < resumed.seq;
        assert_eq!(
            told.mark == Mark::MayRepeat,
            replayed,
            "{told:?}, RESUMED has {}",
            resumed.seq
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_one_after_another_are_survived_with_the_state_of_the_last_owner() {
    let mut scene = scene().await;
    for epoch in 2..5 {
        let ticket = scene.dies().await;
        let (slave, mut peer) = scene.next(|_| {}).await;
        peer.resume(epoch, ResumeAfter::Death, ticket).await;
        // The new owner writes its own over the one that it began with.
        until("a snapshot of the new owner", || {
            header(&scene.file()).0 == epoch
        })
        .await;
        assert_eq!(states(&slave), [StateStatus::Complete]);
        (scene.slave, scene.peer) = (slave, peer);
    }
    let moment = crate::common::moment(&scene.discord, 0, &scene.slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

/// An owner dies, its snapshot is spoiled: the bot hears that its state is lost
/// before any event, the log says once which file it was and why.
async fn spoiled(why: &str, change: fn(&mut Snapshots), spoil: impl FnOnce(&Path)) {
    log();
    let mut scene = scene().await;
    let ticket = scene.dies().await;
    spoil(&scene.file());
    let (slave, mut peer) = scene
        .next(|settings| change(settings.snapshots.as_mut().unwrap()))
        .await;
    peer.resume(2, ResumeAfter::Death, ticket).await;
    flows(&slave).await;
    assert_eq!(states(&slave), [StateStatus::Lost]);
    assert!(slave.bot.told().iter().all(|told| told.states == 1));
    assert_eq!(scene.discord.counters().total.identifies, 1);
    let lines = logged(scene.dir.path());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" WARN "), "{lines:?}");
    assert!(lines[0].contains(why), "{lines:?}");
    // Lost state is not written down as if it were whole.
    let before = fs::read(scene.file()).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(fs::read(scene.file()).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_not_used_and_the_bot_is_told() {
    spoiled(
        "it is damaged",
        |_| {},
        |file| {
            let mut bytes = fs::read(file).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(file, bytes).unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_snapshot_is_not_used_and_the_bot_is_told() {
    spoiled(
        "it is torn",
        |_| {},
        |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_fleet_is_not_used_and_the_bot_is_told() {
    let other = scene().await;
    other.writes().await;
    let foreign = fs::read(other.file()).unwrap();
    spoiled(
        "it is of another session",
        |_| {},
        |file| {
            fs::write(file, foreign).unwrap();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_too_far_behind_is_not_used_and_the_bot_is_told() {
    spoiled(
        " behind, 0 can be replayed",
        |settings| settings.max_behind = 0,
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_too_old_is_not_used_and_the_bot_is_told() {
    let old = |settings: &mut Snapshots| settings.max_age = Duration::ZERO;
    spoiled(" s old, ", old, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_wants_a_new_session_for_lost_state_gets_one_and_complete_state() {
    let mut scene = scene().await;
    let ticket = scene.dies().await;
    fs::write(scene.file(), "garbage").unwrap();
    let identify = |settings: &mut SlaveConfig| settings.on_lost_state = OnLostState::Identify;
    let (slave, mut peer) = scene.next(identify).await;
    peer.give(2, ResumeAfter::Death, ticket).await;
    peer.serving(0).await;
    flows(&slave).await;
    assert_eq!(peer.identifies.len(), 1);
    assert_eq!(peer.identifies[0].cause, IdentifyCause::StateLost);
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(states(&slave), [StateStatus::Complete]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_below_what_discord_kept_costs_one_identify_and_the_state_is_complete() {
    let mut scene = scene().await;
    let ticket = scene.dies().await;
    scene
        .discord
        .fault(Fault::new(FaultName::Trim).at(When::Resume))
        .unwrap();
    let (slave, mut peer) = scene.next(|_| {}).await;
    peer.give(2, ResumeAfter::Death, ticket).await;
    peer.serving(0).await;
    flows(&slave).await;
    assert_eq!(peer.identifies.len(), 1);
    assert_eq!(peer.identifies[0].cause, IdentifyCause::SessionLost);
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(states(&slave), [StateStatus::Complete]);
}

/// A snapshot directly below a number that no replay brings again: the RESUMED that
/// the dead owner heard. `quiet`: and nothing came behind it.
async fn number_never_comes(quiet: bool) -> (Scene, Running) {
    let mut scene = scene().await;
    scene.writes().await;
    crate::common::moment(&scene.discord, 0, &scene.slave.bot).await;
    let last = *scene.slave.bot.sequences().last().unwrap();
    until("a snapshot of all", || stands(&scene.file()) == last).await;
    let snapshot = fs::read(scene.file()).unwrap();
    // RESUMED takes the next number.
    scene.discord.fault(Fault::new(FaultName::Op7)).unwrap();
    scene.peer.serving(0).await;
    let ticket = if quiet {
        let ticket = loop {
            scene.peer.catch_up().await;
            let ticket = &scene.peer.checkpoints[&ShardId(0)];
            if ticket.handled.get() > last {
                break ticket.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        scene.is_killed().await;
        ticket
    } else {
        crate::common::traffic(&scene.discord, 200.0);
        scene.dies().await
    };
    fs::write(scene.file(), snapshot).unwrap();
    assert!(stands(&scene.file()) < ticket.handled.get());
    // A new session would be asked for at once, and the test would see it.
    let identify = |settings: &mut SlaveConfig| settings.on_lost_state = OnLostState::Identify;
    let (slave, mut peer) = scene.next(identify).await;
    peer.resume(2, ResumeAfter::Death, ticket).await;
    crate::common::traffic(&scene.discord, 200.0);
    flows(&slave).await;
    (scene, slave)
}

/// The state of the dead owner, brought up by the replay.
async fn is_whole(scene: &Scene, slave: &Running) {
    assert_eq!(states(slave), [StateStatus::Complete]);
    assert!(slave.bot.told().iter().all(|told| told.states == 1));
    assert_eq!(scene.discord.counters().total.identifies, 1);
    assert_eq!(slave.counts().await.snapshots_used, 1);
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_no_replay_brings_proves_no_hole_behind_a_snapshot() {
    let (scene, slave) = number_never_comes(false).await;
    is_whole(&scene, &slave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_nothing_makes_a_snapshot_whole_that_is_a_number_behind() {
    let (scene, slave) = number_never_comes(true).await;
    is_whole(&scene, &slave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_left_by_itself_is_followed_with_its_state() {
    let mut scene = scene().await;
    scene.writes().await;
    let ticket = scene.peer.seal(0, 1, LONG).await;
    scene.peer.settled(0).await;
    scene.slave.stop.cancel();
    let (slave, mut peer) = scene.next(|_| {}).await;
    peer.resume(2, ResumeAfter::Seal, ticket).await;
    peer.settle(0, 1, SequenceRanges::new()).await;
    flows(&slave).await;
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(states(&slave), [StateStatus::Complete]);
    assert!(slave.bot.told().iter().all(|told| told.mark == Mark::None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_while_the_snapshot_is_read_gives_the_ticket_on_and_half_a_state_is_none() {
    let mut scene = scene().await;
    let ticket = scene.dies().await;
    let (slave, mut peer) = scene.next(|_| {}).await;
    // Both orders are there before the first piece is.
    peer.give(2, ResumeAfter::Death, ticket.clone()).await;
    let given = peer.seal(0, 2, LONG).await;
    assert!(given.handled >= ticket.handled && given.session.is_same(&ticket.session));
    peer.settled(0).await;
    peer.resume(3, ResumeAfter::Death, given).await;
    flows(&slave).await;
    let moment = crate::common::moment(&scene.discord, 0, &slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert!(
        states(&slave)
            .iter()
            .all(|state| *state == StateStatus::Complete)
    );
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_snapshots_cannot_be_written_the_shard_serves_and_warns_less_and_less() {
    log();
    let scene = scene().await;
    let file = scene.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("inside");
    let master = FakeMaster::new(1).await;
    let slave = run(
        settings(&master, &scene.discord, &inside),
        Recorder::with_cache(),
    );
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    for _ in 0..3 {
        flows(&slave).await;
    }
    until("failures", || logged(&inside).len() >= 3).await;
    let lines = logged(&inside);
    assert!(
        lines.iter().all(|line| line.contains("cannot be written")),
        "{lines:?}"
    );
    flows(&slave).await;
    assert!(slave.counts().await.snapshots_failed >= 2);
    assert_eq!(slave.counts().await.crowded, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_to_which_nothing_happens_is_not_written_again() {
    let scene = scene().await;
    scene.writes().await;
    crate::common::moment(&scene.discord, 0, &scene.slave.bot).await;
    let last = *scene.slave.bot.sequences().last().unwrap();
    until("a snapshot of all", || stands(&scene.file()) == last).await;
    let at = || fs::metadata(scene.file()).unwrap().modified().unwrap();
    let written = at();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(at(), written);
}
