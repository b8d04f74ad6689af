//! Local clients in the place of a bot: what joins [`baton_proxy`] to a slave.
//!
//! An event is handed to the proxy with its [`Ack`], and is finished when the proxy says so:
//! when a client has it. If the proxy has no room for another one, the shard is held: Discord
//! keeps what follows. READY and the guilds come from the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use baton_proxy::{
    Begin, Clients, CommandRefused, Dispatch, Fleet, Guild, Guilds as GuildList, Input, Proxy,
    ProxyConfig, Upstream,
};
use baton_slave::{
    Ack, Bot, CommandError, Error, Event, Hold, Sequence, ShardHandle, ShardId, StateStatus,
    store::Guilds,
    twilight_model::id::{Id, marker::GuildMarker},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// Events of a shard that clients may have received and not acknowledged, or that wait for
/// them, where nothing else is asked for: beside the bytes of them that a proxy keeps. A
/// client may be away for a while.
pub(crate) const WINDOW: usize = 65_536;

/// The bot of a slave that serves local clients.
pub(crate) struct Joined {
    proxy: Proxy,
    above: Arc<Above>,
}

/// What a proxy asks.
struct Above {
    store: Guilds,
    intents: u64,
    shards: Mutex<BTreeMap<ShardId, Arc<Here>>>,
    shard_count: OnceLock<u32>,
}

/// A shard that is here.
struct Here {
    input: Input,
    now: Mutex<Now>,
}

/// What is known of it.
struct Now {
    handle: ShardHandle,
    session: Arc<str>,
    /// The `d` of READY, if it came to this process.
    ready: Option<String>,
    acks: BTreeMap<Sequence, Ack>,
    /// As long as the proxy has no room for its events.
    hold: Option<Hold>,
}

impl Joined {
    /// Serves clients from now on, or as soon as the address is free.
    pub(crate) fn start(config: ProxyConfig, store: Guilds, intents: u64) -> Result<Self, Error> {
        let above = Arc::new(Above {
            store,
            intents,
            shards: Mutex::default(),
            shard_count: OnceLock::new(),
        });
        let upstream: Arc<dyn Upstream> = Arc::clone(&above) as Arc<dyn Upstream>;
        let proxy = Proxy::start_when_free(config, upstream);
        let proxy = proxy.map_err(|error| Error::Config(format!("proxy: {error}")))?;
        Ok(Self { proxy, above })
    }

    /// How its clients do.
    pub(crate) fn report(&self) -> Clients {
        self.proxy.report()
    }

    /// The shard, as [`Bot::state_changed`] knew it last.
    fn here(&self, handle: &ShardHandle) -> Arc<Here> {
        let shard = handle.shard();
        let mut shards = lock(&self.above.shards);
        let here = shards.entry(shard).or_insert_with(|| {
            Arc::new(Here {
                input: self.proxy.open(shard),
                now: Mutex::new(Now {
                    handle: handle.clone(),
                    session: handle.session(),
                    ready: None,
                    acks: BTreeMap::new(),
                    hold: None,
                }),
            })
        });
        Arc::clone(here)
    }
}

/// An event that a slave has is the proxy's too, and no copy.
struct OfEvent(Event);

impl AsRef<str> for OfEvent {
    fn as_ref(&self) -> &str {
        self.0.json()
    }
}

impl Here {
    /// Its shard is held as long as there is no room for its events.
    fn heed_room(&self) {
        let mut now = lock(&self.now);
        // Asked for behind the lock, so that whoever comes last knows it best.
        let has_room = self.input.has_room();
        let before = match has_room {
            true => now.hold.take(),
            false if now.hold.is_none() => {
                let hold = now.handle.hold();
                now.hold.replace(hold)
            }
            false => None,
        };
        drop(now);
        drop(before);
    }
}

impl Bot for Joined {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        let sequence = event.sequence();
        let here = self.here(shard);
        if event.kind() == "READY" {
            let (ready, guilds) = read_ready(&event);
            let mut now = lock(&here.now);
            now.ready = ready;
            now.acks.insert(sequence, ack);
            drop(now);
            here.input.begin(&Begin::New {
                ready: sequence,
                guilds,
            });
        } else {
            let dispatch = Dispatch {
                sequence,
                kind: event.kind().to_owned(),
                json: OfEvent(event).into(),
            };
            // It may be finished before the next line but one.
            lock(&here.now).acks.insert(sequence, ack);
            here.input.push(&dispatch);
        }
        here.heed_room();
    }

    fn state_changed(&self, shard: &ShardHandle, _: StateStatus) {
        let count = shard.shard_count();
        if count > 0 {
            // All shards say the same.
            let _ = self.above.shard_count.set(count);
        }
        let here = self.here(shard);
        let mut now = lock(&here.now);
        // A shard that comes back may have another, which is held if there is still no room.
        now.handle = shard.clone();
        let mut over = (now.hold.take(), BTreeMap::new());
        let session = shard.session();
        let is_other = now.session != session;
        if is_other {
            // What it had of the one before is over.
            now.session = session;
            now.ready = None;
            over.1 = std::mem::take(&mut now.acks);
        }
        drop(now);
        drop(over);
        // A session that begins does so with its READY.
        if let Some(handled) = shard.resumed_behind() {
            here.input.begin(&match is_other {
                true => Begin::Other { handled },
                false => Begin::Resumed { handled },
            });
        }
        here.heed_room();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Above {
    fn here(&self, shard: ShardId) -> Option<Arc<Here>> {
        lock(&self.shards).get(&shard).cloned()
    }
}

impl Upstream for Above {
    fn fleet(&self) -> Fleet {
        Fleet {
            shards: self.shard_count.get().copied().unwrap_or(0),
            intents: self.intents,
        }
    }

    fn ready(&self, shard: ShardId) -> Option<String> {
        let (ready, application) = {
            let here = self.here(shard)?;
            let now = lock(&here.now);
            (now.ready.clone(), now.handle.application_id())
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
        if let Some(here) = self.here(shard) {
            let mut now = lock(&here.now);
            while let Some((&next, _)) = now.acks.range(first..=last).next() {
                finished.extend(now.acks.remove(&next));
            }
        }
        // Dropped outside of the lock, in their order.
        drop(finished);
    }

    fn room_changed(&self, shard: ShardId) {
        if let Some(here) = self.here(shard) {
            here.heed_room();
        }
    }

    fn command(&self, shard: ShardId, json: String) -> Result<(), CommandRefused> {
        let handle = self.here(shard).map(|here| lock(&here.now).handle.clone());
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
