//! What is left of a journal when its files end anywhere, when its rows say what cannot be,
//! and when the disk takes nothing; and how long its log grows. `BATON_SEED=7` replays one seed,
//! `BATON_SEEDS=1000` tries more.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use baton_core::event::RecoveredTicket;

/// Names of the files of a journal, and of the roster beside it.
const WAL: &str = "journal.sqlite3-wal";
const ROSTER: &str = "fleet";

/// What the journal knows after a save, without the age of its tickets.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    shards: BTreeMap<ShardId, Row>,
    work: Option<(Epoch, SlaveId)>,
    last_deploy: DeployId,
    tickets: BTreeMap<ShardId, RecoveredTicket>,
}

#[tokio::test]
async fn a_journal_that_ends_anywhere_has_every_save_up_to_one_and_no_durable_one_is_missing() {
    for seed in seeds(40) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), BTreeMap::new()).unwrap();
        let fleet = opened.term.fleet;
        let mut states = vec![known(Recovered::default())];
        let mut model = Known::default();
        // So many saves, and so long the log, when one was durable last.
        let (mut durable, mut synced) = (0, length(dir.path(), WAL));
        for _ in 0..random.random_range(1..14) {
            let entries = model.some_entries(&mut random);
            let how = if random.random() {
                Durability::Now
            } else {
                Durability::Soon
            };
            opened.journal.save(entries, how).await.unwrap();
            states.push(model.clone());
            if how == Durability::Now {
                (durable, synced) = (states.len() - 1, length(dir.path(), WAL));
            }
        }
        // A power cut: of the log, what was not synced may be missing.
        let whole = length(dir.path(), WAL);
        for _ in 0..6 {
            let end = random.random_range(synced..=whole);
            let copy = copy_of(dir.path());
            cut(copy.path(), WAL, end);
            // Nor is what a block of the disk held before it was written.
            if random.random() {
                append_garbage(copy.path(), WAL, &mut random);
            }
            let again = open(copy.path(), BTreeMap::new()).unwrap();
            let found = known(again.recovered);
            let at = states.iter().rposition(|state| *state == found);
            assert!(
                at.is_some_and(|at| at >= durable),
                "BATON_SEED={seed}: cut at {end} of {whole}, {synced} synced: save {at:?} of {}, \
                 durable {durable}: {found:?}",
                states.len() - 1
            );
            assert_eq!((again.term.fleet, again.term.counter), (fleet, 2));
            again.journal.close().await;
        }
        opened.journal.close().await;
    }
}

#[tokio::test]
async fn whatever_is_left_of_the_files_the_fleet_its_term_and_who_may_be_alive_are_kept() {
    for seed in seeds(60) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), BTreeMap::new()).unwrap();
        let mut model = Known::default();
        let alive = Entry::Slave(Box::new(hello(5)));
        first
            .journal
            .save(vec![alive], Durability::Now)
            .await
            .unwrap();
        for _ in 0..random.random_range(0..4) {
            let entries = model.some_entries(&mut random);
            first.journal.save(entries, Durability::Now).await.unwrap();
        }
        let fleet = first.term.fleet;
        if random.random() {
            first.journal.close().await;
        }
        let copy = copy_of(dir.path());
        let damaged = if random.random() { FILE } else { WAL };
        let whole = length(copy.path(), damaged);
        if whole == 0 {
            continue;
        }
        let at = random.random_range(0..whole);
        match random.random_range(0..3) {
            0 => cut(copy.path(), damaged, at),
            1 => append_garbage(copy.path(), damaged, &mut random),
            _ => {
                let mut bytes = std::fs::read(copy.path().join(damaged)).unwrap();
                let end = bytes.len().min(at as usize + random.random_range(1..5000));
                random.fill_bytes(&mut bytes[at as usize..end]);
                std::fs::write(copy.path().join(damaged), bytes).unwrap();
            }
        }
        let second = open(copy.path(), BTreeMap::new());
        let second = second.unwrap_or_else(|error| panic!("BATON_SEED={seed}: {error}"));
        assert_eq!(second.term.fleet, fleet, "BATON_SEED={seed}");
        assert_eq!(second.term.counter, 2, "BATON_SEED={seed}");
        let alive = second.recovered.slaves.contains_key(&SlaveId(5));
        assert!(alive, "BATON_SEED={seed}");
        // What is not everything is not taken for everything.
        let recovered = second.recovered;
        let (journal, floor) = (recovered.journal, recovered.floor);
        let found = known(recovered);
        let is_whole = found == model && !found.shards.is_empty();
        assert!(
            is_whole || journal == JournalState::Lost || damaged == WAL,
            "BATON_SEED={seed}: {found:?} is not {:?}",
            model.clone()
        );
        if journal == JournalState::Lost {
            let highest = model.shards.values().map(|row| row.epoch).max();
            assert!(
                highest.is_none_or(|highest| floor > highest),
                "BATON_SEED={seed}"
            );
        }
        second.journal.close().await;
    }
}

