//! A cached guild as the GUILD_CREATE that rebuilds it.

use std::{collections::HashSet, hash::Hash};

use serde::Serialize;
use serde_json::{Map, Value};
use twilight_cache_inmemory::{DefaultInMemoryCache, Reference};
use twilight_model::{
    channel::message::Sticker,
    gateway::presence::{Presence, UserOrId},
    guild::Emoji,
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
    user::User,
    voice::VoiceState,
};

/// `None`: the guild is not cached.
pub(super) fn guild(cache: &DefaultInMemoryCache, id: Id<GuildMarker>) -> Option<Vec<u8>> {
    let mut guild = object(cache.guild(id)?.value())?;
    // Not every field that the cache keeps as an option may come as null.
    guild.retain(|_, value| !value.is_null());
    let mut threads = Vec::new();
    let mut channels = Vec::new();
    for channel in ids(cache.guild_channels(id)) {
        let Some(channel) = cache.channel(channel) else {
            continue;
        };
        let list = if channel.kind.is_thread() {
            &mut threads
        } else {
            &mut channels
        };
        list.extend(value(channel.value()));
    }
    let mut put = |name: &str, list: Vec<Value>| {
        guild.insert(name.to_owned(), Value::Array(list));
    };
    put("channels", channels);
    put("threads", threads);
    put(
        "roles",
        collect(ids(cache.guild_roles(id)), |role| {
            value(cache.role(role)?.resource())
        }),
    );
    put(
        "members",
        collect(ids(cache.guild_members(id)), |user| member(cache, id, user)),
    );
    put(
        "presences",
        collect(ids(cache.guild_presences(id)), |user| {
            presence(cache, id, user)
        }),
    );
    put(
        "voice_states",
        collect(ids(cache.guild_voice_states(id)), |user| {
            voice_state(cache, id, user)
        }),
    );
    put(
        "emojis",
        collect(ids(cache.guild_emojis(id)), |emoji| {
            let emoji = cache.emoji(emoji)?;
            value(&Emoji {
                animated: emoji.animated(),
                available: emoji.available(),
                id: emoji.id(),
                managed: emoji.managed(),
                name: emoji.name().to_owned(),
                require_colons: emoji.require_colons(),
                roles: emoji.roles().to_vec(),
                user: emoji.user_id().and_then(|user| self::user(cache, user)),
            })
        }),
    );
    put(
        "stickers",
        collect(ids(cache.guild_stickers(id)), |sticker| {
            let sticker = cache.sticker(sticker)?;
            value(&Sticker {
                available: sticker.available(),
                description: Some(sticker.description().to_owned()),
                format_type: sticker.format_type(),
                guild_id: Some(sticker.guild_id()),
                id: sticker.id(),
                kind: sticker.kind(),
                name: sticker.name().to_owned(),
                pack_id: sticker.pack_id(),
                sort_value: sticker.sort_value(),
                tags: sticker.tags().to_owned(),
                user: sticker.user_id().and_then(|user| self::user(cache, user)),
            })
        }),
    );
    put(
        "stage_instances",
        collect(ids(cache.guild_stage_instances(id)), |stage| {
            value(cache.stage_instance(stage)?.resource())
        }),
    );
    put(
        "guild_scheduled_events",
        collect(ids(cache.scheduled_events(id)), |event| {
            value(cache.scheduled_event(event)?.resource())
        }),
    );
    serde_json::to_vec(&guild).ok()
}

/// A member with its user. Through JSON, because the cache keeps more of it than
/// it shows.
fn member(
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Id<UserMarker>,
) -> Option<Value> {
    let mut member = object(cache.member(guild, user)?.value())?;
    member.remove("user_id");
    for flag in ["deaf", "mute"] {
        let flag = member.entry(flag).or_insert(Value::Null);
        if flag.is_null() {
            *flag = Value::Bool(false);
        }
    }
    member.insert("user".to_owned(), value(cache.user(user)?.value())?);
    Some(Value::Object(member))
}

fn presence(
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Id<UserMarker>,
) -> Option<Value> {
    let presence = cache.presence(guild, user)?;
    value(&Presence {
        activities: presence.activities().to_vec(),
        client_status: presence.client_status().clone(),
        guild_id: presence.guild_id(),
        status: presence.status(),
        user: UserOrId::UserId { id: user },
    })
}

fn voice_state(
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Id<UserMarker>,
) -> Option<Value> {
    let state = cache.voice_state(user, guild)?;
    value(&VoiceState {
        channel_id: Some(state.channel_id()),
        deaf: state.deaf(),
        guild_id: Some(guild),
        member: None,
        mute: state.mute(),
        self_deaf: state.self_deaf(),
        self_mute: state.self_mute(),
        self_stream: state.self_stream(),
        self_video: state.self_video(),
        session_id: state.session_id().to_owned(),
        suppress: state.suppress(),
        user_id: user,
        request_to_speak_timestamp: state.request_to_speak_timestamp(),
    })
}

fn user(cache: &DefaultInMemoryCache, user: Id<UserMarker>) -> Option<User> {
    cache.user(user).map(|user| user.value().clone())
}

/// The ids of a guild's things, ascending, without holding on to the cache: a
/// reference held while another is taken could block an update for ever.
fn ids<T: Copy + Ord + Eq + Hash>(
    set: Option<Reference<'_, Id<GuildMarker>, HashSet<T>>>,
) -> Vec<T> {
    let mut ids: Vec<T> = set.map_or_else(Vec::new, |set| set.value().iter().copied().collect());
    ids.sort_unstable();
    ids
}

fn collect<T>(ids: Vec<T>, one: impl FnMut(T) -> Option<Value>) -> Vec<Value> {
    ids.into_iter().filter_map(one).collect()
}

fn value<T: Serialize + ?Sized>(value: &T) -> Option<Value> {
    serde_json::to_value(value).ok()
}

fn object<T: Serialize + ?Sized>(value: &T) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}
