#![allow(clippy::unwrap_used)]

mod deploys;
mod leases;
mod looking;
#[cfg(debug_assertions)]
mod newer;
mod older;
mod shared;
mod terms;
mod torn;

use std::{collections::BTreeMap, path::Path};

use baton_protocol::{
    DeployId, Epoch, HostId, Parameters, ProcessIdentity, Sequence, ShardId, Ticket, Version,
    auth::Secret,
    discord::{self, SessionParameters},
    message::{Hello, ResumeAfter, Role},
};

use super::*;
use crate::error::Error;
use baton_core::event::{Basis, Durability, Hold, JournalState, Recovered, Row};

#[tokio::test]
async fn everything_that_was_saved_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(opened.recovered, Recovered::default());
    assert_eq!(opened.term.counter, 1);
    let (journal, fleet) = (opened.journal, opened.term.fleet);
    let entries = vec![
        Entry::Pinned(parameters()),
        owner(0, 1, Hold::Owned),
        owner(1, 7, Hold::Reserved),
        Entry::Work {
            epoch: Epoch(3),
            owner: SlaveId(5),
        },
        Entry::Slave(Box::new(hello(5))),
        Entry::Slave(Box::new(hello(6))),
        Entry::Gone(SlaveId(6)),
        Entry::Slave(Box::new(hello(7))),
        Entry::Fenced(SlaveId(7)),
        Entry::Fenced(SlaveId(8)),
        Entry::Gone(SlaveId(8)),
        Entry::Deploy(DeployId(12).into()),
        Entry::GivenUp(DeployId(9)),
        Entry::GivenUp(DeployId(11)),
    ];
    journal.save(entries, Durability::Now).await.unwrap();
    journal.pin_shard_count(2).await.unwrap();
    journal.close().await;

    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!((opened.term.fleet, opened.term.counter), (fleet, 2));
    assert_eq!(opened.shard_count, Some(2));
    is_what_was_saved(&opened.recovered, hello(5));
}

/// The rows of the fleet in these tests, of which the slave said this.
fn is_what_was_saved(recovered: &Recovered, known: Hello) {
    assert_eq!(recovered.pinned, Some(parameters()));
    assert_eq!(recovered.work, Some((Epoch(3), SlaveId(5))));
    assert_eq!(recovered.slaves, BTreeMap::from([(SlaveId(5), known)]));
    assert_eq!(recovered.fenced, [SlaveId(7)].into());
    assert_eq!(recovered.last_deploy.deploy, DeployId(12));
    assert_eq!(recovered.given_up, [DeployId(9), DeployId(11)].into());
    let row = |epoch, hold, basis| Row {
        epoch: Epoch(epoch),
        owner: SlaveId(5),
        hold,
        basis,
    };
    let shards = [
        (ShardId(0), row(1, Hold::Owned, Basis::Cold)),
        (ShardId(1), row(7, Hold::Reserved, Basis::Seal(Epoch(6)))),
    ];
    assert_eq!(recovered.shards, BTreeMap::from(shards));
}

#[tokio::test]
async fn a_lower_epoch_never_replaces_a_higher_one() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    for (epoch, hold) in [(5, Hold::Reserved), (4, Hold::Owned), (5, Hold::Owned)] {
        journal
            .save(vec![owner(0, epoch, hold)], Durability::Soon)
            .await
            .unwrap();
    }
    journal.close().await;
    let recovered = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    let row = recovered.shards[&ShardId(0)];
    assert_eq!((row.epoch, row.hold), (Epoch(5), Hold::Owned));
}

