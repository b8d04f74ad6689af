//! A state that comes in pieces while another process owns the shard.

use baton_protocol::{Epoch, Sequence};
use baton_store::{Error, Stand};
use serde_json::json;
use twilight_model::id::Id;

use crate::common::{SESSION, apply, begin, claim, dump, is_sound, owner, store};

const NOWHERE: Stand = Stand {
    session: None,
    sequence: Sequence(0),
    epoch: Epoch(0),
};

#[test]
fn what_is_received_leaves_the_owner_alone_and_takes_its_place_when_it_is_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = store(&path);
    let mut old = claim(&store, 4);
    begin(&mut old, 9);
    let mut received = store.receive(Epoch(4), owner(6)).unwrap();
    let guild = store.view().unwrap().guild_create(Id::new(9)).unwrap();
    let renamed = guild.replace(r#""name":"a""#, r#""name":"copied""#);
    received.import(&NOWHERE, &renamed).unwrap();
    received
        .import_user(r#"{"id":"7","username":"bot"}"#)
        .unwrap();
    received.settle(SESSION, Sequence(2), Sequence(5)).unwrap();

    // The owner serves on, and puts its own house in order.
    let name = |name: &str| ("GUILD_UPDATE", json!({"id": "9", "name": name}));
    apply(&mut old, 3, &[name("owned")]).unwrap();
    old.compact().unwrap();
    let text = |store: &baton_store::Store| {
        let guild = store.guild(Id::new(9)).unwrap();
        guild.get().text("name").unwrap().into_owned()
    };
    assert_eq!(text(&store), "owned");

    let (mut new, takeover) = store.claim_received(Epoch(6), owner(6), &received).unwrap();
    assert_eq!(text(&store), "copied");
    assert_eq!(
        (takeover.stand.session, takeover.stand.sequence),
        (None, Sequence(2))
    );
    assert!(matches!(
        apply(&mut old, 4, &[name("late")]),
        Err(Error::Fenced { .. })
    ));
    // Up to here one piece may be ahead of another: nobody else goes on from there.
    for (sequence, session) in [(3, None), (4, None), (5, Some(SESSION))] {
        apply(&mut new, sequence, &[name("newer")]).unwrap();
        assert_eq!(new.stand().session.as_deref(), session, "{sequence}");
    }
    is_sound(&path);
    assert!(dump(&store.view().unwrap()).contains_key(&("current_user", 0, 0)));
    let (_, takeover) = store.claim(Epoch(7), owner(7)).unwrap();
    assert_eq!(takeover.stand.session.as_deref(), Some(SESSION));
}

#[test]
fn what_is_received_and_never_claimed_is_removed_by_the_next_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = store(&path);
    let mut old = claim(&store, 4);
    begin(&mut old, 9);
    let states = || {
        let names = std::fs::read_dir(path.join("shard-3")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("state-")).count()
    };
    for reader in [5, 6] {
        let mut received = store.receive(Epoch(4), owner(reader)).unwrap();
        received.import(&NOWHERE, r#"{"id":"9"}"#).unwrap();
    }
    assert_eq!(states(), 3);
    let (_, takeover) = store.claim(Epoch(5), owner(7)).unwrap();
    assert_eq!((states(), takeover.stand.sequence), (1, Sequence(2)));
}

#[test]
fn an_offer_is_answered_once_and_only_what_an_owner_has_here_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    assert!(
        !store.is_owned_at(Epoch(4), SESSION).unwrap(),
        "nobody does"
    );
    let mut owner = claim(&store, 4);
    assert!(
        !store.is_owned_at(Epoch(4), SESSION).unwrap(),
        "no session began"
    );
    begin(&mut owner, 9);
    assert!(store.is_owned_at(Epoch(4), SESSION).unwrap());
    assert!(!store.is_owned_at(Epoch(5), SESSION).unwrap());
    assert!(!store.is_owned_at(Epoch(4), "another").unwrap());

    assert!(!store.is_accepted(7).unwrap());
    store.accept(7).unwrap();
    assert!(!store.is_accepted(8).unwrap());
    assert!(store.is_accepted(7).unwrap());
    assert!(!store.is_accepted(7).unwrap(), "it is forgotten");
    // What nobody asked about any more goes with the next owner.
    store.accept(9).unwrap();
    claim(&store, 5);
    assert!(!store.is_accepted(9).unwrap());
}
