//! What the tests share.

pub mod child;
pub mod model;
pub mod stream;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Applied, Dispatch, Error, Options, Owner, Resources, Store, View, Writer};
use serde_json::{Value, json};

pub const SHARD: ShardId = ShardId(3);
pub const SESSION: &str = "0123456789abcdef";

/// With a patience that is never over, however busy the machine is: it is that for a state to
/// be opened, too.
pub fn options() -> Options {
    Options::default()
        .with_resources(Resources::all())
        .with_patience(Duration::from_secs(60))
        .with_messages_per_channel(3)
        .with_most(256 << 20)
}

pub fn store(dir: &Path) -> Store {
    Store::open(dir, SHARD, options()).unwrap()
}

/// Tries the same again as long as another process is in the way, as a slave does. With a
/// patience that is soon over, that may be for any reason.
pub fn at_last<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(Error::Busy) if begin.elapsed() < Duration::from_secs(60) => {}
            done => return done,
        }
    }
}

/// The owner that a test is at an epoch.
pub fn owner(epoch: u64) -> Owner {
    Owner([epoch as u8; 16])
}

pub fn claim(store: &Store, epoch: u64) -> Writer {
    store.claim(Epoch(epoch), owner(epoch)).unwrap().0
}

/// A payload of the gateway.
pub fn payload(sequence: u64, kind: &str, d: &Value) -> String {
    format!(r#"{{"t":"{kind}","s":{sequence},"op":0,"d":{d}}}"#)
}

/// Applies events that follow on each other from a sequence on, in one change.
pub fn apply(writer: &mut Writer, first: u64, events: &[(&str, Value)]) -> Result<Applied, Error> {
    let payloads: Vec<_> = (first..)
        .zip(events)
        .map(|(sequence, (kind, d))| payload(sequence, kind, d))
        .collect();
    let batch: Vec<_> = (first..)
        .zip(events)
        .zip(&payloads)
        .map(|((sequence, (kind, _)), json)| Dispatch {
            sequence: Sequence(sequence),
            kind,
            json,
        })
        .collect();
    writer.apply(SESSION, &batch)
}

/// A session with one guild begins.
pub fn begin(writer: &mut Writer, guild: u64) {
    let ready = json!({"user": {"id": "7", "username": "bot"}, "guilds": [{"id": guild.to_string(), "unavailable": true}]});
    let create = json!({"id": guild.to_string(), "name": "a", "member_count": 1, "owner_id": "5",
        "roles": [{"id": guild.to_string(), "permissions": "1024"}],
        "channels": [{"id": "100", "type": 0, "name": "general"}],
        "members": [{"user": {"id": "5", "username": "five"}, "roles": [], "joined_at": "2021-01-01T00:00:00+00:00"}]});
    apply(writer, 1, &[("READY", ready), ("GUILD_CREATE", create)]).unwrap();
}

/// Everything that is stored: kind, guild, id, the whole object.
pub type Dump = BTreeMap<(&'static str, u64, u64), Value>;

pub fn dump(view: &View) -> Dump {
    let mut all: Dump = view
        .documents()
        .map(|document| {
            let document = document.unwrap();
            let key = (
                document.kind().name(),
                document.guild_id().unwrap_or(0),
                document.id(),
            );
            (key, serde_json::from_str(&document.to_json()).unwrap())
        })
        .collect();
    for guild in view.guilds() {
        let available = Value::Bool(guild.available);
        all.insert(("place", guild.id.get(), 0), available);
    }
    if let Some(user) = view.current_user() {
        let user = serde_json::from_str(&user.to_json()).unwrap();
        all.insert(("current_user", 0, 0), user);
    }
    all
}

/// What a store holds and its counts agree with each other.
pub fn is_sound(dir: &Path) {
    let verified = baton_store::verify(dir, SHARD, options()).unwrap();
    assert_eq!(verified.wrong, [""; 0]);
}

/// Waits for something that comes soon, and fails if it never does.
pub fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(there) = there() {
            return there;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
