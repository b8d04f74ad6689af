//! A store beside other state, and under the Go master.

use std::fs;

use baton_discord::{Discord, Traffic};
use baton_slave::cache::Cache;

use super::*;
use crate::common::go;

/// A bot with a store, and with a cache for what would be its own.
fn with_both(scene: &Scene, folder: &str) -> Recorder {
    let mut bot = Recorder::with_store(&scene.dir.path().join(folder));
    bot.cache = Some(Cache::new());
    bot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_of_the_bot_s_own_travels_beside_a_store_that_stays_or_travels_too() {
    let mut scene = Scene::new(|_| {}).await;
    // The first bot had no state of its own: for the next one it is lost.
    let bot = with_both(&scene, "store");
    let one = scene.joins_as(bot, |_| {}).await;
    scene.copies(0, one, 1).await;
    scene.hands_over(0, one, 2).await;
    assert_eq!(scene.states(one), [StateStatus::Lost]);
    scene
        .discord
        .fault(Fault::new(FaultName::Op9False))
        .unwrap();
    scene.sides[one].peer.serving(0).await;
    until("a session that brings everything", || {
        scene.states(one).len() == 2
    })
    .await;
    scene.flows(one).await;

    let mut owner = one;
    for (epoch, folder) in [(3, "store"), (4, "apart"), (5, "apart")] {
        let bot = with_both(&scene, folder);
        let next = scene.joins_as(bot, |_| {}).await;
        // Nothing changes meanwhile, so that the pieces can be counted.
        moment(&scene.discord, 0, &scene.sides[owner].slave.bot).await;
        let pieces = scene.copies(owner, next, epoch - 1).await;
        let bot = &scene.sides[owner].slave.bot;
        let travels = bot.pieces_of_cache(ShardId(0)).unwrap().len();
        // The bot's own user is a piece of the store as well.
        let stays = bot.pieces(ShardId(0)).unwrap().len() + 1;
        let expected = travels + if epoch == 4 { stays } else { 0 };
        assert_eq!(pieces, expected as u64, "{epoch}");
        traffic(&scene.discord, 500.0);
        scene.hands_over(owner, next, epoch).await;
        scene.flows(next).await;
        assert_eq!(scene.states(next), [StateStatus::Complete], "{epoch}");
        owner = next;
    }
    let bot = &scene.sides[owner].slave.bot;
    let stays = moment(&scene.discord, 0, bot).await;
    assert_eq!(stays.difference(), None);
    let travels = stays.with_pieces(bot.pieces_of_cache(ShardId(0)).unwrap());
    assert_eq!(travels.difference(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_travels_and_was_lost_stays_lost_when_the_store_is_claimed_anew() {
    let mut scene = Scene::new(|_| {}).await;
    let one = scene.joins_as(with_both(&scene, "store"), |_| {}).await;
    // The first bot had no state of its own.
    scene.hands_over(0, one, 2).await;
    assert_eq!(scene.states(one), [StateStatus::Lost]);
    fs::remove_dir_all(scene.folder()).unwrap();
    until("the word", || scene.states(one).len() == 2).await;
    assert_eq!(scene.states(one), [StateStatus::Lost; 2]);
    let leaves = Traffic {
        rate: 100.0,
        mix: [("GUILD_DELETE".to_owned(), 1)].into(),
        ..Traffic::default()
    };
    scene.discord.set_traffic(None, &leaves).unwrap();
    let pieces = || scene.sides[one].slave.bot.pieces_of_cache(ShardId(0));
    until("a guild that comes back", || {
        pieces().is_some_and(|pieces| !pieces.is_empty())
    })
    .await;
    // What changes while a copy is made goes along, whatever becomes of it.
    traffic(&scene.discord, 0.0);
    until("everything that was sent", || {
        let told = scene.sides[one].slave.bot.sequences().into_iter().max();
        told == sent(&scene.discord).last().map(|(_, sequence)| *sequence)
    })
    .await;
    let next = scene.joins_as(with_both(&scene, "store"), |_| {}).await;
    assert_eq!(scene.copies(one, next, 2).await, 0, "what is left of it");
}

/// Everything is with this slave, and its store is what Discord says.
async fn is_the_truth(discord: &Discord, slave: &Running) {
    for shard in 0..2 {
        let moment = moment(discord, shard, &slave.bot).await;
        assert_eq!(moment.difference(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_go_master_whoever_resumes_last_has_the_store() {
    let discord = discord(|config| config.shards = 2).await;
    let master = go::Master::new().await;
    let dir = tempfile::tempdir().unwrap();
    let bot = || Recorder::with_store(&dir.path().join("store"));
    let old = run(go::config(&master, &discord, 2), bot());
    let mut old_wire = master.starts(&discord, 2).await;
    traffic(&discord, 500.0);
    until("events", || old.bot.told().len() > 50).await;
    let mut former = old;
    for _ in 0..2 {
        let new = run(go::config(&master, &discord, 2), bot());
        let mut new_wire = master.slave(false).await;
        go::migrate(&mut old_wire, &mut new_wire, 2).await;
        until("events", || new.bot.told().len() > 50).await;
        let states = new.bot.states.lock().unwrap().clone();
        assert!(
            states
                .iter()
                .all(|(_, status)| *status == StateStatus::Complete),
            "{states:?}"
        );
        former.ends().await.unwrap();
        (former, old_wire) = (new, new_wire);
    }
    is_the_truth(&discord, &former).await;
    assert_eq!(discord.counters().total.identifies, 2);
}
