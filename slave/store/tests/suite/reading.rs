//! Reading, as a bot does it.

use std::borrow::Cow;

use baton_protocol::{Epoch, Sequence};
use baton_store::{Kind, Stand, Store, Writer};
use serde_json::json;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_model::{
    channel::Channel,
    gateway::payload::incoming::GuildCreate,
    guild::{Guild, Member, Permissions, Role},
    id::Id,
    user::User,
    voice::VoiceState,
};

use crate::common::{SESSION, apply, begin, claim, dump, is_sound, owner, store};

const GUILD: u64 = 1_099_511_627_776_000_001;

/// A guild as Discord sends it, that twilight's models read.
fn guild(members: u64) -> serde_json::Value {
    let user = |n: u64| json!({"id": (GUILD + 1000 + n).to_string(), "username": format!("user{n}"), "global_name": null, "discriminator": "0", "avatar": "0123456789abcdef0123456789abcdef", "bot": false, "public_flags": 0});
    let members: Vec<_> = (0..members)
        .map(|n| json!({"user": user(n), "nick": null, "avatar": null, "roles": if n % 2 == 0 { json!([(GUILD + 1).to_string()]) } else { json!([]) }, "joined_at": "2021-01-01T00:00:00.000000+00:00", "deaf": false, "mute": false, "flags": 0, "pending": false, "premium_since": null, "communication_disabled_until": null}))
        .collect();
    let role = |n: u64, permissions: u64| json!({"id": (GUILD + n).to_string(), "name": "role", "color": 0, "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}, "hoist": false, "icon": null, "unicode_emoji": null, "position": n, "permissions": permissions.to_string(), "managed": false, "mentionable": false, "flags": 0});
    let channel = |n: u64, overwrites: serde_json::Value| json!({"id": (GUILD + 100 + n).to_string(), "type": 0, "name": "general", "position": n, "permission_overwrites": overwrites, "parent_id": null, "nsfw": false, "rate_limit_per_user": 0, "flags": 0, "topic": "a topic"});
    let everyone = GUILD.to_string();
    let overwrites = json!([
        {"id": everyone, "type": 0, "deny": "1024", "allow": "0"},
        {"id": (GUILD + 1).to_string(), "type": 0, "deny": "0", "allow": "1024"},
        {"id": (GUILD + 1003).to_string(), "type": 1, "deny": "2048", "allow": "1024"}
    ]);
    json!({"id": everyone, "name": "a guild", "owner_id": (GUILD + 1000).to_string(), "icon": null, "splash": null, "discovery_splash": null, "banner": null, "description": null, "vanity_url_code": null, "afk_channel_id": null, "afk_timeout": 300, "widget_enabled": false, "widget_channel_id": null, "verification_level": 1, "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0, "application_id": null, "system_channel_id": null, "system_channel_flags": 0, "rules_channel_id": null, "public_updates_channel_id": null, "safety_alerts_channel_id": null, "max_presences": null, "max_members": 500_000, "max_video_channel_users": 25, "premium_tier": 0, "premium_subscription_count": 0, "premium_progress_bar_enabled": false, "preferred_locale": "en-US", "nsfw_level": 0, "features": ["COMMUNITY"], "emojis": [], "stickers": [],
        "joined_at": "2021-01-01T00:00:00.000000+00:00", "large": false, "unavailable": false, "member_count": members.len(), "threads": [{"id": (GUILD + 200).to_string(), "type": 11, "name": "thread", "parent_id": (GUILD + 100).to_string(), "guild_id": everyone, "owner_id": (GUILD + 1001).to_string(), "thread_metadata": {"archived": false, "auto_archive_duration": 60, "archive_timestamp": "2021-01-01T00:00:00+00:00", "locked": false}, "message_count": 0, "member_count": 1, "rate_limit_per_user": 0, "flags": 0}], "stage_instances": [], "guild_scheduled_events": [],
        "roles": [role(0, 0x0008_0000 | 1024 | 2048), role(1, 8192), role(2, 8)], "channels": [channel(0, overwrites), channel(1, json!([]))], "members": members,
        "presences": [{"user": {"id": (GUILD + 1001).to_string()}, "guild_id": everyone, "status": "idle", "activities": [], "client_status": {"desktop": "idle"}}],
        "voice_states": [{"user_id": (GUILD + 1002).to_string(), "channel_id": (GUILD + 101).to_string(), "session_id": "0123456789abcdef0123456789abcdef", "deaf": false, "mute": false, "self_deaf": false, "self_mute": true, "self_stream": false, "self_video": false, "suppress": false, "request_to_speak_timestamp": null}]})
}

fn filled(members: u64) -> (tempfile::TempDir, Store, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("store"));
    let mut writer = claim(&store, 1);
    let ready =
        json!({"user": {"id": "7"}, "guilds": [{"id": GUILD.to_string(), "unavailable": true}]});
    apply(
        &mut writer,
        1,
        &[("READY", ready), ("GUILD_CREATE", guild(members))],
    )
    .unwrap();
    (dir, store, writer)
}

#[test]
fn the_server_of_the_bot_s_call_is_known_until_it_leaves_and_no_guild_tells_it() {
    let (dir, store, mut writer) = filled(1);
    let (id, guild) = (Id::new(GUILD), GUILD.to_string());
    let state = |user: &str, channel: serde_json::Value| json!({"guild_id": guild, "user_id": user, "channel_id": channel, "session_id": "s"});
    let server = json!({"guild_id": guild, "token": "a secret", "endpoint": null, "odd": 1.5});
    let there = |is_there: bool| {
        let view = store.view().unwrap();
        assert_eq!(view.voice_server(id).is_some(), is_there);
        let whole = view.guild_create(id).unwrap();
        assert!(!whole.contains("a secret"), "{whole}");
    };
    // It may come before the state does.
    apply(&mut writer, 10, &[("VOICE_SERVER_UPDATE", server.clone())]).unwrap();
    apply(
        &mut writer,
        11,
        &[("VOICE_STATE_UPDATE", state("7", json!("9")))],
    )
    .unwrap();
    there(true);
    let said = store.view().unwrap().voice_server(id).unwrap().to_json();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, server);
    apply(
        &mut writer,
        12,
        &[("VOICE_STATE_UPDATE", state("8", json!(null)))],
    )
    .unwrap();
    there(true);
    apply(
        &mut writer,
        13,
        &[("VOICE_STATE_UPDATE", state("7", json!(null)))],
    )
    .unwrap();
    there(false);
    apply(&mut writer, 14, &[("VOICE_SERVER_UPDATE", server)]).unwrap();
    is_sound(&dir.path().join("store"));
    apply(&mut writer, 15, &[("GUILD_CREATE", self::guild(1))]).unwrap();
    there(false);
}

