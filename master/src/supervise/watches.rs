//! Processes whose end is told: where the kernel shows them, by a pidfd; where it does
//! not, they are looked for again and again.
//!
//! ```text
//! unseen ──looked for──▶ watched ──its end──▶ dead
//!    └──────────dead already──────────────────▶┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_protocol::{ProcessIdentity, SlaveId};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use crate::{
    notice::Notice,
    process::{Watch, WatchError},
};

/// A process that could not be seen is looked at again after this time.
const UNSEEN: Duration = Duration::from_secs(5);

/// Processes by the slaves that they are.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: BTreeMap<SlaveId, Watched>,
    /// Looks for the processes of slaves that could not be seen.
    looking: BTreeMap<SlaveId, AbortOnDropHandle<()>>,
    /// The process group of each slave that is watched here.
    groups: BTreeMap<SlaveId, u32>,
    /// Slaves that this master has killed, and why. The first reason is the true one.
    doomed: BTreeMap<SlaveId, &'static str>,
    /// Watched slaves whose end was told, and whose pidfd has not said it yet.
    told: BTreeSet<SlaveId>,
}

/// A process whose death the driver is told.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    /// Tells it; ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Watches {
    pub(super) fn get(&self, slave: SlaveId) -> Option<&Watch> {
        self.watched.get(&slave).map(|watched| &watched.watch)
    }

    pub(super) fn watch(&mut self, slave: SlaveId, watch: Watch, notices: &mpsc::Sender<Notice>) {
        let notices = notices.clone();
        let watched = watch.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                dead = watched.dead() => {
                    if dead.is_ok() {
                        // Fails only when the driver has ended.
                        let _ = notices.send(Notice::Died { slave }).await;
                    }
                }
                () = notices.closed() => {}
            }
        }));
        self.looking.remove(&slave);
        self.watched.insert(slave, Watched { watch, _task: task });
        self.check();
    }

    pub(super) fn look_for(
        &mut self,
        slave: SlaveId,
        process: ProcessIdentity,
        is_known: impl Fn(SlaveId) -> bool,
        notices: &mpsc::Sender<Notice>,
    ) {
        self.looking
            .retain(|slave, looks| is_known(*slave) && !looks.is_finished());
        let notices = notices.clone();
        // It replaces one that looks for the same.
        let looks = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(UNSEEN) => {}
                    () = notices.closed() => return,
                }
                let watch = match Watch::open(&process) {
                    Ok(watch) => Some(watch),
                    Err(WatchError::Dead) => None,
                    Err(WatchError::Unseen(_)) => continue,
                    Err(WatchError::Elsewhere) => return,
                };
                warn!(slave = %format_args!("{slave:.8}"), pid = process.pid, dead = watch.is_none(),
                    "the process of this slave is seen again");
                // Fails only when the driver has ended.
                let _ = notices.send(Notice::Seen { slave, watch }).await;
                return;
            }
        });
        self.looking.insert(slave, AbortOnDropHandle::new(looks));
        self.check();
    }

    pub(super) fn was_looked_for(&mut self, slave: SlaveId) {
        self.looking.remove(&slave);
    }

    /// A slave that is watched belongs to this process group.
    pub(super) fn is_of_group(&mut self, slave: SlaveId, group: Option<u32>) {
        if self.watched.contains_key(&slave)
            && let Some(group) = group
        {
            self.groups.insert(slave, group);
        }
        self.check();
    }

    /// Whether a slave is watched and has not ended.
    pub(super) fn lives(&self, slave: SlaveId) -> bool {
        self.get(slave).is_some_and(|watch| !watch.has_ended())
    }

    pub(super) fn kill(&mut self, slave: SlaveId, why: &'static str) {
        let slave_name = format!("{slave:.8}");
        let Some(watch) = self.get(slave) else {
            error!(
                slave = slave_name,
                "this slave is to be killed and its process is not known here; kill it by hand"
            );
            return;
        };
        if !watch.may_kill() {
            error!(
                slave = slave_name,
                "this slave is to be killed, and its process is another user's; kill it by hand"
            );
            return;
        }
        match watch.kill() {
            Ok(()) => {
                self.doomed.entry(slave).or_insert(why);
                warn!(slave = slave_name, why, "slave killed");
            }
            Err(error) => error!(slave = slave_name, %error, "slave cannot be killed"),
        }
    }

    /// The end of a launched slave is told now; its pidfd may say it later. Gives why this
    /// master killed it, if it did.
    pub(super) fn told(&mut self, slave: SlaveId) -> Option<&'static str> {
        if self.watched.contains_key(&slave) {
            self.told.insert(slave);
        }
        self.check();
        self.doomed.remove(&slave)
    }

    /// Why this master killed a slave, if it did.
    pub(super) fn doom(&mut self, slave: SlaveId) -> Option<&'static str> {
        self.doomed.remove(&slave)
    }

    /// Whether the end of a slave was told before its pidfd said it.
    pub(super) fn was_told(&mut self, slave: SlaveId) -> bool {
        self.told.remove(&slave)
    }

    /// The group that a dead slave was of.
    pub(super) fn leave_group(&mut self, slave: SlaveId) -> Option<u32> {
        self.groups.remove(&slave)
    }

    /// A slave is dead; whether it was watched. Its group, and whether its end was told,
    /// stay until that is asked.
    pub(super) fn forget_process(&mut self, slave: SlaveId) -> bool {
        self.watched.remove(&slave).is_some()
    }

    pub(super) fn forget(&mut self, slave: SlaveId) {
        self.watched.remove(&slave);
        self.looking.remove(&slave);
        self.groups.remove(&slave);
        self.told.remove(&slave);
        self.check();
    }

    /// What holds between two notices: nothing is kept of a process that is not watched.
    fn check(&self) {
        debug_assert!(
            self.told
                .iter()
                .all(|slave| self.watched.contains_key(slave))
                && self
                    .groups
                    .keys()
                    .all(|slave| self.watched.contains_key(slave)),
            "something is kept of a process that is not watched"
        );
        debug_assert!(
            self.looking
                .keys()
                .all(|slave| !self.watched.contains_key(slave)),
            "a watched process is looked for"
        );
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.watched.len(), self.looking.len(), self.groups.len())
    }
}
