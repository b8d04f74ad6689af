//! A bot that records its calls.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use baton_protocol::{Sequence, ShardId};
use baton_slave::{Ack, Bot, Event, ImportError, Mark, ShardHandle, State, cache::Cache};
use bytes::Bytes;

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
}

/// A bot that remembers everything and keeps a cache.
#[derive(Default)]
pub struct Recorder {
    pub told: Mutex<Vec<Told>>,
    pub finished: AtomicU64,
    pub states: Mutex<Vec<(u32, State)>>,
    pub kept: Mutex<BTreeMap<u64, Ack>>,
    pub cache: Option<Cache>,
    pub doing: Mutex<Option<Box<dyn Fn(&Event) -> Doing + Send>>>,
    pub handle: Mutex<Option<ShardHandle>>,
    pub work: Mutex<Vec<String>>,
    /// Its next word about whether it keeps state is a panic, which nobody guards.
    pub panics: AtomicBool,
}

impl Recorder {
    pub fn with_cache() -> Self {
        Self {
            cache: Some(Cache::new()),
            ..Self::default()
        }
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

    pub fn let_go(&self) {
        self.kept.lock().unwrap().clear();
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
        }
    }

    fn state(&self, shard: &ShardHandle, state: State) {
        self.states
            .lock()
            .unwrap()
            .push((shard.shard().get(), state));
    }

    fn apply(&self, event: &Event) {
        if let Some(cache) = &self.cache {
            cache.apply(event);
        }
    }

    fn keeps_state(&self) -> bool {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "on purpose");
        self.cache.is_some()
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        self.cache
            .as_ref()
            .map_or_else(Vec::new, |cache| cache.export(shard))
    }

    fn export_piece(&self, _: ShardId, key: u64) -> Option<Bytes> {
        self.cache.as_ref()?.export_piece(key)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        _: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        self.cache
            .as_ref()
            .map_or(Ok(()), |cache| cache.import_piece(shard, key, &piece))
    }

    fn drop_shard_state(&self, shard: ShardId) {
        if let Some(cache) = &self.cache {
            cache.drop_shard(shard);
        }
    }

    fn start_work(&self, ticket: Option<Bytes>) {
        self.work.lock().unwrap().push(format!("start {ticket:?}"));
    }

    fn stop_work(&self) -> Bytes {
        self.work.lock().unwrap().push("stop".to_owned());
        Bytes::from_static(b"next job at noon")
    }
}
