//! Seals that wait for Discord to take the session from the old connection.

use std::time::Duration;

use baton_discord::{Fault, FaultName, ResumeWhileConnected, What};
use baton_protocol::{
    Epoch, ShardId, ToMaster, ToSlave,
    message::{ResumeAfter, Step, Unit},
};
use baton_slave::Mark;

use crate::{
    ahead::{Scene, far_reaching, scene_at, scene_of},
    common::{LONG, Recorder, heartbeats, logged, until},
    lost::copy,
};

const UNIT: Unit = Unit {
    shard: ShardId(0),
    epoch: Epoch(1),
};

/// The new one holds a connection.
async fn dialled(discord: ResumeWhileConnected) -> Scene {
    let discord = far_reaching(|config| config.resume_while_connected = discord).await;
    let mut scene = scene_at(discord, |_| {}).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    scene
}

impl Scene {
    async fn seals_late(&mut self) {
        self.old_peer.seal_late(UNIT).await;
    }

    /// The old one will seal late.
    async fn is_sealed_late(&mut self) {
        self.old_peer.seals_late(UNIT).await;
    }

    /// The new one resumes on the connection that it holds; what came of it.
    async fn overtakes(&mut self) -> String {
        self.new_peer.order(ToSlave::Overtake(UNIT)).await;
        let answered = self.new_peer.wait("overtaken", |message| match message {
            ToMaster::Overtaken(overtaken) => {
                assert_eq!((overtaken.shard, overtaken.epoch), (UNIT.shard, UNIT.epoch));
                Some(overtaken.failed.clone())
            }
            _ => None,
        });
        answered.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_owner_goes_on_until_discord_takes_its_session_and_seals_by_itself() {
    let mut scene = dialled(ResumeWhileConnected::TakeOver).await;
    scene.is_sealed_late().await;
    scene.flows(&scene.old).await;
    assert_eq!(scene.overtakes().await, "");
    let ticket = scene.old_peer.ticket(0).await;
    assert_eq!(scene.new.bot.told(), [], "it has no ticket yet");
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!((scene.connections(), scene.resumes()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_that_stays_open_serves_until_the_seal() {
    let mut scene = dialled(ResumeWhileConnected::Both).await;
    scene.is_sealed_late().await;
    assert_eq!(scene.overtakes().await, "");
    // Both get the same events; one hands them out.
    scene.flows(&scene.old).await;
    assert_eq!(scene.new.bot.told(), []);
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!((scene.connections(), scene.resumes()), (2, 1));
}

/// With state the RESUME begins where the copy stands: what the old owner handled since
/// is received once more, in front of RESUMED and behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_old_owner_handles_behind_an_early_resumed_is_not_handed_out_again() {
    let discord = far_reaching(|config| config.resume_while_connected = ResumeWhileConnected::Both);
    let mut scene = scene_of(discord.await, Recorder::with_cache, |_| {}).await;
    let mut ticket = scene.checkpoint().await;
    let ready = copy(&mut scene.old_peer, &mut scene.new_peer, 1).await;
    ticket.state_at = ready.state_at;
    scene.dials(ticket).await.unwrap();
    scene.is_sealed_late().await;
    assert_eq!(scene.overtakes().await, "");
    scene.flows(&scene.old).await;
    let mut ticket = scene.old_peer.seal(0, 1, LONG).await;
    ticket.state_at = ready.state_at;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!((scene.connections(), scene.resumes()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_discord_refuses_a_strict_seal_moves_the_shard_all_the_same() {
    let mut scene = dialled(ResumeWhileConnected::Refuse).await;
    scene.is_sealed_late().await;
    assert_eq!(scene.overtakes().await, "op 9, d: true");
    scene.flows(&scene.old).await;
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
    assert_eq!(logged(&scene.discord, What::Identify).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_discord_asks_for_is_no_standstill() {
    let discord = far_reaching(|config| {
        config.resume_while_connected = ResumeWhileConnected::Refuse;
    })
    .await;
    let mut scene = scene_at(discord, |config| {
        // It does not end in this test.
        config.timings.invalid_session = LONG * 10;
    })
    .await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    scene.is_sealed_late().await;
    assert_eq!(scene.overtakes().await, "op 9, d: true");
    let ticket = scene.old_peer.seal(0, 1, LONG).await;
    scene.new_peer.give(2, ResumeAfter::Seal, ticket).await;
    for _ in 0..2 {
        let told = scene
            .new_peer
            .wait("that it waits", |message| match message {
                ToMaster::Progress(progress) => Some((progress.epoch, progress.step)),
                _ => None,
            });
        assert_eq!(told.await, (Epoch(2), Step::Dialling));
    }
    assert_eq!(scene.connections(), 2, "nothing is dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_held_connection_nothing_is_overtaken() {
    let discord = far_reaching(|_| {}).await;
    let mut scene = scene_at(discord, |_| {}).await;
    assert_eq!(scene.overtakes().await, "no connection is held");
    scene.flows(&scene.old).await;
    assert_eq!(scene.resumes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_master_is_lost_reconnects_instead_of_sealing() {
    let mut scene = dialled(ResumeWhileConnected::TakeOver).await;
    scene.is_sealed_late().await;
    let Scene {
        discord,
        old,
        old_peer,
        ..
    } = scene;
    drop(old_peer);
    until("the link is lost", || old.bot.told().len() > 1).await;
    while old.monitor.status().await.expect("it runs").linked {
        tokio::task::yield_now().await;
    }
    discord.fault(Fault::new(FaultName::Reset)).unwrap();
    until("its own RESUME", || {
        !logged(&discord, What::Resumed).is_empty()
    })
    .await;
    let before = old.bot.told().len();
    until("more events", || old.bot.told().len() > before + 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_a_connection_seals_at_once() {
    let mut scene = dialled(ResumeWhileConnected::TakeOver).await;
    let mut silent = Fault::new(FaultName::NoHello);
    silent.count = 100;
    scene.discord.fault(silent).unwrap();
    scene.discord.fault(Fault::new(FaultName::Reset)).unwrap();
    until("the reset", || {
        !logged(&scene.discord, What::Lost).is_empty()
    })
    .await;
    until("a dial", || scene.connections() > 2).await;
    scene.seals_late().await;
    assert!(scene.old_peer.ticket(0).await.has_session());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_next_heartbeat_is_near_seals_at_once() {
    let discord = far_reaching(|config| {
        config.resume_while_connected = ResumeWhileConnected::TakeOver;
        // Less than a seal may take until the next owner has resumed.
        config.heartbeat_interval = Duration::from_millis(500);
    })
    .await;
    let mut scene = scene_at(discord, |_| {}).await;
    let ticket = scene.checkpoint().await;
    scene.dials(ticket).await.unwrap();
    // When the first one comes is not known before it has come.
    until("a heartbeat", || heartbeats(&scene.discord) > 0).await;
    scene.seals_late().await;
    let answered = scene.old_peer.wait("its answer", |message| match message {
        ToMaster::SealLate(unit) => panic!("{unit:?} seals late"),
        ToMaster::Sealed(sealed) => Some(sealed.ticket.clone()),
        _ => None,
    });
    let ticket = answered.await;
    scene.new_peer.resume(2, ResumeAfter::Seal, ticket).await;
    scene.flows(&scene.new).await;
    scene.is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_what_was_kept_is_replayed_and_marked() {
    let mut scene = dialled(ResumeWhileConnected::Both).await;
    let checkpoint = scene.checkpoint_now().await;
    scene.is_sealed_late().await;
    assert_eq!(scene.overtakes().await, "");
    scene.flows(&scene.old).await;
    // As good as dead: it is not listened to any more.
    let dead: Vec<_> = scene.old.bot.told();
    scene.old.stop.cancel();
    scene.old_peer.ticket(0).await;
    let dead_until = scene.old.bot.told().last().map_or(0, |told| told.sequence);
    scene
        .new_peer
        .resume(2, ResumeAfter::Death, checkpoint)
        .await;
    scene.flows(&scene.new).await;
    assert!(!dead.is_empty());
    let unmarked = |told: &&crate::common::Told| told.mark == Mark::None;
    let first = scene.new.bot.told().iter().find(unmarked).cloned();
    let first = first.expect("events behind RESUMED").sequence;
    assert!(first > dead_until, "{first} was handled by the dead one");
    assert_eq!(scene.resumes(), 2);
}
