//! Commands that somebody else than the owner of a connection may send on it: checked, so that
//! a wrong one is refused, and does not close the shard.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// Bytes of a whole payload. Discord closes for more. Source: "Sending Events".
pub const LONGEST: usize = 4096;
/// Users of one member request. Source: "Request Guild Members".
const USERS: usize = 100;
/// Bytes of a nonce. A longer one is left out of the answer. Source: the same.
const NONCE: usize = 32;
/// The intent that a list of all members needs.
const GUILD_MEMBERS: u64 = 1 << 1;

/// A command that Discord takes, as far as can be known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its op: 3 presence, 4 voice state, 8 members, 31 soundboard sounds or 43 channel info. All
    /// others are the connection's own.
    pub op: u64,
    /// The guilds that it is about; empty for a presence.
    pub guilds: Vec<u64>,
    /// Whether it asks for all members of its guild: Discord takes that of a guild once in
    /// 30 s.
    pub asks_for_all: bool,
    /// Its nonce, if it has one that its answer will have.
    pub nonce: Option<String>,
}

/// Why Discord would close the shard for a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is no command, or not somebody else's to send.
    #[error("op {0} is no command that may be sent here: give 3, 4, 8, 31 or 43")]
    Op(u64),
    /// Its data is not as documented.
    #[error("the d of op {op} is not as documented: {why}")]
    Data {
        /// Its op.
        op: u64,
        /// What is wrong with it, in one line.
        why: String,
    },
    /// It needs an intent that the bot does not have.
    #[error(
        "all members of a guild need the intent GUILD_MEMBERS, which the bot was not started with"
    )]
    Intent,
}

impl Command {
    /// Reads the `d` of a command. `intents`: what the shard was identified with.
    ///
    /// # Errors
    /// Discord would close the shard for it.
    pub fn read(op: u64, data: &str, intents: u64) -> Result<Self, Wrong> {
        let mut command = Self {
            op,
            guilds: Vec::new(),
            asks_for_all: false,
            nonce: None,
        };
        match op {
            3 => {
                let presence: Presence = read(op, data)?;
                let statuses = ["online", "dnd", "idle", "invisible", "offline"];
                if !statuses.contains(&presence.status.as_str()) {
                    let why = "its status is none of online, dnd, idle, invisible and offline";
                    return Err(wrong(op, why));
                }
            }
            4 => command.guilds.push(read::<Voice>(op, data)?.guild_id.0),
            8 => {
                let wanted: Members = read(op, data)?;
                wanted.check()?;
                command.asks_for_all = wanted.asks_for_all();
                if command.asks_for_all && intents & GUILD_MEMBERS == 0 {
                    return Err(Wrong::Intent);
                }
                command.guilds = wanted.guild_id.into_ids();
                command.nonce = wanted.nonce.filter(|nonce| nonce.len() <= NONCE);
            }
            31 => {
                let sounds: Sounds = read(op, data)?;
                command.guilds = sounds.guild_ids.into_iter().map(|id| id.0).collect();
            }
            43 => command.guilds.push(read::<InGuild>(op, data)?.guild_id.0),
            _ => return Err(Wrong::Op(op)),
        }
        Ok(command)
    }
}

fn read<'a, T: Deserialize<'a>>(op: u64, data: &'a str) -> Result<T, Wrong> {
    serde_json::from_str(data).map_err(|error| wrong(op, &error.to_string()))
}

fn wrong(op: u64, why: &str) -> Wrong {
    let shown = why.chars().filter(|c| !c.is_control()).take(200);
    let why = shown.collect();
    Wrong::Data { op, why }
}

/// An id as text or as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub u64);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reads;
        impl de::Visitor<'_> for Reads {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map(Id).map_err(E::custom)
            }
        }
        reader.deserialize_any(Reads)
    }
}

#[derive(Deserialize)]
struct Presence {
    status: String,
    #[serde(default, rename = "activities")]
    _activities: Option<Vec<Map<String, Value>>>,
    #[serde(default, rename = "since")]
    _since: Option<f64>,
    #[serde(default, rename = "afk")]
    _afk: Option<bool>,
}

