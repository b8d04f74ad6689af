//! `baton-slave store`, beside owners and without them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread,
};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Dispatch, Options, Owner, Store, Writer};
use serde_json::Value;

const CREATE: &str = r#"{"d":{"id":"9","name":"nine","roles":[{"id":"9","name":"damage me here"}],
    "channels":[{"id":"100","type":0}]}}"#;

/// A shard with one guild, and its owner.
fn owned(dir: &Path, shard: u32) -> Writer {
    let store = Store::open(dir, ShardId(shard), Options::default()).unwrap();
    let (mut writer, _) = store.claim(Epoch(4), Owner([1; 16])).unwrap();
    let event = |sequence, kind, json| Dispatch {
        sequence: Sequence(sequence),
        kind,
        json,
    };
    let events = [event(1, "READY", "{}"), event(2, "GUILD_CREATE", CREATE)];
    writer.apply("session", &events).unwrap();
    writer
}

fn command(words: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton-slave"));
    command.arg("store").args(words).env("BATON_STORE", dir);
    // What is set for the bot does not keep the command from working.
    command.env("BATON_SLOT", "main");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}

#[test]
fn what_is_in_a_store_is_shown_beside_its_owner_and_for_each_store_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = command(&["show"], dir.path()).output().unwrap();
    assert_eq!(code(&nothing), 3);
    assert!(text(&nothing).ends_with("no state is here\n"));
    let (main, other) = (dir.path().join("main-1"), dir.path().join("other-2"));
    let _owner = owned(&main, 3);
    drop(owned(&main, 12));
    drop(owned(&other, 3));

    let shown = command(&["show"], dir.path()).output().unwrap();
    assert_eq!(code(&shown), 0);
    let lines = text(&shown);
    let begins = "  shard 3: 1 of 1 guilds, 3 documents, at event 2 of session session, epoch 4; ";
    assert_eq!(lines.matches(begins).count(), 2, "{lines}");
    assert!(
        lines.contains("limit 8192 MiB; 1 readers, in use\n"),
        "{lines}"
    );
    assert!(lines.contains("nobody has it open\n"), "{lines}");
    assert!(
        lines.contains("main-1\n") && lines.contains("other-2\n"),
        "{lines}"
    );

    let one = command(&["show", "--json", "--shard", "12"], &main);
    let said = json(&{ one }.output().unwrap());
    assert_eq!(
        (said["ok"].as_bool(), &said["stores"][1]),
        (Some(true), &Value::Null)
    );
    let shards = said["stores"][0]["shards"].as_array().unwrap();
    assert_eq!((shards.len(), &shards[0]["shard"]), (1, &Value::from(12)));
    assert_eq!(shards[0]["documents"]["channel"], 1);
    assert_eq!(shards[0]["limit"], 8_u64 << 30);
}

#[test]
fn a_damaged_document_and_a_state_that_cannot_be_read_are_said_and_the_others_are_verified() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for shard in 0..3 {
        drop(owned(&store, shard));
    }
    let well = command(&["verify"], &store).output().unwrap();
    assert_eq!(code(&well), 0);
    assert!(text(&well).contains("  shard 2: 3 documents, and all is well\n"));

    let data = |shard: u32| {
        let names = fs::read_dir(store.join(format!("shard-{shard}"))).unwrap();
        let mut paths = names.map(|entry| entry.unwrap().path().join("data.mdb"));
        paths.find(|path| path.exists()).unwrap()
    };
    let mut bytes = fs::read(data(1)).unwrap();
    let places: Vec<_> = (1..bytes.len() - 14)
        .filter(|at| bytes[*at..].starts_with(b"damage me here"))
        .collect();
    for at in places {
        bytes[at - 1] = 0x7f;
    }
    fs::write(data(1), bytes).unwrap();
    fs::write(data(2), "x".repeat(50_000)).unwrap();
    let verified = command(&["verify", "--json"], &store).output().unwrap();
    assert_eq!(code(&verified), 4);
    let said = json(&verified);
    let shards = &said["stores"][0]["shards"];
    assert_eq!(
        (&said["ok"], &shards[0]["found"]),
        (&Value::from(false), &Value::from("well"))
    );
    assert_eq!(
        shards[1]["wrong"][0],
        "the store is damaged: a page or a key is damaged"
    );
    let error = shards[2]["error"].as_str().unwrap();
    assert!(error.contains("not a store's"), "{error}");
    let shown = command(&["show"], &store).output().unwrap();
    assert_eq!(code(&shown), 4, "{}", text(&shown));
}

#[test]
fn a_state_is_compacted_by_its_owner_if_there_is_one_and_else_by_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut writer = owned(&store, 3);
    let compact = |wait: &str| {
        let words = ["compact", "--json", "--wait", wait];
        command(&words, &store).output().unwrap()
    };
    // An owner that does not look.
    let busy = compact("100ms");
    assert_eq!(code(&busy), 75);
    let said = json(&busy);
    let error = said["stores"][0]["shards"][0]["error"].as_str().unwrap();
    assert!(error.contains("did not answer"), "{error}");
    assert!(!writer.is_compact_asked().unwrap(), "nobody asks any more");

    let asks = {
        let store = store.clone();
        thread::spawn(move || {
            let mut command = command(&["compact", "--json"], &store);
            command.output().unwrap()
        })
    };
    while !writer.is_compact_asked().unwrap() {
        thread::yield_now();
    }
    writer.compact().unwrap();
    let answer = asks.join().unwrap();
    assert_eq!(code(&answer), 0);
    let said = json(&answer);
    assert_eq!(said["stores"][0]["shards"][0]["by"], "its owner");

    // One that cannot do it.
    let asks = {
        let store = store.clone();
        thread::spawn(move || command(&["compact"], &store).output().unwrap())
    };
    while !writer.is_compact_asked().unwrap() {
        thread::yield_now();
    }
    writer.seal();
    writer.compact().unwrap_err();
    let answer = asks.join().unwrap();
    assert_eq!(code(&answer), 1);
    assert!(text(&answer).contains("its log says why"));

    drop(writer);
    let said = json(&compact("1s"));
    let shard = &said["stores"][0]["shards"][0];
    assert_eq!(shard["by"], "this program");
    assert!(shard["after"].as_u64() <= shard["before"].as_u64());
    let shown = command(&["verify"], &store).output().unwrap();
    assert_eq!(code(&shown), 0);
}

#[test]
fn wrong_usage_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(&["polish"], dir.path()).output().unwrap();
    assert_eq!(code(&output), 2);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("polish") && error.lines().count() == 1,
        "{error}"
    );
}
