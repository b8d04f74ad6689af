//! What a slave does by itself, because no Go master does it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_identifies_each_shard_once_in_order_and_at_the_legal_pace() {
    let discord = discord(|config| {
        config.shards = 3;
        config.identify_window = Duration::from_millis(100);
    })
    .await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 3);
    // So much later than Discord wants it that none arrives too early.
    config.timings.identify_window = Duration::from_millis(2000);
    let slave = run(config, Recorder::default());
    let mut wire = master.starts(&discord, 3).await;
    let identified: Vec<_> = logged(&discord, What::Identify)
        .iter()
        .map(|line| line.shard)
        .collect();
    assert_eq!(identified, [0, 1, 2].map(Some));
    // An owner is never started again.
    wire.raw(2, b"").await;
    wire.raw(1, b"").await;
    wire.becomes_source(3).await;
    let work = || slave.bot.work.lock().unwrap().clone();
    until("the work", || !work().is_empty()).await;
    assert_eq!(work(), ["start None"]);
    let total = discord.counters().total;
    assert_eq!((total.connects, total.identifies), (3, 3));
    assert_eq!(total.identifies_refused.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_waits_in_vain_asks_anew_for_work() {
    let discord = discord(|_| {}).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_patience = Duration::from_millis(50);
    let _slave = run(config, Recorder::default());
    let mut wire = master.slave(false).await;
    wire.becomes_target(1).await;
    wire.ends().await;
    // The slave before it died: this is a cold start.
    master.starts(&discord, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_without_shards_lets_owners_say_hello_first_to_a_master_that_was_away() {
    let discord = discord(|config| config.shards = 1).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_redial = Duration::from_millis(200);
    let slave = run(config, Recorder::default());
    let wire = master.slave(false).await;
    let lost = Instant::now();
    drop(wire);
    // The redial comes after 200 ms, the hello 240 ms behind it.
    let mut wire = master.slave(false).await;
    assert!(
        lost.elapsed() >= Duration::from_millis(440),
        "{:?}",
        lost.elapsed()
    );
    wire.raw(2, b"").await;
    until("READY", || !slave.bot.work.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_closes_whatever_is_dialled_is_not_dialled_in_a_loop() {
    let discord = discord(|_| {}).await;
    let master = Master::new().await;
    let mut config = config(&master, &discord, 1);
    config.timings.legacy_redial = Duration::from_secs(3600);
    let slave = run(config, Recorder::default());
    drop(master.slave(false).await);
    let again = tokio::time::timeout(Duration::from_millis(200), master.connection());
    assert!(again.await.is_err(), "dialled again at once");
    slave.stop.cancel();
    slave.ends().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_from_which_another_takes_its_session_again_and_again_stops() {
    let scene = scene(1).await;
    scene.flows().await;
    // Taken away as soon as it serves, each time; its log of RESUMEs ends.
    let resumed = || logged(&scene.discord, What::Resumed).len();
    for times in 1..=5 {
        let taken = Fault::new(FaultName::Close).with_code(4000);
        scene.discord.fault(taken).unwrap();
        if times < 5 {
            until("it is resumed", || resumed() == times).await;
        }
    }
    let stopped = async || {
        let status = scene.slave.monitor.status().await.unwrap();
        status.shards[0].holding == Some(Holding::Failed)
    };
    while !stopped().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(resumed(), 4, "and leaves the session to the other one");
}
