//! Several connections of one slave.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_slave_that_dials_again_closes_its_older_connection() {
    let mut rig = Rig::start(None);
    let mut older = rig.join(hello(1)).await;
    older
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    let mut newer = rig.join(hello(1)).await;
    newer
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    assert!(timeout(LONG, older.end()).await.is_ok());
    // What its end means for the older connection does not touch the newer.
    sleep(Duration::from_secs(1)).await;
    let view = rig.look().await;
    assert_eq!(view.slaves.len(), 1);
    assert!(view.slaves[0].connected);
}

#[tokio::test(start_paused = true)]
async fn a_report_on_a_connection_that_was_given_up_changes_nothing() {
    let mut rig = Rig::start(None);
    let mut given_up = rig.greet(hello(1)).await;
    let mut newer = rig.join(hello(1)).await;
    newer
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    // It was on its way; since then the slave has got its shards.
    given_up.report().await;
    assert!(timeout(LONG, given_up.end()).await.is_ok());
    assert!(rig.look().await.slaves[0].connected);
    let closed = timeout(Duration::from_secs(1), newer.end()).await;
    assert!(closed.is_err(), "the newer connection stays");
    // Nor when the newer one has ended.
    let mut given_up = rig.greet(hello(1)).await;
    drop(rig.join(hello(1)).await);
    rig.until(|view| !view.slaves[0].connected).await;
    given_up.report().await;
    assert!(timeout(LONG, given_up.end()).await.is_ok());
    assert!(!rig.look().await.slaves[0].connected);
}
