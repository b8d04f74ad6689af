//! The workers of `docs/commands.md`, as they stand there.

use std::time::Duration;

use baton_brokers::{Nats, or_pass_over, parts};
use serde_json::Value;

use super::Owner;
use crate::{
    common::until,
    nats::config,
    workers::{Language, Worker},
};

/// What it says when it is done.
async fn told(worker: &Worker) -> Value {
    until("it is told", || worker.said().ends_with('\n')).await;
    serde_json::from_str(&worker.said()).unwrap_or_else(|_| panic!("{}", worker.said()))
}

#[tokio::test]
async fn a_worker_in_python_asks_for_members_and_is_told_that_it_was_written() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::python("nats")),
    ) else {
        return;
    };
    let mut owner = Owner::start(config(&nats.url()), 1).await;
    let environment = vec![("NATS_URL", nats.url()), ("GUILD", "7".to_owned())];
    let which = (Language::Python, "GUILD");
    let worker = Worker::of("commands.md", which, nats.dir(), &library, environment);
    let _process = worker.start();
    let written: Value = serde_json::from_str(&owner.written().await).unwrap();
    let asked = (&written["op"], &written["d"]["nonce"]);
    assert_eq!(asked, (&8.into(), &"n1".into()));
    let told = told(&worker).await;
    let answer = (&told["written"], &told["shard"]);
    assert_eq!(answer, (&true.into(), &0.into()));
}

#[tokio::test]
async fn a_worker_in_python_starts_when_its_shards_are_ready() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::python("nats")),
    ) else {
        return;
    };
    let mut owner = Owner::start(config(&nats.url()), 1).await;
    owner.discord.is_connected(false);
    let which = (Language::Python, "control");
    let environment = vec![("NATS_URL", nats.url())];
    let worker = Worker::of("commands.md", which, nats.dir(), &library, environment);
    let _process = worker.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(worker.said(), "", "it waits");
    owner.discord.is_connected(true);
    assert!(owner.written().await.contains(r#""op":3"#));
    assert_eq!(told(&worker).await["0"]["ready"], true);
}
