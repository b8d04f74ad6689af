//! A cached guild as the GUILD_CREATE that rebuilds it.

use std::{collections::HashSet, hash::Hash};

use serde::Serialize;
use serde_json::{Map, Value};
use twilight_cache_inmemory::{DefaultInMemoryCache, Reference};
use twilight_model::{
    channel::message::Sticker,
    gateway::presence::{Presence, Status, UserOrId},
    guild::Emoji,
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
    user::User,
    voice::VoiceState,
};

/// `None`: the guild is not cached. Written piece by piece: beside the text
/// itself only one member, channel, ... is in memory at a time.
pub(super) fn guild(cache: &DefaultInMemoryCache, id: Id<GuildMarker>) -> Option<Vec<u8>> {
    let mut guild = object(cache.guild(id)?.value())?;
    // Not every field that the cache keeps as an option may come as null.
    guild.retain(|_, value| !value.is_null());
    // Its events stand elsewhere in the cache.
    guild.remove("guild_scheduled_events");
    let mut text = serde_json::to_vec(&guild).ok()?;
    // The lists follow inside the same braces.
    text.pop();
    let channels = ids(cache.guild_channels(id));
    let is_thread = |id| Some(cache.channel(id)?.kind.is_thread());
    let (threads, channels): (Vec<_>, Vec<_>) = channels
        .into_iter()
        .partition(|id| is_thread(*id).unwrap_or(false));
    let channel = |text: &mut _, id| write(text, cache.channel(id)?.value());
    list(&mut text, "channels", channels, channel);
    list(&mut text, "threads", threads, channel);
    list(
        &mut text,
        "roles",
        ids(cache.guild_roles(id)),
        |text, role| write(text, cache.role(role)?.resource()),
    );
    let members = ids(cache.guild_members(id));
    list(&mut text, "members", members, |text, user| {
        member(text, cache, id, user)
    });
    let presences = ids(cache.guild_presences(id));
    list(&mut text, "presences", presences, |text, user| {
        write(text, &presence(cache, id, user)?)
    });
    let voices = ids(cache.guild_voice_states(id));
    list(&mut text, "voice_states", voices, |text, user| {
        write(text, &voice_state(cache, id, user)?)
    });
    let emojis = ids(cache.guild_emojis(id));
    list(&mut text, "emojis", emojis, |text, emoji| {
        let emoji = cache.emoji(emoji)?;
        write(
            text,
            &Emoji {
                animated: emoji.animated(),
                available: emoji.available(),
                id: emoji.id(),
                managed: emoji.managed(),
                name: emoji.name().to_owned(),
                require_colons: emoji.require_colons(),
                roles: emoji.roles().to_vec(),
                user: maker(cache, id, emoji.user_id()),
            },
        )
    });
    let stickers = ids(cache.guild_stickers(id));
    list(&mut text, "stickers", stickers, |text, sticker| {
        let sticker = cache.sticker(sticker)?;
        write(
            text,
            &Sticker {
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
                user: maker(cache, id, sticker.user_id()),
            },
        )
    });
    let stages = ids(cache.guild_stage_instances(id));
    list(&mut text, "stage_instances", stages, |text, stage| {
        write(text, cache.stage_instance(stage)?.resource())
    });
    let events = ids(cache.scheduled_events(id));
    list(
        &mut text,
        "guild_scheduled_events",
        events,
        |text, event| write(text, cache.scheduled_event(event)?.resource()),
    );
    text.push(b'}');
    Some(text)
}

/// Adds one list to an object that is open and has a field already. What is gone
/// by now is left out.
fn list<T>(
    text: &mut Vec<u8>,
    name: &str,
    of: Vec<T>,
    mut one: impl FnMut(&mut Vec<u8>, T) -> Option<()>,
) {
    text.extend_from_slice(b",\"");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":[");
    let begin = text.len();
    for value in of {
        let end = text.len();
        if end > begin {
            text.push(b',');
        }
        if one(text, value).is_none() {
            text.truncate(end);
        }
    }
    text.push(b']');
}

/// A member with its user. As text, because the cache keeps more of it than it
/// shows.
fn member(
    text: &mut Vec<u8>,
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Id<UserMarker>,
) -> Option<()> {
    let member = cache.member(guild, user)?;
    let is_whole = member.deaf().is_some() && member.mute().is_some();
    let begin = text.len();
    write(text, member.value())?;
    drop(member);
    // Its last field; a user has an id of its own.
    let end = format!(",\"user_id\":\"{user}\"}}");
    if is_whole && text.ends_with(end.as_bytes()) {
        text.truncate(text.len() - end.len());
        text.extend_from_slice(b",\"user\":");
        write(text, cache.user(user)?.value())?;
        text.push(b'}');
        return Some(());
    }
    let mut member: Map<String, Value> = serde_json::from_slice(&text[begin..]).ok()?;
    text.truncate(begin);
    member.remove("user_id");
    for flag in ["deaf", "mute"] {
        let flag = member.entry(flag).or_insert(Value::Null);
        if flag.is_null() {
            *flag = Value::Bool(false);
        }
    }
    let user = serde_json::to_value(cache.user(user)?.value()).ok()?;
    member.insert("user".to_owned(), user);
    write(text, &member)
}

fn presence(
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Id<UserMarker>,
) -> Option<Presence> {
    let presence = cache.presence(guild, user)?;
    if presence.status() == Status::Offline && presence.activities().is_empty() {
        // The same as none.
        return None;
    }
    Some(Presence {
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
) -> Option<VoiceState> {
    let state = cache.voice_state(user, guild)?;
    Some(VoiceState {
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

/// The user who made an emoji or a sticker, as long as it is a member.
fn maker(
    cache: &DefaultInMemoryCache,
    guild: Id<GuildMarker>,
    user: Option<Id<UserMarker>>,
) -> Option<User> {
    let user = user.filter(|user| cache.member(guild, *user).is_some())?;
    cache.user(user).map(|user| user.value().clone())
}

/// The ids of a guild's things, ascending, without holding on to the cache: a
/// reference held while another is taken could block an update for ever.
pub(super) fn ids<T: Copy + Ord + Eq + Hash>(
    set: Option<Reference<'_, Id<GuildMarker>, HashSet<T>>>,
) -> Vec<T> {
    let mut ids: Vec<T> = set.map_or_else(Vec::new, |set| set.value().iter().copied().collect());
    ids.sort_unstable();
    ids
}

/// Straight into the text: a tree of it first would take twice the time.
fn write<T: Serialize + ?Sized>(text: &mut Vec<u8>, value: &T) -> Option<()> {
    serde_json::to_writer(text, value).ok()
}

fn object<T: Serialize + ?Sized>(value: &T) -> Option<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}
