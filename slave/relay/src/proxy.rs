//! Local clients in the place of a bot: what joins [`baton_proxy`] to a slave.
//!
//! An event is handed to the proxy with its [`Ack`], and is finished when the proxy says so:
//! when a client has it. If the proxy has no room for another one, the shard is held: Discord
//! keeps what follows. READY and the guilds come from the store. When a shard leaves, its clients
//! are asked what they have, and their sessions go along as its luggage.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use baton_proxy::{
    Begin, Call, Clients, CommandRefused, Dispatch, Fleet, Guild, Guilds as GuildList, Input,
    Parting, Proxy, ProxyConfig, Upstream,
};
use baton_slave::{
    Ack, Bot, CommandError, Error, Event, Hold, LuggageError, Sequence, Settling, ShardHandle,
    ShardId, StateStatus,
    store::{Guilds, View},
    twilight_model::id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// Events of a shard that clients may have received and not acknowledged, or that wait for
/// them, where nothing else is asked for: beside the bytes of them that a proxy keeps. A
/// client may be away for a while.
pub(crate) const WINDOW: usize = 65_536;

/// How long clients may take to say what they have when their shard leaves. It is less than a
/// ticket waits.
const REST: Duration = Duration::from_millis(150);
/// A process that has given shards away, and has others, lets clients in again after this: as
/// long as a client waits for a shard that is on its way.
const AGAIN: Duration = Duration::from_secs(30);

/// The bot of a slave that serves local clients.
pub(crate) struct Joined {
    proxy: Arc<Proxy>,
    above: Arc<Above>,
}

/// What a proxy asks.
struct Above {
    store: Guilds,
    intents: u64,
    shards: Mutex<BTreeMap<ShardId, Arc<Here>>>,
    /// Of shards that have left, too: they may come back.
    readies: Mutex<BTreeMap<ShardId, Ready>>,
    shard_count: OnceLock<u32>,
}

/// The READY that began a session in this process.
struct Ready {
    session: Arc<str>,
    /// Its `d`.
    text: String,
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
    acks: BTreeMap<Sequence, Ack>,
    /// As long as the proxy has no room for its events.
    hold: Option<Hold>,
    /// It is another's, or about to be.
    has_left: bool,
    /// Said of its clients since then.
    goes_along: Option<String>,
}

impl Joined {
    /// Serves clients on the socket that was passed, once a shard is here; without one, as soon
    /// as the address is free.
    pub(crate) fn start(
        config: ProxyConfig,
        listener: Option<TcpListener>,
        store: Guilds,
        intents: u64,
    ) -> Result<Self, Error> {
        let above = Arc::new(Above {
            store,
            intents,
            shards: Mutex::default(),
            readies: Mutex::default(),
            shard_count: OnceLock::new(),
        });
        let upstream: Arc<dyn Upstream> = Arc::clone(&above) as Arc<dyn Upstream>;
        let listener = listener.map(tokio::net::TcpListener::from_std);
        let listener = listener.transpose().map_err(|source| Error::System {
            what: "use the socket that was passed",
            source,
        })?;
        let proxy = match listener {
            Some(listener) => Proxy::start_on(config, upstream, listener),
            None => Proxy::start_when_free(config, upstream),
        };
        let proxy = proxy.map_err(|error| Error::Config(format!("proxy: {error}")))?;
        Ok(Self {
            proxy: Arc::new(proxy),
            above,
        })
    }

    /// How its clients do.
    pub(crate) fn report(&self) -> Clients {
        self.proxy.report()
    }

    /// The shard as it is here, and whether it has just come.
    fn comes(&self, handle: &ShardHandle) -> (Arc<Here>, bool) {
        let shard = handle.shard();
        let is_here = |here: &Arc<Here>| !lock(&here.now).has_left;
        if let Some(here) = self.above.here(shard).filter(is_here) {
            return (here, false);
        }
        let here = Arc::new(Here {
            input: self.proxy.open(shard),
            now: Mutex::new(Now {
                handle: handle.clone(),
                session: handle.session(),
                acks: BTreeMap::new(),
                hold: None,
                has_left: false,
                goes_along: None,
            }),
        });
        let before = lock(&self.above.shards).insert(shard, Arc::clone(&here));
        drop(before);
        (here, true)
    }

    /// Shards go to another process: so do clients that connect.
    fn shut(&self) {
        if !self.above.has_shards() {
            return self.proxy.leave();
        }
        self.proxy.shut();
        let (proxy, above) = (Arc::clone(&self.proxy), Arc::clone(&self.above));
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            if above.has_shards() {
                proxy.admit();
            }
        });
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
        if now.has_left {
            return;
        }
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

    /// Keeps the `Ack` of an event; `false`: it is given back, the shard has left.
    fn takes(&self, sequence: Sequence, ack: Ack) -> bool {
        let mut now = lock(&self.now);
        if now.has_left {
            drop(now);
            ack.give_back();
            return false;
        }
        now.acks.insert(sequence, ack);
        true
    }
}

