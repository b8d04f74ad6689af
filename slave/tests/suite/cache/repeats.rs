//! An event that comes twice changes nothing the second time.

use baton_protocol::ShardId;
use baton_slave::cache::Cache;
use serde_json::{Value, json};

use super::{after_traffic, apply, exported, guild, member, members, payloads, user};

#[test]
fn a_member_who_is_added_twice_is_counted_once() {
    let cache = Cache::new();
    apply(&cache, "GUILD_CREATE", guild(10, &[5, 6]));
    let mut added = member(7);
    added["guild_id"] = json!("10");
    added["nick"] = json!("first");
    apply(&cache, "GUILD_MEMBER_ADD", added.clone());
    added["nick"] = json!("second");
    apply(&cache, "GUILD_MEMBER_ADD", added.clone());
    // One who was there from the beginning.
    added["user"] = user(5, "old");
    apply(&cache, "GUILD_MEMBER_ADD", added);
    let kept = exported(&cache, 10);
    assert_eq!(kept["member_count"], 3);
    assert_eq!(members(&cache, 10), [5, 6, 7]);
    assert_eq!(kept["members"][2]["nick"], "second", "brought up to date");
}

#[test]
fn a_member_who_is_removed_twice_is_counted_once_also_where_not_all_are_cached() {
    for counted in [3, 1000] {
        let cache = Cache::new();
        let mut large = guild(10, &[5, 6, 7]);
        large["member_count"] = json!(counted);
        apply(&cache, "GUILD_CREATE", large);
        let left = |id| json!({"guild_id": "10", "user": user(id, "old")});
        for id in [7, 7, 6, 7, 6] {
            apply(&cache, "GUILD_MEMBER_REMOVE", left(id));
        }
        assert_eq!(exported(&cache, 10)["member_count"], counted - 2);
        assert_eq!(members(&cache, 10), [5]);
        // One who is not cached leaves a guild of which others are not cached either.
        apply(&cache, "GUILD_MEMBER_REMOVE", left(99));
        apply(&cache, "GUILD_MEMBER_REMOVE", left(99));
        let now = if counted == 3 { 1 } else { 997 };
        assert_eq!(exported(&cache, 10)["member_count"], now);
        // Who comes back is counted, and can leave again.
        let mut back = member(7);
        back["guild_id"] = json!("10");
        apply(&cache, "GUILD_MEMBER_ADD", back);
        assert_eq!(exported(&cache, 10)["member_count"], now + 1);
        apply(&cache, "GUILD_MEMBER_REMOVE", left(7));
        assert_eq!(exported(&cache, 10)["member_count"], now);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discord_that_says_every_second_thing_twice_leaves_the_cache_true() {
    let moment = after_traffic(3000, |config| {
        config.guilds_per_shard = 4;
        config.members_per_guild = 30;
        config.repeat_every = 2;
    });
    assert_eq!(moment.await.difference(), None);
}

#[test]
fn every_event_that_comes_twice_leaves_what_it_left_the_first_time() {
    let cache = Cache::new();
    let (guild, other) = ("1000", "2000");
    apply(&cache, "GUILD_CREATE", payloads::full_guild(2000));
    let added = |id: u64| {
        let mut member = member(id);
        member["guild_id"] = json!(guild);
        member
    };
    let of_guild = |name: &str, value: Value| json!({"guild_id": guild, name: value});
    let role = json!({"id": "1009", "name": "r", "color": 0, "hoist": false, "managed": false,
        "mentionable": false, "permissions": "0", "position": 1, "flags": 0,
        "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}});
    let events = [
        ("GUILD_CREATE", payloads::full_guild(1000)),
        ("GUILD_MEMBER_ADD", added(7)),
        ("GUILD_MEMBER_UPDATE", added(7)),
        (
            "GUILD_MEMBERS_CHUNK",
            json!({"guild_id": guild, "members": [member(5), member(5), member(8)],
            "chunk_index": 0, "chunk_count": 1, "not_found": []}),
        ),
        ("GUILD_ROLE_CREATE", of_guild("role", role.clone())),
        ("GUILD_ROLE_UPDATE", of_guild("role", role)),
        ("CHANNEL_CREATE", payloads::channel(1000, 2)),
        ("CHANNEL_UPDATE", payloads::channel(1000, 2)),
        ("THREAD_CREATE", payloads::thread(1000, 4, false)),
        ("PRESENCE_UPDATE", payloads::presence(1000, 6, "idle")),
        ("PRESENCE_UPDATE", payloads::presence(1000, 77, "online")),
        ("VOICE_STATE_UPDATE", payloads::voice(1000, 5, Some(1001))),
        ("VOICE_STATE_UPDATE", payloads::voice(1000, 78, Some(1001))),
        (
            "STAGE_INSTANCE_CREATE",
            payloads::stage_instance(1000, "again"),
        ),
        (
            "STAGE_INSTANCE_UPDATE",
            payloads::stage_instance(1000, "once more"),
        ),
        (
            "GUILD_SCHEDULED_EVENT_CREATE",
            payloads::scheduled(1000, "a"),
        ),
        (
            "GUILD_SCHEDULED_EVENT_UPDATE",
            payloads::scheduled(1000, "b"),
        ),
        (
            "GUILD_EMOJIS_UPDATE",
            of_guild(
                "emojis",
                json!([payloads::emoji(1000, 0, 5), payloads::emoji(1000, 1, 6)]),
            ),
        ),
        (
            "GUILD_STICKERS_UPDATE",
            of_guild("stickers", json!([payloads::sticker(1000, 1, 5)])),
        ),
        ("VOICE_STATE_UPDATE", payloads::voice(1000, 78, None)),
        ("VOICE_STATE_UPDATE", payloads::voice(1000, 79, None)),
        (
            "GUILD_SCHEDULED_EVENT_DELETE",
            payloads::scheduled(1000, "b"),
        ),
        (
            "STAGE_INSTANCE_DELETE",
            payloads::stage_instance(1000, "once more"),
        ),
        (
            "THREAD_DELETE",
            json!({"id": "1104", "guild_id": guild, "parent_id": guild, "type": 11}),
        ),
        ("CHANNEL_DELETE", payloads::channel(1000, 2)),
        (
            "GUILD_ROLE_DELETE",
            json!({"guild_id": guild, "role_id": "1009"}),
        ),
        (
            "GUILD_ROLE_DELETE",
            json!({"guild_id": guild, "role_id": "4711"}),
        ),
        ("GUILD_MEMBER_REMOVE", of_guild("user", user(7, "old"))),
        ("GUILD_DELETE", json!({"id": guild, "unavailable": true})),
        ("GUILD_CREATE", payloads::full_guild(1000)),
        ("GUILD_DELETE", json!({"id": guild})),
        ("GUILD_MEMBER_ADD", added(7)),
    ];
    let untouched = exported(&cache, 2000);
    for (kind, d) in events {
        apply(&cache, kind, d.clone());
        let once = (cache.export(ShardId(0)), cache.guild_create(1000));
        let users = cache.inner().stats().users();
        for _ in 0..2 {
            apply(&cache, kind, d.clone());
        }
        let again = (cache.export(ShardId(0)), cache.guild_create(1000));
        assert_eq!(again, once, "{kind}");
        assert_eq!(cache.inner().stats().users(), users, "{kind}");
        assert_eq!(cache.incomplete(ShardId(0)), [], "{kind}");
        assert_eq!(
            exported(&cache, 2000),
            untouched,
            "{kind} of {guild}, not {other}"
        );
    }
}
