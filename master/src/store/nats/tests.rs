//! Against a real nats-server: what a file of this host has no need of.
#![allow(clippy::unwrap_used)]

mod doors;

use std::time::Duration;

use baton_brokers::or_pass_over;
use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::store::memory::batch;

/// A server of one test.
pub(crate) struct Server {
    pub(crate) nats: baton_brokers::Nats,
    pub(crate) runtime: Runtime,
    secret: Secret,
}

impl Server {
    pub(crate) fn start() -> Option<Self> {
        Some(Self {
            nats: or_pass_over(baton_brokers::Nats::start())?,
            runtime: Runtime::new().unwrap(),
            secret: Secret::random().unwrap(),
        })
    }

    fn config(&self) -> SharedStore {
        SharedStore {
            servers: vec![self.nats.url()],
            tls: false,
            name: "test".to_owned(),
            access: None,
            ca: None,
            own: None,
            replicas: 1,
        }
    }

    /// The buckets, by a connection of their own.
    pub(crate) fn buckets(&self) -> Buckets {
        let config = self.config();
        self.runtime.block_on(async {
            let client = Client::connect(&config, "test").await.unwrap();
            let buckets = Buckets::new(&client, &config);
            buckets.declare().await.unwrap();
            buckets
        })
    }

    /// The store as another master has it.
    pub(crate) fn store(&self) -> Nats {
        self.store_of(&self.secret)
    }

    fn store_of(&self, secret: &Secret) -> Nats {
        let handle = self.runtime.handle().clone();
        Nats::new(self.buckets().journal, secret, handle).unwrap()
    }
}

#[test]
fn a_batch_that_was_held_up_is_refused_once_something_else_was_written() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = server.store();
    let term = store
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
        .unwrap();
    let late = batch(Some(term), &[("a", Some("late")), ("b", Some("late"))]);
    let late = store.messages(&late).unwrap();
    let last = store.last.unwrap();
    let now = batch(Some(term), &[("a", Some("now"))]);
    store.apply(&now, Durability::Now).unwrap();
    // Sent before, and taken by the server only now: of the same master, under the same term.
    let published = store.publish(last, term.0, false, &late);
    let refused = server.runtime.block_on(published).unwrap_err();
    assert!(refused.is_wrong_sequence(), "{refused}");
    let read = store.read().unwrap();
    assert_eq!(read["a"].value, b"now");
    assert!(!read.contains_key("b"));
    // A master that lost an answer goes on behind what is there.
    store.last = Some(last);
    store.apply(&now, Durability::Now).unwrap();
}

#[test]
fn no_master_takes_the_term_by_what_it_read_before_another_one_wrote() {
    let Some(server) = Server::start() else {
        return;
    };
    let (mut old, mut new) = (server.store(), server.store());
    let first = old
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
        .unwrap();
    new.read().unwrap();
    let save = batch(Some(first), &[("owner.0", Some("seven"))]);
    old.apply(&save, Durability::Now).unwrap();
    let take = batch(Some(first), &[(TERM, Some("2"))]);
    let refused = new.apply(&take, Durability::Now);
    assert!(
        matches!(refused, Err(ApplyError::Refused(StoreError::Changed))),
        "{refused:?}"
    );
    assert_eq!(new.read().unwrap()["owner.0"].value, b"seven");
    new.apply(&take, Durability::Now).unwrap();
    let refused = old.apply(&save, Durability::Now);
    assert!(matches!(refused, Err(ApplyError::Deposed)), "{refused:?}");
}

#[test]
fn a_stream_that_is_otherwise_than_declared_is_refused_by_name() {
    let Some(server) = Server::start() else {
        return;
    };
    let config = server.config();
    let refused = server.runtime.block_on(async {
        let client = Client::connect(&config, "test").await.unwrap();
        let buckets = Buckets::new(&client, &config);
        let mut other = declare::journal(&buckets.journal, 1);
        other["allow_direct"] = json!(true);
        buckets.journal.create(&other).await.unwrap();
        buckets.declare().await.unwrap_err().to_string()
    });
    assert!(
        refused.contains("KV_test-journal") && refused.contains("allow_direct is true, not false"),
        "{refused}"
    );
    // What was declared is found as it was.
    let config = SharedStore {
        name: "another".to_owned(),
        ..config
    };
    server.runtime.block_on(async {
        let client = Client::connect(&config, "test").await.unwrap();
        let buckets = Buckets::new(&client, &config);
        buckets.declare().await.unwrap();
        buckets.declare().await.unwrap();
    });
}

