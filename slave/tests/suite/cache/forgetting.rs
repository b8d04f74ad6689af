//! A guild that goes leaves nothing behind.

use baton_protocol::ShardId;
use baton_slave::cache::Cache;
use serde_json::{Value, json};

use super::{
    apply, exported, guild, member, members,
    payloads::{channel, emoji, full_guild, presence, sticker, thread, voice},
    user,
};

/// How many things of each kind are cached.
fn counts(cache: &Cache) -> [(&'static str, usize); 12] {
    let inner = cache.inner();
    let all = inner.iter();
    // There is no iterator over these: of guilds 1000 and 2000.
    let scheduled = [1500, 2500].map(twilight_model::id::Id::new);
    [
        ("guilds", all.guilds().count()),
        ("channels", all.channels().count()),
        ("roles", all.roles().count()),
        ("members", all.members().count()),
        ("users", all.users().count()),
        ("presences", all.presences().count()),
        ("voice states", all.voice_states().count()),
        ("emojis", all.emojis().count()),
        ("stickers", all.stickers().count()),
        ("stage instances", all.stage_instances().count()),
        (
            "scheduled events",
            scheduled
                .into_iter()
                .filter(|id| inner.scheduled_event(*id).is_some())
                .count(),
        ),
        (
            "messages and integrations",
            all.messages().count() + all.integrations().count(),
        ),
    ]
}

fn nothing(cache: &Cache) {
    for (what, count) in counts(cache) {
        assert_eq!(count, 0, "{what}");
    }
}

/// A guild with everything, and what lives in it for a while.
fn lived_in(id: u64) -> Cache {
    let cache = Cache::new();
    live(&cache, id);
    cache
}

fn live(cache: &Cache, id: u64) {
    apply(cache, "GUILD_CREATE", full_guild(id));
    let guild_id = id.to_string();
    let mut joins = member(7);
    joins["guild_id"] = json!(guild_id);
    apply(cache, "GUILD_MEMBER_ADD", joins);
    apply(cache, "PRESENCE_UPDATE", presence(id, 7, "online"));
    apply(cache, "VOICE_STATE_UPDATE", voice(id, 7, Some(id + 1)));
    apply(cache, "THREAD_CREATE", thread(id, 1, false));
    let emojis = json!({"guild_id": guild_id, "emojis": [emoji(id, 3, 99)]});
    apply(cache, "GUILD_EMOJIS_UPDATE", emojis);
    let stickers = json!({"guild_id": guild_id, "stickers": [sticker(id, 3, 99)]});
    apply(cache, "GUILD_STICKERS_UPDATE", stickers);
    for author in [5, 8] {
        apply(cache, "MESSAGE_CREATE", message(id, author, true));
    }
    // A webhook.
    apply(cache, "MESSAGE_CREATE", message(id, 1234, false));
    let integration = json!({"id": "31", "guild_id": guild_id, "name": "i", "type": "discord",
        "enabled": true, "account": {"id": "1", "name": "n"}});
    apply(cache, "INTEGRATION_CREATE", integration);
}

fn message(guild: u64, author: u64, of_a_member: bool) -> Value {
    let mut message = json!({"id": (guild + author).to_string(), "channel_id": guild.to_string(),
        "guild_id": guild.to_string(), "author": user(author, "old"), "content": "c",
        "timestamp": "2024-01-01T00:00:00.000000+00:00", "edited_timestamp": null, "tts": false,
        "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [],
        "embeds": [], "pinned": false, "type": 0});
    if of_a_member {
        message["member"] = member(author);
    }
    message
}

#[test]
fn a_guild_in_which_much_happened_is_cached_with_all_of_it() {
    let cache = lived_in(1000);
    let expected = [
        ("guilds", 1),
        ("channels", 4),
        ("roles", 1),
        ("members", 4),
        ("users", 4),
        ("presences", 2),
        ("voice states", 2),
        ("emojis", 1),
        ("stickers", 1),
        ("stage instances", 1),
        ("scheduled events", 1),
        ("messages and integrations", 0),
    ];
    assert_eq!(counts(&cache), expected);
}

#[test]
fn a_guild_that_the_bot_left_leaves_nothing() {
    let cache = lived_in(1000);
    apply(&cache, "GUILD_DELETE", json!({"id": "1000"}));
    nothing(&cache);
    let stage = twilight_model::id::Id::new(1001);
    assert!(cache.inner().voice_channel_states(stage).is_none());
}

#[test]
fn a_guild_with_an_outage_leaves_only_the_word_that_it_has_one() {
    let cache = lived_in(1000);
    apply(
        &cache,
        "GUILD_DELETE",
        json!({"id": "1000", "unavailable": true}),
    );
    nothing(&cache);
    assert_eq!(exported(&cache, 1000)["unavailable"], true);
    apply(&cache, "GUILD_DELETE", json!({"id": "1000"}));
    assert_eq!(cache.export_piece(1000), None);
}

#[test]
fn a_shard_that_is_dropped_leaves_nothing_but_what_others_share() {
    let cache = lived_in(1000);
    let other = full_guild(2000).to_string();
    cache
        .import_piece(ShardId(1), 2000, other.as_bytes())
        .unwrap();
    cache.drop_shard(ShardId(0));
    let mut alone = Cache::new();
    alone
        .import_piece(ShardId(1), 2000, other.as_bytes())
        .unwrap();
    assert_eq!(counts(&cache), counts(&alone));
    cache.drop_shard(ShardId(1));
    nothing(&cache);
    alone = lived_in(1000);
    live(&alone, 1000);
    alone.drop_shard(ShardId(0));
    nothing(&alone);
}

#[test]
fn events_of_a_guild_that_is_not_here_and_of_none_change_nothing() {
    let cache = Cache::new();
    live_without_guild(&cache);
    nothing(&cache);
    apply(
        &cache,
        "GUILD_CREATE",
        json!({"id": "1000", "unavailable": true}),
    );
    live_without_guild(&cache);
    nothing(&cache);
}

fn live_without_guild(cache: &Cache) {
    let mut joins = member(7);
    joins["guild_id"] = json!("1000");
    apply(cache, "GUILD_MEMBER_ADD", joins);
    apply(cache, "PRESENCE_UPDATE", presence(1000, 7, "online"));
    apply(cache, "VOICE_STATE_UPDATE", voice(1000, 7, Some(1001)));
    apply(cache, "CHANNEL_CREATE", channel(1000, 0));
    apply(cache, "MESSAGE_CREATE", message(1000, 8, true));
    let mut direct = message(1000, 8, false);
    direct["guild_id"] = Value::Null;
    apply(cache, "MESSAGE_CREATE", direct);
}

#[test]
fn a_channel_takes_its_threads_along() {
    let cache = lived_in(1000);
    let threads = |cache: &Cache| exported(cache, 1000)["threads"].as_array().unwrap().len();
    assert_eq!(threads(&cache), 2);
    apply(&cache, "CHANNEL_DELETE", channel(1000, 0));
    assert_eq!(threads(&cache), 0);
}

#[test]
fn a_member_who_leaves_where_none_is_counted_leaves_the_count_at_none() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[]));
    for id in [5, 6] {
        let left = json!({"guild_id": "10", "user": user(id, "old")});
        apply(&cache, "GUILD_MEMBER_REMOVE", left);
    }
    assert_eq!(exported(&cache, 10)["member_count"], 0);
    assert!(members(&cache, 10).is_empty());
    assert_eq!(cache.inner().stats().users(), 0);
}