#[tokio::test]
async fn a_save_that_the_disk_refused_is_reported_and_not_there_and_works_later() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let first = vec![owner(0, 1, Hold::Owned)];
    journal.save(first, Durability::Now).await.unwrap();
    let other = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.key LIKE 'slave.%'
             BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
        )
        .unwrap();
    let second = || {
        vec![
            owner(0, 2, Hold::Reserved),
            Entry::Slave(Box::new(hello(5))),
        ]
    };
    for how in [Durability::Now, Durability::Soon] {
        let refused = journal.save(second(), how).await.unwrap_err();
        assert!(matches!(&refused, SaveError::Refused(why) if why.contains("disk is full")));
    }
    let epoch: i64 = other
        .query_row(
            "SELECT CAST(value AS TEXT) ->> '$.epoch' FROM entries WHERE key = 'owner.0'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(epoch, 1, "all or nothing");

    other.execute_batch("DROP TRIGGER full").unwrap();
    journal.save(second(), Durability::Now).await.unwrap();
    journal.close().await;
    let found = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert_eq!(found.shards[&ShardId(0)].epoch, Epoch(2));
    assert!(found.slaves.contains_key(&SlaveId(5)));
}

#[tokio::test]
async fn a_slave_that_could_not_be_written_beside_the_journal_is_written_with_the_next_try() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    // Nothing can be written there.
    let in_the_way = dir.path().join("fleet.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let slave = || vec![Entry::Slave(Box::new(hello(5)))];
    for _ in 0..2 {
        assert!(journal.save(slave(), Durability::Now).await.is_err());
    }
    std::fs::remove_dir(&in_the_way).unwrap();
    journal.save(slave(), Durability::Now).await.unwrap();
    journal.close().await;
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    let found = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert!(found.slaves.contains_key(&SlaveId(5)));
}

