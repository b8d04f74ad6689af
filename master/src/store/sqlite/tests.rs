//! The write-ahead log when no save waits, and what a file is.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{
    wal::{AGAIN, LONG, QUIET},
    *,
};
use crate::store::memory::batch;

#[test]
fn a_log_is_left_alone_while_saves_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, term) = grown(dir.path());
    let began = Instant::now();
    store.rest(began + QUIET / 2);
    assert!(store.wal.length() > LONG, "just opened");
    store
        .apply(&batch(Some(term), &[]), Durability::Now)
        .unwrap();
    let saved = Instant::now();
    store.rest(saved + QUIET / 2);
    assert!(store.wal.length() > LONG, "somebody waited for a save");
    store.rest(saved + QUIET);
    assert_eq!(store.wal.length(), 0);
    // What was saved is saved.
    assert_eq!(store.read().unwrap().len(), 65);
}

#[test]
fn a_reader_of_the_journal_delays_the_folding_and_no_save() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, term) = grown(dir.path());
    let reader = Connection::open(dir.path().join("journal")).unwrap();
    let look = "BEGIN; SELECT * FROM entries;";
    reader.execute_batch(look).unwrap();
    let at = Instant::now() + QUIET;
    let before = Instant::now();
    store.rest(at);
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "waits for nobody"
    );
    assert!(store.wal.length() > LONG);
    store
        .apply(&batch(Some(term), &[("a", Some("x"))]), Durability::Soon)
        .unwrap();
    reader.execute_batch("COMMIT").unwrap();
    store.rest(at + AGAIN / 2);
    assert!(store.wal.length() > LONG, "not at each wake-up");
    store.rest(at + AGAIN);
    assert_eq!(store.wal.length(), 0);
}

#[test]
fn a_batch_that_the_disk_refuses_leaves_nothing_of_itself_and_works_later() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    let mut store = Sqlite::open(&file).unwrap();
    let term = store
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
        .unwrap();
    let other = Connection::open(&file).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.key = 'b'
        BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    other.execute_batch(full).unwrap();
    let both = batch(Some(term), &[("a", Some("x")), ("b", Some("y"))]);
    let refused = store.apply(&both, Durability::Now);
    assert!(
        matches!(refused, Err(ApplyError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(store.read().unwrap().len(), 1);
    other.execute_batch("DROP TRIGGER full").unwrap();
    store.apply(&both, Durability::Now).unwrap();
    assert_eq!(store.read().unwrap().len(), 3);
}

/// A store whose log is longer than it should stay.
fn grown(dir: &Path) -> (Sqlite, Revision) {
    let mut store = Sqlite::open(&dir.join("journal")).unwrap();
    let term = store
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Soon)
        .unwrap();
    let mut many = batch(Some(term), &[]);
    for shard in 0..64 {
        let value = vec![b'x'; 500];
        many.changes.insert(format!("ticket.{shard}"), Some(value));
    }
    while store.wal.length() <= LONG {
        store.apply(&many, Durability::Soon).unwrap();
    }
    (store, term)
}
