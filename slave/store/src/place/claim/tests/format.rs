//! States of other formats: a former one that is made for these tests, and later ones.

use std::sync::Arc;

use serde_json::{Value, json};
use twilight_model::id::Id;

use super::{SHARD, store};
use crate::{
    Dispatch, Error, Options, Owner, Resources, Store,
    error::Damage,
    header::{Owner as Named, this_boot},
    key,
    place::{
        Claim, Found, Generation, Txn, WriteTxn, claims,
        former::{Former, FormerState},
        shard_folder,
    },
};
use baton_protocol::{Epoch, Sequence};

/// Format 0: a header that is JSON behind its frozen bytes, and a guild a key, as JSON.
pub(in crate::place) const ZERO: Former = Former {
    format: 0,
    read: read_zero,
};
const GUILD: u8 = 1;

fn read_zero(txn: &Txn) -> Result<FormerState<'_>, Error> {
    let header = txn.get(&key::header())?.unwrap();
    let header: Value = serde_json::from_slice(&header[10..]).unwrap();
    let number = |name: &str| header[name].as_u64().unwrap();
    let guilds = txn.table().prefix_iter(txn.txn(), &[GUILD]).unwrap();
    Ok(FormerState {
        shard: SHARD.get(),
        boot: match header["boot"] == "another" {
            true => [9; 16],
            false => this_boot(),
        },
        epoch: Epoch(number("epoch")),
        owner: Named([number("epoch") as u8; 16]),
        resources: Resources::all(),
        session: header["session"].as_str().unwrap().into(),
        sequence: Sequence(number("sequence")),
        current_user: Some(r#"{"id":"7","username":"bot"}"#.to_owned()),
        guilds: Box::new(guilds.map(|entry| {
            let (_, guild) = entry.map_err(Error::engine)?;
            let guild = str::from_utf8(guild);
            Ok(guild
                .map_err(|_| Error::Damaged(Damage::Structure))?
                .to_owned())
        })),
    })
}

/// A state in format 0 that its owner has open.
struct Zero {
    generation: Arc<Generation>,
}

impl Zero {
    fn new(dir: &std::path::Path) -> Self {
        let shard = shard_folder(&dir.join("store"), SHARD);
        Self {
            generation: make(&shard, 1),
        }
    }

    fn write(&self, header: &Value, guilds: &[Value]) {
        self.change(|txn| {
            txn.table.clear(&mut txn.txn).unwrap();
            put(
                txn,
                &key::header(),
                &raw_header(0, header.to_string().as_bytes()),
            );
            for (n, guild) in (0..).zip(guilds) {
                put(txn, &[GUILD, n], guild.to_string().as_bytes());
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut WriteTxn<'_>)) {
        let change = |txn: &mut WriteTxn<'_>| {
            change(txn);
            Ok(())
        };
        self.generation
            .write(Options::default().patience, change)
            .unwrap();
    }
}

/// A generation that an owner of this epoch claims.
fn make(shard: &std::path::Path, epoch: u64) -> Arc<Generation> {
    let generation = claims::new_name(Epoch(epoch)).unwrap();
    let how = Options::default().how();
    let opened = Generation::create(shard, generation.clone(), how).unwrap();
    let claim = Claim {
        epoch: Epoch(epoch),
        turn: 0,
        generation,
    };
    claim.create(shard).unwrap();
    opened
}

fn raw_header(format: u16, rest: &[u8]) -> Vec<u8> {
    [&b"batonst\0"[..], &format.to_le_bytes(), rest].concat()
}

fn put(txn: &mut WriteTxn<'_>, key: &[u8], value: &[u8]) {
    txn.table.put(&mut txn.txn, key, value).unwrap();
}

fn of_zero(sequence: u64, session: &str) -> Value {
    json!({"epoch": 1, "session": session, "sequence": sequence})
}

fn guild(id: u64, name: &str) -> Value {
    json!({"id": id.to_string(), "name": name, "moon": {"phase": 3},
        "roles": [{"id": "7", "name": "r", "permissions": "8"}],
        "members": [{"user": {"id": "5", "username": "five"}, "roles": ["7"]}]})
}

fn owner(epoch: u64) -> Owner {
    Owner([epoch as u8; 16])
}

fn name(store: &Store, guild: u64) -> Option<String> {
    let guild = store.guild(Id::new(guild))?;
    Some(guild.get().text("name")?.into_owned())
}

fn role_event(sequence: u64) -> Dispatch<'static> {
    Dispatch {
        sequence: Sequence(sequence),
        kind: "GUILD_ROLE_CREATE",
        json: r#"{"d":{"guild_id":"9","role":{"id":"8","name":"new"}}}"#,
    }
}

#[test]
fn a_state_of_a_former_format_is_converted_whole_and_kept_for_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let all = Options::default().with_resources(Resources::all());
    let store = Store::open(&dir.path().join("store"), SHARD, all).unwrap();
    let zero = Zero::new(dir.path());
    let guilds: Vec<_> = (9..209)
        .map(|id| guild(id, &format!("guild {id}")))
        .collect();
    zero.write(&of_zero(40, "session"), &guilds);
    // Whoever only looks is told.
    store.refresh().unwrap();
    let error = store.view().unwrap_err();
    assert!(matches!(error, Error::Format { found: 0, .. }), "{error}");

