//! Processes of slaves whose end a master wants to be told, whoever started them.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    ProcessIdentity, SlaveId,
    message::agent::{FromAgent, OfSlave, Sight, Watch as Look, Watched},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use super::{ledger::Namespace, processes::Event};
use crate::process::{Dialled, Watch, WatchError, may_be};

/// A process that could not be seen is looked at again after this time.
const UNSEEN: Duration = Duration::from_secs(5);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Watching {
    here: ProcessIdentity,
    /// Pid namespaces all of whose processes are dead.
    over: Vec<Namespace>,
    watched: BTreeMap<SlaveId, Seen>,
    events: mpsc::Sender<Event>,
}

/// A slave whose end is told.
#[derive(Debug)]
struct Seen {
    process: ProcessIdentity,
    /// `None`: it is not seen now, or will never be.
    watch: Option<Watch>,
    /// Tells its end, or that it is to be looked at again.
    _task: Option<AbortOnDropHandle<()>>,
}

impl Watching {
    /// Nobody is watched yet.
    pub(super) const fn new(
        here: ProcessIdentity,
        over: Vec<Namespace>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            here,
            over,
            watched: BTreeMap::new(),
            events,
        }
    }

    /// The agent's own process.
    pub(super) const fn here(&self) -> &ProcessIdentity {
        &self.here
    }

    /// Pid namespaces all of whose processes are dead.
    pub(super) fn over(&self) -> &[Namespace] {
        &self.over
    }

    /// Opens a process, if it is of this host, as the agent sees it.
    pub(super) fn look(&self, process: &ProcessIdentity) -> Result<Watch, WatchError> {
        if self.over.iter().any(|namespace| namespace.had(process)) {
            return Err(WatchError::Dead);
        }
        // After a boot of this machine what ran before it is dead. Without the id of the
        // machine, another boot may be one of another machine, which may go on.
        let same = process.host.is_said() && process.host == self.here.host;
        Watch::open_again(process, same.then_some(process.boot_id.as_str()))
    }

    /// The end of this slave's process is to be told.
    pub(super) fn watch(&mut self, look: Look) -> FromAgent {
        let Look { slave, process } = look;
        let own = std::process::id();
        if let Err(detail) = may_be(&process, Dialled::Remote, own) {
            warn!(%slave, detail, "this process is none of a slave");
            self.watched.remove(&slave);
            return watched(slave, Sight::Elsewhere, false);
        }
        let (answer, watch, task) = match self.look(&process) {
            Ok(watch) => {
                let may_kill = watch.may_kill();
                let task = self.tell_end(slave, watch.clone());
                (
                    watched(slave, Sight::Watched, may_kill),
                    Some(watch),
                    Some(task),
                )
            }
            Err(WatchError::Dead) => {
                self.watched.remove(&slave);
                return FromAgent::Died(OfSlave { slave });
            }
            Err(WatchError::Elsewhere) => (watched(slave, Sight::Elsewhere, false), None, None),
            Err(WatchError::Unseen(_)) => {
                let task = self.look_again(slave);
                (watched(slave, Sight::Unseen, false), None, Some(task))
            }
        };
        let seen = Seen {
            process,
            watch,
            _task: task,
        };
        self.watched.insert(slave, seen);
        answer
    }

    fn tell_end(&self, slave: SlaveId, watch: Watch) -> AbortOnDropHandle<()> {
        let events = self.events.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            if watch.dead().await.is_ok() {
                // Fails only when the agent has ended.
                let _ = events.send(Event::Died(slave)).await;
            }
        }))
    }

    fn look_again(&self, slave: SlaveId) -> AbortOnDropHandle<()> {
        let events = self.events.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            sleep(UNSEEN).await;
            // Fails only when the agent has ended.
            let _ = events.send(Event::LookAgain(slave)).await;
        }))
    }

    /// `SIGKILL` for a slave.
    pub(super) fn kill(&mut self, slave: SlaveId) {
        let watch = self
            .watched
            .get(&slave)
            .and_then(|seen| seen.watch.as_ref());
        match watch.filter(|watch| watch.may_kill()).map(Watch::kill) {
            Some(Ok(())) => warn!(%slave, "slave killed, as the master ordered"),
            Some(Err(error)) => error!(%slave, %error, "slave cannot be killed"),
            None => {
                error!(%slave, "the master wants this slave killed, and it cannot be from here")
            }
        }
    }

    /// Nothing of this slave is to be told any more.
    pub(super) fn unwatch(&mut self, slave: SlaveId) {
        self.watched.remove(&slave);
    }

    /// A process ended. What the master is told; `None`: nobody wants to know it.
    pub(super) fn died(&mut self, slave: SlaveId) -> Option<FromAgent> {
        self.watched.remove(&slave)?;
        Some(FromAgent::Died(OfSlave { slave }))
    }

    /// One that could not be seen is looked at again.
    pub(super) fn look_at(&mut self, slave: SlaveId) -> Option<FromAgent> {
        let process = self.watched.get(&slave)?.process.clone();
        Some(self.watch(Look { slave, process }))
    }

    /// The process ids of slaves that are seen.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        let seen = self.watched.values();
        seen.filter_map(|seen| seen.watch.as_ref().map(|_| seen.process.pid))
    }
}

const fn watched(slave: SlaveId, sight: Sight, may_kill: bool) -> FromAgent {
    FromAgent::Watched(Watched {
        slave,
        sight,
        may_kill,
    })
}
