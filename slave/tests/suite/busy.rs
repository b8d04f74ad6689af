//! A shard that is always busy holds nothing else up.

use std::{collections::BTreeSet, time::Duration};

use crate::common::{Doing, FakeMaster, Recorder, config, gateway, run, until};
use baton_protocol::ToMaster;

/// As many events as wait for the shard.
const WAITING: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_shard_that_is_always_busy_still_tells_its_checkpoints() {
    let gateway = gateway(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &gateway), Recorder::default());
    slave.bot.does(|_| {
        std::thread::sleep(Duration::from_millis(2));
        Doing::Finish
    });
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    crate::common::traffic(&gateway, 100_000.0);
    until("a backlog", || {
        gateway.ledger(0, usize::MAX).len() > WAITING
    })
    .await;
    crate::common::traffic(&gateway, 0.0);
    let mut stations = BTreeSet::new();
    while stations
        .last()
        .is_none_or(|handled| *handled < WAITING as u64)
    {
        let told = peer.wait("a checkpoint", |message| match message {
            ToMaster::Checkpoint(checkpoint) => {
                checkpoint.shards.first().map(|entry| entry.handled)
            }
            _ => None,
        });
        stations.insert(told.await.get());
    }
    assert!(stations.len() > 30, "only at {stations:?}");
}
