//! A shard that is always busy holds nothing else up.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use crate::common::{Doing, FakeMaster, Recorder, config, discord, run, traffic, until};
use baton_protocol::{Epoch, ShardId, ToMaster, ToSlave, message::Settled};

/// As many events as wait for the shard.
const WAITING: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_shard_that_is_always_busy_still_tells_its_checkpoints() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::default());
    slave.bot.does(|_| {
        std::thread::sleep(Duration::from_millis(2));
        Doing::Finish
    });
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 100_000.0);
    until("a backlog", || {
        discord.ledger(0, usize::MAX).len() > WAITING
    })
    .await;
    traffic(&discord, 0.0);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_takes_no_orders_costs_the_link_and_holds_nobody_else_up() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(2).await;
    let slave = run(config(&master, &discord), Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0, 1], 1, 2).await;
    slave.bot.blocks.store(true, Ordering::Relaxed);
    slave.bot.does(|event| match event.shard().get() {
        0 => Doing::Block,
        _ => Doing::Finish,
    });
    traffic(&discord, 200.0);
    let told = |shard| {
        let told = slave.bot.told.lock().unwrap();
        told.iter().filter(|told| told.shard == shard).count()
    };
    let before = told(0);
    until("an event that holds its shard up", || told(0) > before).await;
    let order = || {
        ToSlave::Settled(Settled {
            shard: ShardId(0),
            epoch: Epoch(1),
            ..Settled::default()
        })
    };
    let mut ordered = 0;
    while peer.tries_to_order(order()).await {
        ordered += 1;
        assert!(ordered < 10_000_000, "there is no bound");
    }
    let peer = master.accept().await;
    assert_eq!(peer.report.shards.len(), 2);
    let before = told(1);
    until("events of the other shard", || told(1) > before + 20).await;
    slave.bot.blocks.store(false, Ordering::Relaxed);
    let before = told(0);
    until("events of the shard", || told(0) > before + 20).await;
}
