//! Local clients in the place of a bot: what joins [`baton_proxy`] to a slave.
//!
//! An event is handed to the proxy with its [`Ack`], and is finished when the proxy says so:
//! when a client has it. READY and the guilds come from the store.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use baton_proxy::{
    Begin, CommandRefused, Dispatch, Fleet, Guild, Guilds as GuildList, Input, Proxy, ProxyConfig,
    Token, Upstream,
};
use baton_slave::{
    Ack, Bot, CommandError, Error, Event, Sequence, ShardHandle, ShardId, StateStatus,
    store::Guilds,
    twilight_model::id::{Id, marker::GuildMarker},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// Events of a shard that clients may have received and not acknowledged, or that wait for
/// them, where nothing else is asked for. A client may be away for a while.
pub(crate) const WINDOW: usize = 8192;
/// Beginnings of sessions that may wait among a shard's events.
const BEGINNINGS: usize = 64;

/// What is listened at, and with which token clients come.
pub(crate) fn config(address: SocketAddr, token: &str) -> Result<ProxyConfig, Error> {
    let mut config = ProxyConfig::default();
    config.listen = address;
    config.bot_token = Token::new(token);
    config
        .check()
        .map_err(|error| Error::Config(format!("proxy: {error}")))?;
    Ok(config)
}

/// The bot of a slave that serves local clients.
pub(crate) struct Joined {
    proxy: Proxy,
    above: Arc<Above>,
    window: usize,
}

/// What a proxy asks.
struct Above {
    store: Guilds,
    intents: u64,
    shards: Mutex<BTreeMap<ShardId, Here>>,
    shard_count: OnceLock<u32>,
}

/// A shard that is here.
struct Here {
    handle: ShardHandle,
    input: Input,
    session: Arc<str>,
    /// The `d` of READY, if it came to this process.
    ready: Option<String>,
    acks: BTreeMap<Sequence, Ack>,
}

impl Joined {
    /// Serves clients from now on, or as soon as the address is free.
    pub(crate) fn start(
        config: ProxyConfig,
        store: Guilds,
        intents: u64,
        window: usize,
    ) -> Result<Self, Error> {
        let above = Arc::new(Above {
            store,
            intents,
            shards: Mutex::default(),
            shard_count: OnceLock::new(),
        });
        let upstream: Arc<dyn Upstream> = Arc::clone(&above) as Arc<dyn Upstream>;
        let proxy = Proxy::start_when_free(config, upstream);
        let proxy = proxy.map_err(|error| Error::Config(format!("proxy: {error}")))?;
        Ok(Self {
            proxy,
            above,
            window,
        })
    }

    /// The shard, as [`Bot::state_changed`] knew it last.
    fn here<'a>(
        &self,
        shards: &'a mut BTreeMap<ShardId, Here>,
        handle: &ShardHandle,
    ) -> &'a mut Here {
        let shard = handle.shard();
        shards.entry(shard).or_insert_with(|| Here {
            handle: handle.clone(),
            input: self.proxy.open(shard, self.window + BEGINNINGS),
            session: handle.session(),
            ready: None,
            acks: BTreeMap::new(),
        })
    }
}

impl Bot for Joined {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        // An event is read and copied before the lock of all shards is taken.
        let sequence = event.sequence();
        if event.kind() == "READY" {
            let (ready, guilds) = read_ready(&event);
            let mut shards = self.above.shards();
            let here = self.here(&mut shards, shard);
            here.ready = ready;
            here.acks.insert(sequence, ack);
            let begin = Begin::New {
                ready: sequence,
                guilds,
            };
            if !here.input.try_begin(begin) {
                tracing::error!(shard = %shard.shard(), "the proxy does not take a new session");
            }
            return;
        }
        let dispatch = Dispatch {
            sequence,
            kind: event.kind().to_owned(),
            json: event.json().to_owned(),
        };
        let mut shards = self.above.shards();
        let here = self.here(&mut shards, shard);
        match here.input.try_event(dispatch) {
            Ok(()) => drop(here.acks.insert(sequence, ack)),
            // It is handed out again, when there is room.
            Err(_) => ack.retry(),
        }
    }

    fn state_changed(&self, shard: &ShardHandle, _: StateStatus) {
        let count = shard.shard_count();
        if count > 0 {
            // All shards say the same.
            let _ = self.above.shard_count.set(count);
        }
        let mut shards = self.above.shards();
        let here = self.here(&mut shards, shard);
        // A shard that comes back may have another.
        here.handle = shard.clone();
        let session = shard.session();
        let is_other = here.session != session;
        if is_other {
            // What it had of the one before is over.
            here.session = session;
            here.ready = None;
            here.acks.clear();
        }
        // A session that begins does so with its READY.
        let Some(handled) = shard.resumed_behind() else {
            return;
        };
        let begin = if is_other {
            Begin::Other { handled }
        } else {
            Begin::Resumed { handled }
        };
        if !here.input.try_begin(begin) {
            tracing::error!(shard = %shard.shard(), "the proxy does not take a session");
        }
    }
}

