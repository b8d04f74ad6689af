//! Oddities: what Discord may send and a client must not stumble over, and what no
//! model of it can read.

use serde_json::{Value, json};

use crate::kind::EventKind;

/// Changes the body of a dispatch in the `nth` of the ways there are. What fits
/// nowhere in it becomes an unknown field.
pub(crate) fn twist(kind: EventKind, body: String, nth: u64) -> String {
    let Ok(mut data) = serde_json::from_str::<Value>(&body) else {
        return body;
    };
    let twisted = match kind {
        EventKind::GuildCreate => guild(&mut data, nth),
        EventKind::MemberAdd | EventKind::MemberUpdate => member(&mut data, nth),
        EventKind::ChannelCreate | EventKind::ChannelUpdate => channel(&mut data, nth),
        EventKind::RoleCreate | EventKind::RoleUpdate => role(&mut data["role"], nth),
        EventKind::Ready
        | EventKind::Resumed
        | EventKind::GuildUpdate
        | EventKind::GuildDelete
        | EventKind::ChannelDelete
        | EventKind::ChannelPinsUpdate
        | EventKind::RoleDelete
        | EventKind::MemberRemove
        | EventKind::MembersChunk
        | EventKind::MessageCreate
        | EventKind::MessageUpdate
        | EventKind::MessageDelete
        | EventKind::ReactionAdd
        | EventKind::ReactionRemove
        | EventKind::PresenceUpdate
        | EventKind::TypingStart
        | EventKind::VoiceStateUpdate
        | EventKind::VoiceServerUpdate
        | EventKind::InteractionCreate
        | EventKind::SoundboardSounds
        | EventKind::RateLimited
        | EventKind::OfNextYear => None,
    };
    if twisted.is_none() {
        data["a_field_of_next_year"] = json!({"deep": [1, null, {"deeper": true}]});
    }
    data.to_string()
}

fn guild(guild: &mut Value, nth: u64) -> Option<()> {
    match nth % 8 {
        0 => guild["nsfw_level"] = json!(99),
        1 => guild["features"] = json!(["A_FEATURE_OF_NEXT_YEAR"]),
        2 => {
            // The first member a second time.
            let members = guild["members"].as_array_mut()?;
            members.push(members.first()?.clone());
        }
        3 => guild["description"] = Value::Null,
        4 => member(guild["members"].get_mut(1)?, nth / 8)?,
        5 => channel(guild["channels"].get_mut(0)?, nth / 8)?,
        6 => role(guild["roles"].get_mut(0)?, nth / 8)?,
        _ => return None,
    }
    Some(())
}

fn member(member: &mut Value, nth: u64) -> Option<()> {
    match nth % 4 {
        0 => member["user"]["avatar"] = json!("not a hash"),
        1 => member["user"]["collectibles"] = json!({"nameplate": null}),
        2 => member["flags"] = json!(-1),
        _ => return None,
    }
    Some(())
}

fn channel(channel: &mut Value, nth: u64) -> Option<()> {
    match nth % 4 {
        0 => channel["type"] = json!(99),
        1 => channel["position"] = json!("first"),
        2 => channel["rate_limit_per_user"] = json!(-5),
        _ => return None,
    }
    Some(())
}

fn role(role: &mut Value, nth: u64) -> Option<()> {
    match nth % 3 {
        0 => role["permissions"] = json!(1.5),
        1 => role["icon"] = json!(7),
        _ => role["tags"] = json!({"guild_connections": null, "new": 1}),
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::twist;
    use crate::{
        kind::EventKind,
        world::{
            guild::{Guild, guild_id},
            render,
            view::View,
        },
    };

    #[test]
    fn every_way_changes_a_guild_and_leaves_it_json_with_the_same_id() {
        let guild = Guild::new(guild_id(0, 0, 1), 10, 0, 1);
        let mut body = String::new();
        render::guild_create(&mut body, &guild, View::FULL);
        let whole: Value = serde_json::from_str(&body).unwrap();
        for nth in 0..96 {
            let odd = twist(EventKind::GuildCreate, body.clone(), nth);
            let odd: Value = serde_json::from_str(&odd).unwrap();
            assert_eq!(odd["id"], whole["id"]);
            // What may be null was null before.
            assert!(odd != whole || nth % 8 == 3, "{nth}");
        }
    }
}
