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
//! the count, and one who is added twice is counted twice. What cannot be mended is
//! small: twilight keeps an empty set for each user and each guild that it ever
//! saw, and of a member who left the word that it is offline, until the guild goes.
//!
//! What `twilight-model` cannot read costs no more than itself: one odd value in a
//! GUILD_CREATE leaves out that value, or at most the channel, role or member that
//! has it. [`Cache::incomplete`] says what is left out.

mod apply;
mod export;
mod forget;
mod left;
mod mend;
mod odd;
mod places;
mod users;

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use baton_protocol::ShardId;
use bytes::Bytes;
use twilight_cache_inmemory::{DefaultInMemoryCache, ResourceType};
use twilight_model::{
    gateway::payload::incoming::{GuildCreate, UserUpdate},
    guild::UnavailableGuild,
    id::{Id, marker::GuildMarker},
    user::CurrentUser,
};

use self::{left::Left, mend::Mended, odd::Odd, places::Places};
use crate::{Event, ImportError, Sequence, State};

/// Key of the piece that holds the bot's own user. Guild ids are far above it.
pub const CURRENT_USER: u64 = 1;

/// The cache. All shards of a process share one.
#[derive(Debug)]
pub struct Cache {
    inner: DefaultInMemoryCache,
    guilds: RwLock<Places>,
    odd: Odd,
    /// Who left lately.
    left: Mutex<Left>,
    /// Held alone by the task that changes which user is in which guild, shared by
    /// tasks that only add a user that is known already. See `users`.
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
            odd: Odd::default(),
            left: Mutex::default(),
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
            let text = serde_json::to_vec(&unavailable).ok()?;
            return Some(self.odd.write_into(guild, text));
        }
        let text = export::guild(&self.inner, id)?;
        Some(self.odd.write_into(guild, text))
    }

    /// The guilds of a shard of which something could not be kept since their last
    /// GUILD_CREATE, each with what: the event's type, and where in it stood what
    /// `twilight-model` does not know. The rest of such a guild is here. It is logged
    /// as a warning too, once for each place. It moves with the guild.
    #[must_use]
    pub fn incomplete(&self, shard: ShardId) -> Vec<(u64, Vec<String>)> {
        let guilds: Vec<u64> = self.guilds().of_shard(shard).collect();
        guilds
            .into_iter()
            .filter_map(|guild| Some((guild, self.odd.of(guild)?)))
            .collect()
    }

    /// Takes a piece in.
    ///
    /// # Errors
    /// It is not what [`export_piece`](Self::export_piece) writes.
    pub fn import_piece(&self, shard: ShardId, key: u64, piece: &[u8]) -> Result<(), ImportError> {
        if key == CURRENT_USER {
            let user: CurrentUser = match serde_json::from_slice(piece) {
                Ok(user) => user,
                Err(_) => self.mend_piece(None, piece, mend::other)?,
            };
            self.inner.update(&UserUpdate(user));
            return Ok(());
        }
        let create = match read_guild(piece) {
            Ok(create) => create,
            Err(_) => GuildCreate::Available(self.mend_piece(Some(key), piece, mend::guild)?),
        };
        if create.id().get() != key {
            self.odd.forget(key);
            return Err(ImportError(format!("it is guild {}", create.id())));
        }
        let before = self.odd.of(key).unwrap_or_default();
        self.guild(shard, create);
        self.odd.note(key, before);
        self.odd.note(key, odd::read_from(piece));
        Ok(())
    }

    /// Reads what another build wrote and this one cannot read whole.
    fn mend_piece<T>(
        &self,
        guild: Option<u64>,
        piece: &[u8],
        mend: impl FnOnce(serde_json::Value) -> Result<Mended<T>, String>,
    ) -> Result<T, ImportError> {
        let wrong = |error: serde_json::Error| ImportError(error.to_string());
        let data = serde_json::from_slice(piece).map_err(wrong)?;
        let Mended { value, losses } = mend(data).map_err(ImportError)?;
        self.odd.say("import", guild, &losses);
        Ok(value)
    }

    /// Forgets the guilds of a shard.
    pub fn drop_shard(&self, shard: ShardId) {
        let mut guilds = self.guilds_mut();
        let dropped: Vec<u64> = guilds.of_shard(shard).collect();
        for guild in &dropped {
            guilds.remove(*guild);
            self.odd.forget(*guild);
        }
        drop(guilds);
        for guild in dropped.into_iter().filter_map(Id::new_checked) {
            self.forget(guild);
        }
    }
}

/// Given to [`Builder::state`](crate::Builder::state) as an [`Arc`](std::sync::Arc) that the
/// bot reads too.
impl State for Cache {
    fn apply(&self, event: &Event) {
        Self::apply(self, event);
    }

    fn piece_of(&self, event: &Event) -> Option<u64> {
        match event.kind() {
            "READY" | "USER_UPDATE" => Some(CURRENT_USER),
            _ => event.guild_id().map(Id::get),
        }
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        Self::export(self, shard)
    }

    fn export_piece(&self, _shard: ShardId, key: u64) -> Option<Bytes> {
        Self::export_piece(self, key)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        _sequence: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        Self::import_piece(self, shard, key, &piece)
    }

    fn drop_shard(&self, shard: ShardId) {
        Self::drop_shard(self, shard);
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
