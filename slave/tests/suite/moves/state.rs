//! The state of a shard that moves.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_moves_guild_by_guild_and_is_the_truth_afterwards() {
    let mut scene = scene_of(Recorder::with_cache, |config| {
        config.guilds_per_shard = 30;
        config.members_per_guild = 40;
    })
    .await;
    let (state_at, pieces) = scene.copies(1).await;
    assert_eq!(pieces, 31, "30 guilds and the bot's own user");
    scene.old.flows().await;
    let mut ticket = scene.old.peer.seal(0, 1, LONG).await;
    assert!(state_at <= ticket.handled);
    ticket.state_at = state_at;
    let unfinished = scene.old.peer.settled(0).await;
    scene.moves(2, ticket).await;
    scene.new.peer.settle(0, 1, unfinished).await;
    scene.new.flows().await;
    scene.exactly_once().await;
    assert_eq!(
        *scene.new.slave.bot.states.lock().unwrap(),
        [(0, StateStatus::Complete)]
    );
    let moment = crate::common::moment(&scene.discord, 0, &scene.new.slave.bot).await;
    assert_eq!(moment.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_died_with_its_owner_is_said_to_be_lost_before_the_first_event() {
    let mut scene = scene_of(Recorder::with_cache, |_| {}).await;
    let mut ticket = scene.old.peer.seal(0, 1, LONG).await;
    ticket.in_doubt = SequenceRanges::new();
    scene.new.peer.resume(2, ResumeAfter::Death, ticket).await;
    assert_eq!(
        *scene.new.slave.bot.states.lock().unwrap(),
        [(0, StateStatus::Lost)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_copy_that_is_not_needed_is_forgotten() {
    let mut scene = scene_of(Recorder::with_cache, |_| {}).await;
    scene.copies(1).await;
    let cached = |side: &Side| {
        side.slave
            .bot
            .cache
            .as_ref()
            .unwrap()
            .inner()
            .stats()
            .guilds()
    };
    assert!(cached(&scene.new) > 0);
    scene
        .new
        .peer
        .order(ToSlave::Forget(Unit {
            shard: ShardId(0),
            epoch: Epoch(1),
        }))
        .await;
    until("nothing cached", || cached(&scene.new) == 0).await;
    // Its owner ignores the same order.
    scene
        .old
        .peer
        .order(ToSlave::Forget(Unit {
            shard: ShardId(0),
            epoch: Epoch(1),
        }))
        .await;
    scene.old.flows().await;
    // Guilds come and go.
    assert!(cached(&scene.old) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_nobody_acknowledged_does_not_stand_in_the_way_of_the_next() {
    let mut scene = scene_of(Recorder::with_cache, |config| {
        config.guilds_per_shard = 20;
        config.state_bytes_per_guild = 60_000;
    })
    .await;
    scene
        .old
        .peer
        .order(ToSlave::CopyState(CopyState {
            shard: ShardId(0),
            epoch: Epoch(1),
            reader: Version::NEWEST,
            unacknowledged: 0,
        }))
        .await;
    // Four frames are on their way, and nobody takes them in.
    for _ in 0..4 {
        scene
            .old
            .peer
            .wait("a frame", |message| {
                matches!(message, ToMaster::State(_)).then_some(())
            })
            .await;
    }
    scene
        .old
        .peer
        .order(ToSlave::ShardMigrationStart(ShardMigrationStart {
            from_this_slave: true,
            ..ShardMigrationStart::default()
        }))
        .await;
    let shards = scene
        .old
        .peer
        .wait("how many", |message| match message {
            ToMaster::ShardMigrationStart(start) => Some(start.shards),
            _ => None,
        })
        .await;
    assert_eq!(shards, 1);
    let (_, pieces) = scene.copies(1).await;
    assert_eq!(pieces, 21);
}
