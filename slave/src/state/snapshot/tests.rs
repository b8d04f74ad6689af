#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use baton_protocol::state::StateFrame;
use bytes::Bytes;
use tempfile::TempDir;

use super::{
    format::{HEADER, Header, Moment},
    *,
};
use crate::state::{CopyOut, Form};

const TAG: &str = "0123456789abcdef";

fn store(dir: &TempDir) -> Store {
    Store::new(Some(&Snapshots::new(dir.path()))).unwrap()
}

fn of(epoch: u64) -> Of {
    Of {
        shard: ShardId(3),
        epoch: Epoch(epoch),
        session: TAG.into(),
    }
}

/// A copy of three pieces from sequence 1000 on; piece `n` is `n` times 100,000
/// bytes long.
fn frames(epoch: u64) -> Vec<StateFrame> {
    let budget = Arc::new(Semaphore::new(1 << 20));
    let keys = vec![1, 2, 3];
    let began = Sequence(1000);
    let (shard, epoch) = (ShardId(3), Epoch(epoch));
    let mut copy = CopyOut::new(Form::Plain, shard, epoch, began, Some(TAG), keys, budget);
    let mut frames = Vec::new();
    let mut at = 1000;
    while !copy.is_over() {
        at += 1;
        frames.extend(copy.step(Sequence(at), |key| Some(content(key))));
    }
    frames
}

fn content(key: u64) -> Bytes {
    let byte = |at: u64| (at * key % 251) as u8;
    (0..key * 100_000).map(byte).collect::<Vec<u8>>().into()
}

async fn outcome(mut writing: Writing) -> Outcome {
    loop {
        if let Some(outcome) = writing.outcome() {
            return outcome;
        }
        tokio::task::yield_now().await;
        #[expect(clippy::disallowed_methods, reason = "the writer is another thread")]
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn write(store: &Store, epoch: u64) -> Outcome {
    let writing = store.write(of(epoch), 3).unwrap();
    frames(epoch)
        .into_iter()
        .for_each(|frame| writing.frame(frame));
    outcome(writing).await
}

/// Pieces and where they stand as a whole, or why not.
async fn read(store: &Store, of: Of, handled: u64) -> Result<(Vec<u64>, u64), String> {
    let mut reading = store.read(of, Sequence(handled));
    let mut keys = Vec::new();
    loop {
        match reading.next().await {
            Read::Pieces(pieces) => {
                for piece in pieces {
                    assert_eq!(piece.bytes, content(piece.key));
                    keys.push(piece.key);
                }
            }
            Read::Complete(copied) => return Ok((keys, copied.lowest.get())),
            Read::Nothing => return Err("nothing".to_owned()),
            Read::Unusable(why) => return Err(why),
        }
    }
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// Writes another header over the file's.
fn change(store: &Store, change: impl FnOnce(&mut Header)) {
    let path = store.file(ShardId(3));
    let mut file = fs::read(&path).unwrap();
    let mut header = Header::decode(file[..HEADER].try_into().unwrap()).unwrap();
    change(&mut header);
    file[..HEADER].copy_from_slice(&header.encode());
    fs::write(path, file).unwrap();
}

#[tokio::test]
async fn a_snapshot_is_read_as_it_was_written_and_nobody_else_may_look() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/inside");
    let store = Store::new(Some(&Snapshots::new(&folder))).unwrap();
    assert_eq!(read(&store, of(2), 1000).await, Err("nothing".to_owned()));
    assert_eq!(write(&store, 1).await, Outcome::Written);
    let path = store.file(ShardId(3));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
    let (keys, stands) = read(&store, of(2), 1050).await.unwrap();
    assert_eq!(keys, [1, 2, 3]);
    assert!(stands > 1000, "{stands}");
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()[..HEADER]).into_owned();
    assert!(text.contains(TAG));
}

#[tokio::test]
async fn a_damaged_a_torn_and_an_empty_file_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    write(&store, 1).await;
    let path = store.file(ShardId(3));
    let good = fs::read(&path).unwrap();
    let all = good.len();
    for at in (0..all).step_by(all / 40).chain([HEADER, all - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, bad).unwrap();
        let why = read(&store, of(2), 1000).await.unwrap_err();
        assert!(
            why.contains("damaged") || why == "it is no snapshot",
            "{why}"
        );
    }
    for length in [0, 1, HEADER - 1, HEADER, all / 2, all - 1] {
        fs::write(&path, &good[..length]).unwrap();
        let why = read(&store, of(2), 1000).await.unwrap_err();
        assert_eq!(why, "it is torn", "{length}");
    }
    fs::write(&path, &good).unwrap();
    assert!(read(&store, of(2), 1000).await.is_ok());
}