#[tokio::test]
async fn the_newest_ticket_of_each_shard_survives() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    // Checkpoints are written in the background, a seal's ticket at once.
    let checkpoints = (0..200).map(|shard| ticket(shard, 1, 10, ResumeAfter::Death));
    journal
        .save(checkpoints.collect(), Durability::Soon)
        .await
        .unwrap();
    let seal = vec![
        owner(5, 1, Hold::Owned),
        ticket(5, 1, 11, ResumeAfter::Seal),
    ];
    journal.save(seal, Durability::Now).await.unwrap();
    let late = vec![ticket(5, 0, 99, ResumeAfter::Death)];
    journal.save(late, Durability::Soon).await.unwrap();
    journal.close().await;

    let tickets = open(dir.path(), BTreeMap::new()).unwrap().recovered.tickets;
    assert_eq!(tickets.len(), 200);
    let seal = &tickets[&ShardId(5)];
    assert_eq!((seal.epoch, seal.after), (Epoch(1), ResumeAfter::Seal));
    assert_eq!(seal.ticket.handled, Sequence(11));
    assert_eq!(discord::Session::id_of(&seal.ticket.session), "hush");
    assert!(seal.age.as_secs() < 60);
    assert_eq!(tickets[&ShardId(6)].after, ResumeAfter::Death);
}

#[tokio::test]
async fn a_clock_that_is_set_between_two_masters_makes_no_ticket_older() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let checkpoint = ticket(0, 1, 10, ResumeAfter::Death);
    journal
        .save(vec![checkpoint], Durability::Now)
        .await
        .unwrap();
    journal.close().await;
    // As if everything had been written an hour ago, by a clock that was set since.
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    change(
        &connection,
        "ticket.%",
        "'$.written_ms', value ->> '$.written_ms' - 3600000",
    );
    let clocks = "'$.clocks', substr(value ->> '$.clocks', 1, 37)
        || (substr(value ->> '$.clocks', 38) - 3600000)";
    change(&connection, "boot", clocks);
    drop(connection);
    // Nor does a start say anything else of them to the one after.
    for _ in 0..2 {
        let opened = open(dir.path(), BTreeMap::new()).unwrap();
        let age = opened.recovered.tickets[&ShardId(0)].age;
        assert!(age.as_secs() < 600, "{age:?}");
        opened.journal.close().await;
    }
    // What was written before the host was started is measured by the wall clock.
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    change(&connection, "boot", "'$.clocks', 'another 0'");
    drop(connection);
    let recovered = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert!(recovered.tickets[&ShardId(0)].age.as_secs() >= 3600);
}

#[tokio::test]
async fn the_journal_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    journal
        .save(vec![owner(0, 1, Hold::Owned)], Durability::Now)
        .await
        .unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[tokio::test]
async fn a_save_is_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let entries = vec![owner(0, 1, Hold::Owned), owner(1, u64::MAX, Hold::Owned)];
    let error = journal.save(entries, Durability::Now).await.unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    journal.close().await;
    let recovered = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert!(recovered.shards.is_empty());
}

#[tokio::test]
async fn a_deploys_command_stays_until_the_configuration_changes() {
    let dir = tempfile::tempdir().unwrap();
    let configured =
        |command: &str| BTreeMap::from([("main".to_owned(), vec![command.to_owned()])]);
    let journal = open(dir.path(), configured("old")).unwrap().journal;
    let command = Entry::Command {
        slot: "main".to_owned(),
        command: vec!["new".to_owned(), "--with spaces".to_owned()],
    };
    journal.save(vec![command], Durability::Soon).await.unwrap();
    journal.close().await;
    let opened = open(dir.path(), configured("old")).unwrap();
    assert_eq!(opened.commands["main"], ["new", "--with spaces"]);
    opened.journal.close().await;
    let opened = open(dir.path(), configured("newer")).unwrap();
    assert!(opened.commands.is_empty());
}

