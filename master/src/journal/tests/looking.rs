//! A look at a journal, and what is wrong with it.

use super::{
    super::inspect::{inspect, verify},
    *,
};

#[tokio::test]
async fn a_look_shows_everything_but_session_ids_while_the_master_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let configured = BTreeMap::from([("main".to_owned(), vec!["old".to_owned()])]);
    let opened = open(dir.path(), configured).unwrap();
    let entries = vec![
        Entry::Pinned(parameters()),
        Entry::Slave(Box::new(hello(5))),
        owner(0, 3, Hold::Owned),
        owner(1, 7, Hold::Reserved),
        ticket(0, 3, 10, ResumeAfter::Death),
        ticket(1, 6, 20, ResumeAfter::Seal),
        Entry::Work {
            epoch: Epoch(2),
            owner: SlaveId(5),
        },
        Entry::Fenced(SlaveId(8)),
        Entry::Deploy(DeployId(4).into()),
        Entry::Seen,
        Entry::Command {
            slot: "main".to_owned(),
            command: vec!["new".to_owned()],
        },
    ];
    opened.journal.save(entries, Durability::Now).await.unwrap();
    opened.journal.pin_shard_count(2).await.unwrap();

    let seen = inspect(&path).unwrap();
    assert_eq!(seen.fleet, Some(opened.term.fleet.to_string()));
    assert_eq!((seen.term, seen.last_deploy), (1, 4));
    assert_eq!((seen.shard_count, seen.whole), (Some(2), true));
    assert!(seen.seen_ms_ago.unwrap() < 60_000);
    assert_eq!(seen.slaves[0].build, "v1");
    assert_eq!(seen.fenced, [SlaveId(8).to_string()]);
    assert_eq!(seen.commands[0].command, ["new"]);
    assert_eq!(seen.commands[0].configured, ["old"]);
    assert_eq!(seen.work.as_ref().unwrap().epoch, 2);
    let [first, second] = &seen.shards[..] else {
        panic!("{:?}", seen.shards);
    };
    assert_eq!((first.epoch, first.hold), (3, Some("owned")));
    assert_eq!((second.epoch, second.hold), (7, Some("reserved")));
    assert_eq!(second.basis.as_deref(), Some("seal 6"));
    let sealed = second.ticket.as_ref().unwrap();
    assert_eq!(
        (sealed.epoch, sealed.after, sealed.handled),
        (6, "seal", 20)
    );
    assert!(sealed.age_ms < 60_000);
    let text = serde_json::to_string(&seen).unwrap();
    assert!(!text.contains("hush"), "{text}");

    // A look is in nobody's way.
    let later = vec![owner(0, 4, Hold::Owned)];
    opened.journal.save(later, Durability::Now).await.unwrap();
    assert_eq!(inspect(&path).unwrap().shards[0].epoch, 4);
    assert_eq!(problems(dir.path()), [""; 0]);
    opened.journal.close().await;
    assert_eq!(problems(dir.path()), [""; 0], "also when no master runs");
}