#[derive(Deserialize)]
struct Voice {
    guild_id: Id,
    #[serde(rename = "channel_id")]
    _channel: Option<Id>,
    #[serde(default, rename = "self_mute")]
    _mute: Option<bool>,
    #[serde(default, rename = "self_deaf")]
    _deaf: Option<bool>,
}

#[derive(Deserialize)]
struct Members {
    guild_id: OneOrMore,
    query: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    user_ids: Option<OneOrMore>,
    #[serde(default)]
    nonce: Option<String>,
}

impl Members {
    fn check(&self) -> Result<(), Wrong> {
        let why = match &self.user_ids {
            _ if self.guild_id.count() != 1 => "it has other than one guild",
            Some(users) if users.count() > USERS => "it has more than 100 users",
            None if self.query.is_none() => "it has neither a query nor user_ids",
            None if self.limit.is_none() => "a query needs a limit",
            Some(_) | None => return Ok(()),
        };
        Err(wrong(8, why))
    }

    fn asks_for_all(&self) -> bool {
        self.user_ids.is_none() && self.query.as_deref() == Some("") && self.limit == Some(0)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Id),
    More(Vec<Id>),
}

impl OneOrMore {
    fn count(&self) -> usize {
        match self {
            Self::One(Id(_)) => 1,
            Self::More(ids) => ids.len(),
        }
    }

    fn into_ids(self) -> Vec<u64> {
        match self {
            Self::One(Id(id)) => vec![id],
            Self::More(ids) => ids.into_iter().map(|Id(id)| id).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Sounds {
    guild_ids: Vec<Id>,
}

#[derive(Deserialize)]
struct InGuild {
    guild_id: Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_which_guilds_it_is_about_and_what_its_answer_will_have() {
        let read = |op, data| Command::read(op, data, GUILD_MEMBERS);
        let plain = |op, guilds: &[u64]| {
            Ok(Command {
                op,
                guilds: guilds.to_vec(),
                asks_for_all: false,
                nonce: None,
            })
        };
        assert_eq!(read(3, r#"{"status":"idle","since":null}"#), plain(3, &[]));
        let joins = r#"{"guild_id":"7","channel_id":null,"self_mute":false}"#;
        assert_eq!(read(4, joins), plain(4, &[7]));
        assert_eq!(read(31, r#"{"guild_ids":["7",8]}"#), plain(31, &[7, 8]));
        assert_eq!(read(43, r#"{"guild_id":9,"fields":[]}"#), plain(43, &[9]));
        let some = r#"{"guild_id":["7"],"user_ids":["1","2"],"nonce":"abc"}"#;
        let some = read(8, some).expect("right");
        assert!(!some.asks_for_all && some.nonce.as_deref() == Some("abc"));
        let long = "x".repeat(NONCE + 1);
        let all = format!(r#"{{"guild_id":"7","query":"","limit":0,"nonce":"{long}"}}"#);
        let all = read(8, &all).expect("right");
        assert!(all.asks_for_all && all.nonce.is_none());
        assert_eq!(all.guilds, [7]);
    }

    #[test]
    fn what_discord_would_close_for_is_refused_with_the_reason() {
        let users = vec![r#""5""#; 101].join(",");
        let too_many = format!(r#"{{"guild_id":"1","user_ids":[{users}]}}"#);
        for (op, data, why) in [
            (1, "41", "op 1 is no command"),
            (2, "{}", "give 3, 4, 8, 31 or 43"),
            (3, r#"{"status":"moon"}"#, "its status is none of"),
            (3, "null", "of op 3 is not as documented: "),
            (4, r#"{"channel_id":"1"}"#, "missing field `guild_id`"),
            (8, r#"{"guild_id":"1"}"#, "neither a query nor"),
            (8, r#"{"guild_id":"1","query":"x"}"#, "needs a limit"),
            (8, r#"{"guild_id":[],"query":"x","limit":1}"#, "one guild"),
            (8, &too_many, "100 users"),
            (
                8,
                r#"{"guild_id":"1","query":"","limit":0}"#,
                "GUILD_MEMBERS",
            ),
            (31, r#"{"guild_ids":"1"}"#, "op 31"),
            (43, "{}", "guild_id"),
        ] {
            let wrong = Command::read(op, data, 0).expect_err(data).to_string();
            assert!(wrong.contains(why), "{op} {data}: {wrong}");
        }
    }
}
