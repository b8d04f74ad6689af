//! Commands of a client: checked here, so that a wrong one closes the client and not the
//! shard.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Connection;
use crate::{
    shard::{Id, Shard},
    wire::end::End,
};

/// The intent that a list of all members needs.
const GUILD_MEMBERS: u64 = 1 << 1;
/// Users of one member request. Source: "Request Guild Members".
const USERS: usize = 100;
/// A longer nonce is left out of the answer. Source: the same.
const NONCE: usize = 32;

const UNDECODED: End = End::undecoded("the d of this payload is not as documented");

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
    #[serde(rename = "guild_id")]
    _guild: Id,
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
}

#[derive(Deserialize)]
struct Sounds {
    #[serde(rename = "guild_ids")]
    _guilds: Vec<Id>,
}

#[derive(Deserialize)]
struct InGuild {
    #[serde(rename = "guild_id")]
    _guild: Id,
}

impl Connection {
    pub(super) fn command(&self, op: u64, data: &str) -> Result<(), End> {
        fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, End> {
            serde_json::from_str(data).map_err(|_| UNDECODED)
        }
        let mut nonce = None;
        match op {
            3 => {
                let presence: Presence = read(data)?;
                let statuses = ["online", "dnd", "idle", "invisible", "offline"];
                if !statuses.contains(&presence.status.as_str()) {
                    return Err(UNDECODED);
                }
            }
            4 => {
                let _: Voice = read(data)?;
            }
            8 => nonce = self.members(&read(data)?)?,
            31 => {
                let _: Sounds = read(data)?;
            }
            _ => {
                let _: InGuild = read(data)?;
            }
        }
        // One that was taken over from would speak against its successor.
        let Some(at) = self.at() else {
            return Ok(());
        };
        let may = at.shard.with(|core| {
            let may = core.may_command(at.key, self.id, op);
            if let (true, Some(nonce)) = (may, &nonce) {
                core.asks(nonce, at.key);
            }
            may
        });
        if !may {
            tracing::debug!(
                connection = self.id,
                op,
                "a command is not this client's to send"
            );
            return Ok(());
        }
        self.send_up(&at.shard, format!(r#"{{"op":{op},"d":{data}}}"#))
    }

    /// Its nonce, if there is one that the answer will have.
    fn members(&self, wanted: &Members) -> Result<Option<String>, End> {
        let users = wanted.user_ids.as_ref().map(OneOrMore::count);
        let by_query = users.is_none();
        let is_wrong = wanted.guild_id.count() != 1
            || users.is_some_and(|users| users > USERS)
            || by_query && (wanted.query.is_none() || wanted.limit.is_none());
        if is_wrong {
            return Err(UNDECODED);
        }
        let all = by_query && wanted.query.as_deref() == Some("") && wanted.limit == Some(0);
        if all && self.shared.upstream.fleet().intents & GUILD_MEMBERS == 0 {
            let reason = "disallowed intents: all members need GUILD_MEMBERS";
            return Err(End::close(4014, reason));
        }
        Ok(wanted.nonce.clone().filter(|nonce| nonce.len() <= NONCE))
    }

    pub(super) fn send_up(&self, shard: &Shard, command: String) -> Result<(), End> {
        shard.command(command).map_err(|_| {
            End::close(
                4008,
                "rate limited: too many commands of this shard wait already",
            )
        })
    }
}
