//! The last deploy of each slot, and the one row for all of them of an earlier build.

use std::time::Duration;

use baton_core::event::{Arrangement, Done, LastDeploy, Moved};

use super::{super::inspect::inspect, *};

fn last(slot: &str, deploy: u64, command: &str) -> LastDeploy {
    LastDeploy {
        deploy: DeployId(deploy),
        slot: slot.to_owned(),
        command: Some(vec![command.to_owned()]),
        done: None,
    }
}

async fn save(dir: &Path, entries: Vec<Entry>) {
    let journal = open(dir, BTreeMap::new()).unwrap().journal;
    journal.save(entries, Durability::Now).await.unwrap();
    journal.close().await;
}

async fn recovered(dir: &Path) -> Recovered {
    let opened = open(dir, BTreeMap::new()).unwrap();
    opened.journal.close().await;
    opened.recovered
}

/// As the build before wrote it, which knows no other row of a deploy.
fn write_as_before(dir: &Path, value: &str) {
    let file = rusqlite::Connection::open(dir.join(FILE)).unwrap();
    let put = "INSERT OR REPLACE INTO entries (key, value, revision) VALUES ('deploy', ?1, 1)";
    file.execute(put, [value.as_bytes()]).unwrap();
}

#[tokio::test]
async fn two_deploys_that_a_master_did_not_survive_are_both_there() {
    let dir = tempfile::tempdir().unwrap();
    let (main, west) = (last("main", 7, "m2"), last("west side", 8, "w2"));
    let begun = [&west, &main].map(|last| Entry::Deploy(last.clone()));
    save(dir.path(), begun.to_vec()).await;
    let found = recovered(dir.path()).await;
    assert_eq!(found.last_deploy, west, "its number was the last one");
    let both = [main, west].map(|last| (last.slot.clone(), last));
    assert_eq!(found.deploys, both.into());
}

#[tokio::test]
async fn when_a_slot_was_deployed_last_is_known_to_the_second_next_master_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut main = last("main", 7, "m2");
    main.done = Some(Done {
        deploy: DeployId(7),
        ago: Duration::from_secs(100),
        lag_before: Some(Duration::from_secs(2)),
    });
    save(dir.path(), vec![Entry::Deploy(main)]).await;
    let first = recovered(dir.path()).await.deploys["main"].clone();
    assert!(first.is_done());
    // The next deploy begins, and does not end.
    let next = LastDeploy {
        done: first.done,
        ..last("main", 8, "m3")
    };
    save(dir.path(), vec![Entry::Deploy(next)]).await;
    let found = recovered(dir.path()).await.deploys["main"].clone();
    assert!(!found.is_done());
    let done = found.done.unwrap();
    assert_eq!(done.deploy, DeployId(7));
    assert_eq!(done.lag_before, Some(Duration::from_secs(2)));
    let hour = Duration::from_secs(3600);
    assert!(
        (Duration::from_secs(100)..hour).contains(&done.ago),
        "{done:?}"
    );
}

/// What is tried after a failed save is the last deploy, as it was known when it was done.
#[tokio::test]
async fn a_deploy_that_is_saved_once_more_was_done_when_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let done = |ago| {
        let mut last = last("main", 7, "m2");
        last.done = Some(Done {
            deploy: DeployId(7),
            ago,
            lag_before: None,
        });
        Entry::Deploy(last)
    };
    let ago = async || {
        recovered(dir.path()).await.deploys["main"]
            .done
            .unwrap()
            .ago
    };
    save(dir.path(), vec![done(hour), done(Duration::ZERO)]).await;
    assert!(ago().await >= hour);
    save(dir.path(), vec![done(Duration::ZERO)]).await;
    assert!(ago().await >= hour);
}

