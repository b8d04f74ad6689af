//! The journal: what waits for it, and what does not.

use baton_core::event::{Durability, Entry};

use super::*;

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_that_relies_on_a_save_which_failed() {
    let mut rig = Rig::start(None);
    rig.disk.full.store(true, Ordering::SeqCst);
    let mut slave = rig.join(hello(1)).await;
    // It may hear that it is accepted, but not be given a shard.
    let until = Instant::now() + Duration::from_millis(900);
    while let Ok(message) = tokio::time::timeout_at(until, slave.hear()).await {
        assert!(!matches!(message, ToSlave::FullStart(_)), "{message:?}");
    }
    assert!(rig.disk.reserved().is_empty());
    rig.disk.full.store(false, Ordering::SeqCst);
    let start = slave.until(|message| matches!(message, ToSlave::FullStart(_)));
    timeout(LONG, start).await.unwrap();
    assert_eq!(rig.disk.reserved(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_another_one_deposed_carries_nothing_out_any_more_and_ends() {
    let mut rig = Rig::start(None);
    rig.disk.deposed.store(true, Ordering::SeqCst);
    let mut slave = rig.join(hello(1)).await;
    let ending = timeout(LONG, rig.driver).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Deposed("another one has it".to_owned()));
    // It heard nothing that relies on what was not saved.
    while let Some(message) = slave.next().await {
        assert!(!matches!(message, ToSlave::FullStart(_)), "{message:?}");
    }
    assert_eq!(
        rig.disk.tries.load(Ordering::SeqCst),
        1,
        "it is not tried again"
    );
    assert!(rig.disk.saved.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_master_that_finds_out_by_a_checkpoint_that_it_was_deposed_ends_before_the_next_word() {
    let mut rig = Rig::start(None);
    let mut slave = rig.join(hello(1)).await;
    slave
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    let checkpoint = |handled| {
        let ticket = Ticket {
            shard: ShardId(0),
            session: discord::Session::with_id("session").seal(),
            handled: Sequence(handled),
            ..Ticket::default()
        };
        let entry = CheckpointEntry {
            shard: ShardId(0),
            epoch: Epoch(1),
            handled: Sequence(handled),
            session: Some(ticket),
            ..CheckpointEntry::default()
        };
        ToMaster::Checkpoint(Checkpoint {
            shards: vec![entry],
        })
    };
    slave.say(checkpoint(1)).await;
    let is_ticket = |(entry, _): &(Entry, Durability)| matches!(entry, Entry::Ticket { .. });
    let first = async {
        while !rig.disk.saved.lock().unwrap().iter().any(is_ticket) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, first).await.unwrap();
    rig.disk.deposed.store(true, Ordering::SeqCst);
    // Nobody waits for this one.
    slave.say(checkpoint(2)).await;
    let ending = timeout(LONG, rig.driver).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Deposed("another one has it".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_on_the_disk_before_the_order_that_relies_on_it() {
    let mut rig = Rig::start(None);
    let mut slave = rig.join(hello(1)).await;
    slave
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    assert_eq!(rig.disk.reserved(), [0, 1]);
    assert!(rig.disk.durable());
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_the_fleet_does_not_wait_for_a_disk_that_hangs_and_everything_else_does() {
    let mut rig = Rig::start(None);
    rig.disk.takes.store(10_000, Ordering::SeqCst);
    let mut slave = rig.join(hello(1)).await;
    while rig.disk.tries.load(Ordering::SeqCst) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let (answer, mut answered) = oneshot::channel();
    let wish = Notice::Abort { slot: None, answer };
    rig.notices.send(wish).await.unwrap();
    // What came before them keeps its place.
    for _ in 0..2 {
        assert_eq!(rig.look().await.slaves.len(), 1);
        assert!(answered.try_recv().is_err());
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let start = slave.until(|message| matches!(message, ToSlave::FullStart(_)));
    timeout(LONG, start).await.unwrap();
    assert!(
        began.elapsed() > Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    let answered = timeout(LONG, answered).await.unwrap();
    assert!(answered.unwrap().is_err(), "no deploy runs");
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_comes_is_known_and_given_its_shards_after_one_wait_for_the_disk() {
    let mut rig = Rig::start(None);
    rig.disk.takes.store(50, Ordering::SeqCst);
    let mut slave = rig.join(hello(1)).await;
    let began = Instant::now();
    slave
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    assert_eq!(rig.disk.tries.load(Ordering::SeqCst), 1);
    assert!(
        began.elapsed() < Duration::from_millis(99),
        "{:?}",
        began.elapsed()
    );
}