    let (mut writer, takeover) = store.claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.found, Found::Converted(0));
    assert_eq!(
        (takeover.stand.session.as_deref(), takeover.stand.sequence),
        (Some("session"), Sequence(40))
    );
    assert_eq!(
        takeover.missing,
        Resources::INTEGRATION | Resources::MESSAGE
    );
    let view = store.view().unwrap();
    assert_eq!(view.guilds().count(), 200);
    let whole: Value = serde_json::from_str(&view.guild_create(Id::new(150)).unwrap()).unwrap();
    let should = guild(150, "guild 150");
    for field in ["id", "name", "moon", "roles", "members"] {
        assert_eq!(whole[field], should[field], "{field}");
    }
    let own = view.current_user().unwrap();
    assert_eq!(own.text("username").as_deref(), Some("bot"));
    drop(view);
    writer.apply("session", &[role_event(41)]).unwrap();
    assert_eq!(
        crate::verify(&dir.path().join("store"), SHARD, Options::default())
            .unwrap()
            .wrong,
        [""; 0]
    );

    // The other build's state is as it was, and is shown.
    assert!(zero.generation.is_named().unwrap());
    let shown = crate::show(&dir.path().join("store"), SHARD, Options::default()).unwrap();
    assert_eq!(shown.kept.len(), 1);
    // The next owner of this format needs it no more.
    let (_, takeover) = store.claim(Epoch(3), owner(3)).unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, Sequence(41))
    );
    assert!(!zero.generation.is_named().unwrap());
}

#[test]
fn what_is_kept_for_a_rollback_goes_when_the_state_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let zero = Zero::new(dir.path());
    zero.write(&of_zero(40, "session"), &[guild(9, "a")]);
    let (mut writer, _) = store.claim(Epoch(2), owner(2)).unwrap();
    writer.compact().unwrap();
    assert!(!zero.generation.is_named().unwrap());
    assert_eq!(name(&store, 9).as_deref(), Some("a"));
}

#[test]
fn a_former_state_of_another_boot_is_set_aside_and_a_later_owner_of_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let zero = Zero::new(dir.path());
    let mut header = of_zero(40, "session");
    header["epoch"] = json!(7);
    zero.write(&header, &[guild(9, "a")]);
    let error = store.claim(Epoch(6), owner(6)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Fenced {
                latest: Epoch(7),
                ..
            }
        ),
        "{error}"
    );
    header["boot"] = json!("another");
    zero.write(&header, &[guild(9, "a")]);
    let (_, takeover) = store.claim(Epoch(8), owner(8)).unwrap();
    assert_eq!(takeover.found, Found::SetAside(Damage::Boot));
}

#[test]
fn a_rollback_from_a_later_format_finds_the_state_that_was_kept_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let (mut old, _) = store.claim(Epoch(1), owner(1)).unwrap();
    let begin = [
        Dispatch {
            sequence: Sequence(1),
            kind: "READY",
            json: "{}",
        },
        Dispatch {
            sequence: Sequence(2),
            kind: "GUILD_CREATE",
            json: r#"{"d":{"id":"9","name":"before"}}"#,
        },
    ];
    old.apply("session", &begin).unwrap();
    // A later build begins in a generation of its own, and keeps this one.
    let shard = shard_folder(&dir.path().join("store"), SHARD);
    let later = make(&shard, 2);
    let change = |txn: &mut WriteTxn<'_>| {
        put(txn, &key::header(), &raw_header(9, &[7; 100]));
        Ok(())
    };
    later.write(Options::default().patience, change).unwrap();

    let (mut back, takeover) = store.claim(Epoch(3), owner(3)).unwrap();
    assert_eq!(takeover.found, Found::Kept(9));
    assert_eq!(
        (takeover.stand.session.as_deref(), takeover.stand.sequence),
        (Some("session"), Sequence(2))
    );
    assert_eq!(name(&store, 9).as_deref(), Some("before"));
    // Who wrote there before has a later owner now.
    let late = old.apply("session", &[role_event(3)]).unwrap_err();
    assert!(matches!(late, Error::Fenced { .. }), "{late}");
    back.apply("session", &[role_event(3)]).unwrap();
    // And the later build finds its own, if it comes back at once.
    assert!(later.is_named().unwrap());
    let (_, takeover) = store.claim(Epoch(4), owner(4)).unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, Sequence(3))
    );
    assert!(!later.is_named().unwrap());
}