impl Above {
    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Here>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream for Above {
    fn fleet(&self) -> Fleet {
        Fleet {
            shards: self.shard_count.get().copied().unwrap_or(1),
            intents: self.intents,
        }
    }

    fn ready(&self, shard: ShardId) -> Option<String> {
        let (ready, application) = {
            let shards = self.shards();
            let here = shards.get(&shard)?;
            (here.ready.clone(), here.handle.application_id())
        };
        // The user may have changed since, and a READY of another process is not known.
        let user = self.store.shard(shard).and_then(|store| {
            let view = store.view().ok()?;
            let user = view.current_user()?.to_json();
            serde_json::from_str::<Value>(&user).ok()
        });
        let known = ready.and_then(|ready| serde_json::from_str::<Value>(&ready).ok());
        let mut known = match known {
            Some(known @ Value::Object(_)) => known,
            Some(_) | None => {
                let id = application?.to_string();
                json!({"application": {"id": id, "flags": 0}})
            }
        };
        if let Some(user) = user {
            known["user"] = user;
        }
        known["user"].is_object().then(|| known.to_string())
    }

    fn guilds(&self, shard: ShardId) -> GuildList {
        let view = self.store.shard(shard).and_then(|store| store.view().ok());
        let Some(view) = view else {
            return GuildList::default();
        };
        GuildList {
            ids: view.guilds().map(|guild| guild.id.get()).collect(),
            at: view.stand().sequence,
        }
    }

    fn guild(&self, shard: ShardId, guild: u64) -> Option<Guild> {
        let view = self.store.shard(shard)?.view().ok()?;
        let id = Id::new_checked(guild)?;
        view.guild_place(id).filter(|place| place.available)?;
        Some(Guild {
            json: view.guild_create(id)?,
            at: view.stand().sequence,
        })
    }

    fn finished(&self, shard: ShardId, first: Sequence, last: Sequence) {
        let mut finished = Vec::new();
        if let Some(here) = self.shards().get_mut(&shard) {
            while let Some((&next, _)) = here.acks.range(first..=last).next() {
                finished.extend(here.acks.remove(&next));
            }
        }
        // Dropped outside of the lock, in their order.
        drop(finished);
    }

    fn command(&self, shard: ShardId, json: String) -> Result<(), CommandRefused> {
        let handle = self.shards().get(&shard).map(|here| here.handle.clone());
        let handle = handle.ok_or(CommandRefused::Gone)?;
        let command = RawValue::from_string(json).map_err(|_| CommandRefused::Gone)?;
        match handle.command(&command) {
            Ok(_) => Ok(()),
            Err(CommandError::Full) => Err(CommandRefused::Full),
            Err(CommandError::Moved | CommandError::Encoding) => Err(CommandRefused::Gone),
        }
    }
}

/// The `d` of a READY, and the guilds that it names.
fn read_ready(event: &Event) -> (Option<String>, Vec<u64>) {
    #[derive(Deserialize)]
    struct Ready {
        #[serde(default)]
        guilds: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: Id<GuildMarker>,
    }
    let text = event.data::<Box<RawValue>>().ok();
    let ready = event.data::<Ready>().ok();
    let guilds = ready.map_or(Vec::new(), |ready| {
        ready.guilds.iter().map(|guild| guild.id.get()).collect()
    });
    (text.map(|text| text.get().to_owned()), guilds)
}