impl Bot for Joined {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        let sequence = event.sequence();
        let Some(here) = self.above.here(shard.shard()) else {
            return ack.give_back();
        };
        // It may be finished as soon as the proxy has it.
        if event.kind() == "READY" {
            let (ready, guilds) = read_ready(&event);
            if here.takes(sequence, ack) {
                if let Some(text) = ready {
                    let session = shard.session();
                    let ready = Ready { session, text };
                    lock(&self.above.readies).insert(shard.shard(), ready);
                }
                let ready = sequence;
                here.input.begin(&Begin::New { ready, guilds });
            }
        } else {
            let dispatch = Dispatch {
                sequence,
                kind: event.kind().to_owned(),
                json: OfEvent(event).into(),
            };
            if here.takes(sequence, ack) {
                here.input.push(&dispatch);
            }
        }
    }

    fn state_changed(&self, shard: &ShardHandle, _: StateStatus) {
        let count = shard.shard_count();
        if count > 0 {
            // All shards say the same.
            let _ = self.above.shard_count.set(count);
        }
        let (here, is_new) = self.comes(shard);
        let mut now = lock(&here.now);
        // A shard that comes back may have another, which is held if there is still no room.
        now.handle = shard.clone();
        let mut over = (now.hold.take(), BTreeMap::new());
        let session = shard.session();
        let is_other = now.session != session;
        if is_other {
            // What it had of the one before is over.
            now.session = session;
            over.1 = std::mem::take(&mut now.acks);
        }
        drop(now);
        drop(over);
        // A session that begins does so with its READY.
        if let Some(handled) = shard.resumed_behind() {
            here.input.begin(&match (is_new, is_other) {
                (true, _) => Begin::TakenOver {
                    handled,
                    clients: shard.luggage().to_string(),
                },
                (false, true) => Begin::Other { handled },
                (false, false) => Begin::Resumed { handled },
            });
        }
        here.heed_room();
        self.proxy.admit();
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        let Some(here) = self.above.here(shard.shard()) else {
            return;
        };
        if std::mem::replace(&mut lock(&here.now).has_left, true) {
            return;
        }
        self.shut();
        let parting = here.input.parts();
        settling.gives_back_the_rest();
        if parting.is_at_rest() {
            return self.above.has_left(&here, parting, settling);
        }
        let above = Arc::clone(&self.above);
        tokio::spawn(async move {
            parting.rest(REST).await;
            above.has_left(&here, parting, settling);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Above {
    fn here(&self, shard: ShardId) -> Option<Arc<Here>> {
        lock(&self.shards).get(&shard).cloned()
    }

    /// The shard has left: what its clients did not say they have is the next owner's, and
    /// nothing is kept for them here.
    fn has_left(&self, here: &Arc<Here>, parting: Parting, settling: Settling) {
        drop(parting);
        let mut now = lock(&here.now);
        let (acks, hold) = (std::mem::take(&mut now.acks), now.hold.take());
        let (shard, goes_along) = (now.handle.shard(), now.goes_along.take());
        drop(now);
        if let Some(clients) = goes_along {
            is_too_much(shard, settling.takes_along(&clients));
        }
        acks.into_values().for_each(Ack::give_back);
        drop(hold);
        let mut shards = lock(&self.shards);
        // It may have come back already.
        if shards.get(&shard).is_some_and(|it| Arc::ptr_eq(it, here)) {
            shards.remove(&shard);
        }
        drop(shards);
        drop(settling);
    }

    /// Whether any shard is here.
    fn has_shards(&self) -> bool {
        let all: Vec<_> = lock(&self.shards).values().cloned().collect();
        all.iter().any(|here| !lock(&here.now).has_left)
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
        let (session, application) = {
            let here = self.here(shard)?;
            let now = lock(&here.now);
            (Arc::clone(&now.session), now.handle.application_id())
        };
        let ready = {
            let readies = lock(&self.readies);
            let ready = readies.get(&shard);
            let ready = ready.filter(|ready| ready.session == session);
            ready.map(|ready| ready.text.clone())
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

    fn calls(&self, shard: ShardId) -> Vec<Call> {
        let view = self.store.shard(shard).and_then(|store| store.view().ok());
        let Some(view) = view else {
            return Vec::new();
        };
        let user = view
            .current_user()
            .and_then(|user| Id::new_checked(user.id()));
        let Some(user) = user else {
            return Vec::new();
        };
        let calls = view.guilds().filter_map(|guild| {
            let server = view.voice_server(guild.id)?.to_json();
            let state = voice_state(&view, guild.id, user)?;
            Some(Call { state, server })
        });
        calls.collect()
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

    fn clients_changed(&self, shard: ShardId, clients: &str) {
        let Some(here) = self.here(shard) else {
            return;
        };
        let mut now = lock(&here.now);
        if now.has_left {
            // The shard may be somebody else's by now: what comes too late has to be nothing.
            now.goes_along = Some(clients.to_owned());
        } else {
            is_too_much(shard, now.handle.set_luggage(clients));
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

fn is_too_much(shard: ShardId, taken: Result<(), LuggageError>) {
    if let Err(error) = taken {
        tracing::error!(%shard, %error, "the sessions of clients do not go along");
    }
}

/// The bot's own voice state in a guild, as its VOICE_STATE_UPDATE has it.
fn voice_state(view: &View, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<String> {
    let state = view.voice_state(guild, user)?.to_json();
    let Some(member) = view.member(guild, user) else {
        return Some(state);
    };
    let mut whole: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&state).ok()?;
    let member = RawValue::from_string(member.to_json()).ok()?;
    whole.insert("member".to_owned(), member);
    serde_json::to_string(&whole).ok()
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
