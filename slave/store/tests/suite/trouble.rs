//! No room, damage, other builds, other users.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use baton_protocol::Epoch;
use baton_store::{Damage, Error, Found, Full, Options, Resources, Store};
use serde_json::json;
use twilight_model::id::Id;

use crate::{
    common::{
        SHARD, apply, begin,
        child::{Ask, Process},
        claim, dump, is_sound,
        model::Model,
        options, owner, store,
        stream::Stream,
    },
    random::differences,
};

fn data(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir.join("shard-3")).unwrap();
    let paths = names.map(|entry| entry.unwrap().path().join("data.mdb"));
    paths.into_iter().find(|path| path.exists()).unwrap()
}

/// A member, padded to a thousand bytes.
fn member(n: u64) -> (&'static str, serde_json::Value) {
    let user =
        json!({"id": (1000 + n).to_string(), "username": format!("{n}{}", "x".repeat(1000))});
    (
        "GUILD_MEMBER_ADD",
        json!({"guild_id": "9", "user": user, "joined_at": null, "roles": []}),
    )
}

#[test]
fn a_change_that_does_not_fit_is_not_made_and_what_makes_room_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(&path, SHARD, options().with_most(1 << 20)).unwrap();
    let mut writer = claim(&store, 1);
    begin(&mut writer, 9);
    let mut next = 3;
    let error = loop {
        let batch: Vec<_> = (0..10).map(|n| member(next + n)).collect();
        match apply(&mut writer, next, &batch) {
            Ok(_) => next += 10,
            Err(error) => break error,
        }
        assert!(next < 2000);
    };
    assert!(matches!(error, Error::Full(Full::Limit)), "{error}");
    assert_eq!(
        error.to_string(),
        "no room for the change, none of it was made: the store has reached its size limit"
    );
    let before = dump(&store.view().unwrap());
    assert_eq!(store.view().unwrap().stand().sequence.get(), next - 1);
    for _ in 0..3 {
        let batch: Vec<_> = (0..10).map(|n| member(next + n)).collect();
        assert!(apply(&mut writer, next, &batch).is_err());
    }
    assert_eq!(dump(&store.view().unwrap()), before);
    is_sound(&path);
    // A guild that goes makes room, and the events go on where they stopped.
    apply(&mut writer, next, &[("GUILD_DELETE", json!({"id": "9"}))]).unwrap();
    apply(
        &mut writer,
        next + 1,
        &[("GUILD_CREATE", json!({"id": "9", "members": []}))],
    )
    .unwrap();
    let batch: Vec<_> = (0..10).map(member).collect();
    apply(&mut writer, next + 2, &batch).unwrap();
    is_sound(&path);
}

#[test]
fn a_file_system_without_room_refuses_the_change_and_the_state_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    // No file may have more than 160 KiB: the system refuses to write more, as a full disk.
    let shell = ["sh", "-c", "trap '' XFSZ; ulimit -f 320; exec \"$@\"", "sh"];
    let process = Process::start(&Ask {
        dir: &path,
        epoch: 1,
        seed: 3,
        batch: 5,
        padding: 70_000,
        through: &shell,
    });
    assert!(process.says().starts_with("claimed at 0"));
    let says = process.says();
    assert!(
        says.starts_with("full at ") && says.ends_with("the file system is full"),
        "{says}"
    );

    let store = store(&path);
    let (mut stream, mut model) = (Stream::new(3).padded(70_000), Model::default());
    let at = store.view().unwrap().stand().sequence.get();
    assert!(says.starts_with(&format!("full at {at}:")), "{says}, {at}");
    for _ in 0..at {
        let (sequence, kind, d) = stream.next();
        model.apply(sequence, kind, &d);
    }
    let wrong = differences(&dump(&store.view().unwrap()), &model.dump());
    assert!(wrong.is_empty(), "at {at}:\n{}", wrong.join("\n"));
    // With room again the next owner goes on.
    let mut writer = claim(&store, 2);
    for _ in 0..100 {
        let (sequence, kind, d) = stream.next();
        apply(&mut writer, sequence, &[(kind, d)]).unwrap();
    }
    is_sound(&path);
}