#[tokio::test]
async fn each_rule_that_a_row_breaks_is_named() {
    let cases: [(&str, &str, &str); 16] = [
        (
            "ticket.0",
            "'$.epoch', 9",
            "its ticket is of epoch 9, and only epochs up to 3",
        ),
        ("owner.0", "", "has a ticket and no owner"),
        ("owner.0", "'$.basis', 'seal 3'", "which is not before it"),
        (
            "owner.0",
            "'$.basis', 'seal x'",
            "row owner.0 makes no sense",
        ),
        ("owner.0", "'$.epoch', 0", "at epoch 0"),
        (
            "owner.0",
            "'$.epoch', 9223372036854775807",
            "epoch 9223372036854775807, which no master gives",
        ),
        ("ticket.0", "'$.epoch', 0", "which no master gives"),
        ("ticket.0", "'$.ticket.session_id', ''", "names no session"),
        (
            "ticket.0",
            "'$.ticket.handled', 50",
            "calls events finished",
        ),
        ("ticket.0", "'$.ticket', 'x'", "row ticket.0 makes no sense"),
        (
            "ticket.0",
            "'$.v', 2",
            "it is of version 2, and this master knows 1",
        ),
        (
            "pinned",
            "'$.shard_count', 3",
            "the fleet has 2 shards, and its sessions were identified with 3",
        ),
        (
            "slave.%",
            "'$.fenced_ms', 1",
            "is fenced and named as one that may live",
        ),
        ("term", "", "it names no fleet"),
        (
            "term",
            "'$.counter', 0",
            "knows start 1 of the master, the journal only 0",
        ),
        (
            "slave.%",
            "",
            "may be alive and the journal does not name it",
        ),
    ];
    for (keys, fields, told) in cases {
        let dir = written().await;
        let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
        if fields.is_empty() {
            let gone = connection.execute("DELETE FROM entries WHERE key LIKE ?1", [keys]);
            assert_eq!(gone.unwrap(), 1);
        } else {
            change(&connection, keys, fields);
        }
        drop(connection);
        is_told(dir.path(), told, &format!("{keys} {fields}"));
    }
}

#[tokio::test]
async fn what_makes_no_sense_of_the_whole_file_is_named() {
    for (damage, told) in [
        (
            "UPDATE entries SET key = 'owner.5' WHERE key = 'owner.0';
             DELETE FROM entries WHERE key LIKE 'ticket.%'",
            "the fleet has no such shard",
        ),
        (
            "PRAGMA user_version = 9; DELETE FROM meta WHERE key = 'oldest_reader'",
            "version 9",
        ),
    ] {
        let dir = written().await;
        let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
        connection.execute_batch(damage).unwrap();
        drop(connection);
        is_told(dir.path(), told, damage);
    }
}

#[tokio::test]
async fn damaged_pages_are_found_and_what_is_no_journal_is_said() {
    let dir = written().await;
    let path = dir.path().join(FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (bytes.len() / 4, bytes.len() * 3 / 4);
    bytes[from..to].fill(0xaa);
    std::fs::write(&path, bytes).unwrap();
    let judged = verify(&path, &dir.path().join("fleet"));
    assert!(judged.is_err() || !judged.unwrap().problems.is_empty());

    std::fs::write(&path, "no database, only text".repeat(100)).unwrap();
    let error = inspect(&path).unwrap_err().line();
    assert!(error.contains("not a database"), "{error}");
    let error = inspect(&dir.path().join("absent")).unwrap_err().line();
    assert!(error.contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn a_journal_of_a_newer_master_that_may_be_used_is_good() {
    let dir = written().await;
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let newer = "PRAGMA user_version = 99; ALTER TABLE entries ADD COLUMN later INTEGER";
    connection.execute_batch(newer).unwrap();
    drop(connection);
    let findings = verify(&dir.path().join(FILE), &dir.path().join("fleet")).unwrap();
    assert_eq!(findings.problems, [""; 0]);
    assert!(findings.notes[0].contains("newer master"), "{findings:?}");
}

/// A journal that is closed and good.
async fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    let entries = vec![
        Entry::Pinned(parameters()),
        Entry::Slave(Box::new(hello(5))),
        owner(0, 3, Hold::Owned),
        ticket(0, 3, 10, ResumeAfter::Death),
    ];
    opened.journal.save(entries, Durability::Now).await.unwrap();
    opened.journal.pin_shard_count(2).await.unwrap();
    opened.journal.close().await;
    assert_eq!(problems(dir.path()), [""; 0]);
    dir
}

fn problems(dir: &Path) -> Vec<String> {
    let findings = verify(&dir.join(FILE), &dir.join("fleet"));
    findings.unwrap().problems
}

/// One of the problems says this, after `damage`.
fn is_told(dir: &Path, told: &str, damage: &str) {
    let problems = problems(dir);
    assert!(
        problems.iter().any(|problem| problem.contains(told)),
        "{damage}: {problems:?}"
    );
}
