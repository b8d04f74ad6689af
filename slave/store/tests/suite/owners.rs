//! Who may write, and what stands in one change.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
};

use baton_protocol::{Epoch, Sequence};
use baton_store::{Dispatch, Error, Found};
use serde_json::json;
use twilight_model::id::Id;

use crate::common::{SESSION, apply, begin, claim, dump, owner, payload, store};

fn name(guild: u64, name: &str) -> (&'static str, serde_json::Value) {
    (
        "GUILD_UPDATE",
        json!({"id": guild.to_string(), "name": name}),
    )
}

#[test]
fn whoever_looks_sees_a_sequence_and_the_state_of_exactly_that_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            let mut looks = 0_u64;
            while !over.load(Ordering::Relaxed) || looks == 0 {
                let view = store.view().unwrap();
                let (at, guild) = (view.stand().sequence.get(), view.guild(Id::new(9)).unwrap());
                let said = guild.text("name").unwrap().into_owned();
                if at > 2 {
                    assert_eq!(said, format!("at {at}"));
                }
                looks += 1;
            }
        };
        let looks = [scope.spawn(look), scope.spawn(look)];
        // Also where this thread panics: nobody looks for ever.
        let ends = Ends(&over);
        for sequence in (3..2000).step_by(2) {
            let (one, two) = (format!("at {sequence}"), format!("at {}", sequence + 1));
            apply(&mut writer, sequence, &[name(9, &one), name(9, &two)]).unwrap();
        }
        drop(ends);
        for look in looks {
            look.join().unwrap();
        }
    });
}

/// Says that it is over when it is dropped.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_event_that_comes_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    let joins = (
        "GUILD_MEMBER_ADD",
        json!({"guild_id": "9", "user": {"id": "6"}, "joined_at": null, "roles": []}),
    );
    let leaves = (
        "GUILD_MEMBER_REMOVE",
        json!({"guild_id": "9", "user": {"id": "6"}}),
    );
    apply(
        &mut writer,
        3,
        &[joins.clone(), leaves.clone(), joins.clone()],
    )
    .unwrap();
    let before = dump(&store.view().unwrap());
    let again = apply(&mut writer, 3, &[joins, leaves]).unwrap();
    assert_eq!((again.known, again.new), (2, 0));
    assert_eq!(dump(&store.view().unwrap()), before);
    assert_eq!(store.view().unwrap().stand().sequence, Sequence(5));
    let guild = store.guild(Id::new(9)).unwrap();
    assert_eq!(guild.get().number("member_count"), Some(2));
}

#[test]
fn a_claim_at_once_goes_on_in_what_is_open_waits_for_nobody_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let next = store(&path);
    let at_once = |epoch| next.claim_at_once(Epoch(epoch), owner(epoch));
    assert!(at_once(1).unwrap().is_none(), "nothing is there");
    let mut old = claim(&store(&path), 1);
    begin(&mut old, 9);

    let files = || {
        let names = std::fs::read_dir(path.join("shard-3")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = files();
    let data = before.iter().map(|path| path.join("data.mdb"));
    let in_a_change = File::open(data.clone().find(|path| path.exists()).unwrap()).unwrap();
    in_a_change.lock().unwrap();
    assert!(at_once(2).unwrap().is_none(), "it would have to wait");
    assert_eq!(files(), before);
    drop(in_a_change);
    apply(&mut old, 3, &[name(9, "old")]).unwrap();

    let (mut new, takeover) = at_once(2).unwrap().unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, Sequence(3))
    );
    let late = apply(&mut old, 4, &[name(9, "old")]).unwrap_err();
    assert!(matches!(late, Error::Fenced { .. }), "{late}");
    let earlier = at_once(1).unwrap_err();
    assert!(matches!(earlier, Error::Fenced { .. }), "{earlier}");
    apply(&mut new, 4, &[name(9, "new")]).unwrap();
    assert_eq!(files().len(), before.len());
}

#[test]
fn who_owned_the_shard_before_writes_nothing_after_the_next_owner_began() {
    let dir = tempfile::tempdir().unwrap();
    let store_ = store(&dir.path().join("store"));
    let mut old = claim(&store_, 4);
    begin(&mut old, 9);
    let mut new = claim(&store_, 5);
    let error = apply(&mut old, 3, &[name(9, "old")]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Fenced {
                own: Epoch(4),
                latest: Epoch(5)
            }
        ),
        "{error}"
    );
    assert!(matches!(old.clear().unwrap_err(), Error::Fenced { .. }));
    assert!(matches!(old.compact().unwrap_err(), Error::Fenced { .. }));
    apply(&mut new, 3, &[name(9, "new")]).unwrap();

    // It cannot come back at its epoch, nor at that of the owner now.
    for (epoch, who) in [(4, 4), (3, 3), (5, 4)] {
        let error = store_.claim(Epoch(epoch), owner(who)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Fenced {
                    latest: Epoch(5),
                    ..
                }
            ),
            "{error}"
        );
    }
    apply(&mut new, 4, &[name(9, "newer")]).unwrap();

    // Going back is a claim as any other, and so is a restart of the owner's own task.
    let (mut back, takeover) = store_.claim(Epoch(6), owner(4)).unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, Sequence(4))
    );
    let (mut again, _) = store_.claim(Epoch(6), owner(4)).unwrap();
    apply(&mut again, 5, &[name(9, "back")]).unwrap();
    apply(&mut back, 6, &[name(9, "same owner")]).unwrap();
    assert!(apply(&mut new, 5, &[name(9, "new")]).is_err());
    assert_eq!(
        store_
            .guild(Id::new(9))
            .unwrap()
            .get()
            .text("name")
            .unwrap(),
        "same owner"
    );
}