/// What the next owner finds after `harm` was done to a state that nobody has open.
fn after(harm: impl FnOnce(&Path)) -> (Found, Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    {
        let store = store(&path);
        let mut writer = claim(&store, 1);
        begin(&mut writer, 9);
        let many: Vec<_> = (0..2000).map(member).collect();
        apply(&mut writer, 3, &many).unwrap();
    }
    harm(&path);
    let store = store(&path);
    let (mut writer, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    if takeover.found != Found::State {
        assert_eq!(takeover.stand.session, None);
        assert!(store.view().unwrap().guild(Id::new(9)).is_none());
    }
    // Whatever it was, a new session begins as ever.
    writer.clear().unwrap();
    begin(&mut writer, 9);
    is_sound(&path);
    (takeover.found, store, dir)
}

#[test]
fn a_damaged_state_is_set_aside_and_said_and_a_new_one_begins() {
    let (found, ..) = after(|_| {});
    assert_eq!(found, Found::State);

    let (found, _, dir) = after(|path| {
        let file = OpenOptions::new().write(true).open(data(path)).unwrap();
        file.set_len(20_000).unwrap();
    });
    assert_eq!(found, Found::SetAside(Damage::File));
    let shown = baton_store::show(&dir.path().join("store"), SHARD, options()).unwrap();
    assert_eq!(shown.damaged.len(), 1);
    assert!(shown.damaged[0].join("data.mdb").exists());

    let (found, ..) = after(|path| fs::write(data(path), "").unwrap());
    assert_eq!(found, Found::SetAside(Damage::File));
    let (found, ..) = after(|path| fs::write(data(path), "x".repeat(100_000)).unwrap());
    assert_eq!(found, Found::SetAside(Damage::File));
    let (found, ..) = after(|path| fs::remove_file(data(path)).unwrap());
    assert_eq!(found, Found::SetAside(Damage::File));
    let (found, ..) = after(|path| fs::remove_dir_all(data(path).parent().unwrap()).unwrap());
    assert_eq!(found, Found::SetAside(Damage::File));
    let (found, ..) = after(|path| fs::remove_dir_all(path).unwrap());
    assert_eq!(found, Found::Nothing);

    let (found, ..) = after(|path| {
        // The header: its magic stands once or twice in the file.
        let bytes = fs::read(data(path)).unwrap();
        let file = OpenOptions::new().write(true).open(data(path)).unwrap();
        for at in 0..bytes.len() - 8 {
            if bytes[at..].starts_with(b"batonst\0") {
                file.write_all_at(b"X", at as u64 + 30).unwrap();
            }
        }
    });
    assert_eq!(found, Found::SetAside(Damage::Header));
}

#[test]
fn a_document_that_is_damaged_is_found_by_verify_and_hides_itself_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    {
        let store = store(&path);
        let mut writer = claim(&store, 1);
        begin(&mut writer, 9);
        let odd = json!({"guild_id": "9", "role": {"id": "77", "name": "damage me here"}});
        apply(&mut writer, 3, &[("GUILD_ROLE_CREATE", odd)]).unwrap();
    }
    let bytes = fs::read(data(&path)).unwrap();
    let file = OpenOptions::new().write(true).open(data(&path)).unwrap();
    for at in 0..bytes.len() - 14 {
        if bytes[at..].starts_with(b"damage me here") {
            file.write_all_at(&[0x7f], at as u64 - 1).unwrap();
        }
    }
    let verified = baton_store::verify(&path, SHARD, options()).unwrap();
    assert_eq!(
        verified.wrong,
        ["the store is damaged: a page or a key is damaged"]
    );
    let store = store(&path);
    let view = store.view().unwrap();
    assert_eq!(view.roles(Id::new(9)).count(), 2);
    assert_eq!(
        view.role(Id::new(9), Id::new(77)).unwrap().text("name"),
        None
    );
    assert_eq!(view.guild(Id::new(9)).unwrap().text("name").unwrap(), "a");
}

