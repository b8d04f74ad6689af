//! A journal of a newer master, when the operator goes back to this one.

use super::*;
use crate::test_hooks::other_build::add;

#[tokio::test]
async fn a_journal_of_a_newer_master_that_lets_this_one_use_it_is_used_and_stays_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let first = open(dir.path(), BTreeMap::new()).unwrap();
    first.journal.save(rows(1), Durability::Now).await.unwrap();
    first.journal.close().await;
    add(&mut rusqlite::Connection::open(&path).unwrap(), "4").unwrap();

    let second = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(second.term.fleet, first.term.fleet);
    assert_eq!(second.recovered.journal, JournalState::Intact);
    assert_eq!(second.recovered.shards[&ShardId(0)].epoch, Epoch(1));
    // Every kind of row can be written beside what it does not know.
    second.journal.save(rows(2), Durability::Now).await.unwrap();
    second.journal.pin_shard_count(2).await.unwrap();
    second.journal.close().await;

    let found = |query: &str| -> i64 {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(found("PRAGMA user_version"), 5);
    let later = "SELECT count(*) FROM entries WHERE key = 'later.1'";
    assert_eq!(found(later), 1);
    assert_eq!(found("SELECT count(*) FROM meta WHERE key = 'later'"), 1);
    let third = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert_eq!(third.shards[&ShardId(0)].epoch, Epoch(2));
    assert_eq!(third.slaves, BTreeMap::from([(SlaveId(5), hello(5))]));
    assert_eq!(third.tickets[&ShardId(0)].ticket.handled, Sequence(2));
    assert_eq!(third.work, Some((Epoch(2), SlaveId(5))));
    assert_eq!(third.pinned, Some(parameters()));
}

#[tokio::test]
async fn a_journal_of_a_newer_master_that_does_not_is_set_aside_like_a_damaged_one() {
    for says in [Some("5"), Some("five"), None] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let first = open(dir.path(), BTreeMap::new()).unwrap();
        first.journal.save(rows(1), Durability::Now).await.unwrap();
        first.journal.close().await;
        let mut connection = rusqlite::Connection::open(&path).unwrap();
        add(&mut connection, says.unwrap_or_default()).unwrap();
        if says.is_none() {
            let change = "DELETE FROM meta WHERE key = 'oldest_reader'";
            connection.execute(change, []).unwrap();
        }
        drop(connection);

        let second = open(dir.path(), BTreeMap::new()).unwrap();
        assert_eq!(second.term.fleet, first.term.fleet, "{says:?}");
        assert_eq!(second.term.counter, 2, "{says:?}");
        assert_eq!(second.recovered.journal, JournalState::Lost, "{says:?}");
        assert!(second.recovered.shards.is_empty(), "{says:?}");
        assert!(second.recovered.slaves.contains_key(&SlaveId(5)));
        // The newer master's is still there, for it or for a person.
        let files = std::fs::read_dir(dir.path()).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let aside = names.find(|name| name.starts_with("journal.sqlite3.damaged-"));
        let aside = rusqlite::Connection::open(dir.path().join(aside.unwrap())).unwrap();
        let query = "SELECT CAST(value AS TEXT) ->> '$.epoch' FROM entries WHERE key = 'owner.0'";
        let epoch: i64 = aside.query_row(query, [], |row| row.get(0)).unwrap();
        assert_eq!(epoch, 1, "{says:?}");
    }
}

#[tokio::test]
async fn a_journal_says_which_masters_may_use_it_from_its_first_opening_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let says = || -> String {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let query = "SELECT value FROM meta WHERE key = 'oldest_reader'";
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    opened.journal.close().await;
    assert_eq!(says(), "4");
    // One that an earlier build of this schema made does not say it yet.
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("DELETE FROM meta WHERE key = 'oldest_reader'", [])
        .unwrap();
    drop(connection);
    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    opened.journal.close().await;
    assert_eq!(says(), "4");
}

/// One of each.
fn rows(number: u64) -> Vec<Entry> {
    vec![
        Entry::Pinned(parameters()),
        owner(0, number, Hold::Owned),
        ticket(0, number, number, ResumeAfter::Death),
        Entry::Work {
            epoch: Epoch(number),
            owner: SlaveId(5),
        },
        Entry::Slave(Box::new(hello(5))),
        Entry::Fenced(SlaveId(8)),
        Entry::Deploy(DeployId(number).into()),
        Entry::Arrangement(baton_core::event::Arrangement::default()),
        Entry::Seen,
        Entry::Command {
            slot: "main".to_owned(),
            command: vec!["new".to_owned()],
        },
    ]
}
