//! What the simulated Discord never sends, as Discord documents it.

use baton_protocol::ShardId;
use baton_slave::cache::Cache;
use serde_json::{Value, json};

use super::{apply, exported, guild, member, user};

/// A guild of members 5 and 6 with one of everything.
pub(crate) fn full_guild(id: u64) -> Value {
    let mut full = guild(id, &[5, 6]);
    for (name, list) in [
        ("channels", json!([channel(id, 0), stage(id)])),
        ("threads", json!([thread(id, 0, false)])),
        ("roles", json!([role(id)])),
        ("emojis", json!([emoji(id, 0, 5)])),
        ("stickers", json!([sticker(id, 0, 6)])),
        ("presences", json!([presence(id, 5, "dnd")])),
        ("voice_states", json!([voice(id, 6, Some(id + 1))])),
        ("stage_instances", json!([stage_instance(id, "live")])),
        ("guild_scheduled_events", json!([scheduled(id, "party")])),
    ] {
        full[name] = list;
    }
    full
}

pub(crate) fn channel(guild: u64, nth: u64) -> Value {
    json!({"id": (guild + nth).to_string(), "type": 0, "name": "talk", "position": 0, "guild_id": guild.to_string()})
}

fn stage(guild: u64) -> Value {
    json!({"id": (guild + 1).to_string(), "type": 13, "name": "stage", "guild_id": guild.to_string()})
}

pub(crate) fn thread(guild: u64, nth: u64, archived: bool) -> Value {
    json!({"id": (guild + 100 + nth).to_string(), "type": 11, "name": "thread", "owner_id": "5",
        "parent_id": guild.to_string(), "guild_id": guild.to_string(),
        "member_count": 2, "message_count": 7, "rate_limit_per_user": 0,
        "thread_metadata": {"archived": archived, "auto_archive_duration": 1440, "locked": false,
            "archive_timestamp": "2024-01-01T00:00:00.000000+00:00"}})
}

fn role(guild: u64) -> Value {
    json!({"id": guild.to_string(), "name": "@everyone", "color": 0, "hoist": false, "managed": false,
        "mentionable": false, "permissions": "8", "position": 0, "flags": 0,
        "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}})
}

pub(crate) fn emoji(guild: u64, nth: u64, maker: u64) -> Value {
    json!({"id": (guild + 200 + nth).to_string(), "name": "e", "roles": [guild.to_string()],
        "user": user(maker, "old"), "require_colons": true, "managed": false, "animated": true,
        "available": true})
}

pub(crate) fn sticker(guild: u64, nth: u64, maker: u64) -> Value {
    json!({"id": (guild + 300 + nth).to_string(), "name": "s", "description": "d", "tags": "t",
        "type": 2, "format_type": 1, "available": true, "guild_id": guild.to_string(),
        "sort_value": 4, "user": user(maker, "old")})
}

pub(crate) fn presence(guild: u64, id: u64, status: &str) -> Value {
    let playing =
        json!([{"id": "custom", "name": "a game", "type": 0, "created_at": 1_700_000_000_000_u64}]);
    json!({"user": {"id": id.to_string()}, "guild_id": guild.to_string(), "status": status,
        "client_status": {"desktop": status}, "activities": playing})
}

pub(crate) fn voice(guild: u64, id: u64, channel: Option<u64>) -> Value {
    json!({"guild_id": guild.to_string(), "user_id": id.to_string(),
        "channel_id": channel.map(|id| id.to_string()), "session_id": "abc", "deaf": false,
        "mute": true, "self_deaf": false, "self_mute": true, "self_stream": true,
        "self_video": false, "suppress": true,
        "request_to_speak_timestamp": "2024-01-01T00:00:00.000000+00:00"})
}

pub(crate) fn stage_instance(guild: u64, topic: &str) -> Value {
    json!({"id": (guild + 400).to_string(), "guild_id": guild.to_string(),
        "channel_id": (guild + 1).to_string(), "topic": topic, "privacy_level": 2,
        "guild_scheduled_event_id": null})
}

pub(crate) fn scheduled(guild: u64, name: &str) -> Value {
    json!({"id": (guild + 500).to_string(), "guild_id": guild.to_string(), "channel_id": null,
        "creator_id": "5", "name": name, "description": "d", "privacy_level": 2, "status": 1,
        "scheduled_start_time": "2034-01-01T00:00:00.000000+00:00",
        "scheduled_end_time": "2034-01-02T00:00:00.000000+00:00",
        "entity_type": 3, "entity_id": null, "entity_metadata": {"location": "here"},
        "image": null, "user_count": 3})
}

/// Whether everything that `given` says is in `kept`; else where it is not.
pub(crate) fn lacks(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), _) => given
            .iter()
            .find_map(|(name, value)| lacks(value, &kept[name], &format!("{path}.{name}"))),
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => given
            .iter()
            .zip(kept)
            .find_map(|(given, kept)| lacks(given, kept, path)),
        // Not written means the same.
        (Value::Null | Value::Bool(false), Value::Null) => None,
        // Sub-second digits that are zero.
        (Value::String(given), Value::String(kept)) if given.ends_with("+00:00") => {
            (given[..19] != kept[..19]).then(|| path.to_owned())
        }
        _ => (given != kept).then(|| format!("{path}: {given} / {kept}")),
    }
}

/// Moves guild 1000 into an empty cache; both must be the same.
fn moves(cache: &Cache) -> Value {
    let piece = cache.export_piece(1000).unwrap();
    let moved = Cache::new();
    moved.import_piece(ShardId(0), 1000, &piece).unwrap();
    assert_eq!(moved.export_piece(1000).unwrap(), piece);
    exported(&moved, 1000)
}