#[test]
fn a_state_of_an_earlier_boot_of_another_shard_or_with_less_in_it_is_known_for_it() {
    // Another shard's folder under this one's name.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    {
        let mut writer = claim(&store(&path), 1);
        begin(&mut writer, 9);
    }
    fs::rename(path.join("shard-3"), path.join("shard-4")).unwrap();
    let other = Store::open(&path, baton_protocol::ShardId(4), options()).unwrap();
    let (_, takeover) = other.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.found, Found::SetAside(Damage::Shard));

    // A build that keeps more than the one before.
    let few = Resources::GUILD | Resources::ROLE;
    let path = dir.path().join("few");
    let less = Store::open(&path, SHARD, options().with_resources(few)).unwrap();
    begin(&mut claim(&less, 1), 9);
    let all = store(&path);
    let (mut writer, takeover) = all.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.missing, Resources::all() - few);
    assert!(all.role(Id::new(9), Id::new(9)).is_some());
    assert!(all.member(Id::new(9), Id::new(5)).is_none());
    // Going back loses nothing, and the next session has everything.
    let (_, takeover) = less.claim(Epoch(3), owner(3)).unwrap();
    assert!(takeover.missing.is_empty());
    drop(writer);
    let (next, takeover) = all.claim(Epoch(4), owner(4)).unwrap();
    assert!(!takeover.missing.is_empty());
    writer = next;
    writer.clear().unwrap();
    begin(&mut writer, 9);
    assert!(all.member(Id::new(9), Id::new(5)).is_some());

    // A build that keeps less: what it does not follow is not said to be there later.
    let (_, takeover) = less.claim(Epoch(5), owner(5)).unwrap();
    assert!(takeover.missing.is_empty());
    let (_, takeover) = all.claim(Epoch(6), owner(6)).unwrap();
    assert_eq!(takeover.missing, Resources::all() - few);
    assert!(all.member(Id::new(9), Id::new(5)).is_none());
}

#[test]
fn a_folder_that_others_can_open_and_resources_that_need_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(claim(&store(&path), 1));
    let generation = data(&path).parent().unwrap().to_owned();
    for (wide, mode) in [
        (&path, 0o711),
        (&path.join("shard-3"), 0o770),
        (&generation, 0o705),
    ] {
        let before = fs::metadata(wide).unwrap().permissions();
        fs::set_permissions(wide, Permissions::from_mode(mode)).unwrap();
        let error = Store::open(&path, SHARD, options())
            .unwrap_err()
            .to_string();
        assert!(error.contains("other users can open it"), "{error}");
        fs::set_permissions(wide, before).unwrap();
    }
    for file in fs::read_dir(&generation).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let users = Options::default().with_resources(Resources::USER);
    let error = Store::open(&path, SHARD, users).unwrap_err();
    assert!(
        error.to_string().starts_with("USER needs MEMBER"),
        "{error}"
    );
    let none = Store::open(&dir.path().join("no/such"), SHARD, options()).unwrap_err();
    assert!(none.to_string().contains("no/such"), "{none}");
}

#[test]
fn a_process_of_another_pid_namespace_is_refused_and_alone_it_is_not() {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let can = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !can.is_ok_and(|can| can.status.success()) {
        // Only a privileged user can make a namespace.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let ask = Ask {
        dir: &path,
        epoch: 2,
        seed: 1,
        batch: 1,
        padding: 0,
        through: &unshare,
    };
    {
        let store = store(&path);
        let _writer = claim(&store, 1);
        let says = Process::start(&ask).says();
        assert!(says.contains("in another pid namespace uses it"), "{says}");
    }
    let says = Process::start(&ask).says();
    assert!(says.starts_with("claimed at 0"), "{says}");
}
