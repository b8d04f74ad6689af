//! A bot that records its calls.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_protocol::{Sequence, ShardId};
use baton_slave::{
    Ack, Bot, Event, Hold, ImportError, Mark, Settling, ShardHandle, State, StateStatus, Work,
    cache::Cache, store::Guilds,
};
use bytes::Bytes;
use twilight_model::id::Id;

/// One call of a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub shard: u32,
    pub epoch: u64,
    pub sequence: u64,
    pub session: String,
    pub kind: String,
    pub mark: Mark,
    /// Words about the state that were said before.
    pub states: usize,
}

/// What the bot of a test does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    Finish,
    /// Keeps it until it is let go.
    Keep,
    Panic,
    /// Lets go of it and panics then.
    FinishAndPanic,
    Retry,
    /// Its shard takes nothing more until it is let go.
    FinishAndHold,
    /// Holds its thread up while [`Recorder::blocks`].
    Block,
}

/// A bot that remembers everything and keeps a cache.
#[derive(Default)]
pub struct Recorder {
    pub told: Mutex<Vec<Told>>,
    pub finished: AtomicU64,
    pub states: Mutex<Vec<(u32, StateStatus)>>,
    pub kept: Mutex<BTreeMap<u64, Ack>>,
    pub held: Mutex<Option<Hold>>,
    pub cache: Option<Cache>,
    pub store: Option<Guilds>,
    pub doing: Mutex<Option<Box<dyn Fn(&Event) -> Doing + Send>>>,
    pub handle: Mutex<Option<ShardHandle>>,
    pub work: Mutex<Vec<String>>,
    /// The next piece that it exports panics where nobody guards it.
    pub panics: AtomicBool,
    pub blocks: AtomicBool,
    /// What came along with its shards.
    pub luggage: Mutex<Vec<String>>,
    /// How it comes to rest when a shard leaves; `None`: not at all.
    pub rests: Mutex<Option<Rests>>,
}

/// See [`Recorder::rests`].
pub type Rests = Box<dyn Fn(&ShardHandle, Settling) + Send>;

impl Recorder {
    pub fn with_cache() -> Self {
        Self {
            cache: Some(Cache::new()),
            ..Self::default()
        }
    }

    /// One whose guilds are in a store in this folder.
    pub fn with_store(dir: &Path) -> Self {
        Self {
            store: Some(Guilds::new().with_dir(dir)),
            ..Self::default()
        }
    }

    /// What it knows of a shard: each piece, as it would be copied.
    pub fn pieces(&self, shard: ShardId) -> Option<BTreeMap<u64, Bytes>> {
        if let Some(store) = &self.store {
            let view = store.shard(shard)?.view().ok()?;
            let guilds = view.guilds().map(|guild| guild.id);
            let piece = |guild: Id<_>| Some((guild.get(), view.guild_create(guild)?.into()));
            return Some(guilds.filter_map(piece).collect());
        }
        self.pieces_of_cache(shard)
    }

    /// The same of its cache, where it has both.
    pub fn pieces_of_cache(&self, shard: ShardId) -> Option<BTreeMap<u64, Bytes>> {
        let cache = self.cache.as_ref()?;
        let keys = cache.export(shard).into_iter();
        let piece = |key| Some((key, cache.export_piece(key)?));
        Some(keys.filter_map(piece).collect())
    }

    pub fn does(&self, doing: impl Fn(&Event) -> Doing + Send + 'static) {
        *self.doing.lock().unwrap() = Some(Box::new(doing));
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    pub fn sequences(&self) -> Vec<u64> {
        self.told().iter().map(|told| told.sequence).collect()
    }

    fn in_cache(&self) -> &Cache {
        self.cache.as_ref().expect("given as state only with one")
    }

    pub fn let_go(&self) {
        self.kept.lock().unwrap().clear();
        self.held.lock().unwrap().take();
    }
}

impl Bot for Recorder {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        *self.handle.lock().unwrap() = Some(shard.clone());
        self.told.lock().unwrap().push(Told {
            shard: event.shard().get(),
            epoch: event.epoch().get(),
            sequence: event.sequence().get(),
            session: event.session().to_owned(),
            kind: event.kind().to_owned(),
            mark: event.mark(),
            states: self.states.lock().unwrap().len(),
        });
        let doing = match &*self.doing.lock().unwrap() {
            Some(doing) => doing(&event),
            None => Doing::Finish,
        };
        match doing {
            Doing::Finish => {
                self.finished.fetch_add(1, Ordering::Relaxed);
            }
            Doing::Keep => {
                self.kept
                    .lock()
                    .unwrap()
                    .insert(event.sequence().get(), ack);
            }
            Doing::Panic => panic!("a handler that panics on purpose"),
            Doing::FinishAndPanic => {
                drop(ack);
                panic!("a handler that panics on purpose, later");
            }
            Doing::Retry => ack.retry(),
            Doing::FinishAndHold => {
                self.finished.fetch_add(1, Ordering::Relaxed);
                *self.held.lock().unwrap() = Some(shard.hold());
            }
            Doing::Block => tokio::task::block_in_place(|| {
                while self.blocks.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }),
        }
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        self.states
            .lock()
            .unwrap()
            .push((shard.shard().get(), status));
        let luggage = shard.luggage().to_string();
        self.luggage.lock().unwrap().push(luggage);
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        if let Some(rests) = &*self.rests.lock().unwrap() {
            rests(shard, settling);
        }
    }
}

/// Of its cache, which is there.
impl State for Recorder {
    fn apply(&self, event: &Event) {
        self.in_cache().apply(event);
    }

    fn piece_of(&self, event: &Event) -> Option<u64> {
        self.in_cache().piece_of(event)
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        self.in_cache().export(shard)
    }

    fn export_piece(&self, _: ShardId, key: u64) -> Option<Bytes> {
        let piece = self.in_cache().export_piece(key)?;
        if self.panics.swap(false, Ordering::Relaxed) {
            return Some(Bytes::from_owner(Bomb(piece)));
        }
        Some(piece)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        _: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        self.in_cache().import_piece(shard, key, &piece)
    }

    fn drop_shard(&self, shard: ShardId) {
        self.in_cache().drop_shard(shard);
    }
}

/// A piece that panics where it is dropped: in the task of its shard, past all guards.
struct Bomb(Bytes);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

impl Work for Recorder {
    fn start(&self, ticket: Option<Bytes>) {
        self.work.lock().unwrap().push(format!("start {ticket:?}"));
    }

    fn stop(&self) -> Bytes {
        self.work.lock().unwrap().push("stop".to_owned());
        Bytes::from_static(b"next job at noon")
    }
}
