//! IDENTIFY with its checks, and the way to a session.

use std::sync::Arc;

use baton_protocol::ShardId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{At, Connection, Phase, resume::Resume};
use crate::{
    shard::{Identified, Shard, Wish},
    wire::end::End,
};

/// Bytes of a library's name that are kept.
const NAME: usize = 64;
/// Every intent that Discord has. Source: "List of Intents".
const INTENTS: u64 = 0x1FFFF | 0x0030_0000 | 0x0300_0000;

#[derive(Deserialize)]
struct Identify {
    token: String,
    properties: Map<String, Value>,
    #[serde(default)]
    intents: Option<Value>,
    #[serde(default)]
    shard: Option<(u64, u64)>,
    #[serde(default)]
    compress: Option<bool>,
    #[serde(default)]
    presence: Option<Map<String, Value>>,
    #[serde(default, rename = "large_threshold")]
    _large_threshold: IgnoredAny,
}

/// A client on its way in.
pub(super) enum Entry {
    New(New),
    Resume(Resume),
}

/// What an IDENTIFY asked for.
pub(super) struct New {
    shard: ShardId,
    /// Of its session, when it begins.
    id: String,
    wish: Wish,
    presence: Option<Map<String, Value>>,
}

impl Entry {
    /// `None`: it resumes a session whose name says none.
    fn shard(&self) -> Option<ShardId> {
        match self {
            Self::New(new) => Some(new.shard),
            Self::Resume(resume) => resume.shard(),
        }
    }
}

impl Connection {
    pub(super) async fn identify(&mut self, data: &str) -> Result<(), End> {
        let identify: Identify = serde_json::from_str(data)
            .map_err(|_| End::undecoded("IDENTIFY needs token, properties and intents"))?;
        self.authenticate(&identify.token)?;
        let shard = self.shard_of(identify.shard)?;
        self.check_intents(identify.intents.as_ref())?;
        if identify.compress == Some(true) {
            self.encoder.compress_payloads();
        }
        let wish = Wish {
            mirror: self.opening.mirror.clone(),
            says_handled: self.opening.says_handled,
            library: library(&identify.properties),
        };
        let presence = identify.presence;
        let new = New {
            shard,
            id: session_id(shard)?,
            wish,
            presence,
        };
        self.enter(Entry::New(new), None).await
    }

    pub(super) fn authenticate(&self, token: &str) -> Result<(), End> {
        if self.shared.admits(token) {
            return Ok(());
        }
        Err(End::close(4004, "authentication failed: another token"))
    }

    fn shard_of(&self, wanted: Option<(u64, u64)>) -> Result<ShardId, End> {
        let shards = self.shared.upstream.fleet().shards;
        let (shard, count) = match wanted {
            Some(wanted) => wanted,
            None if shards == 1 => (0, 1),
            None => {
                let reason = format!("sharding required: there are {shards} shards");
                return Err(End::because(4011, reason));
            }
        };
        match u32::try_from(shard) {
            Ok(number) if count == u64::from(shards) && number < shards => Ok(ShardId(number)),
            Ok(_) | Err(_) => {
                let reason = format!("invalid shard [{shard}, {count}]: there are {shards} shards");
                Err(End::because(4010, reason))
            }
        }
    }

    fn check_intents(&self, wanted: Option<&Value>) -> Result<(), End> {
        let wanted = wanted.and_then(Value::as_u64);
        let Some(wanted) = wanted.filter(|wanted| wanted & !INTENTS == 0) else {
            return Err(End::close(4013, "invalid intents"));
        };
        let has = self.shared.upstream.fleet().intents;
        let missing = wanted & !has;
        if missing != 0 {
            let reason = format!(
                "disallowed intents: the sessions have {has}, and {missing} of {wanted} is not in it"
            );
            return Err(End::because(4014, reason));
        }
        Ok(())
    }

