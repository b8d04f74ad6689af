//! What a client gets that asked for fewer intents than the session has. Pure.
//!
//! Source: "List of Intents", "Message Content Intent" and "Guild Create".

use std::collections::BTreeMap;

use baton_protocol::command::Id;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::{Event, WithId};

const GUILDS: u64 = 1;
const GUILD_MEMBERS: u64 = 1 << 1;
const GUILD_MODERATION: u64 = 1 << 2;
const GUILD_EXPRESSIONS: u64 = 1 << 3;
const GUILD_INTEGRATIONS: u64 = 1 << 4;
const GUILD_WEBHOOKS: u64 = 1 << 5;
const GUILD_INVITES: u64 = 1 << 6;
const GUILD_VOICE_STATES: u64 = 1 << 7;
const GUILD_PRESENCES: u64 = 1 << 8;
const GUILD_MESSAGES: u64 = 1 << 9;
const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
const GUILD_MESSAGE_TYPING: u64 = 1 << 11;
const DIRECT_MESSAGES: u64 = 1 << 12;
const DIRECT_MESSAGE_REACTIONS: u64 = 1 << 13;
const DIRECT_MESSAGE_TYPING: u64 = 1 << 14;
const MESSAGE_CONTENT: u64 = 1 << 15;
const GUILD_SCHEDULED_EVENTS: u64 = 1 << 16;
const AUTO_MODERATION_CONFIGURATION: u64 = 1 << 20;
const AUTO_MODERATION_EXECUTION: u64 = 1 << 21;
const GUILD_MESSAGE_POLLS: u64 = 1 << 24;
const DIRECT_MESSAGE_POLLS: u64 = 1 << 25;

/// As Discord names them.
const NAMES: [(u64, &str); 21] = [
    (GUILDS, "GUILDS"),
    (GUILD_MEMBERS, "GUILD_MEMBERS"),
    (GUILD_MODERATION, "GUILD_MODERATION"),
    (GUILD_EXPRESSIONS, "GUILD_EXPRESSIONS"),
    (GUILD_INTEGRATIONS, "GUILD_INTEGRATIONS"),
    (GUILD_WEBHOOKS, "GUILD_WEBHOOKS"),
    (GUILD_INVITES, "GUILD_INVITES"),
    (GUILD_VOICE_STATES, "GUILD_VOICE_STATES"),
    (GUILD_PRESENCES, "GUILD_PRESENCES"),
    (GUILD_MESSAGES, "GUILD_MESSAGES"),
    (GUILD_MESSAGE_REACTIONS, "GUILD_MESSAGE_REACTIONS"),
    (GUILD_MESSAGE_TYPING, "GUILD_MESSAGE_TYPING"),
    (DIRECT_MESSAGES, "DIRECT_MESSAGES"),
    (DIRECT_MESSAGE_REACTIONS, "DIRECT_MESSAGE_REACTIONS"),
    (DIRECT_MESSAGE_TYPING, "DIRECT_MESSAGE_TYPING"),
    (MESSAGE_CONTENT, "MESSAGE_CONTENT"),
    (GUILD_SCHEDULED_EVENTS, "GUILD_SCHEDULED_EVENTS"),
    (
        AUTO_MODERATION_CONFIGURATION,
        "AUTO_MODERATION_CONFIGURATION",
    ),
    (AUTO_MODERATION_EXECUTION, "AUTO_MODERATION_EXECUTION"),
    (GUILD_MESSAGE_POLLS, "GUILD_MESSAGE_POLLS"),
    (DIRECT_MESSAGE_POLLS, "DIRECT_MESSAGE_POLLS"),
];

/// Every intent that Discord has.
pub(crate) fn every() -> u64 {
    NAMES.iter().fold(0, |all, (bit, _)| all | bit)
}

/// The names of intents, with commas between them.
pub(crate) fn names(intents: u64) -> String {
    let named = NAMES.iter().filter(|(bit, _)| intents & bit != 0);
    let named: Vec<&str> = named.map(|(_, name)| *name).collect();
    named.join(", ")
}

/// What of a message is empty without MESSAGE_CONTENT, and what stands there then.
const CONTENT: [(&str, &str); 4] = [
    ("content", r#""""#),
    ("embeds", "[]"),
    ("attachments", "[]"),
    ("components", "[]"),
];

/// The intents of a client that asked for fewer than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fewer(pub(crate) u64);

/// When an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Always,
    /// With one of these intents.
    With(u64),
    /// With the first in a guild, else with the second.
    InGuild(u64, u64),
    /// With this one, and always where it is about the bot.
    OfOthers(u64),
}

impl Fewer {
    fn has(self, intents: u64) -> bool {
        self.0 & intents != 0
    }

    /// Whether guilds are told of.
    pub(crate) fn has_guilds(self) -> bool {
        self.has(GUILDS)
    }

