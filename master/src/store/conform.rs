//! What every store does, each test run against all of them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use baton_core::event::Durability;

use super::{ApplyError, Memory, Revision, Sqlite, Store, TERM, memory::batch};

/// Opens one store as often as is wanted: each time as another master would.
type Opens<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

fn against_each(test: impl Fn(&str, Opens<'_>)) {
    let memory = Memory::default();
    test("memory", &mut || Box::new(memory.clone()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal");
    test("sqlite", &mut || opened(&file));
    #[cfg(feature = "nats")]
    if let Some(server) = super::nats::tests::Server::start() {
        test("nats", &mut || Box::new(server.store()));
    }
}

fn opened(file: &Path) -> Box<dyn Store> {
    Box::new(Sqlite::open(file).unwrap())
}

fn texts(store: &mut dyn Store) -> Vec<(String, String)> {
    let entries = store.read().unwrap().into_iter();
    entries
        .map(|(key, kept)| (key, String::from_utf8(kept.value).unwrap()))
        .collect()
}

fn owned(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn what_was_put_is_read_by_whoever_opens_the_store_next_and_what_was_deleted_is_not() {
    against_each(|name, open| {
        let mut first = open();
        assert!(first.read().unwrap().is_empty(), "{name}");
        let put = [("term", Some("1")), ("a", Some("x")), ("b", Some("y"))];
        let term = first.apply(&batch(None, &put), Durability::Now).unwrap();
        let change = [("a", Some("z")), ("b", None), ("never-there", None)];
        let second = first
            .apply(&batch(Some(term), &change), Durability::Soon)
            .unwrap();
        assert!(second > term, "{name}");
        drop(first);
        let mut next = open();
        assert_eq!(
            texts(&mut *next),
            owned(&[("a", "z"), ("term", "1")]),
            "{name}"
        );
        let revisions = ["term", "a", "b"].map(|key| next.revision(key).unwrap());
        assert_eq!(revisions, [Some(term), Some(second), None], "{name}");
    });
}

#[test]
fn values_are_any_bytes() {
    against_each(|name, open| {
        let mut store = open();
        let bytes: Vec<u8> = (0..=255).collect();
        let mut all = batch(None, &[]);
        all.changes.insert("bytes".to_owned(), Some(bytes.clone()));
        all.changes.insert("none".to_owned(), Some(Vec::new()));
        store.apply(&all, Durability::Now).unwrap();
        let read = store.read().unwrap();
        assert_eq!(
            (&read["bytes"].value, read["none"].value.len()),
            (&bytes, 0),
            "{name}"
        );
    });
}

#[test]
fn of_two_masters_that_begin_at_one_store_one_has_the_term_and_the_other_is_told() {
    against_each(|name, open| {
        let (mut one, mut other) = (open(), open());
        let seen = [&mut one, &mut other].map(|store| store.revision(TERM).unwrap());
        assert_eq!(seen, [None, None], "{name}");
        let take = |counter| batch(None, &[(TERM, Some(counter))]);
        one.apply(&take("1"), Durability::Now).unwrap();
        let refused = other.apply(&take("1"), Durability::Now);
        assert!(
            matches!(refused, Err(ApplyError::Deposed)),
            "{name}: {refused:?}"
        );
        assert_eq!(texts(&mut *other), owned(&[(TERM, "1")]), "{name}");
    });
}

#[test]
fn nothing_is_written_for_a_master_whose_term_another_one_took() {
    against_each(|name, open| {
        let (mut old, mut new) = (open(), open());
        let first = old
            .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
            .unwrap();
        let taken = batch(Some(first), &[(TERM, Some("2"))]);
        let second = new.apply(&taken, Durability::Now).unwrap();
        for durability in [Durability::Now, Durability::Soon] {
            let late = batch(Some(first), &[("owner.0", Some("old"))]);
            let refused = old.apply(&late, durability);
            assert!(
                matches!(refused, Err(ApplyError::Deposed)),
                "{name}: {refused:?}"
            );
        }
        let save = batch(Some(second), &[("owner.0", Some("new"))]);
        new.apply(&save, Durability::Now).unwrap();
        // What the new one writes moves the term of nobody.
        new.apply(&save, Durability::Now).unwrap();
        assert_eq!(
            texts(&mut *old),
            owned(&[("owner.0", "new"), (TERM, "2")]),
            "{name}"
        );
    });
}

#[test]
fn a_batch_that_comes_too_late_leaves_nothing_of_itself() {
    against_each(|name, open| {
        let mut store = open();
        let put = [(TERM, Some("1")), ("a", Some("before"))];
        let term = store.apply(&batch(None, &put), Durability::Now).unwrap();
        let late = [("a", None), ("b", Some("late")), (TERM, Some("9"))];
        let expects = [None, Some(Revision(term.0 + 1)), Some(Revision(0))];
        for expected in expects {
            let refused = store.apply(&batch(expected, &late), Durability::Now);
            assert!(
                matches!(refused, Err(ApplyError::Deposed)),
                "{name}: {refused:?}"
            );
            assert_eq!(
                texts(&mut *store),
                owned(&[("a", "before"), (TERM, "1")]),
                "{name}"
            );
        }
    });
}

#[test]
fn no_revision_is_used_twice_also_after_the_newest_key_was_deleted() {
    against_each(|name, open| {
        let mut store = open();
        let term = store
            .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
            .unwrap();
        let put = batch(Some(term), &[("a", Some("x"))]);
        let first = store.apply(&put, Durability::Now).unwrap();
        let gone = batch(Some(term), &[("a", None)]);
        let second = store.apply(&gone, Durability::Now).unwrap();
        drop(store);
        let third = open().apply(&put, Durability::Now).unwrap();
        assert!(first < second && second < third, "{name}");
    });
}
