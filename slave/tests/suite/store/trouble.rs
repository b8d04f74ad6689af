//! A store that is full, held up, damaged, taken away, or another's.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use baton_protocol::{
    Version,
    message::{CopyState, Ping, Step, StoreRoom},
};
use baton_slave::{OnLostState, store::Guilds};
use baton_store::{Options, Owner, Store};
use rustix::fs::{FlockOperation, flock};
use tokio::time::timeout;

use super::*;
use crate::common::all_once;

/// Waits until changes were refused so often.
async fn is_refused(side: &Side, times: u64) {
    let refused = timeout(LONG, async {
        while side.slave.counts().await.refused < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(refused.await.is_ok(), "never refused {times} times");
}

/// What a slave says of its store, once it says this.
async fn room(side: &mut Side, says: impl Fn(&StoreRoom) -> bool) -> StoreRoom {
    let asks = async {
        loop {
            side.peer
                .order(ToSlave::Ping(Ping {
                    number: 1 << 40,
                    heard: 0,
                }))
                .await;
            let pong = side.peer.wait("a pong", |message| match message {
                ToMaster::Pong(pong) => Some(pong.store.clone()),
                _ => None,
            });
            match pong.await {
                Some(room) if says(&room) => return room,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let said = timeout(LONG, asks).await;
    *said.expect("it says what is wanted")
}

/// Gives permits until something is so.
async fn answers(peer: &mut Peer, is_so: impl AsyncFn() -> bool) {
    let answers = async {
        while !is_so().await {
            peer.catch_up().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(LONG, answers).await.is_ok(), "it never is");
}

/// The data file of shard 0.
fn data(scene: &Scene) -> PathBuf {
    let mut states = fs::read_dir(scene.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let state = states.find(|path| path.is_dir()).expect("a state");
    state.join("data.mdb")
}

/// A state that is too large for its store, whose connection is closed after so long.
async fn without_room(crowded: Duration) -> (Scene, usize) {
    let discord = discord(|config| {
        config.guilds_per_shard = 40;
        config.state_bytes_per_guild = 60_000;
    })
    .await;
    let mut scene = Scene {
        discord,
        master: FakeMaster::new(1).await,
        dir: tempfile::tempdir().unwrap(),
        sides: Vec::new(),
    };
    let dir = scene.dir.path().join("store");
    let small = Recorder {
        store: Some(Guilds::new().with_dir(&dir).with_limit(1 << 20)),
        ..Recorder::default()
    };
    let small = scene
        .joins_as(small, |config| config.timings.crowded = crowded)
        .await;
    scene.sides[small].peer.start(&[0], 1, 1).await;
    is_refused(&scene.sides[small], 3).await;
    (scene, small)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_is_not_handed_out_and_waits_for_a_process_with_more() {
    let (mut scene, small) = without_room(Duration::from_millis(300)).await;
    let room_said = room(&mut scene.sides[small], |room| {
        room.held_up == 1 && room.held_up_ms > 400 && room.shards == 1
    });
    let room_said = room_said.await;
    let why = &room_said.held_up_by;
    assert!(
        why.contains("raise the limit") && why.contains(&room_said.dir),
        "{why}"
    );
    assert_eq!((room_said.limit, room_said.set_aside), (1 << 20, 0));
    let used = room_said.fullest_used;
    assert!(used > 0 && used <= room_said.fullest_bytes, "{room_said:?}");
    assert!(room_said.free > 0 && room_said.whole >= room_said.free);
    // It closes and resumes, and nothing comes of it.
    let connects = || scene.discord.counters().total.connects;
    let (before, told) = (connects(), scene.sides[small].slave.bot.told().len());
    until("another connection", || connects() > before + 1).await;
    assert_eq!(scene.sides[small].slave.bot.told().len(), told);
    assert!(told < 40, "{told}");
    let stands = scene.sides[small].slave.bot.pieces(ShardId(0)).unwrap();
    assert_eq!(stands.len(), 40, "those that READY names, torn is none");
    let peer = &mut scene.sides[small].peer;
    peer.order(ToSlave::Ping(Ping {
        number: 1,
        heard: 0,
    }))
    .await;
    let said = peer.wait("a pong", |message| match message {
        ToMaster::Pong(pong) => Some((pong.full_ms, pong.full_store_ms)),
        _ => None,
    });
    let (all, store) = said.await;
    assert!(
        all > 300 && all == store,
        "{store} of {all} ms because of it"
    );

    let large = scene.joins().await;
    scene.hands_over(small, large, 2).await;
    traffic(&scene.discord, 500.0);
    scene.flows(large).await;
    scene.is_exact(large).await;
    assert_eq!(scene.states(large), [StateStatus::Complete]);
    let waits = room(&mut scene.sides[large], |room| room.shards == 1).await;
    assert_eq!((waits.held_up, &*waits.held_up_by), (0, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_is_not_tried_for_a_bot_that_has_none_either() {
    let (scene, small) = without_room(LONG).await;
    let side = &scene.sides[small];
    let handle = side.slave.bot.handle.lock().unwrap().clone();
    let held = handle.expect("READY was handed out").hold();
    let refused = async || side.slave.counts().await.refused;
    let rests = timeout(LONG, async {
        loop {
            let before = refused().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if refused().await == before {
                return before;
            }
        }
    });
    let before = rests.await.expect("it is tried again and again");
    drop(held);
    is_refused(side, before + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_process_is_in_the_middle_of_a_change_events_wait_and_other_shards_do_not() {
    let mut scene = Scene::new(|config| config.shards = 2).await;
    scene.sides[0].peer.start(&[1], 1, 2).await;
    let file = fs::File::open(data(&scene)).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    is_refused(&scene.sides[0], 1).await;
    let of = |shard| {
        let told = scene.sides[0].slave.bot.told();
        told.iter().filter(|told| told.shard == shard).count()
    };
    let (waits, flows) = (of(0), of(1));
    until("events of the other", || of(1) > flows + 20).await;
    assert_eq!(of(0), waits);
    flock(&file, FlockOperation::Unlock).unwrap();
    until("events of both", || of(0) > waits + 20).await;
    for shard in [0, 1] {
        let moment = moment(&scene.discord, shard, &scene.sides[0].slave.bot).await;
        assert_eq!(moment.difference(), None);
    }
    let connects = scene.discord.counters().total.connects;
    assert_eq!(connects, 2, "nothing was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_finds_no_room_costs_no_more_identifies_before_there_is_room() {
    let mut scene = Scene {
        discord: discord(|_| {}).await,
        master: FakeMaster::new(1).await,
        dir: tempfile::tempdir().unwrap(),
        sides: Vec::new(),
    };
    let bot = Recorder::with_store(&scene.dir.path().join("store"));
    let side = scene
        .joins_as(bot, |config| {
            config.timings.crowded = Duration::from_millis(200)
        })
        .await;
    scene.sides[side].peer.start(&[0], 1, 1).await;
    traffic(&scene.discord, 500.0);
    scene.flows(side).await;
    let total = || scene.discord.counters().total;
    // Quiet: READY is the first to find no room.
    moment(&scene.discord, 0, &scene.sides[side].slave.bot).await;
    let file = fs::File::open(data(&scene)).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    scene
        .discord
        .fault(Fault::new(FaultName::Op9False))
        .unwrap();
    let refused = scene.sides[side].slave.counts().await.refused;
    let Side { slave, peer } = &mut scene.sides[side];
    answers(peer, async || slave.counts().await.refused > refused + 4).await;
    assert_eq!(
        total().identifies,
        2,
        "one was refused, and no other asked for"
    );
    let steps = peer.steps(0).into_iter();
    let lost = steps.filter(|step| *step == Step::Reconnecting).count();
    assert_eq!(lost, 1, "the connection on which it was refused");
    flock(&file, FlockOperation::Unlock).unwrap();
    traffic(&scene.discord, 500.0);
    let told = slave.bot.told().len();
    answers(peer, async || slave.bot.told().len() > told + 20).await;
    assert_eq!(total().identifies, 3);
    let moment = moment(&scene.discord, 0, &scene.sides[side].slave.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_removed_under_its_owner_is_lost_and_no_event_is() {
    let scene = Scene::new(|_| {}).await;
    fs::remove_dir_all(scene.folder()).unwrap();
    until("the word", || scene.states(0).len() == 2).await;
    assert_eq!(scene.states(0), [StateStatus::Complete, StateStatus::Lost]);
    scene.flows(0).await;
    all_once(&scene.discord, &[&scene.sides[0].slave.bot]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_set_aside_and_a_bot_that_wants_to_gets_everything_anew() {
    let mut scene = Scene::new(|_| {}).await;
    let dir = scene.dir.path().join("store");
    let new = scene
        .joins_as(Recorder::with_store(&dir), |config| {
            config.on_lost_state = OnLostState::Identify;
        })
        .await;
    let ticket = scene.sides[0].peer.seal(0, 1, LONG).await;
    // It is damaged while nobody has it open.
    let (data, folder) = (data(&scene), scene.folder());
    let Side { slave, peer } = scene.sides.remove(0);
    drop(peer);
    slave.stop.cancel();
    slave.ends().await.unwrap();
    fs::write(&data, b"not a store").unwrap();
    let new = new - 1;
    scene.sides[new]
        .peer
        .give(2, ResumeAfter::Seal, ticket)
        .await;
    scene.sides[new].peer.serving(0).await;
    scene.flows(new).await;
    let moment = moment(&scene.discord, 0, &scene.sides[new].slave.bot).await;
    assert_eq!(moment.difference(), None);
    assert_eq!(scene.states(new), [StateStatus::Complete]);
    assert_eq!(scene.discord.counters().total.identifies, 2);
    let aside = fs::read_dir(folder).unwrap();
    let mut aside = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(aside.any(|name| name.starts_with("damaged-")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_was_lost_is_not_taken_for_whole_by_the_next_owner_nor_when_taken_back() {
    let mut scene = Scene::new(|_| {}).await;
    fs::remove_dir_all(scene.folder()).unwrap();
    until("the word", || {
        scene.states(0).last() == Some(&StateStatus::Lost)
    })
    .await;
    scene.flows(0).await;
    let new = scene.joins().await;
    scene.hands_over(0, new, 2).await;
    scene.flows(new).await;
    scene.hands_over(new, 0, 3).await;
    assert_eq!(scene.states(new), [StateStatus::Lost]);
    assert_eq!(scene.states(0).last(), Some(&StateStatus::Lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_state_another_process_claimed_hands_nothing_out_and_says_so() {
    let mut scene = Scene::new(|_| {}).await;
    let fleet = scene.sides[0].slave.bot.store.as_ref().unwrap();
    let fleet = fleet.dir().unwrap().to_owned();
    let later = Store::open(&fleet, ShardId(0), Options::default()).unwrap();
    // Whatever was in hand at this moment is through.
    let claimed = later.claim(Epoch(9), Owner([9; 16])).unwrap();
    let detail = scene.sides[0]
        .peer
        .wait("that it is not its own", |message| match message {
            ToMaster::Failed(failed) => Some(failed.detail.clone()),
            _ => None,
        })
        .await;
    assert!(detail.contains("epoch 9 began"), "{detail}");
    let stands = claimed.1.stand.sequence.get();
    let told = scene.sides[0].slave.bot.sequences();
    assert!(
        told.iter().all(|sequence| *sequence <= stands),
        "{stands}: {told:?}"
    );
    assert_eq!(later.view().unwrap().stand().sequence.get(), stands);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_the_next_owner_cannot_use_fails_the_copy_while_the_owner_serves() {
    let mut scene = Scene::new(|_| {}).await;
    fs::set_permissions(scene.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let new = scene.joins().await;
    let copy = CopyState {
        shard: ShardId(0),
        epoch: Epoch(1),
        reader: Version::NEWEST,
        unacknowledged: 0,
    };
    scene.sides[0].peer.order(ToSlave::CopyState(copy)).await;
    let frame = scene.sides[0]
        .peer
        .wait("the offer", |message| match message {
            ToMaster::State(frame) => Some(frame.clone()),
            _ => None,
        });
    let frame = frame.await;
    scene.sides[new].peer.order(ToSlave::State(frame)).await;
    let failed = scene.sides[new]
        .peer
        .wait("why not", |message| match message {
            ToMaster::Failed(failed) => Some((failed.epoch, failed.detail.clone())),
            _ => None,
        });
    let (epoch, detail) = failed.await;
    assert_eq!(epoch, Epoch(1), "of the copy, and of no shard of its own");
    assert!(detail.contains("chmod go-rwx"), "{detail}");
    scene.flows(0).await;
}
