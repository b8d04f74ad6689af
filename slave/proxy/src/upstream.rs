//! What a proxy stands on: who has the shards.

use std::{fmt, sync::Arc};

use baton_protocol::{Sequence, ShardId};

/// Who has the shards: a slave, or a test.
///
/// Events come from it by [`Input`](crate::Input); this is what a proxy asks of it.
/// Everything is called inside tokio. But for [`clients_changed`](Self::clients_changed) no lock
/// of the proxy's is held meanwhile. It returns soon, except for [`guild`](Self::guild),
/// [`guilds`](Self::guilds) and [`calls`](Self::calls), which are called on a blocking thread.
pub trait Upstream: Send + Sync + 'static {
    /// What all sessions were identified with.
    fn fleet(&self) -> Fleet;

    /// The `d` of the READY of the shard's session, as far as it is known: a JSON object
    /// with at least `user` and `application`. What is a client's own (session, resume URL,
    /// guilds, shard) is put in its place. `None`: not yet.
    fn ready(&self, shard: ShardId) -> Option<String>;

    /// Which guilds the shard has, those with an outage too.
    fn guilds(&self, shard: ShardId) -> Guilds;

    /// A guild; `None`: it is not here, or has an outage.
    fn guild(&self, shard: ShardId, guild: u64) -> Option<Guild>;

    /// The calls that the bot is in: a client that was not there is told again.
    fn calls(&self, shard: ShardId) -> Vec<Call> {
        let _ = shard;
        Vec::new()
    }

    /// These events of the shard's session are finished: the client has received them, or
    /// says that it has handled them, or there is none. Sequences between them that no event
    /// had may be among them. Ranges may come in any order, and each event in one.
    fn finished(&self, shard: ShardId, first: Sequence, last: Sequence);

    /// Whether there is room for more events of a shard is other than it was:
    /// [`Input::has_room`](crate::Input::has_room) says how it is now. Whoever waits for room
    /// with [`Input::event`](crate::Input::event) has nothing to do here.
    fn room_changed(&self, shard: ShardId) {
        let _ = shard;
    }

    /// What the shard's next owner needs so that clients go on there has changed: at most
    /// 4,096 bytes, for [`Begin::TakenOver`]. Called when a client begins or is over, and once
    /// more when the shard leaves; not called for events, nor for a shard behind the
    /// [`open`](crate::Proxy::open) of the same one. A lock of the shard's is held
    /// meanwhile, so that the newest comes last: nothing of its [`Input`](crate::Input) may be
    /// called in it.
    fn clients_changed(&self, shard: ShardId, clients: &str) {
        let _ = (shard, clients);
    }

    /// Sends a gateway command (op 3, 4, 8, 31 or 43) when Discord's limits allow it.
    ///
    /// # Errors
    /// It was not taken.
    fn command(&self, shard: ShardId, json: String) -> Result<(), CommandRefused>;
}

/// What all sessions of a fleet were identified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// How many shards there are. 0: that is not known yet, and clients wait.
    pub shards: u32,
    /// The bits of the intents.
    pub intents: u64,
}

/// Which guilds there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guilds {
    /// Their ids, in the order in which a client is to get them.
    pub ids: Vec<u64>,
    /// Every event of the shard's session up to here is in it, and none above.
    pub at: Sequence,
}

/// A guild as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guild {
    /// The `d` of its GUILD_CREATE.
    pub json: String,
    /// Every event of the shard's session up to here is in it, and none above.
    pub at: Sequence,
}

/// A call that the bot is in: what was said of it last. The `token` of the server is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The `d` of the bot's own VOICE_STATE_UPDATE.
    pub state: String,
    /// The `d` of VOICE_SERVER_UPDATE.
    pub server: String,
}

impl fmt::Debug for Call {
    /// Without the text: the server's is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// A command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// Too many wait already.
    #[error("too many commands wait for this shard already")]
    Full,
    /// The shard is not here any more.
    #[error("the shard has moved away")]
    Gone,
}

/// How a shard begins to give events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A new session: READY came.
    New {
        /// The sequence of READY.
        ready: Sequence,
        /// The guilds that it names; their GUILD_CREATEs follow.
        guilds: Vec<u64>,
    },
    /// A session that another process had, or this one before.
    Resumed {
        /// Every event up to here is finished; those above follow.
        handled: Sequence,
    },
    /// A session that another process had, and the clients that it had there.
    TakenOver {
        /// Every event up to here is finished; those above follow.
        handled: Sequence,
        /// What [`Upstream::clients_changed`] said there last; empty: nothing is known.
        clients: String,
    },
    /// The same of another session than the shard had here before: it was away meanwhile.
    Other {
        /// Every event up to here is finished; those above follow.
        handled: Sequence,
    },
}

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Its sequence in the shard's session.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: String,
    /// The whole payload: `{"t":..,"s":..,"op":0,"d":{..}}`, in any order.
    pub json: Json,
}

/// The text of a payload. It stays with whoever has it, and is not copied: an event that waits
/// for a client is in memory once. Cheap to clone.
#[derive(Clone)]
pub struct Json(Arc<dyn AsRef<str> + Send + Sync>);

impl Json {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        (*self.0).as_ref()
    }
}

/// Of whatever has the text, and always the same one.
impl<T: AsRef<str> + Send + Sync + 'static> From<T> for Json {
    fn from(text: T) -> Self {
        Self(Arc::new(text))
    }
}

impl fmt::Debug for Json {
    /// Without the text: events are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.as_str().len())
    }
}
