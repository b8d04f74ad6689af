//! Looking after a store beside its owner, and where nobody owns it.

use std::{path::Path, time::Duration};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Error, Found, Store};
use serde_json::json;
use twilight_model::id::Id;

use crate::common::{SHARD, apply, begin, claim, dump, is_sound, options, owner, store};

/// A state with pages that are half empty.
fn used_up(dir: &Path) {
    let mut writer = claim(&store(dir), 1);
    begin(&mut writer, 9);
    for round in 0..20_u64 {
        let many: Vec<_> = (0..100)
            .map(|n| {
                let id = (n * 7919 + round) % 2000 + 1000;
                let role = json!({"id": id.to_string(), "name": "x".repeat(200)});
                ("GUILD_ROLE_CREATE", json!({"guild_id": "9", "role": role}))
            })
            .collect();
        apply(&mut writer, 3 + round * 100, &many).unwrap();
    }
}

#[test]
fn a_state_that_nobody_has_open_is_compacted_where_it_stands_and_the_next_owner_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    used_up(&path);
    let before = dump(&store(&path).view().unwrap());
    {
        let _owner = store(&path);
        let at_once = options().with_patience(Duration::ZERO);
        let error = baton_store::compact(&path, SHARD, at_once).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{error}");
    }
    let compacted = baton_store::compact(&path, SHARD, options()).unwrap();
    assert!(compacted.after < compacted.before, "{compacted:?}");
    let store = store(&path);
    assert_eq!(dump(&store.view().unwrap()), before);
    let (_, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, Sequence(2002))
    );
    is_sound(&path);
}

#[test]
fn an_owner_that_is_asked_to_compact_sees_it_and_answers_whoever_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = store(&path);
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    assert!(!writer.is_compact_asked().unwrap());
    baton_store::ask_to_compact(&path, SHARD).unwrap();
    baton_store::ask_to_compact(&path, SHARD).unwrap();
    assert!(writer.is_compact_asked().unwrap());
    writer.compact().unwrap();
    assert!(!baton_store::is_compact_asked(&path, SHARD).unwrap());

    // An owner that cannot do it answers too; who asks no more takes it back.
    baton_store::ask_to_compact(&path, SHARD).unwrap();
    writer.seal();
    assert!(writer.compact().is_err());
    assert!(!writer.is_compact_asked().unwrap());
    baton_store::ask_to_compact(&path, SHARD).unwrap();
    baton_store::take_back(&path, SHARD).unwrap();
    assert!(!writer.is_compact_asked().unwrap());
    let nowhere = baton_store::ask_to_compact(&path, ShardId(77)).unwrap_err();
    assert!(nowhere.to_string().contains("shard-77"), "{nowhere}");
}

#[test]
fn a_state_that_is_closed_as_soon_as_it_is_open_ends_nothing_but_itself() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for shard in 0..8 {
            let path = dir.path().join("store");
            scope.spawn(move || {
                let open = || Store::open(&path, ShardId(shard), options()).unwrap();
                drop(claim(&open(), 1));
                for _ in 0..100 {
                    drop(open());
                }
            });
        }
    });
}

#[test]
fn the_shards_of_a_store_are_listed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for shard in [12, 3] {
        Store::open(&path, ShardId(shard), options()).unwrap();
    }
    for other in ["shard-x", "shard-03", "main-0011"] {
        std::fs::create_dir(path.join(other)).unwrap();
    }
    assert_eq!(
        baton_store::shards(&path).unwrap(),
        [ShardId(3), ShardId(12)]
    );
    assert!(baton_store::shards(&dir.path().join("none")).is_err());
}

/// Bytes below this folder that this process has mapped and looked at.
fn mapped(dir: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (dir, mut is_own, mut kib) = (dir.display().to_string(), false, 0);
    for line in maps.lines() {
        match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            ["Rss:", rss, "kB"] if is_own => kib += rss.parse::<u64>().unwrap(),
            [name, ..] if name.ends_with(':') => {}
            _ => is_own = line.contains(&dir) && line.ends_with("/data.mdb"),
        }
    }
    kib << 10
}

#[test]
fn what_was_mapped_is_given_back_and_whoever_reads_it_finds_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    used_up(&path);
    let store = store(&path);
    let view = store.view().unwrap();
    let before = dump(&view);
    assert!(mapped(&path) > 200_000, "{}", mapped(&path));
    let role = view.roles(Id::new(9)).nth(500).unwrap();
    let is = role.to_json();
    Store::unmap(std::slice::from_ref(&store)).unwrap();
    assert_eq!(mapped(&path), 0);
    // Who had a reference into it has it, and all of the rest.
    assert_eq!(role.to_json(), is);
    assert!(mapped(&path) < 150_000, "{}", mapped(&path));
    assert_eq!(dump(&view), before);
}

#[test]
fn a_state_that_its_owner_moved_is_not_there_any_more_for_whoever_opened_it_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let early = store(&path);
    assert!(!early.is_there(), "nothing is");
    used_up(&path);
    let (owner, other) = (store(&path), store(&path));
    let mut writer = claim(&owner, 2);
    assert!(other.is_there());
    // In another process it would be open for good.
    writer.compact().unwrap();
    assert!(owner.is_there() && !other.is_there());
}