#[test]
fn everything_that_a_guild_create_brings_moves_with_it() {
    let cache = Cache::new();
    let full = full_guild(1000);
    apply(&cache, "GUILD_CREATE", full.clone());
    assert_eq!(lacks(&full, &moves(&cache), "guild"), None);
}

#[test]
fn what_events_add_and_change_moves_too() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", full_guild(1000));
    let with_guild = |list: &str, value: Value| json!({"guild_id": "1000", list: value});
    let emojis = json!([emoji(1000, 0, 5), emoji(1000, 1, 6)]);
    let stickers = json!([sticker(1000, 1, 5)]);
    let events = [
        ("THREAD_CREATE", thread(1000, 1, false)),
        ("CHANNEL_CREATE", channel(1000, 2)),
        ("GUILD_EMOJIS_UPDATE", with_guild("emojis", emojis.clone())),
        (
            "GUILD_STICKERS_UPDATE",
            with_guild("stickers", stickers.clone()),
        ),
        ("PRESENCE_UPDATE", presence(1000, 6, "idle")),
        ("VOICE_STATE_UPDATE", voice(1000, 5, Some(1001))),
        ("STAGE_INSTANCE_UPDATE", stage_instance(1000, "later")),
        ("GUILD_SCHEDULED_EVENT_UPDATE", scheduled(1000, "wedding")),
    ];
    for (kind, d) in events {
        apply(&cache, kind, d);
    }
    let mut expected = full_guild(1000);
    for (list, items) in [
        (
            "channels",
            json!([channel(1000, 0), stage(1000), channel(1000, 2)]),
        ),
        (
            "threads",
            json!([thread(1000, 0, false), thread(1000, 1, false)]),
        ),
        ("emojis", emojis),
        ("stickers", stickers),
        (
            "presences",
            json!([presence(1000, 5, "dnd"), presence(1000, 6, "idle")]),
        ),
        (
            "voice_states",
            json!([voice(1000, 5, Some(1001)), voice(1000, 6, Some(1001))]),
        ),
        ("stage_instances", json!([stage_instance(1000, "later")])),
        (
            "guild_scheduled_events",
            json!([scheduled(1000, "wedding")]),
        ),
    ] {
        expected[list] = items;
    }
    assert_eq!(lacks(&expected, &moves(&cache), "guild"), None);
}

#[test]
fn what_events_take_away_is_gone_after_the_move_too() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", full_guild(1000));
    apply(&cache, "THREAD_UPDATE", thread(1000, 0, true));
    apply(
        &cache,
        "GUILD_EMOJIS_UPDATE",
        json!({"guild_id": "1000", "emojis": []}),
    );
    apply(
        &cache,
        "GUILD_STICKERS_UPDATE",
        json!({"guild_id": "1000", "stickers": []}),
    );
    apply(&cache, "VOICE_STATE_UPDATE", voice(1000, 6, None));
    apply(
        &cache,
        "STAGE_INSTANCE_DELETE",
        stage_instance(1000, "live"),
    );
    apply(
        &cache,
        "GUILD_SCHEDULED_EVENT_DELETE",
        scheduled(1000, "party"),
    );
    apply(
        &cache,
        "GUILD_MEMBER_REMOVE",
        json!({"guild_id": "1000", "user": user(5, "old")}),
    );
    let moved = moves(&cache);
    for list in [
        "threads",
        "emojis",
        "stickers",
        "presences",
        "voice_states",
        "stage_instances",
        "guild_scheduled_events",
    ] {
        assert_eq!(moved[list], json!([]), "{list}");
    }
    assert_eq!(moved["members"].as_array().unwrap().len(), 1);
    assert_eq!(moved["member_count"], 1);
}

#[test]
fn whoever_made_an_emoji_and_left_is_not_kept_for_it() {
    let cache = Cache::new();
    let mut full = full_guild(1000);
    full["emojis"] = json!([emoji(1000, 0, 99)]);
    full["stickers"] = json!([sticker(1000, 0, 98)]);
    apply(&cache, "GUILD_CREATE", full);
    assert_eq!(cache.inner().stats().users(), 2);
    let emojis = json!([emoji(1000, 0, 99), emoji(1000, 1, 5)]);
    apply(
        &cache,
        "GUILD_EMOJIS_UPDATE",
        json!({"guild_id": "1000", "emojis": emojis}),
    );
    assert_eq!(cache.inner().stats().users(), 2);
    let moved = moves(&cache);
    assert_eq!(moved["emojis"][0]["user"], Value::Null);
    assert_eq!(moved["emojis"][1]["user"]["id"], "5");
    let left = json!({"guild_id": "1000", "user": user(5, "old")});
    apply(&cache, "GUILD_MEMBER_REMOVE", left);
    assert_eq!(moves(&cache)["emojis"][1]["user"], Value::Null);
}

#[test]
fn a_guild_of_many_members_takes_time_in_proportion() {
    let quickest = |members: u64| {
        let cache = Cache::new();
        let mut create = guild(1000, &[]);
        create["members"] = (1..=members).map(member).collect();
        apply(&cache, "GUILD_CREATE", create);
        let once = || {
            let began = std::time::Instant::now();
            let piece = cache.export_piece(1000).unwrap();
            Cache::new().import_piece(ShardId(0), 1000, &piece).unwrap();
            began.elapsed()
        };
        (0..5).map(|_| once()).min().unwrap()
    };
    let (few, many) = (quickest(625), quickest(5000));
    eprintln!("625 members: {few:?}, 5000 members: {many:?}");
    // Eight times the members; were it quadratic, 64 times the time.
    assert!(many < few * 32, "{few:?} became {many:?}");
}
