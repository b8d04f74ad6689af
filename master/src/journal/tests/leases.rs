//! How long slaves serve without a master: what the next one may rely on.

use std::time::Duration;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

fn leased(slave: u128, lease: Duration) -> Entry {
    let slave = SlaveId(slave);
    Entry::Leased { slave, lease }
}

async fn save(dir: &Path, mut entries: Vec<Entry>) {
    // A journal without a shard is taken for lost.
    entries.push(owner(0, 1, Hold::Owned));
    let journal = open(dir, BTreeMap::new()).unwrap().journal;
    journal.save(entries, Durability::Now).await.unwrap();
    journal.close().await;
}

async fn known(dir: &Path) -> BTreeMap<SlaveId, Duration> {
    let opened = open(dir, BTreeMap::new()).unwrap();
    opened.journal.close().await;
    opened.recovered.leases
}

#[tokio::test]
async fn a_lease_outlives_masters_until_its_slave_has_none_or_is_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [4, 5, 6, 7].map(|slave| leased(slave, LEASE));
    save(dir.path(), entries.to_vec()).await;
    for _ in 0..2 {
        let known = known(dir.path()).await;
        assert_eq!(known.len(), 4);
        // Rather longer than shorter.
        assert!(known.values().all(|lease| *lease >= LEASE));
        assert!(
            known
                .values()
                .all(|lease| *lease < LEASE + Duration::from_secs(1))
        );
    }
    let over = vec![
        leased(4, Duration::ZERO),
        Entry::Gone(SlaveId(5)),
        Entry::Fenced(SlaveId(6)),
    ];
    save(dir.path(), over).await;
    let known = known(dir.path()).await;
    assert_eq!(known.keys().collect::<Vec<_>>(), [&SlaveId(7)]);
}

#[tokio::test]
async fn a_lease_of_which_the_last_master_knew_nothing_is_relied_upon_no_more() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), vec![leased(4, LEASE)]).await;
    // A build that knows none has led since, and left the row alone.
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let before = r#"{"v":1,"lease_ms":30000,"term":0}"#;
    let put = "UPDATE entries SET value = ?1 WHERE key LIKE 'lease.%'";
    assert_eq!(file.execute(put, [before.as_bytes()]).unwrap(), 1);
    drop(file);
    for _ in 0..2 {
        assert!(known(dir.path()).await.is_empty());
    }
}
