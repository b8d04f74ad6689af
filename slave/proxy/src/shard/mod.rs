//! One shard: its ring and its clients behind one lock, which is never held over an await.
//!
//! | read | for |
//! |---|---|
//! | `core`, `sessions`, `keeping` | what happens: pure |
//! | `ring`, `session`, `item` | what it happens to |
//! | `undo`, `askers`, `intents` | what a client has to be told so that it fits |
//! | `status` | what it says about itself |
//! | `parting` | what goes along when the shard leaves |
//! | `commander` | how commands go up |
//!
//! Connections fetch what is theirs when they are woken. So nothing is queued for a client,
//! and one that does not read costs its connection's buffer and nothing else.

mod askers;
mod budget;
mod commander;
mod core;
mod intents;
mod item;
mod keeping;
mod parting;
mod ring;
mod session;
mod sessions;
mod status;
#[cfg(test)]
mod tests;
mod undo;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use baton_protocol::ShardId;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use self::item::WithUser;
pub(crate) use self::{
    budget::Budget,
    core::{Core, Over},
    intents::{Fewer, every as every_intent, names as names_of_intents},
    item::Event,
    session::{Attachment, Wish},
    sessions::{Asking, Identified, Resumed, Take},
    undo::Undo,
};
use crate::{
    config::{Limits, Timings},
    status::ShardStatus,
    upstream::{Begin, Dispatch, Upstream},
};

/// See the module.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) upstream: Arc<dyn Upstream>,
    core: Mutex<Core>,
    /// Rings when there may be room again.
    room: Notify,
    /// The last change of what goes along that was told upstream; `None`: another one of the
    /// same number has its place, and nothing is told of this one.
    told: Mutex<Option<u64>>,
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
            told: Mutex::new(Some(0)),
            commands,
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what the shard knows, then tells upstream what follows of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core();
        let out = act(&mut core);
        let (finished, room) = (core.take_finished(), core.take_room());
        let changed = core.has_new_clients();
        drop(core);
        if changed {
            self.tell_clients();
        }
        for (first, last) in finished {
            self.upstream.finished(self.id, first, last);
        }
        if room {
            self.upstream.room_changed(self.id);
            self.room.notify_waiters();
        }
        out
    }

    /// Tells upstream what goes along with the shard, the newest last.
    fn tell_clients(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((version, clients)) = told.and_then(|told| self.core().clients(told)) else {
            return;
        };
        *told = Some(version);
        self.upstream.clients_changed(self.id, &clients);
    }

    pub(crate) fn begin(&self, begin: &Begin) {
        let user = self
            .upstream
            .ready(self.id)
            .and_then(|ready| own_user(&ready));
        self.with(|core| {
            core.begin(begin, Instant::now());
            core.own_user = user.or(core.own_user);
        });
    }

    /// Takes an event in, whether there is room for it or not.
    pub(crate) fn push(&self, dispatch: &Dispatch) {
        // Read outside of the lock.
        let event = Event::read(dispatch);
        self.with(|core| core.push(dispatch, event, Instant::now()));
    }

    /// Whether one more event is within what the shard may have. Tells upstream nothing.
    pub(crate) fn has_room(&self) -> bool {
        self.core().has_room()
    }

    /// Until there is room for one more event, or the shard has left. Survives being cancelled.
    pub(crate) async fn room(&self) {
        loop {
            let mut rings = pin!(self.room.notified());
            rings.as_mut().enable();
            let (has_room, has_left) = {
                let core = self.core();
                (core.has_room(), core.has_left())
            };
            if has_room || has_left {
                return;
            }
            rings.await;
        }
    }

    /// Looks after those who are away, and after room that another shard gave back.
    pub(crate) fn look_after(&self, now: Instant) {
        self.with(|core| core.tick(now));
    }

    /// The same, and its clients' sessions go along.
    pub(crate) fn departs(&self) {
        self.with(Core::departs);
        self.room.notify_waiters();
    }

    /// The shard goes to another process, with everything that is not acknowledged.
    pub(crate) fn leave(&self) {
        self.with(Core::leave);
        self.room.notify_waiters();
    }

    /// It leaves, and another one of the same number has its place.
    pub(crate) fn gives_way(&self) {
        self.leave();
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes a command for the way up.
    pub(crate) fn command(&self, json: String) -> Result<(), TooMany> {
        self.commands.try_send(json).map_err(|_| TooMany)
    }

    /// Tells upstream nothing, whose locks may be held by whoever asks.
    pub(crate) fn status(&self) -> ShardStatus {
        self.core().status(self.id, Instant::now())
    }
}

/// The bot, as READY names it.
fn own_user(ready: &str) -> Option<u64> {
    let ready: WithUser = serde_json::from_str(ready).ok()?;
    Some(ready.user.id.0)
}