    /// Goes in where the shard is, or waits for it. `until`: it waits already, until then.
    pub(super) async fn enter(&mut self, entry: Entry, until: Option<Instant>) -> Result<(), End> {
        let shard = entry.shard();
        let fleet = self.shared.upstream.fleet();
        let Some(number) = shard.filter(|shard| shard.get() < fleet.shards) else {
            tracing::info!(
                connection = self.id,
                "a client resumes what is no session of here"
            );
            return self.invalid_session().await;
        };
        let here = self.shared.shard(number);
        if let Some(shard) = here.filter(|shard| shard.with(|core| core.is_ready())) {
            return match entry {
                Entry::New(new) => self.identified(new, shard, None).await,
                Entry::Resume(resume) => self.resumed(&resume, shard).await,
            };
        }
        let (now, arrival) = (Instant::now(), self.shared.config.timings.arrival);
        let until = until.unwrap_or(now + arrival);
        if now < until {
            self.phase = Phase::Arriving(entry, until);
            return Ok(());
        }
        tracing::warn!(connection = self.id, shard = %number, "a client waited in vain for its shard");
        self.invalid_session().await
    }

    /// `until`: the one before has time to acknowledge, until then.
    pub(super) async fn identified(
        &mut self,
        new: New,
        shard: Arc<Shard>,
        until: Option<Instant>,
    ) -> Result<(), End> {
        let (waits, now) = (until.is_some(), Instant::now());
        let waited = until.is_some_and(|until| until <= now);
        let (identified, patience) = shard.with(|core| {
            let patience = core.patience();
            let attachment = self.attachment();
            let identified = core.identify(&attachment, &new.wish, &new.id, waits, waited);
            (identified, patience)
        });
        match identified {
            Identified::NotYet => {
                let arrival = self.shared.config.timings.arrival;
                self.phase = Phase::Arriving(Entry::New(new), now + arrival);
                Ok(())
            }
            Identified::Settling => {
                let until = until.unwrap_or(now + patience);
                self.phase = Phase::Settling(new, shard, until);
                Ok(())
            }
            Identified::Overtaken => Err(End::close(4000, "a newer client takes the shard over")),
            Identified::Begun { key, position } => {
                tracing::info!(
                    connection = self.id,
                    shard = %shard.id,
                    library = new.wish.library,
                    mirror = new.wish.mirror,
                    waited,
                    "a client begins"
                );
                let at = At { shard, key };
                self.begin_greeting(at.clone(), position, new.id).await?;
                if let (Some(presence), None) = (&new.presence, &new.wish.mirror) {
                    let command = serde_json::json!({"op": 3, "d": presence});
                    self.send_up(&at.shard, command.to_string())?;
                }
                Ok(())
            }
        }
    }

    /// Op 9: there is no session. What it missed comes with the next one.
    pub(super) async fn invalid_session(&mut self) -> Result<(), End> {
        self.phase = Phase::Waiting;
        self.nameless_until = Instant::now() + self.shared.config.timings.nameless;
        self.send_plain(9, "false").await
    }
}

/// The shard, then 128 random bits, as 40 hex digits: whoever knows it and the token can
/// resume. A client does not look into it.
fn session_id(shard: ShardId) -> Result<String, End> {
    let mut bits = [0; 16];
    let random = getrandom::fill(&mut bits);
    random.map_err(|_| End::close(4000, "the system has no randomness"))?;
    Ok(format!(
        "{:08x}{:032x}",
        shard.get(),
        u128::from_be_bytes(bits)
    ))
}

/// The shard whose session has this id.
pub(super) fn shard_of_session(id: &str) -> Option<ShardId> {
    let digits = id.get(..8).filter(|_| id.len() == 40)?;
    u32::from_str_radix(digits, 16).ok().map(ShardId)
}

/// The library's name, as it says it.
fn library(properties: &Map<String, Value>) -> String {
    let names = ["browser", "$browser", "device", "$device"];
    let named = names
        .iter()
        .find_map(|name| properties.get(*name)?.as_str());
    let named = named.unwrap_or("unknown").chars();
    named.filter(|c| !c.is_control()).take(NAME).collect()
}
