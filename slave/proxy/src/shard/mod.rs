//! One shard: its ring and its clients behind one lock, which is never held over an await.
//!
//! | read | for |
//! |---|---|
//! | `core`, `sessions` | what happens: pure |
//! | `ring`, `session`, `item` | what it happens to |
//! | `undo`, `voice`, `askers` | what a client has to be told so that it fits |
//! | `feed` | how events come in |
//! | `commander` | how commands go up |
//!
//! Connections fetch what is theirs when they are woken. So nothing is queued for a client,
//! and one that does not read costs its connection's buffer and nothing else.

mod askers;
mod budget;
mod commander;
mod core;
mod feed;
mod item;
mod ring;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod undo;
mod voice;

use std::sync::{Arc, Mutex, PoisonError};

use baton_protocol::ShardId;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use self::item::WithUser;
pub(crate) use self::{
    budget::Budget,
    core::{Core, Over},
    feed::{Fed, feed},
    item::{Event, Id},
    session::{Attachment, Wish},
    sessions::{Asking, Identified, Resumed, Take},
    undo::Undo,
};
use crate::{
    config::{Limits, Timings},
    status::{ClientStatus, ShardStatus},
    upstream::{Begin, Upstream},
};

/// See the module.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) upstream: Arc<dyn Upstream>,
    core: Mutex<Core>,
    /// Rings when there may be room again.
    room: Notify,
    commands: mpsc::Sender<String>,
}

/// A command does not go up.
pub(crate) struct TooMany;

impl Shard {
    /// Starts what sends its commands up, too.
    pub(crate) fn new(
        id: ShardId,
        upstream: Arc<dyn Upstream>,
        limits: Limits,
        timings: Timings,
        budget: Budget,
    ) -> Arc<Self> {
        let commands = commander::start(id, Arc::clone(&upstream), limits.commands);
        Arc::new(Self {
            id,
            upstream,
            core: Mutex::new(Core::new(limits, timings, budget, Instant::now())),
            room: Notify::new(),
            commands,
        })
    }

    /// Does something with what the shard knows, then tells upstream what follows of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let out = act(&mut core);
        let finished = core.take_finished();
        drop(core);
        if !finished.is_empty() {
            for (first, last) in finished {
                self.upstream.finished(self.id, first, last);
            }
            self.room.notify_one();
        }
        out
    }

    fn begin(&self, begin: &Begin) {
        let user = self
            .upstream
            .ready(self.id)
            .and_then(|ready| own_user(&ready));
        self.with(|core| {
            core.begin(begin);
            if let Some(user) = user {
                core.voice().is_of(user);
            }
        });
    }

    /// Takes a command for the way up.
    pub(crate) fn command(&self, json: String) -> Result<(), TooMany> {
        self.commands.try_send(json).map_err(|_| TooMany)
    }

    pub(crate) fn status(&self) -> ShardStatus {
        self.with(|core| core.status(self.id))
    }
}

/// The bot, as READY names it.
fn own_user(ready: &str) -> Option<u64> {
    let ready: WithUser = serde_json::from_str(ready).ok()?;
    Some(ready.user.id.0)
}

impl Core {
    fn status(&self, shard: ShardId) -> ShardStatus {
        let clients = self.primary.iter().chain(self.mirrors.values());
        let clients = clients.map(|session| ClientStatus {
            library: session.wish.library.clone(),
            mirror: session.wish.mirror.clone(),
            connected: session.attached.is_some(),
            says_handled: session.wish.says_handled,
            greeted: session.greeting.is_some(),
            unsent: self.ring.last().saturating_sub(session.sent),
            unacknowledged: session.sent.saturating_sub(session.heard),
        });
        let (open_bytes, bytes) = self.ring.bytes();
        let counts = self.counts;
        ShardStatus {
            shard: shard.get(),
            ready: self.is_ready(),
            clients: clients.collect(),
            open: self.ring.open(),
            open_bytes,
            bytes,
            events: counts.events,
            sessions: counts.sessions,
            takeovers: counts.takeovers,
            resumes: counts.resumes,
            resumes_refused: counts.resumes_refused,
            replayed: counts.replayed,
            lost: counts.lost,
            unattended: counts.unattended,
        }
    }
}
