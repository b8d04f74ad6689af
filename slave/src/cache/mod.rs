//! A `twilight-cache-inmemory` whose guilds can move: each travels as the
//! GUILD_CREATE that rebuilds it.
//!
//! It holds what a GUILD_CREATE holds and no more, so that a guild is the same
//! after a move, after a cold start and after months. Not cached are messages,
//! reactions, integrations, archived threads, direct messages and users who are
//! in no guild; of a guild with an outage only that it has one, and that is not
//! in [`inner`](Cache::inner).
//!
//! Habits of twilight's cache that would make a guild differ or leave something
//! of it behind are mended here and in the modules below: a second GUILD_CREATE
//! forgets what did not change; a deleted guild leaves users, voice states, stage
//! instances and scheduled events; a member removed where none is counted wraps
//! the count. What cannot be mended is small: twilight keeps an empty set for
//! each user and each guild that it ever saw, and of a member who left the word
//! that it is offline, until the guild goes.

mod apply;
mod export;
mod forget;
mod places;
mod users;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use baton_protocol::ShardId;
use bytes::Bytes;
use twilight_cache_inmemory::{DefaultInMemoryCache, ResourceType};
use twilight_model::{
    gateway::payload::incoming::{GuildCreate, UserUpdate},
    guild::UnavailableGuild,
    id::{Id, marker::GuildMarker},
    user::CurrentUser,
};

use self::places::Places;
use crate::ImportError;

/// Key of the piece that holds the bot's own user. Guild ids are far above it.
pub const CURRENT_USER: u64 = 1;

/// The cache. All shards of a process share one.
#[derive(Debug)]
pub struct Cache {
    inner: DefaultInMemoryCache,
    guilds: RwLock<Places>,
    /// Held alone by whoever changes which user is in which guild, shared by
    /// whoever only adds a user that is known already. See `users`.
    users: RwLock<()>,
}

impl Default for Cache {
    fn default() -> Self {
        let kept = ResourceType::all()
            - ResourceType::MESSAGE
            - ResourceType::REACTION
            - ResourceType::INTEGRATION;
        Self {
            inner: DefaultInMemoryCache::builder().resource_types(kept).build(),
            guilds: RwLock::default(),
            users: RwLock::default(),
        }
    }
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is cached.
    #[must_use]
    pub const fn inner(&self) -> &DefaultInMemoryCache {
        &self.inner
    }

    fn guilds(&self) -> RwLockReadGuard<'_, Places> {
        self.guilds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn guilds_mut(&self) -> RwLockWriteGuard<'_, Places> {
        self.guilds.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_available(&self, guild: Id<GuildMarker>) -> bool {
        let place = self.guilds().get(guild.get());
        place.is_some_and(|place| place.available)
    }

    /// Keys of what is cached of a shard: its guilds and the bot's own user.
    #[must_use]
    pub fn export(&self, shard: ShardId) -> Vec<u64> {
        std::iter::once(CURRENT_USER)
            .chain(self.guilds().of_shard(shard))
            .collect()
    }

    /// One piece as JSON: the `d` of the GUILD_CREATE that rebuilds the guild, or
    /// the bot's own user.
    #[must_use]
    pub fn export_piece(&self, key: u64) -> Option<Bytes> {
        if key == CURRENT_USER {
            return serde_json::to_vec(&self.inner.current_user()?)
                .ok()
                .map(Bytes::from);
        }
        self.guild_create(key).map(Bytes::from)
    }

    /// The `d` of the GUILD_CREATE that rebuilds a guild; `None`: not cached.
    /// Takes time and memory in proportion to what it returns.
    #[must_use]
    pub fn guild_create(&self, guild: u64) -> Option<Vec<u8>> {
        let place = self.guilds().get(guild)?;
        let id = Id::new_checked(guild)?;
        if !place.available {
            let unavailable = UnavailableGuild {
                id,
                unavailable: true,
            };
            return serde_json::to_vec(&unavailable).ok();
        }
        export::guild(&self.inner, id)
    }

    /// Takes a piece in.
    ///
    /// # Errors
    /// It is not what [`export_piece`](Self::export_piece) writes.
    pub fn import_piece(&self, shard: ShardId, key: u64, piece: &[u8]) -> Result<(), ImportError> {
        let wrong = |error: serde_json::Error| ImportError(error.to_string());
        if key == CURRENT_USER {
            let user: CurrentUser = serde_json::from_slice(piece).map_err(wrong)?;
            self.inner.update(&UserUpdate(user));
            return Ok(());
        }
        let create = read_guild(piece).map_err(wrong)?;
        if create.id().get() != key {
            return Err(ImportError(format!("it is guild {}", create.id())));
        }
        self.guild(shard, create);
        Ok(())
    }

    /// Forgets the guilds of a shard.
    pub fn drop_shard(&self, shard: ShardId) {
        let mut guilds = self.guilds_mut();
        let dropped: Vec<u64> = guilds.of_shard(shard).collect();
        for guild in &dropped {
            guilds.remove(*guild);
        }
        drop(guilds);
        for guild in dropped.into_iter().filter_map(Id::new_checked) {
            self.forget(guild);
        }
    }
}

/// Not by twilight's own way, which reads everything into a tree before it knows
/// whether the guild is available.
fn read_guild(piece: &[u8]) -> Result<GuildCreate, serde_json::Error> {
    match serde_json::from_slice(piece) {
        Ok(guild) => Ok(GuildCreate::Available(guild)),
        Err(error) => match serde_json::from_slice::<UnavailableGuild>(piece) {
            Ok(guild) if guild.unavailable => Ok(GuildCreate::Unavailable(guild)),
            Ok(_) | Err(_) => Err(error),
        },
    }
}
