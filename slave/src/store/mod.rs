//! What a bot knows of its guilds, in memory that the processes of a host share: it stays
//! where it is when a shard moves, and outlives a process that is killed.
//!
//! ```
//! use baton_slave::{Event, ShardHandle, Slave, from_fn_with, store::Guilds};
//! use std::sync::Arc;
//!
//! async fn count(store: Arc<Guilds>, event: Event, _shard: ShardHandle) {
//!     if let Some(guild) = event.guild_id().and_then(|guild| store.guild(guild)) {
//!         let members = guild.get().number("member_count");
//!         tracing::info!(members, "members");
//!     }
//! }
//!
//! let store = Guilds::new();
//! let bot = from_fn_with(Arc::new(store.clone()), count);
//! # let _: baton_slave::Builder =
//! Slave::builder(bot).store(store);
//! ```
//!
//! What is read is up to date with the event that a handler was called for, and may be a few
//! events ahead of it. Reading takes no lock and never waits.
//!
//! [`Store`] is the state of one shard, which has more ways to read it: `Guilds` finds it by
//! the guild, and [`Guilds::shard`] by the shard. A copy of one document ([`Owned`]) may be
//! kept as long as you like. A [`View`] is of one moment, copies nothing, and cannot be held
//! over an `.await`.

mod ahead;
mod owner;
mod place;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

#[doc(no_inline)]
pub use baton_store::{
    Doc, Document, GuildPlace, Items, Kind, Owned, Pages, Resources, Store, Value, View,
};
use baton_store::{Options, Owner, Writer};
use twilight_model::{
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, RoleMarker, UserMarker},
    },
};

use self::place::Folder;
use crate::{Error, ShardId, SlaveConfig, unique::unique};

/// The guilds of all shards that this process serves. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Guilds {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    /// Where it is; `None`: as the configuration says.
    dir: Option<PathBuf>,
    owner: Owner,
    /// Known when the slave runs.
    folder: OnceLock<Folder>,
    shard_count: AtomicU32,
    open: RwLock<BTreeMap<ShardId, Store>>,
    /// Those of other processes' shards, which this one may be given.
    ahead: Mutex<BTreeMap<ShardId, Store>>,
    /// Whether it may be given any.
    stands_by: AtomicBool,
    /// What is being taken in, of shards that another process owns.
    receiving: Mutex<BTreeMap<ShardId, Arc<Mutex<Writer>>>>,
    /// Places of dead readers that were given back.
    stale_readers: AtomicU64,
}

impl Default for Guilds {
    fn default() -> Self {
        Self::with(Options::default(), None)
    }
}

