//! A `twilight-cache-inmemory` whose guilds can move: each travels as the
//! GUILD_CREATE that rebuilds it.
//!
//! What a GUILD_CREATE does not hold does not move: messages and integrations.
//! Three habits of twilight's cache would make a moved guild differ, and are
//! mended here: a second GUILD_CREATE of a guild forgets members and emojis that
//! did not change; a user who leaves one guild may vanish from all; GUILD_DELETE
//! of an outage drops the guild.

mod export;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use baton_protocol::ShardId;
use bytes::Bytes;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_model::{
    gateway::{
        event::Event as TwilightEvent,
        payload::incoming::{GuildCreate, GuildDelete, MemberRemove, MemberUpdate, UserUpdate},
    },
    guild::UnavailableGuild,
    id::{Id, marker::GuildMarker},
    user::CurrentUser,
};

use crate::{Event, ImportError};

/// Key of the piece that holds the bot's own user. Guild ids are far above it.
pub const CURRENT_USER: u64 = 1;

/// The cache. All shards of a process share one.
#[derive(Debug, Default)]
pub struct Cache {
    inner: DefaultInMemoryCache,
    guilds: Mutex<BTreeMap<u64, Place>>,
}

/// What is known of a guild beside its content.
#[derive(Clone, Copy, Debug)]
struct Place {
    shard: ShardId,
    available: bool,
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

    fn guilds(&self) -> MutexGuard<'_, BTreeMap<u64, Place>> {
        self.guilds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the cache up to an event. One that `twilight-model` does not know
    /// changes nothing.
    pub fn apply(&self, event: &Event) {
        let parsed = match event.parse_owned() {
            Ok(parsed) => TwilightEvent::from(parsed),
            Err(error) => {
                tracing::debug!(%error, "not cached");
                return;
            }
        };
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum of a hundred"
        )]
        match &parsed {
            TwilightEvent::Ready(ready) => {
                for guild in &ready.guilds {
                    self.place(guild.id, event.shard(), false);
                }
                self.inner.update(&parsed);
            }
            TwilightEvent::GuildCreate(create) => self.guild(event.shard(), create),
            TwilightEvent::GuildDelete(delete) if delete.unavailable == Some(true) => {
                self.place(delete.id, event.shard(), false);
                self.inner
                    .update(&GuildCreate::Unavailable(UnavailableGuild {
                        id: delete.id,
                        unavailable: true,
                    }));
            }
            TwilightEvent::GuildDelete(delete) => {
                self.guilds().remove(&delete.id.get());
                self.inner.update(&parsed);
            }
            TwilightEvent::MemberRemove(remove) => self.member_remove(remove),
            _ => self.inner.update(&parsed),
        }
    }

    fn place(&self, guild: Id<GuildMarker>, shard: ShardId, available: bool) {
        self.guilds()
            .insert(guild.get(), Place { shard, available });
    }

    /// Replaces a guild by what a GUILD_CREATE says.
    fn guild(&self, shard: ShardId, create: &GuildCreate) {
        let id = create.id();
        let available = matches!(create, GuildCreate::Available(_));
        self.place(id, shard, available);
        if available {
            self.inner.update(&gone(id));
        }
        self.inner.update(create);
    }

    /// A user who leaves one guild may still be in others.
    fn member_remove(&self, remove: &MemberRemove) {
        let user = remove.user.id;
        let known = self.inner.user(user).map(|user| user.value().clone());
        self.inner.update(remove);
        let Some(known) = known else {
            return;
        };
        if self.inner.user(user).is_some() {
            return;
        }
        let guilds: Vec<u64> = self.guilds().keys().copied().collect();
        let elsewhere = guilds
            .into_iter()
            .filter_map(Id::new_checked)
            .find_map(|guild| Some((guild, self.inner.member(guild, user)?.value().clone())));
        if let Some((guild_id, member)) = elsewhere {
            // Changes nothing of the member, and brings the user back.
            self.inner.update(&MemberUpdate {
                avatar: member.avatar(),
                communication_disabled_until: member.communication_disabled_until(),
                guild_id,
                flags: Some(member.flags()),
                deaf: member.deaf(),
                joined_at: member.joined_at(),
                mute: member.mute(),
                nick: member.nick().map(str::to_owned),
                pending: member.pending(),
                premium_since: member.premium_since(),
                roles: member.roles().to_vec(),
                user: known,
            });
        }
    }

    /// Keys of what is cached of a shard: its guilds and the bot's own user.
    #[must_use]
    pub fn export(&self, shard: ShardId) -> Vec<u64> {
        let guilds = self.guilds();
        let of_shard = guilds.iter().filter(|(_, place)| place.shard == shard);
        std::iter::once(CURRENT_USER)
            .chain(of_shard.map(|(guild, _)| *guild))
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
    #[must_use]
    pub fn guild_create(&self, guild: u64) -> Option<Vec<u8>> {
        let place = *self.guilds().get(&guild)?;
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
        let create: GuildCreate = serde_json::from_slice(piece).map_err(wrong)?;
        if create.id().get() != key {
            return Err(ImportError(format!("it is guild {}", create.id())));
        }
        self.guild(shard, &create);
        Ok(())
    }

    /// Forgets the guilds of a shard.
    pub fn drop_shard(&self, shard: ShardId) {
        let mut dropped = Vec::new();
        self.guilds().retain(|guild, place| {
            let of_shard = place.shard == shard;
            dropped.extend(of_shard.then_some(*guild));
            !of_shard
        });
        for guild in dropped.into_iter().filter_map(Id::new_checked) {
            self.inner.update(&gone(guild));
        }
    }
}

fn gone(id: Id<GuildMarker>) -> GuildDelete {
    GuildDelete {
        id,
        unavailable: None,
    }
}