    /// Whether an event is for this client; `own`: the bot's user.
    pub(crate) fn gets(self, event: &Event, own: Option<u64>) -> bool {
        match sent(&event.kind) {
            Sent::Always => true,
            Sent::With(intents) => self.has(intents),
            // What does not depend on where it is needs no look.
            Sent::InGuild(guild, direct) if self.has(guild) == self.has(direct) => self.has(guild),
            Sent::InGuild(guild, direct) => {
                let intent = if is_in_guild(event.data()) {
                    guild
                } else {
                    direct
                };
                self.has(intent)
            }
            Sent::OfOthers(intent) => self.has(intent) || is_of(event.data(), own),
        }
    }

    /// The `d` of an event without what the client did not ask for; `None`: it is as it is.
    pub(crate) fn seen(self, kind: &str, data: &str, own: Option<u64>) -> Option<String> {
        match kind {
            "MESSAGE_CREATE" | "MESSAGE_UPDATE" if !self.has(MESSAGE_CONTENT) => {
                without_content(data, own)
            }
            "GUILD_CREATE" => self.guild(data),
            _ => None,
        }
    }

    /// A guild without presences and voice states, where these were not asked for.
    fn guild(self, data: &str) -> Option<String> {
        let left_out = [
            ("presences", GUILD_PRESENCES),
            ("voice_states", GUILD_VOICE_STATES),
        ];
        let left_out = left_out.iter().filter(|(_, intent)| !self.has(*intent));
        let names: Vec<&str> = left_out.map(|(name, _)| *name).collect();
        if names.is_empty() {
            return None;
        }
        let mut guild: BTreeMap<String, Box<RawValue>> = serde_json::from_str(data).ok()?;
        for name in names {
            empty(&mut guild, name, "[]")?;
        }
        serde_json::to_string(&guild).ok()
    }
}

/// An event that is not named here is always sent, so one that is new, too.
fn sent(kind: &str) -> Sent {
    use Sent::{Always, InGuild, OfOthers, With};
    match kind {
        "GUILD_CREATE"
        | "GUILD_UPDATE"
        | "GUILD_DELETE"
        | "GUILD_ROLE_CREATE"
        | "GUILD_ROLE_UPDATE"
        | "GUILD_ROLE_DELETE"
        | "CHANNEL_CREATE"
        | "CHANNEL_UPDATE"
        | "CHANNEL_DELETE"
        | "THREAD_CREATE"
        | "THREAD_UPDATE"
        | "THREAD_DELETE"
        | "THREAD_LIST_SYNC"
        | "THREAD_MEMBER_UPDATE"
        | "STAGE_INSTANCE_CREATE"
        | "STAGE_INSTANCE_UPDATE"
        | "STAGE_INSTANCE_DELETE"
        | "VOICE_CHANNEL_STATUS_UPDATE"
        | "VOICE_CHANNEL_START_TIME_UPDATE" => With(GUILDS),
        "THREAD_MEMBERS_UPDATE" => With(GUILDS | GUILD_MEMBERS),
        "GUILD_MEMBER_ADD" | "GUILD_MEMBER_REMOVE" => With(GUILD_MEMBERS),
        "GUILD_MEMBER_UPDATE" => OfOthers(GUILD_MEMBERS),
        "GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE" => {
            With(GUILD_MODERATION)
        }
        "GUILD_EMOJIS_UPDATE"
        | "GUILD_STICKERS_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE"
        | "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => With(GUILD_EXPRESSIONS),
        "GUILD_INTEGRATIONS_UPDATE"
        | "INTEGRATION_CREATE"
        | "INTEGRATION_UPDATE"
        | "INTEGRATION_DELETE" => With(GUILD_INTEGRATIONS),
        "WEBHOOKS_UPDATE" => With(GUILD_WEBHOOKS),
        "INVITE_CREATE" | "INVITE_DELETE" => With(GUILD_INVITES),
        "VOICE_CHANNEL_EFFECT_SEND" | "VOICE_STATE_UPDATE" => With(GUILD_VOICE_STATES),
        "PRESENCE_UPDATE" => With(GUILD_PRESENCES),
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" => {
            InGuild(GUILD_MESSAGES, DIRECT_MESSAGES)
        }
        "MESSAGE_DELETE_BULK" => With(GUILD_MESSAGES),
        "CHANNEL_PINS_UPDATE" => InGuild(GUILDS, DIRECT_MESSAGES),
        "MESSAGE_REACTION_ADD"
        | "MESSAGE_REACTION_REMOVE"
        | "MESSAGE_REACTION_REMOVE_ALL"
        | "MESSAGE_REACTION_REMOVE_EMOJI" => {
            InGuild(GUILD_MESSAGE_REACTIONS, DIRECT_MESSAGE_REACTIONS)
        }
        "TYPING_START" => InGuild(GUILD_MESSAGE_TYPING, DIRECT_MESSAGE_TYPING),
        "MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE" => {
            InGuild(GUILD_MESSAGE_POLLS, DIRECT_MESSAGE_POLLS)
        }
        "GUILD_SCHEDULED_EVENT_CREATE"
        | "GUILD_SCHEDULED_EVENT_UPDATE"
        | "GUILD_SCHEDULED_EVENT_DELETE"
        | "GUILD_SCHEDULED_EVENT_USER_ADD"
        | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => With(GUILD_SCHEDULED_EVENTS),
        "AUTO_MODERATION_RULE_CREATE"
        | "AUTO_MODERATION_RULE_UPDATE"
        | "AUTO_MODERATION_RULE_DELETE" => With(AUTO_MODERATION_CONFIGURATION),
        "AUTO_MODERATION_ACTION_EXECUTION" => With(AUTO_MODERATION_EXECUTION),
        _ => Always,
    }
}