#[tokio::test]
async fn the_row_of_the_build_before_is_that_of_its_slot_unless_a_later_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), Vec::new()).await;
    write_as_before(
        dir.path(),
        r#"{"v":1,"last":6,"slot":"main","command":["m1"],"unix_ms":5}"#,
    );
    let found = recovered(dir.path()).await;
    assert_eq!(found.last_deploy, last("main", 6, "m1"));
    assert_eq!(found.deploys["main"], last("main", 6, "m1"));
    // The build before finds the last one of all where it always was.
    let begun = [last("main", 7, "m2"), last("west", 8, "w2")];
    save(dir.path(), begun.map(Entry::Deploy).to_vec()).await;
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let row: Vec<u8> = file
        .query_row(
            "SELECT value FROM entries WHERE key = 'deploy'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(file);
    let row: serde_json::Value = serde_json::from_slice(&row).unwrap();
    assert_eq!((&row["last"], &row["slot"]), (&8.into(), &"west".into()));
    // It deployed one slot meanwhile.
    write_as_before(
        dir.path(),
        r#"{"v":1,"last":9,"slot":"main","command":["m3"],"unix_ms":5}"#,
    );
    let found = recovered(dir.path()).await;
    assert_eq!(found.deploys["main"], last("main", 9, "m3"));
    assert_eq!(found.deploys["west"], last("west", 8, "w2"));
}

#[tokio::test]
async fn a_deploy_that_is_done_was_begun_when_it_was() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), Vec::new()).await;
    write_as_before(dir.path(), r#"{"v":1,"last":6,"slot":"main","unix_ms":5}"#);
    let done = LastDeploy {
        done: Some(Done {
            deploy: DeployId(6),
            ..Done::default()
        }),
        ..last("main", 6, "m1")
    };
    save(dir.path(), vec![Entry::Deploy(done)]).await;
    let opened = open(dir.path(), BTreeMap::new()).unwrap();
    assert!(opened.recovered.deploys["main"].is_done());
    assert_eq!(opened.deploys_ms["main"], 5);
    opened.journal.close().await;
}

#[tokio::test]
async fn a_number_without_a_slot_is_kept_as_a_number() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), Vec::new()).await;
    write_as_before(dir.path(), r#"{"v":1,"last":6}"#);
    let found = recovered(dir.path()).await;
    assert_eq!(found.last_deploy.deploy, DeployId(6));
    assert!(found.deploys.is_empty());
}

#[tokio::test]
async fn a_look_shows_the_last_deploy_of_each_slot_and_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let done = |deploy, ago| Done {
        deploy: DeployId(deploy),
        ago: Duration::from_secs(ago),
        lag_before: None,
    };
    let west = LastDeploy {
        done: Some(done(4, 100)),
        ..last("west", 4, "w1")
    };
    let main = LastDeploy {
        done: Some(done(3, 1000)),
        ..last("main", 5, "m2")
    };
    let begun = [west, main, last("east", 6, "e1")].map(Entry::Deploy);
    let given_up = Entry::GivenUp(DeployId(6));
    save(dir.path(), begun.into_iter().chain([given_up]).collect()).await;
    let seen = inspect(&dir.path().join(FILE)).unwrap();
    let shown: Vec<_> = seen
        .deploys
        .iter()
        .map(|row| (&*row.slot, row.deploy, row.ended))
        .collect();
    assert_eq!(
        shown,
        [
            ("east", 6, Some("given up")),
            ("main", 5, None),
            ("west", 4, Some("done"))
        ]
    );
    let [east, main, west] = &seen.deploys[..] else {
        panic!("{:?}", seen.deploys);
    };
    assert_eq!(east.done_ms_ago, None);
    assert!(main.done_ms_ago.unwrap() >= 1_000_000);
    assert!((100_000..1_000_000).contains(&west.done_ms_ago.unwrap()));
    assert!(main.begun_ms_ago.unwrap() < 100_000);
}

#[tokio::test]
async fn what_operators_changed_of_where_shards_are_is_there_for_the_next_master() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        recovered(dir.path()).await.arrangement,
        Arrangement::default()
    );
    let arrangement = Arrangement {
        moved: vec![Moved {
            shards: "0-3,9".parse().unwrap(),
            configured: "main".to_owned(),
            to: "west side".to_owned(),
        }],
        cordoned: ["east".to_owned()].into(),
        held: true,
    };
    save(dir.path(), vec![Entry::Arrangement(arrangement.clone())]).await;
    assert_eq!(recovered(dir.path()).await.arrangement, arrangement);
}