#[test]
fn what_is_read_is_what_discord_sent_in_place_or_as_a_model_of_twilight() {
    let (_dir, store, _writer) = filled(5);
    let view = store.view().unwrap();
    let id = Id::new(GUILD);
    let itself = view.guild(id).unwrap();
    assert!(
        matches!(itself.text("name"), Some(Cow::Borrowed("a guild"))),
        "not copied"
    );
    assert_eq!(itself.number("owner_id"), Some(GUILD + 1000));
    assert_eq!(itself.get("features").unwrap().items().unwrap().count(), 1);

    let member = view.member(id, Id::new(GUILD + 1002)).unwrap();
    assert_eq!(member.user().unwrap().text("username").unwrap(), "user2");
    assert_eq!(member.ids("roles").collect::<Vec<_>>(), [GUILD + 1]);
    let model: Member = member.parse().unwrap();
    assert_eq!((model.user.name.as_str(), model.roles.len()), ("user2", 1));
    let model: User = view.user(Id::new(GUILD + 1002)).unwrap().parse().unwrap();
    assert_eq!(model.id, Id::new(GUILD + 1002));
    let model: Role = view.role(id, Id::new(GUILD + 1)).unwrap().parse().unwrap();
    assert_eq!(model.permissions.bits(), 8192);
    let model: Channel = view.channel(Id::new(GUILD + 100)).unwrap().parse().unwrap();
    assert_eq!(
        (model.guild_id, model.topic.as_deref()),
        (Some(id), Some("a topic"))
    );
    let model: Channel = view.channel(Id::new(GUILD + 200)).unwrap().parse().unwrap();
    assert_eq!(model.parent_id, Some(Id::new(GUILD + 100)));
    let model: VoiceState = view
        .voice_state(id, Id::new(GUILD + 1002))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!((model.guild_id, model.self_mute), (Some(id), true));
    assert_eq!(
        view.presence(id, Id::new(GUILD + 1001))
            .unwrap()
            .text("status")
            .unwrap(),
        "idle"
    );

    assert_eq!(view.members(id).count(), 5);
    assert_eq!(
        (
            view.roles(id).count(),
            view.channels(id).count(),
            view.threads(id).count()
        ),
        (3, 2, 1)
    );
    let other = Id::new(GUILD + 7);
    assert!(view.guild(other).is_none() && view.member(other, Id::new(5)).is_none());
    assert_eq!(view.members(other).count(), 0);
    assert_eq!(view.guild_place(id).unwrap().members, 5);
}

