//! The JSON of the parts of a guild, written directly. Every text in it is made
//! by this crate and needs no escaping; text from a client never comes here.

use std::fmt::Write;

use crate::{
    clock::iso8601,
    kind::intents,
    world::{
        guild::{BOT_ID, Channel, Guild, Member, Presence, Role, Voice},
        view::View,
    },
};

/// `write!` into a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}
pub(crate) use put;

/// A user object.
pub(crate) fn user(out: &mut String, id: u64) {
    if id == BOT_ID {
        put!(
            out,
            r#"{{"id":"{id}","username":"baton","global_name":null,"discriminator":"0001","avatar":null,"avatar_decoration_data":null,"banner":null,"accent_color":null,"bot":true,"public_flags":0}}"#
        );
        return;
    }
    put!(
        out,
        r#"{{"id":"{id}","username":"user{id}","global_name":"User {}","discriminator":"0","avatar":null,"avatar_decoration_data":null,"banner":null,"accent_color":null,"bot":false,"public_flags":0}}"#,
        id & 0x3f_ffff
    );
}

/// A member object without its closing brace and without `user`.
fn member_fields(out: &mut String, member: &Member) {
    put!(out, r#"{{"nick":"#);
    if member.nick_rev == 0 {
        out.push_str("null");
    } else {
        put!(out, r#""nick {}""#, member.nick_rev);
    }
    out.push_str(r#","avatar":null,"banner":null,"roles":["#);
    if let Some(role) = member.role {
        put!(out, r#""{role}""#);
    }
    put!(
        out,
        r#"],"joined_at":"{}","premium_since":null,"deaf":false,"mute":false,"pending":false,"flags":0,"communication_disabled_until":null"#,
        iso8601(member.joined_ms)
    );
}

/// A member object. `with_user` is false where the user stands beside it.
pub(crate) fn member(out: &mut String, id: u64, member: &Member, with_user: bool) {
    member_fields(out, member);
    if with_user {
        out.push_str(r#","user":"#);
        user(out, id);
    }
    out.push('}');
}

/// The `d` of a member dispatch: a member with `guild_id`.
pub(crate) fn member_event(out: &mut String, guild: u64, id: u64, of: &Member) {
    member_fields(out, of);
    put!(out, r#","guild_id":"{guild}","user":"#);
    user(out, id);
    out.push('}');
}

/// A presence, with `guild_id`, as it stands in a dispatch and in a guild.
pub(crate) fn presence(out: &mut String, guild: u64, id: u64, presence: &Presence) {
    let status = presence.status.name();
    put!(
        out,
        r#"{{"user":{{"id":"{id}"}},"guild_id":"{guild}","status":"{status}","client_status":{{"#
    );
    if status != "offline" {
        put!(out, r#""desktop":"{status}""#);
    }
    out.push_str(r#"},"activities":["#);
    if presence.game != 0 {
        put!(
            out,
            r#"{{"id":"game{0}","name":"Game {0}","type":0,"created_at":1700000000000}}"#,
            presence.game
        );
    }
    out.push_str("]}");
}

/// A voice state. `within` is the guild when it must say so itself, with the
/// member, as in a dispatch; inside a guild it has neither.
pub(crate) fn voice_state(
    out: &mut String,
    within: Option<u64>,
    id: u64,
    of: &Member,
    voice: Option<&Voice>,
) {
    put!(out, r#"{{"user_id":"{id}","#);
    if let Some(guild) = within {
        put!(out, r#""guild_id":"{guild}","member":"#);
        member(out, id, of, true);
        out.push(',');
    }
    let (mute, deaf) = voice.map_or((false, false), |v| (v.self_mute, v.self_deaf));
    match voice {
        Some(voice) => put!(
            out,
            r#""channel_id":"{}","session_id":"{:032x}","#,
            voice.channel,
            voice.session
        ),
        None => put!(out, r#""channel_id":null,"session_id":"{:032x}","#, 0),
    }
    put!(
        out,
        r#""deaf":false,"mute":false,"self_deaf":{deaf},"self_mute":{mute},"self_stream":false,"self_video":false,"suppress":false,"request_to_speak_timestamp":null}}"#
    );
}

/// A channel. `within` adds `guild_id`, as in a dispatch.
pub(crate) fn channel(out: &mut String, within: Option<u64>, id: u64, channel: &Channel) {
    let kind = if channel.voice { 2 } else { 0 };
    put!(out, r#"{{"id":"{id}","type":{kind},"#);
    if let Some(guild) = within {
        put!(out, r#""guild_id":"{guild}","#);
    }
    put!(
        out,
        r#""name":"channel-{0}","position":{0},"permission_overwrites":[],"parent_id":null,"nsfw":false,"rate_limit_per_user":0,"flags":0,"last_message_id":null,"#,
        channel.position
    );
    if channel.voice {
        out.push_str(r#""bitrate":64000,"user_limit":0,"rtc_region":null}"#);
        return;
    }
    if channel.padding == 0 && channel.topic_rev == 0 {
        out.push_str(r#""topic":null,"#);
    } else {
        put!(out, r#""topic":"topic {} "#, channel.topic_rev);
        out.extend(std::iter::repeat_n('x', channel.padding));
        out.push_str(r#"","#);
    }
    out.push_str(r#""last_pin_timestamp":null}"#);
}

/// A role.
pub(crate) fn role(out: &mut String, guild: u64, id: u64, role: &Role) {
    put!(out, r#"{{"id":"{id}","#);
    if id == guild {
        out.push_str(r#""name":"@everyone","#);
    } else {
        put!(out, r#""name":"role {}","#, role.position);
    }
    put!(
        out,
        r#""color":{0},"colors":{{"primary_color":{0},"secondary_color":null,"tertiary_color":null}},"hoist":false,"icon":null,"unicode_emoji":null,"position":{1},"permissions":"104324673","managed":false,"mentionable":false,"flags":0}}"#,
        role.color,
        role.position
    );
}

/// The fields of a guild that `GUILD_UPDATE` and `GUILD_CREATE` share, from the
/// opening brace on, without a closing one.
fn guild_fields(out: &mut String, guild: &Guild) {
    put!(
        out,
        r#"{{"id":"{}","name":"{}","owner_id":"{}","icon":null,"icon_hash":null,"splash":null,"discovery_splash":null,"banner":null,"description":null,"vanity_url_code":null,"home_header":null,"afk_channel_id":null,"afk_timeout":300,"widget_enabled":false,"widget_channel_id":null,"verification_level":1,"default_message_notifications":0,"explicit_content_filter":0,"mfa_level":0,"application_id":null,"system_channel_id":null,"system_channel_flags":0,"rules_channel_id":null,"public_updates_channel_id":null,"safety_alerts_channel_id":null,"max_presences":null,"max_members":500000,"max_video_channel_users":25,"max_stage_video_channel_users":50,"premium_tier":0,"premium_subscription_count":0,"premium_progress_bar_enabled":false,"preferred_locale":"en-US","nsfw":false,"nsfw_level":0,"hub_type":null,"region":"deprecated","features":[],"emojis":[],"stickers":[],"incidents_data":null,"roles":"#,
        guild.id,
        guild.name(),
        guild.owner,
    );
    list(out, guild.roles.iter(), |out, (id, of)| {
        role(out, guild.id, *id, of)
    });
}

/// The `d` of `GUILD_UPDATE`.
pub(crate) fn guild_update(out: &mut String, guild: &Guild) {
    guild_fields(out, guild);
    out.push('}');
}

/// The `d` of `GUILD_CREATE` as `view` lets it through.
pub(crate) fn guild_create(out: &mut String, guild: &Guild, view: View) {
    guild_fields(out, guild);
    let large = guild.members.len() > view.large_threshold as usize;
    put!(
        out,
        r#","joined_at":"{}","large":{large},"unavailable":{},"member_count":{},"threads":[],"stage_instances":[],"guild_scheduled_events":[],"soundboard_sounds":[],"channels":"#,
        iso8601(guild.members.get(&BOT_ID).map_or(0, |m| m.joined_ms)),
        !guild.available,
        guild.members.len(),
    );
    list(out, guild.channels.iter(), |out, (id, of)| {
        channel(out, None, *id, of)
    });

    // Source: "Guild Create" says that without GUILD_PRESENCES members are the
    // bot and those in voice; a large guild lacks its offline members.
    let with_presences = view.has(intents::GUILD_PRESENCES);
    let shown = |id: u64, of: &Member| {
        id == BOT_ID || of.voice.is_some() || (with_presences && (!large || of.is_online()))
    };
    out.push_str(r#","members":"#);
    let members = guild.members.iter().filter(|(id, of)| shown(**id, of));
    list(out, members, |out, (id, of)| member(out, *id, of, true));

    out.push_str(r#","presences":"#);
    let seen = guild.members.iter().filter_map(|(id, of)| {
        let presence = of.presence.as_ref()?;
        (with_presences && (!large || of.is_online())).then_some((*id, presence))
    });
    list(out, seen, |out, (id, of)| presence(out, guild.id, id, of));

    out.push_str(r#","voice_states":"#);
    let voices = guild
        .members
        .iter()
        .filter(|(_, of)| of.voice.is_some() && view.has(intents::GUILD_VOICE_STATES));
    list(out, voices, |out, (id, of)| {
        voice_state(out, None, *id, of, of.voice.as_ref());
    });
    out.push('}');
}

/// A JSON array of what `each` writes.
pub(crate) fn list<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (position, item) in items.enumerate() {
        if position > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::guild_create;
    use crate::{
        kind::intents,
        world::{
            guild::{Guild, guild_id},
            view::View,
        },
    };

    #[test]
    fn a_view_without_presences_shows_only_the_bot_and_those_in_voice() {
        let guild = Guild::new(guild_id(0, 0, 1), 40, 0, 3);
        let count = |view, key: &str| {
            let mut out = String::new();
            guild_create(&mut out, &guild, view);
            let value: Value = serde_json::from_str(&out).unwrap();
            value[key].as_array().unwrap().len()
        };
        let voices = guild.members.values().filter(|m| m.voice.is_some()).count();
        let narrow = View {
            intents: intents::GUILDS,
            large_threshold: 50,
        };
        assert_eq!(count(View::FULL, "members"), 40);
        assert_eq!(count(narrow, "members"), voices + 1);
        assert_eq!(count(narrow, "presences"), 0);
        assert_eq!(count(narrow, "voice_states"), 0);
    }

    #[test]
    fn a_large_guild_is_sent_without_its_offline_members() {
        let guild = Guild::new(guild_id(0, 0, 1), 60, 0, 3);
        let mut out = String::new();
        let view = View {
            intents: intents::ALL,
            large_threshold: 50,
        };
        guild_create(&mut out, &guild, view);
        let value: Value = serde_json::from_str(&out).unwrap();
        let online = guild.members.values().filter(|m| m.is_online()).count();
        assert_eq!(value["members"].as_array().unwrap().len(), online);
        assert_eq!(value["member_count"], 60);
        assert_eq!(value["large"], true);
    }

    #[test]
    fn padding_makes_the_state_of_a_guild_as_large_as_asked() {
        let guild = Guild::new(guild_id(0, 0, 1), 2, 50_000, 3);
        let mut out = String::new();
        guild_create(&mut out, &guild, View::FULL);
        assert!(out.len() > 50_000);
    }
}
