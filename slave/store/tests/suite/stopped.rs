//! A writer that is stopped, and wakes up when another one owns the shard.

use std::{fs::File, path::Path, time::Duration};

use baton_protocol::Epoch;
use baton_store::{Found, Store};

use crate::{
    common::{
        SHARD, apply, at_last,
        child::{Ask, Process},
        dump, is_sound,
        model::Model,
        options, owner, store,
        stream::Stream,
        until,
    },
    random::differences,
};

/// A process that is stopped in the middle of a change is waited for so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// Whether a process holds the lock of a change.
fn is_in_a_change(dir: &Path) -> bool {
    let names = std::fs::read_dir(dir.join("shard-3")).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let mut data = paths
        .map(|path| path.join("data.mdb"))
        .filter(|path| path.exists());
    let file = File::open(data.next().unwrap()).unwrap();
    file.try_lock().is_err()
}

fn check(store: &Store, model: &Model) {
    let view = store.view().unwrap();
    assert_eq!(view.stand().sequence.get(), model.sequence);
    let wrong = differences(&dump(&view), &model.dump());
    assert!(
        wrong.is_empty(),
        "at {}:\n{}",
        model.sequence,
        wrong.join("\n")
    );
}

/// Stops a writer in or between its changes, takes over, writes, wakes it up.
fn play(in_a_change: bool, found: Found) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let (mut stream, mut model) = (Stream::new(5), Model::default());
    let old = Process::start(&Ask {
        dir: &path,
        epoch: 1,
        seed: 5,
        batch: if in_a_change { 40 } else { 1 },
        padding: 0,
        through: &[],
    });
    assert!(old.says().starts_with("claimed at 0"));
    // The next one has it open already, as a candidate of a deploy has.
    let options = match in_a_change {
        true => options().with_patience(PATIENCE),
        false => options(),
    };
    let store = Store::open(&path, SHARD, options).unwrap();
    until("a change is made", || {
        store
            .view()
            .ok()
            .filter(|view| view.stand().sequence.get() > 50)
            .map(|_| ())
    });
    until("it is stopped there", || {
        old.stop();
        if is_in_a_change(&path) == in_a_change {
            return Some(());
        }
        old.signal("CONT");
        None
    });

    let (mut writer, takeover) = at_last(|| store.claim(Epoch(2), owner(2))).unwrap();
    assert_eq!(takeover.found, found);
    while model.sequence < takeover.stand.sequence.get() {
        let (sequence, kind, d) = stream.next();
        model.apply(sequence, kind, &d);
    }
    check(&store, &model);
    let go_on =
        |count: u64, writer: &mut baton_store::Writer, stream: &mut Stream, model: &mut Model| {
            for _ in 0..count {
                let (sequence, kind, d) = stream.next();
                model.apply(sequence, kind, &d);
                at_last(|| apply(writer, sequence, &[(kind, d.clone())])).unwrap();
            }
        };
    go_on(150, &mut writer, &mut stream, &mut model);
    check(&store, &model);

    old.signal("CONT");
    let says = old.says();
    assert!(says.starts_with("fenced at "), "{says}");
    check(&store, &model);
    go_on(50, &mut writer, &mut stream, &mut model);
    check(&store, &model);

    // Whoever comes next finds the new owner's state, and nothing of the old one's.
    let (_, takeover) = at_last(|| store.claim(Epoch(3), owner(3))).unwrap();
    assert_eq!(takeover.stand.sequence.get(), model.sequence);
    is_sound(&path);
}

#[test]
fn a_writer_that_is_stopped_in_a_change_holds_up_nobody_and_wakes_up_to_a_file_that_nobody_reads() {
    play(true, Found::Copied);
}

#[test]
fn a_writer_that_is_stopped_between_two_changes_finds_a_later_owner_when_it_wakes_up() {
    play(false, Found::State);
}

#[test]
fn a_writer_that_is_stopped_in_a_change_and_killed_leaves_the_state_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut old = Process::start(&Ask {
        dir: &path,
        epoch: 1,
        seed: 6,
        batch: 40,
        padding: 0,
        through: &[],
    });
    old.says();
    let store = store(&path);
    until("it is stopped in a change", || {
        old.stop();
        if is_in_a_change(&path) {
            return Some(());
        }
        old.signal("CONT");
        None
    });
    old.kill();
    let (_, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.found, Found::State);
    let (mut stream, mut model) = (Stream::new(6), Model::default());
    while model.sequence < takeover.stand.sequence.get() {
        let (sequence, kind, d) = stream.next();
        model.apply(sequence, kind, &d);
    }
    check(&store, &model);
}