fn is_in_guild(data: &str) -> bool {
    #[derive(Deserialize)]
    struct MayBeInGuild {
        guild_id: Option<Id>,
    }
    let read = serde_json::from_str::<MayBeInGuild>(data);
    // What cannot be read counts as direct.
    read.is_ok_and(|read| read.guild_id.is_some())
}

fn is_of(data: &str, own: Option<u64>) -> bool {
    let read = serde_json::from_str::<super::item::WithUser>(data);
    read.is_ok_and(|read| Some(read.user.id.0) == own)
}

/// A message as one sees it without MESSAGE_CONTENT: whole where it is direct, from the bot,
/// or names it.
fn without_content(data: &str, own: Option<u64>) -> Option<String> {
    let mut message: BTreeMap<String, Box<RawValue>> = serde_json::from_str(data).ok()?;
    if !message.contains_key("guild_id") || is_for_bot(&message, own) {
        return None;
    }
    strip(&mut message)?;
    for within in ["referenced_message", "message_snapshots"] {
        let Some(raw) = message.get(within) else {
            continue;
        };
        if let Some(stripped) = stripped(raw.get(), own) {
            message.insert(within.to_owned(), RawValue::from_string(stripped).ok()?);
        }
    }
    serde_json::to_string(&message).ok()
}

/// The same of the message that one answers, or of those that it passes on.
fn stripped(raw: &str, own: Option<u64>) -> Option<String> {
    type Fields = BTreeMap<String, Box<RawValue>>;
    if let Ok(mut answered) = serde_json::from_str::<Fields>(raw) {
        if is_for_bot(&answered, own) {
            return None;
        }
        strip(&mut answered)?;
        return serde_json::to_string(&answered).ok();
    }
    let mut passed_on: Vec<Fields> = serde_json::from_str(raw).ok()?;
    for snapshot in &mut passed_on {
        let message = snapshot.get("message")?;
        let mut message: Fields = serde_json::from_str(message.get()).ok()?;
        strip(&mut message)?;
        let message = serde_json::value::to_raw_value(&message).ok()?;
        snapshot.insert("message".to_owned(), message);
    }
    serde_json::to_string(&passed_on).ok()
}

fn strip(message: &mut BTreeMap<String, Box<RawValue>>) -> Option<()> {
    message.remove("poll");
    CONTENT
        .iter()
        .try_for_each(|(name, nothing)| empty(message, name, nothing))
}

fn is_for_bot(message: &BTreeMap<String, Box<RawValue>>, own: Option<u64>) -> bool {
    let is_own = |user: &WithId| Some(user.id.0) == own;
    let author = message.get("author");
    let author = author.and_then(|it| serde_json::from_str::<WithId>(it.get()).ok());
    let named = message.get("mentions");
    let named = named.and_then(|it| serde_json::from_str::<Vec<WithId>>(it.get()).ok());
    author.is_some_and(|it| is_own(&it)) || named.is_some_and(|it| it.iter().any(is_own))
}

