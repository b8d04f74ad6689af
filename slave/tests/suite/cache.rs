//! A guild that moved is the guild that it was.

mod forgetting;
mod odd;
mod payloads;
mod repeats;

use crate::common::{FakeMaster, Moment, Recorder, config, discord, run, until};
use baton_discord::DiscordConfig;
use baton_protocol::{Sequence, ShardId};
use baton_slave::{
    Event,
    cache::{CURRENT_USER, Cache},
};
use serde_json::{Value, json};

/// The cache of a slave that was told so many events, and what Discord has then.
async fn after_traffic(events: usize, set: impl FnOnce(&mut DiscordConfig)) -> Moment {
    let discord = discord(set).await;
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    // Above it a GUILD_CREATE comes without the members who are offline.
    settings.large_threshold = 250;
    let slave = run(settings, Recorder::with_cache());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    crate::common::traffic(&discord, 5000.0);
    until("traffic", || slave.bot.told.lock().unwrap().len() > events).await;
    crate::common::moment(&discord, 0, &slave.bot).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_traffic_a_guild_is_exported_imported_and_exported_the_same_and_true() {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in given.map_or(1..=3, |seed| seed..=seed) {
        let moment = after_traffic(8000, |config| {
            config.seed = seed;
            config.guilds_per_shard = 8;
            config.members_per_guild = 60;
        })
        .await;
        assert_eq!(moment.difference(), None, "seed {seed}");

        let moved = Cache::new();
        for (key, piece) in &moment.pieces {
            moved.import_piece(ShardId(0), *key, piece).unwrap();
        }
        let keys: Vec<u64> = moment.pieces.keys().copied().collect();
        assert_eq!(moved.export(ShardId(0)), keys);
        for (key, piece) in &moment.pieces {
            let again = moved.export_piece(*key);
            assert_eq!(again.as_ref(), Some(piece), "piece {key}, seed {seed}");
        }
    }
}

#[test]
fn a_second_guild_create_forgets_nobody_who_did_not_change() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5, 6]));
    apply(&cache, "GUILD_CREATE", guild(10, &[5, 6]));
    assert_eq!(members(&cache, 10), [5, 6]);
    apply(&cache, "GUILD_CREATE", guild(10, &[6]));
    assert_eq!(members(&cache, 10), [6]);
}

#[test]
fn a_user_who_leaves_one_guild_stays_in_the_others() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5]));
    apply(&cache, "GUILD_CREATE", guild(20, &[5]));
    apply(&cache, "GUILD_CREATE", guild(30, &[5]));
    // A changed name makes twilight forget all guilds of the user but this one.
    let renamed = json!({"guild_id": "20", "user": user(5, "new"), "roles": [], "joined_at": null,
        "avatar": null, "nick": null, "pending": false, "deaf": false, "mute": false,
        "premium_since": null, "communication_disabled_until": null, "flags": 0});
    apply(&cache, "GUILD_MEMBER_UPDATE", renamed);
    apply(
        &cache,
        "GUILD_MEMBER_REMOVE",
        json!({"guild_id": "20", "user": user(5, "new")}),
    );
    assert_eq!(members(&cache, 10), [5]);
    assert!(members(&cache, 20).is_empty());
    assert_eq!(members(&cache, 30), [5]);
}

#[test]
fn members_who_come_and_go_are_counted_and_the_count_moves() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5, 6]));
    let mut member = member(7);
    member["guild_id"] = json!("10");
    apply(&cache, "GUILD_MEMBER_ADD", member);
    let moved = Cache::new();
    let piece = cache.export_piece(10).unwrap();
    // Twice: importing again adds nothing.
    moved.import_piece(ShardId(0), 10, &piece).unwrap();
    moved.import_piece(ShardId(0), 10, &piece).unwrap();
    assert_eq!(exported(&moved, 10)["member_count"], 3);
    assert_eq!(members(&moved, 10), [5, 6, 7]);
}

#[test]
fn an_outage_is_remembered_and_moves_and_a_guild_that_is_left_does_not() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5]));
    apply(&cache, "GUILD_CREATE", guild(20, &[5]));
    apply(
        &cache,
        "GUILD_DELETE",
        json!({"id": "10", "unavailable": true}),
    );
    apply(&cache, "GUILD_DELETE", json!({"id": "20"}));
    assert_eq!(cache.export(ShardId(0)), [CURRENT_USER, 10]);
    assert_eq!(
        exported(&cache, 10),
        json!({"id": "10", "unavailable": true})
    );
    let moved = Cache::new();
    let piece = cache.export_piece(10).unwrap();
    moved.import_piece(ShardId(0), 10, &piece).unwrap();
    assert_eq!(moved.export(ShardId(0)), [CURRENT_USER, 10]);
    apply(&moved, "GUILD_CREATE", guild(10, &[5]));
    assert_eq!(members(&moved, 10), [5]);
}

#[test]
fn a_shard_that_is_dropped_takes_its_guilds_and_leaves_the_others() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5]));
    let piece = cache.export_piece(10).unwrap();
    let other = guild(11, &[5]).to_string();
    cache
        .import_piece(ShardId(1), 11, other.as_bytes())
        .unwrap();
    cache.drop_shard(ShardId(0));
    assert_eq!(cache.export_piece(10), None);
    assert_eq!(members(&cache, 11), [5]);
    // A piece under the wrong key is refused.
    assert!(cache.import_piece(ShardId(0), 99, &piece).is_err());
    assert!(cache.import_piece(ShardId(0), 10, b"{}").is_err());
}

fn apply(cache: &Cache, kind: &str, d: Value) {
    let json = json!({"t": kind, "s": 2, "op": 0, "d": d}).to_string();
    cache.apply(&Event::for_test(ShardId(0), Sequence(2), kind, &json));
}

fn exported(cache: &Cache, guild: u64) -> Value {
    serde_json::from_slice(&cache.guild_create(guild).unwrap()).unwrap()
}

fn members(cache: &Cache, guild: u64) -> Vec<u64> {
    let guild = exported(cache, guild);
    let members = guild["members"].as_array().unwrap();
    let id = |member: &Value| member["user"]["id"].as_str().unwrap().parse().unwrap();
    members.iter().map(id).collect()
}

fn user(id: u64, name: &str) -> Value {
    json!({"id": id.to_string(), "username": name, "discriminator": "0", "avatar": null})
}

fn member(id: u64) -> Value {
    json!({"user": user(id, "old"), "roles": [], "joined_at": null, "deaf": false, "mute": false,
        "nick": null, "flags": 0, "communication_disabled_until": null})
}

fn guild(id: u64, users: &[u64]) -> Value {
    json!({
        "id": id.to_string(), "name": "g", "owner_id": "5", "afk_timeout": 300, "large": false,
        "default_message_notifications": 0, "explicit_content_filter": 0, "features": [],
        "mfa_level": 0, "nsfw_level": 0, "preferred_locale": "en-US", "premium_tier": 0,
        "premium_progress_bar_enabled": false, "system_channel_flags": 0, "verification_level": 0,
        "member_count": users.len(), "members": users.iter().map(|id| member(*id)).collect::<Vec<_>>(),
        "channels": [], "threads": [], "roles": [], "emojis": [{"id": "77", "name": "e"}],
        "stickers": [], "presences": [], "voice_states": [], "stage_instances": [],
    })
}
