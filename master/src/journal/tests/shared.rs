//! Masters of several hosts at one journal: what the file of one host says of it.

use super::{terms::begins_shared, *};
use crate::store::Memory;

#[tokio::test]
async fn what_a_host_knew_before_another_one_led_is_no_sign_of_a_loss() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Memory::default();
    let first = begins_shared(&store, a.path()).unwrap();
    let rows = vec![
        owner(0, 1, Hold::Owned),
        Entry::Slave(Box::new(hello(5))),
        Entry::Whole,
    ];
    first.journal.save(rows, Durability::Now).await.unwrap();
    let second = begins_shared(&store, b.path()).unwrap();
    assert_eq!(second.recovered.journal, JournalState::Intact);
    let died = vec![Entry::Gone(SlaveId(5)), Entry::Slave(Box::new(hello(6)))];
    second.journal.save(died, Durability::Now).await.unwrap();
    // The file of the first host names a slave that died under the second.
    let third = begins_shared(&store, a.path()).unwrap();
    assert_eq!(third.recovered.journal, JournalState::Intact);
    assert_eq!(third.term.counter, 3);
    let slaves: Vec<_> = third.recovered.slaves.keys().copied().collect();
    assert_eq!(slaves, [SlaveId(6)]);
}

#[tokio::test]
async fn a_store_that_was_put_back_or_emptied_is_a_journal_that_was_lost() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Memory::default();
    let first = begins_shared(&store, a.path()).unwrap();
    let rows = vec![owner(0, 1, Hold::Owned), Entry::Slave(Box::new(hello(5)))];
    first.journal.save(rows, Durability::Now).await.unwrap();
    let yesterday = store.copied();
    let second = begins_shared(&store, b.path()).unwrap();
    let term = second.term.counter;
    // The host that led last knows a later term than the store.
    let opened = begins_shared(&yesterday.copied(), b.path()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Lost);
    assert_eq!(opened.term.counter, term + 1);
    assert!(opened.recovered.floor > Epoch(1));
    let emptied = begins_shared(&Memory::default(), b.path()).unwrap();
    assert_eq!(emptied.recovered.journal, JournalState::Lost);
    assert!(emptied.term.counter > term);
}

#[tokio::test]
async fn a_store_that_went_back_within_one_term_is_found_out_by_what_was_seen_of_it() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Memory::default();
    let first = begins_shared(&store, a.path()).unwrap();
    let save = |epoch| vec![owner(0, epoch, Hold::Owned)];
    first.journal.save(save(1), Durability::Now).await.unwrap();
    let before = store.copied();
    first.journal.save(save(2), Durability::Now).await.unwrap();
    // As a standby master on another host wrote it down.
    let term = first.term;
    let (fleet, counter) = (term.fleet, term.counter);
    let newest = 3;
    let copy = serde_json::json!({
        "fleet": fleet, "term": counter, "shard_count": null, "pinned": null, "slaves": [],
        "boot": "", "copied": true, "newest": newest,
    });
    std::fs::write(b.path().join("fleet"), copy.to_string()).unwrap();
    let opened = begins_shared(&before.copied(), b.path()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Lost);
    std::fs::write(b.path().join("fleet"), copy.to_string()).unwrap();
    let opened = begins_shared(&store, b.path()).unwrap();
    assert_eq!(opened.recovered.journal, JournalState::Intact);
}

#[tokio::test]
async fn a_master_with_the_secret_of_another_fleet_takes_no_term() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Memory::default();
    begins_shared(&store, a.path()).unwrap();
    let home = Home::new(b.path().join("fleet"), &Secret::random().unwrap(), true).shared();
    let refused = terms::begins_at(&store, &home).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("another secret"), "{refused}");
}
