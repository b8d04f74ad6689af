//! Commands of workers, the same for each broker: written once, answered, refused with a
//! reason, and never lost with a slave.

pub(crate) mod nats;
mod python;
pub(crate) mod rabbit;
mod redis;

use std::{sync::Arc, time::Duration};

use baton_sink::{Epoch, Letters, Sequence, Sink, SinkConfig};
use baton_slave::{Bot, Commands, Settling, ShardHandle, StateStatus};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::{PATIENCE, until_true};

/// A broker, as a worker sees it.
pub(crate) trait Office {
    /// Of a gateway that has patience.
    fn config(&self) -> SinkConfig;
    /// A place for answers.
    fn place(&self) -> String;
    /// Sends a command into the queue of a shard, or into that of any.
    async fn send(&self, queue: &str, command: &str, beside: &[(&str, &str)]);
    /// What came to the place for answers.
    async fn answers(&self) -> Vec<Value>;
    /// Dead letters: reason, origin, command.
    async fn dead(&self) -> Vec<(String, String, String)>;
    /// `kill -9`.
    fn kill(&mut self);
    fn start_again(&mut self);
}

/// A slave that owns shard 0 of one, and what Discord gets of it.
pub(crate) struct Owner {
    pub(crate) sink: Arc<Sink>,
    pub(crate) handle: ShardHandle,
    pub(crate) discord: Commands,
}

impl Owner {
    pub(crate) async fn start(config: SinkConfig, epoch: u64) -> Self {
        let sink = Arc::new(Sink::start(config).await.unwrap());
        let (handle, discord) = ShardHandle::for_test();
        discord.resumes("0011223344556677", Sequence(1));
        discord.is_owned_at(Epoch(epoch));
        sink.state_changed(&handle, StateStatus::Complete);
        Self {
            sink,
            handle,
            discord,
        }
    }

    /// What is written next.
    pub(crate) async fn written(&mut self) -> String {
        let written = timeout(PATIENCE, self.discord.recv()).await;
        written.expect("a command").expect("a handle")
    }

    /// The shard is sealed.
    fn leaves(&self) {
        self.sink.shard_leaves(&self.handle, Settling::detached());
    }
}

fn asks(number: u32) -> String {
    format!(r#"{{"op":43,"d":{{"guild_id":"7","fields":["status"],"number":{number}}}}}"#)
}

pub(crate) async fn until_answers(office: &impl Office, count: usize) -> Vec<Value> {
    until_true("answers", async || office.answers().await.len() >= count).await;
    office.answers().await
}

pub(crate) async fn written_and_answered(office: &impl Office) {
    let mut owner = Owner::start(office.config(), 1).await;
    let place = office.place();
    let answers = [("baton-answer", &*place), ("baton-id", "mine")];
    office.send("0", &asks(1), &answers).await;
    assert_eq!(owner.written().await, asks(1));
    let told = until_answers(office, 1).await;
    let expected = json!({"id": "mine", "op": 43, "shard": 0, "written": true});
    assert_eq!(told, [expected]);
    // Those that name a guild alone find their shard, in their order.
    for number in 2..=9 {
        office.send("any", &asks(number), &[]).await;
    }
    for number in 2..=9 {
        assert_eq!(owner.written().await, asks(number));
    }
    assert_eq!(office.dead().await, []);
    let counts = owner.sink.status().commands;
    assert_eq!((counts.written, counts.refused), (9, 0));
}

pub(crate) async fn refused_with_a_reason(office: &impl Office) {
    let mut owner = Owner::start(office.config(), 1).await;
    let place = office.place();
    let answer = [("baton-answer", &*place)];
    let wrong = r#"{"op":2,"d":{}}"#;
    office.send("0", wrong, &answer).await;
    let told = until_answers(office, 1).await;
    assert_eq!(told[0]["written"], false);
    let why = "op 2 is no command";
    assert!(
        told[0]["reason"].as_str().unwrap().contains(why),
        "{told:?}"
    );
    // Nobody reads the shard's queue: it is too old after a while.
    let short = [answer[0], ("baton-ttl", "300")];
    office.send("0", &asks(1), &short).await;
    let told = until_answers(office, 2).await;
    assert!(
        told[1]["reason"].as_str().unwrap().contains("300ms"),
        "{told:?}"
    );
    let wrong_too = r#"{"op":31,"d":{"guild_ids":"7"}}"#;
    office.send("any", wrong_too, &answer).await;
    let told = until_answers(office, 3).await;
    let reason = told[2]["reason"].as_str().unwrap();
    assert!(reason.contains("op 31"), "{told:?}");

    let dead = office.dead().await;
    let commands: Vec<_> = dead
        .iter()
        .map(|(_, _, command)| command.as_str())
        .collect();
    assert_eq!(commands, [wrong, &asks(1), wrong_too]);
    assert!(
        dead[0].0.contains(why) && dead[0].1.contains("commands"),
        "{dead:?}"
    );
    assert_eq!(owner.discord.try_recv(), None, "taken back");
    office.send("0", &asks(2), &[]).await;
    assert_eq!(owner.written().await, asks(2));
}

/// What was refused is listed, and sent again when it can be taken.
pub(crate) async fn sent_again(office: &impl Office) {
    let mut owner = Owner::start(office.config(), 1).await;
    let place = office.place();
    let beside = [("baton-answer", &*place), ("baton-ttl", "300")];
    office.send("0", &asks(1), &beside).await;
    until_answers(office, 1).await;
    let letters = Letters::open(office.config()).await.unwrap();
    let all = letters.list(10).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].reason.contains("300ms") && all[0].from.contains("commands"),
        "{all:?}"
    );
    assert_eq!(all[0].payload, asks(1).as_bytes());
    assert_eq!(
        letters.list(10).await.unwrap(),
        all,
        "a look changes nothing"
    );
    assert_eq!(
        letters.show(&all[0].id).await.unwrap().as_ref(),
        Some(&all[0])
    );
    assert_eq!(letters.show("none").await.unwrap(), None);
    assert!(!letters.send("none").await.unwrap());
    let (sent, written) = tokio::join!(letters.send(&all[0].id), owner.written());
    assert_eq!((sent.unwrap(), written), (true, asks(1)));
    assert_eq!(letters.list(10).await.unwrap(), []);
}

