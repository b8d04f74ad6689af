//! A journal of an earlier build, which had a table for each kind of row.

use super::*;
use crate::journal::inspect::{inspect, verify};

/// Written by the build before, with a row of each kind.
const THIRD_SCHEMA: &[u8] = include_bytes!("schema-3.sqlite3");

fn configured() -> BTreeMap<String, Vec<String>> {
    let slots = [("main", "old"), ("side slot", "side")];
    let slots = slots.map(|(slot, command)| (slot.to_owned(), vec![command.to_owned()]));
    BTreeMap::from(slots)
}

fn there() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), THIRD_SCHEMA).unwrap();
    dir
}

#[tokio::test]
async fn a_journal_of_the_build_before_opens_with_everything_that_is_in_it() {
    let dir = there();
    // What was there is there again after another start.
    for counter in [3, 4] {
        let opened = open(dir.path(), configured()).unwrap();
        assert_eq!(opened.term.counter, counter);
        assert_eq!(opened.shard_count, Some(2));
        assert_eq!(opened.commands["main"], ["new", "--with \"spaces\""]);
        assert_eq!(opened.before["main"], ["old"]);
        assert_eq!(opened.before.get("side slot"), None);
        let recovered = &opened.recovered;
        assert_eq!(recovered.journal, JournalState::Intact);
        let mut known = hello(5);
        // That build did not say of which host a process is.
        known.process.host = HostId::default();
        is_what_was_saved(recovered, known);
        assert!(recovered.late_seal_refused);
        let sealed = &recovered.tickets[&ShardId(1)];
        let Entry::Ticket { ticket, .. } = ticket(1, 6, 20, ResumeAfter::Seal) else {
            panic!("it is a ticket");
        };
        assert_eq!((sealed.epoch, sealed.after), (Epoch(6), ResumeAfter::Seal));
        assert_eq!(sealed.ticket, *ticket);
        let other = &recovered.tickets[&ShardId(0)];
        assert_eq!((other.epoch, other.after), (Epoch(1), ResumeAfter::Death));
        assert!(sealed.age.as_secs() > 0, "it was written long ago");
        opened.journal.close().await;
    }
    // Rules hold for rows of before, too: a lower epoch is not written over a higher one.
    let journal = open(dir.path(), configured()).unwrap().journal;
    let lower = vec![owner(1, 6, Hold::Owned)];
    journal.save(lower, Durability::Now).await.unwrap();
    journal.close().await;
    let recovered = open(dir.path(), configured()).unwrap().recovered;
    assert_eq!(recovered.shards[&ShardId(1)].epoch, Epoch(7));
}

#[tokio::test]
async fn a_look_at_a_journal_of_the_build_before_changes_nothing_of_it() {
    let dir = there();
    let path = dir.path().join(FILE);
    let seen = inspect(&path).unwrap();
    assert_eq!((seen.schema, seen.oldest_reader), (3, Some(2)));
    assert_eq!((seen.term, seen.last_deploy), (2, 12));
    assert_eq!(seen.slaves[0].build, "v1");
    assert_eq!(seen.shards[1].basis.as_deref(), Some("seal 6"));
    assert_eq!(seen.commands[0].configured, ["old"]);
    let findings = verify(&path, &dir.path().join("fleet")).unwrap();
    assert_eq!(findings.problems, [""; 0]);
    assert!(findings.notes[0].contains("version 3"), "{findings:?}");
    assert_eq!(std::fs::read(&path).unwrap(), THIRD_SCHEMA);
}

#[tokio::test]
async fn rows_of_before_that_no_master_wrote_are_found_as_they_always_were() {
    // A number above all epochs stood in a column as a negative one.
    let dir = there();
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    file.execute_batch("UPDATE shards SET epoch = -1 WHERE shard = 1")
        .unwrap();
    drop(file);
    let opened = open(dir.path(), configured()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Lost);
    assert_eq!(opened.recovered.shards.len(), 1);
    opened.journal.close().await;

    // What is no ticket is damage: the file is set aside.
    let dir = there();
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    file.execute_batch("UPDATE tickets SET ticket = 'no ticket' WHERE shard = 1")
        .unwrap();
    drop(file);
    let opened = open(dir.path(), configured()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Lost);
    assert!(opened.recovered.tickets.is_empty());
}