#[tokio::test]
async fn a_write_ahead_log_that_grew_is_folded_in_once_nobody_waits() {
    // What `store::sqlite` leaves as it is.
    const LONG: u64 = 512 << 10;

    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join(WAL);
    let length = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let checkpoints = |handled| {
        let shards = 0..64;
        let tickets = shards.map(|shard| ticket(shard, 1, handled, ResumeAfter::Death));
        tickets.collect::<Vec<_>>()
    };
    let mut handled = 0;
    while length() <= LONG {
        handled += 1;
        journal
            .save(checkpoints(handled), Durability::Now)
            .await
            .unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while length() > LONG {
        assert!(std::time::Instant::now() < deadline, "it stays long");
        // The thread looks when it was woken.
        journal
            .save(vec![Entry::Seen], Durability::Soon)
            .await
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    journal.close().await;
    let tickets = open(dir.path(), BTreeMap::new()).unwrap().recovered.tickets;
    assert_eq!(tickets[&ShardId(0)].ticket.handled, Sequence(handled));
}

impl Known {
    /// Never tickets alone: those are written later.
    fn some_entries(&mut self, random: &mut ChaCha8Rng) -> Vec<Entry> {
        self.last_deploy = DeployId(self.last_deploy.get() + 1);
        let mut entries = vec![Entry::Deploy(self.last_deploy.into())];
        for _ in 0..random.random_range(0..5) {
            let shard = ShardId(random.random_range(0..40));
            match random.random_range(0..3) {
                0 => {
                    let epoch = self.shards.get(&shard).map_or(0, |row| row.epoch.get()) + 1;
                    let row = Row {
                        epoch: Epoch(epoch),
                        owner: SlaveId(5),
                        hold: Hold::Reserved,
                        basis: Basis::Seal(Epoch(epoch - 1)),
                    };
                    self.shards.insert(shard, row);
                    entries.push(owner(shard.get(), epoch, Hold::Reserved));
                }
                1 => {
                    let epoch = self.work.map_or(0, |(epoch, _)| epoch.get()) + 1;
                    let (epoch, owner) = (Epoch(epoch), SlaveId(5));
                    self.work = Some((epoch, owner));
                    entries.push(Entry::Work { epoch, owner });
                }
                _ => {
                    let handled = random.random_range(1..1000);
                    let entry = ticket(shard.get(), 1, handled, ResumeAfter::Death);
                    if let Entry::Ticket { ticket, .. } = &entry {
                        let row = RecoveredTicket {
                            epoch: Epoch(1),
                            after: ResumeAfter::Death,
                            ticket: (**ticket).clone(),
                            ..RecoveredTicket::default()
                        };
                        self.tickets.insert(shard, row);
                    }
                    entries.push(entry);
                }
            }
        }
        entries
    }
}

fn known(recovered: Recovered) -> Known {
    let mut tickets = recovered.tickets;
    for ticket in tickets.values_mut() {
        ticket.age = std::time::Duration::ZERO;
    }
    Known {
        shards: recovered.shards,
        work: recovered.work,
        last_deploy: recovered.last_deploy.deploy,
        tickets,
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let named = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match (named("BATON_SEED"), named("BATON_SEEDS")) {
        (Some(seed), None) => seed..seed + 1,
        (seed, seeds) => {
            let first = seed.unwrap_or(0);
            first..first + seeds.unwrap_or(count)
        }
    }
}

/// The files as a process leaves them that ends now.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [FILE, WAL, ROSTER] {
        let from = dir.join(name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn length(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join(name)).map_or(0, |file| file.len())
}

fn cut(dir: &Path, name: &str, end: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(dir.join(name));
    file.unwrap().set_len(end).unwrap();
}

fn append_garbage(dir: &Path, name: &str, random: &mut ChaCha8Rng) {
    use std::io::Write;

    let mut garbage = vec![0; random.random_range(1..9000)];
    random.fill_bytes(&mut garbage);
    let file = std::fs::OpenOptions::new()
        .append(true)
        .open(dir.join(name));
    file.unwrap().write_all(&garbage).unwrap();
}

#[tokio::test]
async fn rows_of_an_epoch_that_no_master_gave_are_forgotten_and_slaves_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), BTreeMap::new()).unwrap().journal;
    let entries = vec![
        owner(0, 1, Hold::Owned),
        owner(1, 7, Hold::Owned),
        Entry::Work {
            epoch: Epoch(3),
            owner: SlaveId(5),
        },
        Entry::Slave(Box::new(hello(5))),
    ];
    journal.save(entries, Durability::Now).await.unwrap();
    journal.close().await;
    // What a master before this one believed of a slave.
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    change(&file, "owner.1", "'$.epoch', 9223372036854775807");
    change(&file, "work", "'$.epoch', 0");
    drop(file);

    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    let recovered = opened.recovered;
    assert_eq!(recovered.journal, JournalState::Lost);
    assert_eq!(
        recovered.shards.keys().collect::<Vec<_>>(),
        [&ShardId(0)],
        "the other one is asked for"
    );
    assert_eq!(recovered.work, None);
    assert!(recovered.floor > Epoch(7) && recovered.floor < Epoch::LAST);
    // What its owner reports can be saved again.
    let entries = vec![owner(1, 7, Hold::Owned), Entry::Whole];
    opened.journal.save(entries, Durability::Now).await.unwrap();
    opened.journal.close().await;
    let recovered = open(dir.path(), BTreeMap::new()).unwrap().recovered;
    assert_eq!(recovered.journal, JournalState::Intact);
    assert_eq!(recovered.shards[&ShardId(1)].epoch, Epoch(7));
}
