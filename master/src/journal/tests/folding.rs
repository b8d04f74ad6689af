//! The write-ahead log when no save waits.

use std::time::Duration;

use super::*;
use crate::journal::fold::{AGAIN, Fold, LONG, QUIET};

#[tokio::test]
async fn a_log_that_grew_is_folded_in_once_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let mut handled = 0;
    while length(dir.path()) <= LONG {
        handled += 1;
        journal
            .save(checkpoints(handled), Durability::Now)
            .await
            .unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while length(dir.path()) > LONG {
        assert!(Instant::now() < deadline, "it stays long");
        // The thread looks when it was woken.
        journal
            .save(vec![Entry::Seen], Durability::Soon)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    journal.close().await;
    let tickets = open(dir.path(), BTreeMap::new()).unwrap().recovered.tickets;
    assert_eq!(tickets[&ShardId(0)].ticket.handled, Sequence(handled));
}

#[test]
fn a_log_is_left_alone_while_saves_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut fold, began) = grown(dir.path());
    fold.when_idle(&mut store, began + QUIET / 2);
    assert!(length(dir.path()) > LONG, "just opened");
    fold.put_off(began + QUIET);
    fold.when_idle(&mut store, began + QUIET * 3 / 2);
    assert!(length(dir.path()) > LONG, "somebody waited for a save");
    fold.when_idle(&mut store, began + QUIET * 2);
    assert_eq!(length(dir.path()), 0);
    // What was saved is saved.
    assert_eq!(store.recover().unwrap().tickets.len(), 64);
}

#[test]
fn a_reader_of_the_journal_delays_the_folding_and_no_save() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut fold, began) = grown(dir.path());
    let reader = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM meta;").unwrap();
    let at = began + QUIET;
    let before = Instant::now();
    fold.when_idle(&mut store, at);
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "waits for nobody"
    );
    assert!(length(dir.path()) > LONG);
    store.save(&checkpoints(99), Durability::Now).unwrap();
    reader.execute_batch("COMMIT").unwrap();
    fold.when_idle(&mut store, at + AGAIN / 2);
    assert!(length(dir.path()) > LONG, "not at each wake-up");
    fold.when_idle(&mut store, at + AGAIN);
    assert_eq!(length(dir.path()), 0);
}

/// A journal whose log is longer than it should stay.
fn grown(dir: &Path) -> (Store, Fold, Instant) {
    let path = dir.join(FILE);
    let mut store = Store::open(&path, BTreeMap::new()).unwrap();
    let began = Instant::now();
    let fold = Fold::new(&path, began);
    let mut handled = 0;
    while length(dir) <= LONG {
        handled += 1;
        store.save(&checkpoints(handled), Durability::Soon).unwrap();
    }
    (store, fold, began)
}

fn checkpoints(handled: u64) -> Vec<Entry> {
    let shards = 0..64;
    shards
        .map(|shard| ticket(shard, 1, handled, ResumeAfter::Death))
        .collect()
}

fn length(dir: &Path) -> u64 {
    let log = dir.join(format!("{FILE}-wal"));
    std::fs::metadata(log).map_or(0, |log| log.len())
}