/// They wait over a migration, and each is written by one owner.
pub(crate) async fn wait_over_a_migration(office: &impl Office) {
    let mut old = Owner::start(office.config(), 1).await;
    office.send("0", &asks(1), &[]).await;
    assert_eq!(old.written().await, asks(1));
    for number in 2..=5 {
        office.send("0", &asks(number), &[]).await;
    }
    // They are in hand there: the first of them is with the shard.
    tokio::time::sleep(Duration::from_millis(300)).await;
    old.leaves();
    let mut new = Owner::start(office.config(), 2).await;
    for number in 2..=5 {
        assert_eq!(new.written().await, asks(number));
    }
    assert_eq!(old.discord.try_recv(), None);
    office.send("0", &asks(6), &[]).await;
    assert_eq!(new.written().await, asks(6));
    assert_eq!(office.dead().await, []);
}

/// A slave that dies takes no command with it.
pub(crate) async fn survive_a_slave(office: &impl Office) {
    let mut old = Owner::start(office.config(), 1).await;
    office.send("0", &asks(1), &[]).await;
    assert_eq!(old.written().await, asks(1));
    for number in 2..=4 {
        office.send("0", &asks(number), &[]).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(old);
    let mut new = Owner::start(office.config(), 2).await;
    let mut came = Vec::new();
    while came.len() < 3 {
        came.push(new.written().await);
    }
    came.sort();
    assert_eq!(came, [asks(2), asks(3), asks(4)]);
}

/// A broker that is killed has them all, and none is written twice.
pub(crate) async fn survive_the_broker(office: &mut impl Office) {
    let mut owner = Owner::start(office.config(), 1).await;
    office.send("0", &asks(1), &[]).await;
    assert_eq!(owner.written().await, asks(1));
    for number in 2..=4 {
        office.send("0", &asks(number), &[]).await;
    }
    // The first of them is with the shard.
    tokio::time::sleep(Duration::from_millis(300)).await;
    office.kill();
    // Written, and nobody can be told.
    assert_eq!(owner.written().await, asks(2));
    office.start_again();
    let mut came = Vec::new();
    while came.len() < 2 {
        came.push(owner.written().await);
    }
    came.sort();
    assert_eq!(came, [asks(3), asks(4)]);
    office.send("0", &asks(5), &[]).await;
    assert_eq!(owner.written().await, asks(5));
}