#[test]
fn a_member_who_leaves_takes_presence_and_voice_along() {
    let cache = lived_in(1000);
    apply(&cache, "VOICE_STATE_UPDATE", voice(1000, 7, None));
    let left = json!({"guild_id": "1000", "user": user(7, "old")});
    apply(&cache, "GUILD_MEMBER_REMOVE", left);
    let guild = exported(&cache, 1000);
    let of = |list: &str| guild[list].as_array().unwrap().len();
    assert_eq!((of("presences"), of("voice_states")), (1, 1));
}

#[test]
fn a_user_who_changes_and_leaves_guilds_is_known_as_long_as_one_has_him() {
    let cache = Cache::new();
    let guilds = [10, 20, 30, 40];
    for id in guilds {
        apply(&cache, "GUILD_CREATE", guild(id, &[5]));
    }
    for (round, id) in guilds.into_iter().enumerate() {
        let name = format!("name {round}");
        let renamed = json!({"guild_id": id.to_string(), "user": user(5, &name), "roles": [],
            "joined_at": null, "avatar": null, "nick": null, "pending": false, "deaf": false,
            "mute": false, "premium_since": null, "communication_disabled_until": null});
        apply(&cache, "GUILD_MEMBER_UPDATE", renamed);
        for still in &guilds[round..] {
            assert_eq!(members(&cache, *still), [5], "round {round}");
        }
        match round {
            0 | 2 => {
                let left = json!({"guild_id": id.to_string(), "user": user(5, &name)});
                apply(&cache, "GUILD_MEMBER_REMOVE", left);
            }
            _ => apply(&cache, "GUILD_DELETE", json!({"id": id.to_string()})),
        }
    }
    assert_eq!(cache.inner().stats().users(), 0);
}
