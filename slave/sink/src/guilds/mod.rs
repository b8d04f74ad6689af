//! Copies of guilds in Redis or Valkey, for workers that want to know more of a guild than an
//! event says.
//!
//! Each kind of document of a guild is a hash, `NAME:guild:{SHARD}:GUILD:KIND`, with the ids as
//! fields. One script changes them, and does nothing for an owner of an older epoch: one that
//! was overtaken, and wakes up, overwrites nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use baton_slave::{Epoch, ShardId};
use redis::{Client, RedisError, Script, aio::MultiplexedConnection};
use tokio::time::timeout;

use crate::{
    address::Broker,
    broker::redis::{client, connect},
    config::SinkConfig,
    error::Error,
};

/// Whose copy is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its owner.
    pub epoch: Epoch,
    /// The guild.
    pub guild: u64,
}

/// Documents by kind and id; `None`: there is none any more.
pub type Documents = BTreeMap<&'static str, BTreeMap<u64, Option<String>>>;

/// A change of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These documents are as they are here.
    Some(Documents),
    /// These kinds are put together anew from the [`Part`](Self::Part)s that follow.
    Begin(Vec<&'static str>),
    /// Some documents of what is put together.
    Part(Documents),
    /// What was put together takes the place of what was there, at once.
    End(Vec<&'static str>),
    /// The bot is not in the guild any more: it has no documents of these kinds, which are all.
    Gone(Vec<&'static str>),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is there.
    Done,
    /// It is there, and nothing else of this shard: the server was empty.
    Anew,
    /// A newer owner writes: nothing was changed.
    Fenced,
}

/// Copies of guilds in Redis or Valkey, for workers that want to know more of a guild than an
/// event says. An owner of an older epoch overwrites nothing.
pub struct GuildCopies {
    config: SinkConfig,
    client: Client,
    copy: Script,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl GuildCopies {
    /// Of `config` its address, name, credentials, certificates and times are used.
    ///
    /// # Errors
    /// It is no Redis, or the configuration cannot be.
    pub fn new(config: SinkConfig) -> Result<Self, Error> {
        config.check()?;
        let broker = config.address.broker();
        if broker != Broker::Redis {
            return Err(Error::Refused {
                place: config.address.to_string(),
                reason: "copies of guilds are kept in Redis or Valkey: give its address".to_owned(),
            });
        }
        let mut copy = include_str!("copy.lua").to_owned();
        if mutant!("guilds-unfenced") {
            copy = copy.replace("--FENCE", "newest = 0");
        }
        Ok(Self {
            client: client(&config)?,
            copy: Script::new(&copy),
            connection: Mutex::default(),
            config,
        })
    }

    /// Where they are, without a password.
    #[must_use]
    pub fn place(&self) -> String {
        self.config.address.to_string()
    }

    /// Changes the copy of a guild, if nobody newer owns its shard. It may have been changed
    /// if this fails, and may be asked for again.
    ///
    /// # Errors
    /// The server cannot be reached, does not answer, or refuses, with its words.
    pub async fn change(&self, owned: Owned, change: &Change) -> Result<Changed, String> {
        let (what, documents, kinds) = match change {
            Change::Some(documents) => ("documents", Some(documents), None),
            Change::Part(documents) => ("new", Some(documents), None),
            Change::Begin(kinds) => ("begin", None, Some(kinds)),
            Change::End(kinds) => ("end", None, Some(kinds)),
            Change::Gone(kinds) => ("gone", None, Some(kinds)),
        };
        let mut call = self.copy.key(self.state(owned.shard));
        for kind in kinds.into_iter().flatten() {
            call.key(self.key(owned, kind));
        }
        call.arg(owned.epoch.get()).arg(owned.guild).arg(what);
        for (kind, documents) in documents.into_iter().flatten() {
            call.key(self.key(owned, kind));
            let sets = documents
                .iter()
                .filter_map(|(id, it)| Some((id, it.as_ref()?)));
            let removes = documents.iter().filter(|(_, it)| it.is_none());
            call.arg(sets.clone().count()).arg(removes.clone().count());
            for (id, document) in sets {
                call.arg(id).arg(document);
            }
            for (id, _) in removes {
                call.arg(id);
            }
        }
        let mut connection = self.connected().await?;
        let answer: Result<u8, _> = call.invoke_async(&mut connection).await;
        Ok(match self.heard(answer)? {
            0 => Changed::Fenced,
            1 => Changed::Done,
            _ => Changed::Anew,
        })
    }

    /// The guilds of a shard that have a copy.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub async fn guilds(&self, shard: ShardId) -> Result<Vec<u64>, String> {
        let mut asks = redis::cmd("HKEYS");
        asks.arg(self.state(shard));
        let mut connection = self.connected().await?;
        let answer: Result<Vec<String>, _> = asks.query_async(&mut connection).await;
        let keys = self.heard(answer)?;
        Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
    }

    /// What was answered; after an error the next one is asked on a new connection.
    fn heard<T>(&self, answer: Result<T, RedisError>) -> Result<T, String> {
        answer.map_err(|error| {
            *self.connection() = None;
            error.to_string()
        })
    }

    /// A connection, which waits for each answer only so long.
    async fn connected(&self) -> Result<MultiplexedConnection, String> {
        let known = self.connection().clone();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let times = self.config.timings;
        let connected = timeout(times.start, connect(&self.client, times)).await;
        let connected = connected.map_err(|_| "it does not answer".to_owned())?;
        let connection = connected.map_err(|error| error.to_string())?;
        *self.connection() = Some(connection.clone());
        Ok(connection)
    }

    // Nothing panics in here.
    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, shard: ShardId) -> String {
        format!("{}:guilds:{{{shard}}}", self.config.name)
    }

    fn key(&self, owned: Owned, kind: &str) -> String {
        let Owned { shard, guild, .. } = owned;
        format!("{}:guild:{{{shard}}}:{guild}:{kind}", self.config.name)
    }
}

impl fmt::Debug for GuildCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuildCopies")
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}
