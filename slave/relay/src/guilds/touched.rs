//! Which documents of a guild an event changes.

use baton_slave::store::Kind;
use serde::Deserialize;

/// What is copied of a guild. Presences, messages and users are left out: they change all the
/// time, or are of no guild.
pub(super) const KINDS: [Kind; 11] = [
    Kind::Guild,
    Kind::Channel,
    Kind::Thread,
    Kind::Role,
    Kind::Member,
    Kind::VoiceState,
    Kind::Emoji,
    Kind::Sticker,
    Kind::StageInstance,
    Kind::ScheduledEvent,
    Kind::Sound,
];

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    Nothing,
    /// All of it.
    Whole,
    /// The bot is not in it any more.
    Gone,
    /// All documents of these kinds.
    Kinds(&'static [Kind]),
    /// These.
    Some(Vec<(Kind, u64)>),
}

#[derive(Deserialize)]
struct Payload {
    d: Data,
}

/// What tells which documents it is. Text as a rule, as all ids.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    id: Option<Number>,
    channel_id: Option<Number>,
    role_id: Option<Number>,
    user_id: Option<Number>,
    user: Option<Named>,
    role: Option<Named>,
    members: Vec<Member>,
    unavailable: bool,
}

#[derive(Deserialize)]
struct Named {
    id: Number,
}

#[derive(Deserialize)]
struct Member {
    user: Named,
}

#[derive(Clone, Copy)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(u64),
        }
        let number = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom)?,
            Written::Number(number) => number,
        };
        Ok(Self(number))
    }
}

/// Of an event of this type about a guild.
pub(super) fn touched(kind: &str, json: &str) -> Touched {
    let id = |of: fn(&Data) -> Option<Number>| {
        let payload: Payload = serde_json::from_str(json).ok()?;
        of(&payload.d).map(|id| id.0)
    };
    let user = || id(|d| d.user.as_ref().map(|user| user.id));
    // What cannot be read may be anything.
    let some = |kind: Kind, id: Option<u64>| {
        id.map_or(Touched::Whole, |id| Touched::Some(vec![(kind, id)]))
    };
    match kind {
        "GUILD_CREATE" => Touched::Whole,
        "GUILD_DELETE" => match serde_json::from_str::<Payload>(json) {
            Ok(payload) if !payload.d.unavailable => Touched::Gone,
            // An outage: it comes back as it was.
            Ok(_) | Err(_) => Touched::Nothing,
        },
        "GUILD_UPDATE" => Touched::Kinds(&[Kind::Guild, Kind::Role, Kind::Emoji, Kind::Sticker]),
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" | "CHANNEL_DELETE" => some(Kind::Channel, id(|d| d.id)),
        "CHANNEL_PINS_UPDATE" => some(Kind::Channel, id(|d| d.channel_id)),
        "THREAD_CREATE"
        | "THREAD_UPDATE"
        | "THREAD_DELETE"
        | "THREAD_LIST_SYNC"
        | "THREAD_MEMBER_UPDATE"
        | "THREAD_MEMBERS_UPDATE" => Touched::Kinds(&[Kind::Thread]),
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => {
            some(Kind::Role, id(|d| d.role.as_ref().map(|role| role.id)))
        }
        "GUILD_ROLE_DELETE" => some(Kind::Role, id(|d| d.role_id)),
        "GUILD_MEMBER_UPDATE" => some(Kind::Member, user()),
        // The guild itself counts its members.
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_REMOVE" => user().map_or(Touched::Whole, |user| {
            let documents = [
                (Kind::Member, user),
                (Kind::VoiceState, user),
                (Kind::Guild, 0),
            ];
            Touched::Some(documents.into())
        }),
        "GUILD_MEMBERS_CHUNK" => match serde_json::from_str::<Payload>(json) {
            Ok(Payload { d }) => {
                let members = d.members.iter();
                Touched::Some(members.map(|it| (Kind::Member, it.user.id.0)).collect())
            }
            Err(_) => Touched::Kinds(&[Kind::Member]),
        },
        "VOICE_STATE_UPDATE" => id(|d| d.user_id).map_or(Touched::Whole, |user| {
            Touched::Some(vec![(Kind::VoiceState, user), (Kind::Member, user)])
        }),
        "GUILD_EMOJIS_UPDATE" => Touched::Kinds(&[Kind::Emoji]),
        "GUILD_STICKERS_UPDATE" => Touched::Kinds(&[Kind::Sticker]),
        "STAGE_INSTANCE_CREATE" | "STAGE_INSTANCE_UPDATE" | "STAGE_INSTANCE_DELETE" => {
            Touched::Kinds(&[Kind::StageInstance])
        }
        "GUILD_SCHEDULED_EVENT_CREATE"
        | "GUILD_SCHEDULED_EVENT_UPDATE"
        | "GUILD_SCHEDULED_EVENT_DELETE"
        | "GUILD_SCHEDULED_EVENT_USER_ADD"
        | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => Touched::Kinds(&[Kind::ScheduledEvent]),
        "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE"
        | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => Touched::Kinds(&[Kind::Sound]),
        _ => Touched::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_touches_the_documents_that_it_changes() {
        for (kind, d, expected) in [
            ("MESSAGE_CREATE", r#"{"id":"1"}"#, Touched::Nothing),
            ("GUILD_CREATE", r#"{"id":"1"}"#, Touched::Whole),
            ("GUILD_DELETE", r#"{"id":"1"}"#, Touched::Gone),
            (
                "GUILD_DELETE",
                r#"{"id":"1","unavailable":true}"#,
                Touched::Nothing,
            ),
            (
                "CHANNEL_UPDATE",
                r#"{"id":"5"}"#,
                Touched::Some(vec![(Kind::Channel, 5)]),
            ),
            (
                "GUILD_ROLE_CREATE",
                r#"{"role":{"id":7}}"#,
                Touched::Some(vec![(Kind::Role, 7)]),
            ),
            (
                "GUILD_ROLE_DELETE",
                r#"{"role_id":"7"}"#,
                Touched::Some(vec![(Kind::Role, 7)]),
            ),
            (
                "GUILD_MEMBER_REMOVE",
                r#"{"user":{"id":"9"}}"#,
                Touched::Some(vec![
                    (Kind::Member, 9),
                    (Kind::VoiceState, 9),
                    (Kind::Guild, 0),
                ]),
            ),
            (
                "GUILD_MEMBERS_CHUNK",
                r#"{"members":[{"user":{"id":"1"}},{"user":{"id":"2"}}]}"#,
                Touched::Some(vec![(Kind::Member, 1), (Kind::Member, 2)]),
            ),
            ("GUILD_EMOJIS_UPDATE", "{}", Touched::Kinds(&[Kind::Emoji])),
            // What nobody expects is copied as a whole.
            ("CHANNEL_UPDATE", r#"{"id":{}}"#, Touched::Whole),
            ("CHANNEL_UPDATE", "{}", Touched::Whole),
        ] {
            let json = format!(r#"{{"t":"{kind}","s":1,"op":0,"d":{d}}}"#);
            assert_eq!(touched(kind, &json), expected, "{json}");
        }
    }
}
