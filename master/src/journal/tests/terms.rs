//! Two masters at one store.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    journal::{open::begin, rows::Rows},
    store::{Memory, Store},
};

/// A master that begins at this store, with a runtime directory of its own.
fn begins(store: &Memory, dir: &Path) -> Result<Opened, crate::store::StoreError> {
    begins_at(store, &Home::new(dir.join("fleet"), &secret(), false))
}

/// The same, on one of several hosts.
pub(super) fn begins_shared(
    store: &Memory,
    dir: &Path,
) -> Result<Opened, crate::store::StoreError> {
    begins_at(
        store,
        &Home::new(dir.join("fleet"), &secret(), false).shared(),
    )
}

pub(super) fn begins_at(store: &Memory, home: &Home) -> Result<Opened, crate::store::StoreError> {
    let mut store = store.clone();
    let rows = Rows::read(&store.read().unwrap()).unwrap();
    begin(Box::new(store), rows, false, BTreeMap::new(), home)
}

#[tokio::test]
async fn a_master_whose_term_another_one_took_saves_nothing_any_more_and_hears_why() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(dir.path(), BTreeMap::new()).unwrap();
    let first = vec![owner(0, 1, Hold::Owned)];
    old.journal.save(first, Durability::Now).await.unwrap();
    assert_eq!(old.journal.deposed(), None);

    // One file, and no lock between the two.
    let new = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(new.term.counter, old.term.counter + 1);
    assert_eq!(new.recovered.shards[&ShardId(0)].epoch, Epoch(1));
    for how in [Durability::Now, Durability::Soon] {
        let late = vec![
            owner(0, 2, Hold::Reserved),
            Entry::Slave(Box::new(hello(9))),
        ];
        let refused = old.journal.save(late, how).await.unwrap_err();
        let SaveError::Deposed(reason) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("another master has taken over from start 1"));
        assert_eq!(old.journal.deposed(), Some(&*reason));
    }
    let pinned = old.journal.pin_shard_count(7).await;
    assert!(matches!(pinned, Err(SaveError::Deposed(_))), "{pinned:?}");
    let save = vec![owner(0, 2, Hold::Owned)];
    new.journal.save(save, Durability::Now).await.unwrap();
    // Nor is what lies beside the journal written for it.
    std::fs::remove_file(dir.path().join("fleet")).unwrap();
    old.journal.write_roster();
    old.journal.close().await;
    assert!(!dir.path().join("fleet").exists());
    new.journal.write_roster();
    new.journal.close().await;

    let last = open(dir.path(), BTreeMap::new()).unwrap();
    assert_eq!(last.recovered.shards[&ShardId(0)].epoch, Epoch(2));
    assert_eq!(last.shard_count, None);
    // Nor did the old one spoil the file beside the journal.
    assert!(last.recovered.slaves.is_empty());
    assert_eq!(last.recovered.journal, JournalState::Intact);
}

#[tokio::test]
async fn checkpoints_alone_are_enough_to_find_out() {
    let (store, dirs) = (
        Memory::default(),
        [1, 2].map(|_| tempfile::tempdir().unwrap()),
    );
    let old = begins(&store, dirs[0].path()).unwrap();
    let _new = begins(&store, dirs[1].path()).unwrap();
    let checkpoint = vec![ticket(0, 1, 10, ResumeAfter::Death)];
    let deadline = Instant::now() + Duration::from_secs(60);
    while old.journal.deposed().is_none() {
        assert!(Instant::now() < deadline, "nobody found out");
        // They are only taken: nobody waits for them.
        old.journal
            .save(checkpoint.clone(), Durability::Soon)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    old.journal.close().await;
}

#[tokio::test]
async fn of_two_masters_that_read_one_store_before_either_began_one_begins() {
    let (store, dirs) = (
        Memory::default(),
        [1, 2].map(|_| tempfile::tempdir().unwrap()),
    );
    let rows = || Rows::read(&store.clone().read().unwrap()).unwrap();
    let (one, other) = (rows(), rows());
    let begin = |rows, dir: &tempfile::TempDir| {
        let home = Home::new(dir.path().join("fleet"), &secret(), false);
        begin(Box::new(store.clone()), rows, false, BTreeMap::new(), &home)
    };
    let first = begin(one, &dirs[0]).unwrap();
    let error = begin(other, &dirs[1]).unwrap_err();
    assert!(error.to_string().contains("another master has taken over"));
    let save = vec![owner(0, 1, Hold::Owned)];
    first.journal.save(save, Durability::Now).await.unwrap();
    first.journal.close().await;
}

#[tokio::test]
async fn a_store_that_refuses_is_asked_again_and_deposes_nobody() {
    let (store, dir) = (Memory::default(), tempfile::tempdir().unwrap());
    let opened = begins(&store, dir.path()).unwrap();
    store.refuse(Some("it is full"));
    let save = || vec![owner(0, 1, Hold::Owned)];
    let refused = opened.journal.save(save(), Durability::Now).await;
    assert!(matches!(refused, Err(SaveError::Refused(why)) if why.contains("it is full")));
    assert_eq!(opened.journal.deposed(), None);
    store.refuse(None);
    opened.journal.save(save(), Durability::Now).await.unwrap();
    opened.journal.close().await;
}