#[test]
fn sessions_lie_sealed_in_the_store_and_another_secret_does_not_open_them() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = server.store();
    let rows = [(TERM, Some("1")), ("ticket.0", Some("session-id"))];
    store.apply(&batch(None, &rows), Durability::Now).unwrap();
    let read = store.read().unwrap();
    assert_eq!(read["ticket.0"].value, b"session-id");
    assert!(read["ticket.0"].age.unwrap() < Duration::from_secs(60));
    let found = store.bucket.get("ticket.0");
    let found = server.runtime.block_on(found).unwrap().unwrap();
    let there = String::from_utf8_lossy(&found.value.unwrap()).into_owned();
    assert!(!there.contains("session"), "{there}");
    let mut other = server.store_of(&Secret::random().unwrap());
    let refused = other.read().unwrap_err();
    assert!(refused.to_string().contains("ticket.0"), "{refused}");
    assert!(matches!(refused, StoreError::OtherSecret(_)));
}

#[test]
fn while_nobody_answers_a_save_is_refused_at_once_and_with_the_first_answer_the_store_is_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = server.store().kept();
    let term = store
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
        .unwrap();
    let save = batch(Some(term), &[("a", Some("x"))]);
    server.nats.process.stop();
    // It may answer once more before it stands still.
    let refused = loop {
        if let Err(refused) = store.apply(&save, Durability::Now) {
            break refused;
        }
    };
    assert!(
        matches!(refused, ApplyError::Refused(StoreError::Away(_))),
        "{refused:?}"
    );
    let began = std::time::Instant::now();
    for _ in 0..100 {
        store.apply(&save, Durability::Now).unwrap_err();
    }
    // A hundred answers that do not come would take 200 s.
    assert!(began.elapsed() < Duration::from_secs(2));
    server.nats.process.go_on();
    let bucket = store.bucket.clone();
    server.runtime.block_on(async {
        while bucket.state().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    store.apply(&save, Durability::Now).unwrap();
}

#[test]
fn a_store_that_was_emptied_has_nobodys_term() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut store = server.store();
    let term = store
        .apply(&batch(None, &[(TERM, Some("1"))]), Durability::Now)
        .unwrap();
    server.nats.kill();
    server.nats.forget().unwrap();
    server.nats.start_again().unwrap();
    let save = batch(Some(term), &[("a", Some("x"))]);
    // Until the client has found the server again.
    let pause = || tokio::time::sleep(Duration::from_millis(20));
    while let ApplyError::Refused(refused) = store.apply(&save, Durability::Now).unwrap_err() {
        assert!(matches!(refused, StoreError::Away(_)), "{refused:?}");
        server.runtime.block_on(async { pause().await });
    }
}

#[test]
fn more_rows_than_one_batch_takes_are_written_and_read() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = server.store();
    let mut many = batch(None, &[(TERM, Some("1"))]);
    for shard in 0..2_100 {
        let value = format!("row {shard}").into_bytes();
        many.changes.insert(format!("owner.{shard}"), Some(value));
    }
    let term = store.apply(&many, Durability::Now).unwrap();
    assert_eq!(store.revision(TERM).unwrap(), Some(term));
    let read = server.store().read().unwrap();
    assert_eq!(read.len(), 2_101);
    assert_eq!(read["owner.2099"].value, b"row 2099");
    let deleted = many.changes.keys().filter(|key| *key != TERM);
    let deleted = Batch {
        term: Some(term),
        changes: deleted.map(|key| (key.clone(), None)).collect(),
    };
    store.apply(&deleted, Durability::Now).unwrap();
    assert_eq!(server.store().read().unwrap().len(), 1);
}

#[test]
fn what_no_subject_can_name_and_what_no_server_takes_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = server.store();
    for key in ["a b", "a..b", "", "a.*", ">"] {
        let refused = store.apply(&batch(None, &[(key, Some("x"))]), Durability::Now);
        assert!(
            matches!(refused, Err(ApplyError::Refused(StoreError::Row { .. }))),
            "{key}: {refused:?}"
        );
    }
    let mut large = batch(None, &[]);
    large
        .changes
        .insert("large".to_owned(), Some(vec![0; 9 << 20]));
    let refused = store.apply(&large, Durability::Now).unwrap_err();
    let ApplyError::Refused(refused) = refused else {
        panic!("{refused:?}");
    };
    assert!(refused.to_string().contains("max_payload"), "{refused}");
    assert!(store.read().unwrap().is_empty());
}