impl Guilds {
    /// All that a GUILD_CREATE brings, at most 8 GiB a shard, where
    /// [`SlaveConfig::store`] says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(options: Options, dir: Option<PathBuf>) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                dir,
                // Among the processes of this host.
                owner: Owner(unique().to_le_bytes()),
                folder: OnceLock::new(),
                shard_count: AtomicU32::new(0),
                open: RwLock::default(),
                ahead: Mutex::default(),
                stands_by: AtomicBool::new(false),
                receiving: Mutex::default(),
                stale_readers: AtomicU64::new(0),
            }),
        }
    }

    /// An empty one that is set otherwise.
    fn changed(self, change: impl FnOnce(Options) -> Options) -> Self {
        Self::with(change(self.inner.options.clone()), self.inner.dir.clone())
    }

    /// Keeps these resources only. Before it is given to a slave.
    #[must_use]
    pub fn with_resources(self, resources: Resources) -> Self {
        self.changed(|options| options.with_resources(resources))
    }

    /// Limits a shard to so many bytes. What does not fit is refused: the shard stops reading
    /// until there is room. Before it is given to a slave.
    #[must_use]
    pub fn with_limit(self, bytes: u64) -> Self {
        self.changed(|options| options.with_most(bytes))
    }

    /// Keeps so many messages of a channel, where [`Resources::MESSAGE`] is kept. Before it is
    /// given to a slave.
    #[must_use]
    pub fn with_messages_per_channel(self, messages: usize) -> Self {
        self.changed(|options| options.with_messages_per_channel(messages))
    }

    /// Keeps it in this folder, whatever the configuration says. Before it is given to a slave.
    #[must_use]
    pub fn with_dir(self, dir: impl Into<PathBuf>) -> Self {
        Self::with(self.inner.options.clone(), Some(dir.into()))
    }

    /// Where the state of every fleet and slot is for which nothing else is said: a folder of
    /// this user in `/dev/shm`.
    #[must_use]
    pub fn usual_dir() -> PathBuf {
        place::usual_dir()
    }

    /// The folder that has the state of this fleet and slot, with a folder for each shard; or
    /// `None`: no shard was served yet.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.inner.folder.get()?.of_fleet()
    }

    /// Is given to a slave that is set like this.
    pub(crate) fn settle(&self, config: &SlaveConfig) -> Result<(), Error> {
        let dir = self.inner.dir.as_ref().or(config.store.as_ref());
        let dir = dir.map_or_else(Self::usual_dir, Clone::clone);
        let folder = Folder::new(dir, &config.slot, &self.inner.options)?;
        if self.inner.folder.set(folder).is_err() {
            return Err(Error::Config(
                "this store was given to another slave: make one for each".to_owned(),
            ));
        }
        Ok(())
    }

    /// The state of a shard that this process serves or served.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<Store> {
        let open = self.inner.open.read();
        let open = open.unwrap_or_else(PoisonError::into_inner);
        open.get(&shard).cloned()
    }

    /// The shards that this process serves or served.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardId> {
        let open = self.inner.open.read();
        let open = open.unwrap_or_else(PoisonError::into_inner);
        open.keys().copied().collect()
    }

    /// The state of the shard that a guild is in; `None`: another process serves it.
    #[must_use]
    pub fn of(&self, guild: Id<GuildMarker>) -> Option<Store> {
        let count = self.inner.shard_count.load(Ordering::Relaxed).max(1);
        let shard = (guild.get() >> 22) % u64::from(count);
        self.shard(ShardId(u32::try_from(shard).ok()?))
    }

    /// All of one moment of the shard that a guild is in.
    #[must_use]
    pub fn view(&self, guild: Id<GuildMarker>) -> Option<View> {
        self.of(guild)?.view().ok()
    }

    /// A guild itself.
    #[must_use]
    pub fn guild(&self, guild: Id<GuildMarker>) -> Option<Owned> {
        self.of(guild)?.guild(guild)
    }

    /// A channel or a thread. Its guild is not known, so each shard of this process is asked:
    /// where there are many, ask [`of`](Self::of) its guild.
    #[must_use]
    pub fn channel(&self, channel: Id<ChannelMarker>) -> Option<Owned> {
        self.first(|store| store.channel(channel))
    }

    /// A role of a guild.
    #[must_use]
    pub fn role(&self, guild: Id<GuildMarker>, role: Id<RoleMarker>) -> Option<Owned> {
        self.of(guild)?.role(guild, role)
    }

    /// A member of a guild, with its user.
    #[must_use]
    pub fn member(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Owned> {
        self.of(guild)?.member(guild, user)
    }

    /// The members of a guild, some hundreds at a time.
    #[must_use]
    pub fn members(&self, guild: Id<GuildMarker>) -> Option<Pages> {
        Some(self.of(guild)?.members(guild))
    }

    /// A user who is a member of a guild of this process' shards. As [`channel`](Self::channel).
    #[must_use]
    pub fn user(&self, user: Id<UserMarker>) -> Option<Owned> {
        self.first(|store| store.user(user))
    }

    /// In which voice channel somebody is, and how.
    #[must_use]
    pub fn voice_state(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Owned> {
        self.of(guild)?.voice_state(guild, user)
    }

    /// What a member may do in a channel or thread. As [`channel`](Self::channel).
    #[must_use]
    pub fn permissions_in(
        &self,
        user: Id<UserMarker>,
        channel: Id<ChannelMarker>,
    ) -> Option<Permissions> {
        self.first(|store| store.permissions_in(user, channel))
    }

    /// The `d` of the GUILD_CREATE that rebuilds a guild; `None`: it is not here.
    #[must_use]
    pub fn guild_create(&self, guild: Id<GuildMarker>) -> Option<String> {
        self.view(guild)?.guild_create(guild)
    }

    fn first<T>(&self, find: impl Fn(&Store) -> Option<T>) -> Option<T> {
        let shards = self.shards();
        shards
            .into_iter()
            .find_map(|shard| find(&self.shard(shard)?))
    }
}

impl fmt::Debug for Guilds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guilds")
            .field("options", &self.inner.options)
            .field("dir", &self.dir())
            .finish_non_exhaustive()
    }
}