#[test]
fn all_views_of_a_thread_are_of_one_moment_and_the_next_one_is_of_now() {
    let (_dir, store, mut writer) = filled(3);
    let rename = |name: &str| {
        (
            "GUILD_UPDATE",
            json!({"id": GUILD.to_string(), "name": name}),
        )
    };
    let first = store.view().unwrap();
    apply(&mut writer, 3, &[rename("later")]).unwrap();
    let second = store.view().unwrap();
    assert_eq!(second.stand(), first.stand());
    let there = std::thread::scope(|scope| {
        let look = || store.view().unwrap().stand().sequence;
        scope.spawn(look).join().unwrap()
    });
    assert_eq!(there, Sequence(3), "another thread sees what is now");
    drop((first, second));
    assert_eq!(store.view().unwrap().stand().sequence, Sequence(3));
    assert_eq!(
        store
            .guild(Id::new(GUILD))
            .unwrap()
            .get()
            .text("name")
            .unwrap(),
        "later"
    );
}

#[test]
fn a_reader_that_never_ends_keeps_the_pages_of_its_moment_until_the_state_moves() {
    let (dir, store, mut writer) = filled(200);
    let path = dir.path().join("store");
    let size = || {
        baton_store::show(&path, crate::common::SHARD, crate::common::options())
            .unwrap()
            .room
            .bytes
    };
    let mut next = 3;
    let mut churn = |writer: &mut Writer| {
        for n in 0..600_u64 {
            let user = GUILD + 1000 + n % 200;
            let d = json!({"guild_id": GUILD.to_string(), "user": {"id": user.to_string()}, "nick": format!("{n}")});
            apply(writer, next, &[("GUILD_MEMBER_UPDATE", d)]).unwrap();
            next += 1;
        }
    };
    churn(&mut writer);
    let usual = size();
    std::thread::scope(|scope| {
        let (hold, held) = std::sync::mpsc::sync_channel(0);
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let store = &store;
        scope.spawn(move || {
            let view = store.view().unwrap();
            hold.send(()).unwrap();
            let _ = ended.recv();
            assert_eq!(
                view.members(Id::new(GUILD)).count(),
                200,
                "it sees its moment"
            );
        });
        held.recv().unwrap();
        churn(&mut writer);
        assert!(size() > 2 * usual, "{} and {usual}", size());
        writer.compact().unwrap();
        churn(&mut writer);
        assert!(size() <= 2 * usual, "{} and {usual}", size());
        drop(end);
    });
    is_sound(&path);
}

#[test]
fn a_guild_of_any_size_is_walked_in_pages_that_keep_nothing_between_them() {
    let (dir, store, mut writer) = filled(1000);
    let id = Id::new(GUILD);
    let mut seen = Vec::new();
    for (n, member) in store.members(id).enumerate() {
        seen.push(member.get().id());
        if n == 300 {
            // It may change meanwhile, and move.
            let gone = json!({"guild_id": GUILD.to_string(), "user": {"id": (GUILD + 1000 + 999).to_string()}});
            apply(&mut writer, 3, &[("GUILD_MEMBER_REMOVE", gone)]).unwrap();
            writer.compact().unwrap();
        }
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.len(), 999);
    fn over_an_await<T: Send>(_: &T) {}
    over_an_await(&store.members(id));
    over_an_await(&store.guild(id));
    is_sound(&dir.path().join("store"));
}

