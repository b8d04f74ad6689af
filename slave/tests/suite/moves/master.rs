//! A master that is lost, or that forgot, and slaves that leave.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_master_shards_serve_reconnect_and_resume() {
    let Scene {
        discord,
        master,
        old,
        ..
    } = scene().await;
    let Side { slave, peer } = old;
    drop(peer);
    discord
        .fault(baton_discord::Fault::new(baton_discord::FaultName::Op7))
        .unwrap();
    until("a resume", || discord.counters().total.resumes == 1).await;
    let before = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > before + 20).await;
    // It comes back with everything that it holds.
    // So does the other slave, which holds nothing.
    let mut peer = master.accept().await;
    while !peer.running {
        peer = master.accept().await;
    }
    assert_eq!(peer.hello.role, Role::Relaunch);
    let held = &peer.report.shards[0];
    assert_eq!((held.epoch, held.holding), (Epoch(1), Holding::Serving));
    assert!(held.ticket.handled > Sequence(0) && held.ticket.has_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_the_master_forgot_is_reported_with_its_ticket_and_settled_again() {
    let mut scene = scene().await;
    let ticket = scene.old.peer.seal(0, 1, LONG).await;
    scene.old.peer.settled(0).await;
    drop(scene.old.peer);
    let mut peer = scene.master.accept().await;
    let held = &peer.report.shards[0];
    assert_eq!(held.holding, Holding::Sealed);
    assert_eq!(held.ticket, ticket);
    assert!(peer.settled(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_is_asked_to_stop_seals_settles_says_goodbye_and_ends() {
    let mut scene = scene().await;
    scene.old.slave.stop.cancel();
    let ticket = scene.old.peer.ticket(0).await;
    scene.old.peer.settled(0).await;
    scene
        .old
        .peer
        .wait("goodbye", |message| {
            matches!(message, ToMaster::Shutdown).then_some(())
        })
        .await;
    scene.new.peer.resume(2, ResumeAfter::Seal, ticket).await;
    drop(scene.old.peer);
    scene.old.slave.ends().await.unwrap();
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_without_a_master_closes_with_4000_when_it_is_asked_to_stop() {
    let Scene {
        discord,
        master,
        old,
        ..
    } = scene().await;
    drop((master, old.peer));
    old.slave.stop.cancel();
    old.slave.ends().await.unwrap();
    until("the close frame", || {
        discord.counters().total.last_client_close_code == 4000
    })
    .await;
}
