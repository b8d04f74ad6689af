//! IDENTIFY with its checks, and the way to a session.

use std::sync::Arc;

use baton_protocol::ShardId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{At, Connection, Phase, resume::Resume};
use crate::{
    shard::{Fewer, Identified, Shard, Wish, every_intent, names_of_intents},
    wire::end::End,
};

/// Characters of a library's name that are kept.
const NAME: usize = 64;

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
    /// How many there are, as it was told.
    count: Option<u64>,
    /// Of its session, when it begins.
    id: String,
    wish: Wish,
    presence: Option<Map<String, Value>>,
}

impl Entry {
    /// Its shard among so many; `None`: it resumes a session whose name says none.
    fn shard(&self, shards: u32) -> Result<Option<ShardId>, End> {
        match self {
            Self::New(new) => new.shard_of(shards).map(Some),
            Self::Resume(resume) => {
                let shard = resume.shard();
                Ok(shard.filter(|shard| shard.get() < shards))
            }
        }
    }
}

impl New {
    fn shard_of(&self, shards: u32) -> Result<ShardId, End> {
        let shard = self.shard;
        match self.count {
            None if shards == 1 => Ok(shard),
            None => {
                let reason = format!("sharding required: there are {shards} shards");
                Err(End::because(4011, reason))
            }
            Some(count) if count == u64::from(shards) && shard.get() < shards => Ok(shard),
            Some(count) => Err(no_shard(u64::from(shard.get()), count, Some(shards))),
        }
    }
}

fn no_shard(shard: u64, count: u64, shards: Option<u32>) -> End {
    let known = shards.map_or(String::new(), |shards| {
        format!(": there are {shards} shards")
    });
    End::because(4010, format!("invalid shard [{shard}, {count}]{known}"))
}

impl Connection {
    pub(super) async fn identify(&mut self, data: &str) -> Result<(), End> {
        let identify: Identify = serde_json::from_str(data)
            .map_err(|_| End::undecoded("IDENTIFY needs token, properties and intents"))?;
        self.authenticate(&identify.token)?;
        let (shard, count) = match identify.shard {
            Some((shard, count)) => (shard, Some(count)),
            None => (0, None),
        };
        let number = u32::try_from(shard);
        let shards = self.shared.upstream.fleet().shards;
        let known = Some(shards).filter(|shards| *shards > 0);
        let number = number.map_err(|_| no_shard(shard, count.unwrap_or(0), known))?;
        let shard = ShardId(number);
        let fewer = self.fewer_intents(identify.intents.as_ref())?;
        if identify.compress == Some(true) {
            self.encoder.compress_payloads();
        }
        let wish = Wish {
            mirror: self.opening.mirror.clone(),
            says_handled: self.opening.says_handled,
            library: library(&identify.properties),
            fewer,
        };
        let presence = identify.presence;
        let new = New {
            shard,
            count,
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

    /// What it asks for, if that is less than the sessions have.
    fn fewer_intents(&self, wanted: Option<&Value>) -> Result<Option<Fewer>, End> {
        let wanted = wanted.and_then(Value::as_u64);
        let Some(wanted) = wanted.filter(|wanted| wanted & !every_intent() == 0) else {
            return Err(End::close(4013, "invalid intents"));
        };
        let has = self.shared.upstream.fleet().intents;
        let missing = wanted & !has;
        if missing != 0 {
            let reason = format!(
                "disallowed intents: the sessions have no {}",
                names_of_intents(missing)
            );
            return Err(End::because(4014, reason));
        }
        Ok((wanted != has).then_some(Fewer(wanted)))
    }

    /// Goes in where the shard is, or waits for it. `until`: it waits already, until then.
    pub(super) async fn enter(&mut self, entry: Entry, until: Option<Instant>) -> Result<(), End> {
        let shards = self.shared.upstream.fleet().shards;
        // As long as nobody knows how many there are, none is wrong.
        if shards == 0 {
            return self.waits(entry, until).await;
        }
        let Some(number) = entry.shard(shards)? else {
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
        if !self.shared.may_come(number) {
            tracing::info!(connection = self.id, shard = %number, "a client's shard is elsewhere");
            return self.moved().await;
        }
        self.waits(entry, until).await
    }

    async fn waits(&mut self, entry: Entry, until: Option<Instant>) -> Result<(), End> {
        let (now, arrival) = (Instant::now(), self.shared.config.timings.arrival);
        let until = until.unwrap_or(now + arrival);
        if now < until {
            self.phase = Phase::Arriving(entry, until);
            return Ok(());
        }
        tracing::warn!(
            connection = self.id,
            "a client waited in vain for its shard"
        );
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