#[tokio::test]
async fn a_journal_that_is_gone_or_garbage_keeps_the_fleet_and_who_may_be_alive() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("garbage", |path| {
            std::fs::write(path, "garbage ".repeat(1000)).unwrap();
        }),
        ("a row", |path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            change(&connection, "ticket.%", "'$.ticket', 'no ticket'");
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), BTreeMap::new()).unwrap();
        let entries = vec![
            Entry::Slave(Box::new(hello(5))),
            Entry::Slave(Box::new(hello(6))),
            Entry::Pinned(parameters()),
            owner(0, 3, Hold::Owned),
            ticket(0, 3, 10, ResumeAfter::Seal),
            Entry::Gone(SlaveId(6)),
        ];
        first.journal.save(entries, Durability::Now).await.unwrap();
        first.journal.pin_shard_count(2).await.unwrap();
        first.journal.close().await;
        damage(&dir.path().join(FILE));

        let second = open(dir.path(), BTreeMap::new()).unwrap();
        assert_eq!(second.term.fleet, first.term.fleet, "{name}");
        assert_eq!(second.term.counter, 2, "{name}");
        assert_eq!(second.shard_count, Some(2), "{name}");
        let recovered = second.recovered;
        assert_eq!(recovered.journal, JournalState::Lost, "{name}");
        assert!(recovered.shards.is_empty(), "{name}");
        assert!(recovered.floor > Epoch(1_000_000), "{name}");
        let alive = BTreeMap::from([(SlaveId(5), hello(5))]);
        assert_eq!(recovered.slaves, alive, "{name}");
        assert_eq!(recovered.pinned, Some(parameters()), "{name}");
        second.journal.close().await;

        // Another start does not forget that, until every shard has its row.
        let third = open(dir.path(), BTreeMap::new()).unwrap();
        assert_eq!(third.recovered.journal, JournalState::Lost, "{name}");
        let rows = vec![owner(0, 4, Hold::Owned), Entry::Whole];
        third.journal.save(rows, Durability::Now).await.unwrap();
        third.journal.close().await;
        let fourth = open(dir.path(), BTreeMap::new()).unwrap();
        assert_eq!(fourth.recovered.journal, JournalState::Intact, "{name}");
        assert_eq!(fourth.term.counter, 4, "{name}");
        assert_eq!(fourth.shard_count, Some(2), "{name}");
        assert_eq!(fourth.recovered.slaves, alive, "{name}");
    }
}

#[tokio::test]
async fn of_two_words_on_a_slave_in_one_save_the_last_one_counts() {
    let comes = |slave| Entry::Slave(Box::new(hello(slave)));
    // From the journal, and from what is known when it is gone.
    for is_gone in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
        let words = vec![
            Entry::Gone(SlaveId(5)),
            comes(5),
            comes(6),
            Entry::Gone(SlaveId(6)),
        ];
        journal.save(words, Durability::Now).await.unwrap();
        journal.close().await;
        if is_gone {
            std::fs::remove_file(dir.path().join(FILE)).unwrap();
        }
        let opened = open(dir.path(), BTreeMap::new()).unwrap();
        let slaves: Vec<_> = opened.recovered.slaves.into_keys().collect();
        assert_eq!(slaves, [SlaveId(5)]);
        opened.journal.close().await;
    }
}

#[tokio::test]
async fn a_journal_whose_newest_rows_are_missing_does_not_pass_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let old = dir.path().join("old");
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    journal
        .save(vec![owner(0, 1, Hold::Owned)], Durability::Now)
        .await
        .unwrap();
    journal.close().await;
    std::fs::copy(&path, &old).unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let slave = Entry::Slave(Box::new(hello(5)));
    journal.save(vec![slave], Durability::Now).await.unwrap();
    journal.close().await;
    std::fs::rename(&old, &path).unwrap();

    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Lost);
    assert_eq!(opened.term.counter, 3, "above what the slave has seen");
    assert!(opened.recovered.slaves.contains_key(&SlaveId(5)));
}

#[tokio::test]
async fn a_slave_that_was_fenced_as_its_master_died_stays_fenced_and_nothing_is_lost_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, before) = (dir.path().join("fleet"), dir.path().join("before"));
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let slave = vec![
        owner(0, 1, Hold::Owned),
        Entry::Slave(Box::new(hello(5))),
        Entry::Slave(Box::new(hello(6))),
    ];
    journal.save(slave, Durability::Now).await.unwrap();
    std::fs::copy(&fleet, &before).unwrap();
    let fenced = vec![Entry::Fenced(SlaveId(6))];
    journal.save(fenced, Durability::Now).await.unwrap();
    journal.close().await;
    // It had no time to take the name out there.
    std::fs::rename(&before, &fleet).unwrap();
    for _ in 0..2 {
        let opened = open(dir.path(), BTreeMap::new()).unwrap();
        assert_eq!(opened.recovered.journal, JournalState::Intact);
        assert_eq!(opened.recovered.fenced, [SlaveId(6)].into());
        assert_eq!(opened.recovered.slaves.len(), 1);
        opened.journal.close().await;
    }
}

