//! The shards that are here, and the task of each that writes its commands.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use baton_slave::{Event, Settling, ShardHandle, ShardId};
use tokio::{sync::oneshot, task::JoinSet, time::sleep};

use super::{
    CommandsConfig, Queues,
    control::Stands,
    desk::Desk,
    post::{LOOK, Post},
};

/// What is said of commands. The counts begin with the process.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// The tasks of the shards that are here.
pub(crate) struct Posts {
    begins: Begins,
    now: Mutex<Now>,
}

type Begins =
    Box<dyn Fn(ShardHandle, Stands, oneshot::Receiver<Settling>, &mut JoinSet<()>) + Send + Sync>;

#[derive(Default)]
struct Now {
    /// Says to the task of a shard that it leaves, and what stands of its session.
    here: BTreeMap<ShardId, (oneshot::Sender<Settling>, Stands)>,
    tasks: JoinSet<()>,
}

impl Posts {
    pub(crate) fn new<Q: Queues>(
        queues: &Arc<Q>,
        config: CommandsConfig,
        counts: &Arc<Counts>,
    ) -> Self {
        let (queues, counts) = (Arc::clone(queues), Arc::clone(counts));
        let sorts = AtomicBool::new(false);
        Self {
            begins: Box::new(move |handle, stands, leaves, tasks| {
                let (queues, counts) = (Arc::clone(&queues), Arc::clone(&counts));
                if !sorts.swap(true, Ordering::Relaxed) {
                    tasks.spawn(sort(Arc::clone(&queues), handle.clone()));
                }
                let desk = Desk::new(handle.shard(), config, stands);
                tasks.spawn(Post::run(handle, queues, desk, counts, leaves));
            }),
            now: Mutex::default(),
        }
    }

    /// The shard is here.
    pub(crate) fn comes(&self, handle: &ShardHandle) {
        // A panic leaves it as it was.
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let now = &mut *now;
        if let Some((leaves, stands)) = now.here.get(&handle.shard())
            && !leaves.is_closed()
        {
            // A session that begins here has nothing.
            return stands.is_of(&handle.session());
        }
        while now.tasks.try_join_next().is_some() {}
        let (leaves, told) = oneshot::channel();
        let stands = Stands::default();
        stands.is_of(&handle.session());
        now.here.insert(handle.shard(), (leaves, stands.clone()));
        (self.begins)(handle.clone(), stands, told, &mut now.tasks);
    }

    /// An event came.
    pub(crate) fn hears(&self, event: &Event, handle: &ShardHandle) {
        if event.kind() != "VOICE_STATE_UPDATE" {
            return;
        }
        let stands = {
            let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.here
                .get(&handle.shard())
                .map(|(_, stands)| stands.clone())
        };
        if let (Some(stands), Ok(d)) = (stands, event.data()) {
            stands.hears(d, handle);
        }
    }

    /// The shard leaves. The ticket waits until what is not written is taken back.
    pub(crate) fn leaves(&self, handle: &ShardHandle, settling: Settling) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((leaves, _)) = now.here.remove(&handle.shard()) {
            // Its task has ended: nothing is with the shard.
            let _ = leaves.send(settling);
        }
    }
}

async fn sort<Q: Queues>(queues: Arc<Q>, handle: ShardHandle) {
    while handle.shard_count() == 0 {
        sleep(LOOK).await;
    }
    queues.sort(handle.shard_count()).await;
}