#[test]
fn permissions_are_computed_as_discord_documents_it() {
    use Permissions as P;
    let (_dir, store, mut writer) = filled(8);
    let id = Id::new(GUILD);
    let update = |n: u64, more: serde_json::Value| {
        let mut d =
            json!({"guild_id": GUILD.to_string(), "user": {"id": (GUILD + 1000 + n).to_string()}});
        d.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ("GUILD_MEMBER_UPDATE", d)
    };
    let (admin, unknown) = ((GUILD + 2).to_string(), (GUILD + 77).to_string());
    apply(&mut writer, 3, &[
        update(4, json!({"roles": [admin]})),
        update(5, json!({"communication_disabled_until": "2400-01-01T00:00:00.000000+00:00"})),
        update(7, json!({"roles": [unknown], "communication_disabled_until": "2020-01-01T00:00:00.000000+00:00"})),
    ])
    .unwrap();
    let view = store.view().unwrap();
    let everyone = P::from_bits_retain(0x0008_0000) | P::VIEW_CHANNEL | P::SEND_MESSAGES;
    let manager = everyone | P::MANAGE_MESSAGES;
    let guild_and_channel = |n: u64| {
        let user = Id::new(GUILD + 1000 + n);
        (
            view.permissions(id, user).unwrap(),
            view.permissions_in(user, Id::new(GUILD + 100)).unwrap(),
        )
    };
    // The owner and an administrator may do everything.
    assert_eq!(guild_and_channel(0), (P::all(), P::all()));
    assert_eq!(guild_and_channel(4), (P::all(), P::all()));
    // The channel is hidden from everyone, and shown to a role.
    assert_eq!(guild_and_channel(1), (everyone, everyone - P::VIEW_CHANNEL));
    assert_eq!(guild_and_channel(2), (manager, manager));
    // What is said of a member comes last.
    assert_eq!(
        guild_and_channel(3),
        (everyone, everyone - P::SEND_MESSAGES)
    );
    // Who is in a timeout may look on where it may look at all.
    assert_eq!(guild_and_channel(5), (P::VIEW_CHANNEL, P::empty()));
    // A role that is not there gives nothing, and a timeout ends.
    assert_eq!(guild_and_channel(7), (everyone, everyone - P::VIEW_CHANNEL));
    // A channel without overwrites, and a thread, which has those of its channel.
    let user = Id::new(GUILD + 1003);
    assert_eq!(
        view.permissions_in(user, Id::new(GUILD + 101)),
        Some(everyone)
    );
    assert_eq!(
        view.permissions_in(user, Id::new(GUILD + 200)),
        Some(everyone - P::SEND_MESSAGES)
    );
    assert_eq!(
        store.permissions_in(user, Id::new(GUILD + 101)),
        Some(everyone)
    );
    assert_eq!(view.permissions_in(Id::new(1), Id::new(GUILD + 100)), None);
    assert_eq!(view.permissions(Id::new(1), user), None);
}

#[test]
fn twilights_cache_takes_a_guild_that_a_store_gives() {
    let (_dir, store, _writer) = filled(8);
    let create = store.view().unwrap().guild_create(Id::new(GUILD)).unwrap();
    let create: Guild = serde_json::from_str(&create).unwrap();
    let cache = DefaultInMemoryCache::new();
    cache.update(&GuildCreate::Available(create));
    assert_eq!(cache.stats().guild_members(Id::new(GUILD)), Some(8));
    assert_eq!(
        cache
            .channel(Id::new(GUILD + 100))
            .unwrap()
            .topic
            .as_deref(),
        Some("a topic")
    );
    assert!(
        cache
            .voice_state(Id::new(GUILD + 1002), Id::new(GUILD))
            .is_some()
    );
}

#[test]
fn a_guild_goes_to_another_store_as_its_guild_create_and_is_the_same_there() {
    let (_dir, store, _writer) = filled(20);
    let view = store.view().unwrap();
    let create = view.guild_create(Id::new(GUILD)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = crate::common::store(&elsewhere.path().join("store"));
    let (mut writer, _) = copy.claim(Epoch(8), owner(8)).unwrap();
    let stand = Stand {
        sequence: Sequence(2),
        ..view.stand()
    };
    writer.import(&stand, &create).unwrap();
    writer
        .import(&stand, r#"{"id":"12","unavailable":true}"#)
        .unwrap();
    let there = copy.view().unwrap();
    assert_eq!(there.stand().session.as_deref(), Some(SESSION));
    let mut is = dump(&there);
    assert_eq!(is.remove(&("place", 12, 0)), Some(json!(false)));
    let mut should = dump(&view);
    should.remove(&("current_user", 0, 0));
    assert_eq!(is, should);
    assert_eq!(there.guild_create(Id::new(GUILD)).unwrap(), create);
    assert_eq!(
        there.guild_create(Id::new(12)).unwrap(),
        r#"{"id":"12","unavailable":true}"#
    );
    for wrong in ["", "{}", "[]", "{\"id\":{}}"] {
        assert!(writer.import(&stand, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_there_is_of_a_shard_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let shard = crate::common::SHARD;
    let nothing = baton_store::show(&path, shard, crate::common::options()).unwrap_err();
    assert!(
        nothing.to_string().ends_with("no state is here"),
        "{nothing}"
    );
    assert!(!path.exists(), "who looks makes nothing");
    let store = store(&path);
    begin(&mut claim(&store, 4), 9);
    let shown = baton_store::show(&path, shard, crate::common::options()).unwrap();
    assert_eq!((shown.epoch, shown.sequence), (4, 2));
    assert_eq!((shown.available, shown.guilds), (1, 1));
    let room = &shown.room;
    assert_eq!(room.limit, 256 << 20);
    assert!(room.used > 0 && room.used <= room.bytes && room.free > 0);
    assert!(shown.is_open && shown.kept.is_empty());
    assert_eq!(shown.documents[Kind::Member.name()], 1);
    assert!(room.bytes >= 8192 && shown.document_bytes > 20);
}