#[test]
fn a_sealed_writer_makes_no_other_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    let stand = writer.seal();
    assert_eq!(
        (stand.sequence, stand.session.as_deref()),
        (Sequence(2), Some(SESSION))
    );
    let error = apply(&mut writer, 3, &[name(9, "late")]).unwrap_err();
    assert!(matches!(error, Error::Sealed), "{error}");
    assert!(matches!(writer.clear(), Err(Error::Sealed)));
    assert_eq!(store.view().unwrap().stand(), stand);
    // The next owner goes on exactly there.
    let (mut next, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.stand.sequence, Sequence(2));
    apply(&mut next, 3, &[name(9, "next")]).unwrap();
}

#[test]
fn a_session_begins_with_its_ready_and_with_nothing_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    let early = apply(&mut writer, 1, &[name(9, "early")]).unwrap_err();
    assert!(matches!(early, Error::OtherSession), "{early}");
    begin(&mut writer, 9);
    let write = |writer: &mut baton_store::Writer, session: &str, sequence, kind, d| {
        let json = payload(sequence, kind, &d);
        let event = Dispatch {
            sequence: Sequence(sequence),
            kind,
            json: &json,
        };
        writer.apply(session, &[event])
    };
    let (kind, d) = name(9, "of another session");
    let other = write(&mut writer, "fedcba", 3, kind, d).unwrap_err();
    assert!(matches!(other, Error::OtherSession), "{other}");
    let ready = json!({"user": {"id": "7"}, "guilds": [{"id": "10"}]});
    write(&mut writer, "fedcba", 1, "READY", ready).unwrap();
    let view = store.view().unwrap();
    assert_eq!(view.stand().session.as_deref(), Some("fedcba"));
    assert!(view.guild(Id::new(9)).is_none() && view.user(Id::new(5)).is_none());
    assert!(view.channel(Id::new(100)).is_none());
    let guilds: Vec<_> = view
        .guilds()
        .map(|guild| (guild.id.get(), guild.available))
        .collect();
    assert_eq!(guilds, [(10, false)]);
}

#[test]
fn what_cannot_be_read_is_passed_over_and_said_and_never_costs_the_guild() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    let event = |sequence, kind, json| Dispatch {
        sequence: Sequence(sequence),
        kind,
        json,
    };
    let before = dump(&store.view().unwrap());
    let mut next = 3;
    let odd = [
        "{\"d\":",
        "{}",
        "[]",
        r#"{"d":7}"#,
        r#"{"d":{"id":[],"guild_id":{}}}"#,
        r#"{"d":{"id":"9","guild_id":"9"}}"#,
    ];
    for kind in [
        "GUILD_CREATE",
        "GUILD_UPDATE",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBERS_CHUNK",
        "THREAD_LIST_SYNC",
        "VOICE_STATE_UPDATE",
        "MESSAGE_CREATE",
        "PRESENCE_UPDATE",
        "GUILD_ROLE_CREATE",
        "MOON_RISE",
    ] {
        for json in odd.iter().take(if kind == "GUILD_CREATE" { 5 } else { 6 }) {
            let applied = writer.apply(SESSION, &[event(next, kind, json)]).unwrap();
            assert_eq!(
                (applied.new, applied.unread),
                (1, usize::from(*json == odd[0])),
                "{json}"
            );
            next += 1;
        }
    }
    assert_eq!(dump(&store.view().unwrap()), before);
    assert_eq!(store.view().unwrap().stand().sequence, Sequence(next - 1));
    let deep = format!(
        r#"{{"d":{{"id":"9","name":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let applied = writer
        .apply(SESSION, &[event(next, "GUILD_UPDATE", &deep)])
        .unwrap();
    assert_eq!(applied.unread, 1);
    let odd =
        r#"{"d":{"guild_id":"9","role":{"id":"11","permissions":{"all":true},"name":["\ud83d"]}}}"#;
    writer
        .apply(SESSION, &[event(next + 1, "GUILD_ROLE_UPDATE", odd)])
        .unwrap();
    let role = store.role(Id::new(9), Id::new(11)).unwrap();
    assert_eq!(
        role.get().to_json(),
        "{\"id\":\"11\",\"permissions\":{\"all\":true},\"name\":[\"\u{fffd}\"]}"
    );
}

#[test]
fn a_moved_state_is_the_same_and_takes_less_room_and_the_old_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = store(&path);
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    for round in 0..20_u64 {
        let many: Vec<_> = (0..100)
            .map(|n| {
                let id = (n * 7919 + round) % 2000 + 1000;
                ("GUILD_ROLE_CREATE", json!({"guild_id": "9", "role": {"id": id.to_string(), "name": "x".repeat(200)}}))
            })
            .collect();
        apply(&mut writer, 3 + round * 100, &many).unwrap();
    }
    let held = store.view().unwrap();
    let before = dump(&held);
    let compacted = writer.compact().unwrap();
    assert!(compacted.after < compacted.before, "{compacted:?}");
    assert_eq!(dump(&store.view().unwrap()), before);
    apply(&mut writer, 2003, &[name(9, "moved")]).unwrap();
    assert_eq!(dump(&held), before, "a view stays as it was");
    drop(held);
    let states = || {
        let names = std::fs::read_dir(path.join("shard-3")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("state-")).count()
    };
    assert_eq!(states(), 1);
    let (_, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.stand.sequence, Sequence(2003));
    assert_eq!(states(), 1);
}
