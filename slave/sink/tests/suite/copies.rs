//! Subscribers of ZeroMQ, in a library that is not ours.

use std::{collections::BTreeMap, net::TcpListener};

use baton_brokers::{or_pass_over, parts};
use baton_sink::{Address, Zmq};
use serde_json::Value;
use tempfile::tempdir;
use tokio::time::{Duration, sleep};

use crate::{
    common::{event, until},
    workers::{Language, Worker},
};

#[tokio::test]
async fn a_subscriber_in_python_gets_the_events_of_its_topic_as_they_were_published() {
    let Some(library) = or_pass_over(parts::python("zmq")) else {
        return;
    };
    let dir = tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let url = format!("tcp://127.0.0.1:{port}");
    let which = (Language::Python, "import zmq");
    let worker = Worker::new(which, dir.path(), &library, vec![("ZMQ_URL", url)]);
    drop(free);
    let address = Address::parse(&format!("zmq://127.0.0.1:{port}")).unwrap();
    let zmq = Zmq::start(&address, "baton", "gateway-1").unwrap();
    zmq.is_wanted(true);
    let _process = worker.start();

    // A subscriber that is not there yet gets nothing, so the first ones may be missing.
    let mut published = 0;
    while worker.said().lines().count() < 100 {
        published += 1;
        assert!(published < 10_000, "nothing comes: {}", worker.said());
        zmq.publish(&event(3, published));
        sleep(Duration::from_millis(5)).await;
    }
    until("the newest came", || {
        worker.said().contains(&format!("\"{published}\""))
    })
    .await;
    let mut before = None;
    for line in worker.said().lines() {
        let said: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let sequence: u64 = said["baton-sequence"].as_str().unwrap().parse().unwrap();
        // At most once, and in order; what was connected misses nothing at this pace.
        assert!(before.is_none_or(|before| sequence == before + 1), "{line}");
        before = Some(sequence);
        let of = event(3, sequence);
        let partition = baton_sink::partition(of.guild, of.shard);
        let topic = format!("baton.events.{partition}.3.{}", of.kind);
        assert_eq!(said["topic"], topic);
        assert_eq!(said["baton-session"], of.session);
        assert_eq!(said["baton-gateway"], "gateway-1");
        let whole: Value = serde_json::from_slice(&of.payload).unwrap();
        assert_eq!(said["size"], whole.as_object().unwrap().len());
    }
    assert_eq!(before, Some(published));
    assert_eq!(zmq.dropped(), 0);
}
