//! What a claimant does with what it finds.

pub(in crate::place) mod format;

use baton_protocol::ShardId;

use super::*;
use crate::{Dispatch, Store, Takeover, header::FORMAT, key, place::shard_folder};

const SHARD: ShardId = ShardId(0);

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("store"), SHARD, Options::default()).unwrap()
}

/// What the next owner takes over after the header was changed.
fn after(change: impl FnOnce(&mut WriteTxn<'_>)) -> Result<Takeover, Error> {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    drop(store.claim(Epoch(1), Owner([1; 16])).unwrap());
    let shard = shard_folder(&dir.path().join("store"), SHARD);
    let name = claims::current(&shard).unwrap().unwrap().generation;
    let generation = Generation::open(&shard, name.clone(), Options::default().how()).unwrap();
    generation
        .write(Options::default().patience, |txn| {
            change(txn);
            Ok(())
        })
        .unwrap();
    let at_once = store.claim_at_once(Epoch(2), Owner([2; 16]));
    let taken = store.claim(Epoch(2), Owner([2; 16]));
    let found = taken.as_ref().ok().map(|(_, takeover)| takeover.found);
    match at_once {
        Ok(at_once) => assert_eq!(at_once.is_some(), found == Some(Found::State)),
        Err(error) => assert!(matches!(error, Error::Fenced { .. }) && found.is_none()),
    }
    let is_there = shard.join(&name).exists();
    let damaged = claims::damaged(&shard).unwrap().len();
    match &taken {
        Ok((_, takeover)) if matches!(takeover.found, Found::SetAside(_)) => {
            assert!(!is_there && damaged == 1);
        }
        // Nothing was done to it.
        Ok(_) | Err(_) => assert!(is_there && damaged == 0),
    }
    taken.map(|(_, takeover)| takeover)
}

fn with_header(change: impl FnOnce(&mut Header)) -> Result<Takeover, Error> {
    after(|txn| {
        let mut header = txn.header().unwrap();
        change(&mut header);
        txn.set_header(&header).unwrap();
    })
}

fn with_byte(at: usize, byte: u8) -> Result<Takeover, Error> {
    after(|txn| {
        let mut bytes = txn.header().unwrap().to_bytes();
        bytes[at] = byte;
        let WriteTxn { txn, table } = txn;
        table.put(txn, &key::header(), &bytes).unwrap();
    })
}

#[test]
fn what_was_received_is_there_for_the_next_attempt_of_its_claimant() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let owner = Owner([2; 16]);
    let received = store.receive(Epoch(1), owner).unwrap();
    let claimant = Claimant {
        shard: &shard_folder(&dir.path().join("store"), SHARD),
        id: SHARD.get(),
        options: &Options::default(),
        epoch: Epoch(2),
        owner,
        received: Some(received.generation_name()),
    };
    // Another claimant came between.
    claimant.give_way(None).unwrap();
    let claimed = claim(&claimant).unwrap();
    assert_eq!(claimed.generation.name(), received.generation_name());
}

#[test]
fn a_state_of_another_boot_is_set_aside_because_nothing_was_synced() {
    let taken = with_header(|header| header.boot = [7; 16]).unwrap();
    assert_eq!(taken.found, Found::SetAside(Damage::Boot));
}

#[test]
fn a_state_of_another_format_or_a_later_level_is_said_and_kept_as_it_is() {
    // Its format, and a level of more names than there are.
    let taken = with_byte(8, 9).unwrap();
    assert_eq!(taken.found, Found::OtherFormat(9));
    assert_eq!((taken.stand.session, taken.stand.epoch), (None, Epoch(2)));
    let taken = with_header(|header| header.level.names += 1).unwrap();
    assert_eq!(taken.found, Found::OtherFormat(FORMAT));
    let taken = with_byte(40, 0xee).unwrap();
    assert_eq!(taken.found, Found::SetAside(Damage::Header));
}

#[test]
fn a_state_of_an_earlier_level_is_gone_on_with_at_that_level_and_its_build_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    drop(store.claim(Epoch(1), Owner([1; 16])).unwrap());
    let shard = shard_folder(&dir.path().join("store"), SHARD);
    let name = claims::current(&shard).unwrap().unwrap().generation;
    let generation = Generation::open(&shard, name, Options::default().how()).unwrap();
    // What a build wrote that knows a few names only.
    let early = Level { names: 3, texts: 1 };
    let begin = |txn: &mut WriteTxn<'_>| {
        let mut header = txn.header()?;
        header.level = early;
        txn.set_header(&header)
    };
    generation
        .write(Options::default().patience, begin)
        .unwrap();

    let (mut writer, _) = store.claim(Epoch(2), Owner([2; 16])).unwrap();
    let json = r#"{"d":{"id":"5","owner_id":"6","features":["COMMUNITY","NEWS"],"roles":[{"id":"7","hoist":true}]}}"#;
    let event = |sequence, kind, json| Dispatch {
        sequence: Sequence(sequence),
        kind,
        json,
    };
    let events = [event(1, "READY", "{}"), event(2, "GUILD_CREATE", json)];
    writer.apply("session", &events).unwrap();
    let view = store.view().unwrap();
    for document in view.documents() {
        let document = document.unwrap();
        let bytes = document.doc().bytes();
        let names: Vec<_> = document
            .doc()
            .fields()
            .map(|(name, _)| name.as_bytes())
            .collect();
        let known: [&[u8]; 3] = [b"id", b"name", b"type"];
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            assert!(
                bytes.windows(name.len()).any(|part| part == name),
                "{document:?}"
            );
        }
    }
    assert_eq!(
        generation
            .write(Options::default().patience, |txn| txn.header())
            .unwrap()
            .level,
        early
    );
    let guild = store.guild(twilight_model::id::Id::new(5)).unwrap();
    assert_eq!(guild.get().number("owner_id"), Some(6));
}