#[tokio::test]
async fn a_journal_that_knows_an_earlier_term_and_no_shard_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(
        first.recovered.journal,
        JournalState::Intact,
        "nobody can serve"
    );
    first.journal.close().await;
    let second = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(second.recovered.journal, JournalState::Lost);
}

#[tokio::test]
async fn a_fleet_of_which_only_the_secret_is_left_is_known_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), BTreeMap::new()).unwrap();
    first.journal.close().await;
    for name in [FILE, "fleet"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let home = Home::new(dir.path().join("fleet"), &secret(), true);
    let second = Journal::open(dir.path(), BTreeMap::new(), &home).unwrap();
    assert_eq!(second.term.fleet, first.term.fleet);
    assert!(second.term.counter > first.term.counter);
    assert_eq!(second.recovered.journal, JournalState::Lost);
}

#[tokio::test]
async fn the_journal_of_another_fleet_is_refused() {
    let [one, other] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    open(one.path(), BTreeMap::new()).unwrap();
    let secret = Secret::from_hex(&"cd".repeat(32)).unwrap();
    let home = Home::new(other.path().join("fleet"), &secret, false);
    Journal::open(other.path(), BTreeMap::new(), &home).unwrap();
    let error = Journal::open(one.path(), BTreeMap::new(), &home).unwrap_err();
    assert!(error.line().contains("of fleet"), "{}", error.line());
}

fn open(dir: &Path, configured: BTreeMap<String, Vec<String>>) -> Result<Opened, Error> {
    let home = Home::new(dir.join("fleet"), &secret(), false);
    Journal::open(dir, configured, &home)
}

/// Changes fields of the values whose keys are like this, at least one.
fn change(connection: &rusqlite::Connection, keys: &str, fields: &str) {
    let change = format!(
        "UPDATE entries SET value = CAST((
            SELECT json_set(value, {fields}) FROM (SELECT CAST(entries.value AS TEXT) AS value)
         ) AS BLOB) WHERE key LIKE ?1"
    );
    assert!(connection.execute(&change, [keys]).unwrap() > 0, "{keys}");
}

fn secret() -> Secret {
    Secret::from_hex(&"ab".repeat(32)).unwrap()
}

fn owner(shard: u32, epoch: u64, hold: Hold) -> Entry {
    Entry::Owner {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        owner: SlaveId(5),
        hold,
        basis: match hold {
            Hold::Owned => Basis::Cold,
            Hold::Reserved => Basis::Seal(Epoch(epoch - 1)),
        },
    }
}

fn ticket(shard: u32, epoch: u64, handled: u64, after: ResumeAfter) -> Entry {
    let ticket = Ticket {
        shard: ShardId(shard),
        session: discord::Session::with_id("hush").seal(),
        handled: Sequence(handled),
        finished_above: [handled + 2, handled + 3]
            .map(Sequence)
            .into_iter()
            .collect(),
        ..Ticket::default()
    };
    Entry::Ticket {
        epoch: Epoch(epoch),
        after,
        ticket: Box::new(ticket),
    }
}

fn parameters() -> Parameters {
    SessionParameters {
        intents: u64::MAX,
        shard_count: 2,
        api_version: 10,
        encoding: "json".to_owned(),
        compression: "zstd-stream".to_owned(),
        large_threshold: 250,
        service: String::new(),
    }
    .seal()
}

fn hello(slave: u128) -> Hello {
    Hello {
        slave: SlaveId(slave),
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        role: Role::Relaunch,
        version: Version(1),
        lowest: Version(1),
        parameters: parameters(),
        process: ProcessIdentity {
            pid: 7,
            start_time: u64::MAX,
            boot_id: "boot".to_owned(),
            host: HostId(0xb0),
            pid_namespace: 4_026_531_836,
            host_name: None,
        },
        ..Hello::default()
    }
}