#[tokio::test]
async fn a_file_of_another_shard_session_or_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    write(&store, 1).await;
    let foreign = Of {
        session: "fedcba9876543210".into(),
        ..of(2)
    };
    let why = read(&store, foreign, 1000).await.unwrap_err();
    assert_eq!(why, "it is of another session");
    let path = store.file(ShardId(3));
    fs::copy(&path, store.file(ShardId(4))).unwrap();
    let other = Of {
        shard: ShardId(4),
        ..of(2)
    };
    let why = read(&store, other, 1000).await.unwrap_err();
    assert_eq!(why, "it is of shard 3");
    // A header that says what the content does not.
    change(&store, |header| {
        header.tag = format::tag("fedcba9876543210").unwrap();
    });
    let foreign = Of {
        session: "fedcba9876543210".into(),
        ..of(2)
    };
    let why = read(&store, foreign, 1000).await.unwrap_err();
    assert_eq!(why, "its content is of another session");
}

#[tokio::test]
async fn a_snapshot_too_far_behind_or_too_old_with_events_to_replay_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    write(&store, 1).await;
    let (_, stands) = read(&store, of(2), 1000).await.unwrap();
    // Half of what Discord keeps for three guilds: 225 events.
    assert!(read(&store, of(2), stands + 112).await.is_ok());
    let why = read(&store, of(2), stands + 113).await.unwrap_err();
    assert_eq!(why, "it is 113 dispatches behind, 112 can be replayed");
    change(&store, |header| {
        header.written = Moment::before(Duration::from_secs(151));
    });
    let why = read(&store, of(2), stands + 1).await.unwrap_err();
    assert!(
        why.starts_with("it is 151 s old, 1 dispatches behind"),
        "{why}"
    );
    // Nothing to replay: as good as on the first day.
    assert!(read(&store, of(2), stands).await.is_ok());
}

#[test]
fn how_far_behind_a_snapshot_may_be_follows_what_discord_keeps() {
    let snapshots = Snapshots::new("/somewhere");
    let allowed = [0, 1, 10, 40, 2500].map(|guilds| snapshots.may_be_behind(guilds));
    assert_eq!(allowed, [50, 50, 375, 1500, 1750]);
}

#[tokio::test]
async fn one_of_a_later_owner_is_not_overwritten_unless_it_is_of_no_use_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    assert_eq!(write(&store, 5).await, Outcome::Written);
    assert_eq!(write(&store, 4).await, Outcome::Dropped);
    assert_eq!(files(&dir), ["shard-3.snapshot"]);
    assert_eq!(write(&store, 5).await, Outcome::Written);
    change(&store, |header| {
        header.epoch = Epoch(900);
        header.written = Moment::before(Duration::from_secs(151));
    });
    assert_eq!(write(&store, 6).await, Outcome::Written);
    fs::write(store.file(ShardId(3)), "garbage").unwrap();
    assert_eq!(write(&store, 2).await, Outcome::Written);
    assert!(read(&store, of(3), 1000).await.is_ok());
}

#[tokio::test]
async fn one_that_is_given_up_leaves_the_one_before_and_no_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    write(&store, 1).await;
    let before = fs::read(store.file(ShardId(3))).unwrap();
    let writing = store.write(of(2), 3).unwrap();
    writing.frame(frames(2).swap_remove(0));
    drop(writing);
    // The next writer of the process follows the last.
    while store.writers.available_permits() < WRITERS {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(files(&dir), ["shard-3.snapshot"]);
    assert_eq!(fs::read(store.file(ShardId(3))).unwrap(), before);
}

#[tokio::test]
async fn what_a_killed_process_was_writing_is_removed_by_the_next_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["shard-3.00aa.tmp", "shard-33.00aa.tmp", "notes.tmp"] {
        fs::write(dir.path().join(name), "half").unwrap();
    }
    write(&store(&dir), 1).await;
    assert_eq!(
        files(&dir),
        ["notes.tmp", "shard-3.snapshot", "shard-33.00aa.tmp"]
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_a_failure_and_nothing_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let store = Store::new(Some(&Snapshots::new(file.join("inside")))).unwrap();
    let writing = store.write(of(1), 3).unwrap();
    let budget = writing.budget.clone();
    assert_eq!(outcome(writing).await, Outcome::Failed);
    assert!(budget.is_closed());
}

#[test]
fn without_an_interval_there_are_no_snapshots() {
    let never = Snapshots {
        every: Duration::ZERO,
        ..Snapshots::new("/somewhere")
    };
    assert!(Store::new(Some(&never)).is_none() && Store::new(None).is_none());
    assert!(never.check().is_ok());
    let hasty = Snapshots {
        every: Duration::from_millis(99),
        ..never
    };
    assert!(hasty.check().unwrap_err().contains("snapshot_every"));
}