/// Where there is something.
fn empty(of: &mut BTreeMap<String, Box<RawValue>>, name: &str, nothing: &str) -> Option<()> {
    if of.contains_key(name) {
        let nothing = RawValue::from_string(nothing.to_owned()).ok()?;
        of.insert(name.to_owned(), nothing);
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use baton_protocol::Sequence;
    use serde_json::{Value, json};

    use super::*;
    use crate::upstream::Dispatch;

    const OWN: Option<u64> = Some(9);

    fn event(kind: &str, d: &Value) -> Event {
        let dispatch = Dispatch {
            sequence: Sequence(1),
            kind: kind.to_owned(),
            json: json!({"op": 0, "t": kind, "s": 1, "d": d})
                .to_string()
                .into(),
        };
        Event::read(&dispatch).unwrap()
    }

    #[test]
    fn an_event_is_for_whoever_asked_for_one_of_its_intents() {
        let guild = json!({"guild_id": "1"});
        let direct = json!({"channel_id": "1"});
        for (kind, d, intents) in [
            ("GUILD_UPDATE", &guild, GUILDS),
            ("MESSAGE_CREATE", &guild, GUILD_MESSAGES),
            ("MESSAGE_CREATE", &direct, DIRECT_MESSAGES),
            ("CHANNEL_PINS_UPDATE", &guild, GUILDS),
            ("CHANNEL_PINS_UPDATE", &direct, DIRECT_MESSAGES),
            ("TYPING_START", &direct, DIRECT_MESSAGE_TYPING),
            ("MESSAGE_POLL_VOTE_ADD", &guild, GUILD_MESSAGE_POLLS),
            ("THREAD_MEMBERS_UPDATE", &guild, GUILD_MEMBERS),
            ("THREAD_MEMBERS_UPDATE", &guild, GUILDS),
            ("PRESENCE_UPDATE", &guild, GUILD_PRESENCES),
        ] {
            let event = event(kind, d);
            assert!(Fewer(intents).gets(&event, OWN), "{kind} {d}");
            let others = if kind == "THREAD_MEMBERS_UPDATE" {
                !(GUILDS | GUILD_MEMBERS)
            } else {
                !intents
            };
            assert!(!Fewer(others).gets(&event, OWN), "{kind} {d}");
        }
        for always in ["INTERACTION_CREATE", "VOICE_SERVER_UPDATE", "MOON_RISE"] {
            assert!(Fewer(0).gets(&event(always, &guild), OWN), "{always}");
        }
        let changed = |user: &str| {
            let d = json!({"guild_id": "1", "user": {"id": user}});
            event("GUILD_MEMBER_UPDATE", &d)
        };
        assert!(Fewer(0).gets(&changed("9"), OWN), "the bot itself");
        assert!(!Fewer(0).gets(&changed("8"), OWN));
    }

    #[test]
    fn a_message_is_empty_without_its_intent_unless_the_bot_wrote_it_or_is_named() {
        let seen = |message: &Value| {
            let text = message.to_string();
            let seen = Fewer(GUILD_MESSAGES).seen("MESSAGE_CREATE", &text, OWN);
            seen.map(|seen| serde_json::from_str::<Value>(&seen).unwrap())
        };
        let mut message = json!({
            "guild_id": "1", "author": {"id": "5"}, "mentions": [], "content": "hello",
            "embeds": [1], "attachments": [1], "poll": {}, "odd": 1.50,
            "referenced_message": {"content": "before", "author": {"id": "6"}},
            "message_snapshots": [{"message": {"content": "passed on", "components": [1]}}],
        });
        let got = seen(&message).unwrap();
        assert_eq!(
            got,
            json!({
                "guild_id": "1", "author": {"id": "5"}, "mentions": [], "content": "",
                "embeds": [], "attachments": [], "odd": 1.50,
                "referenced_message": {"content": "", "author": {"id": "6"}},
                "message_snapshots": [{"message": {"content": "", "components": []}}],
            })
        );
        message["referenced_message"]["author"]["id"] = "9".into();
        let got = seen(&message).unwrap();
        assert_eq!(got["referenced_message"]["content"], "before", "its own");
        message["mentions"] = json!([{"id": "9"}]);
        assert_eq!(seen(&message), None);
        message["mentions"] = json!([]);
        message["author"]["id"] = "9".into();
        assert_eq!(seen(&message), None);
        assert_eq!(
            seen(&json!({"author": {"id": "5"}, "content": "direct"})),
            None
        );
        let all = Fewer(GUILD_MESSAGES | MESSAGE_CONTENT);
        assert_eq!(all.seen("MESSAGE_CREATE", "{}", OWN), None);
        assert_eq!(Fewer(0).seen("MESSAGE_CREATE", "odd", OWN), None);
    }

    #[test]
    fn a_guild_has_no_presences_and_voice_states_that_nobody_asked_for() {
        let guild = json!({"id": "1", "presences": [1], "voice_states": [2], "odd": 1.50});
        let seen = |intents: u64| {
            let seen = Fewer(intents).seen("GUILD_CREATE", &guild.to_string(), OWN);
            seen.map(|seen| serde_json::from_str::<Value>(&seen).unwrap())
        };
        let without = json!({"id": "1", "presences": [], "voice_states": [], "odd": 1.50});
        assert_eq!(seen(GUILDS), Some(without));
        let heard = seen(GUILDS | GUILD_VOICE_STATES).unwrap();
        assert_eq!(
            (&heard["presences"], &heard["voice_states"]),
            (&json!([]), &json!([2]))
        );
        assert_eq!(seen(GUILDS | GUILD_VOICE_STATES | GUILD_PRESENCES), None);
    }
}
