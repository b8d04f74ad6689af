//! The master's own hand: the processes of its host, which it starts itself and sees.

use baton_core::event::{Death, EndedBy, Input};
use baton_protocol::{ProcessIdentity, SlaveId, message::Hello};
use tokio::sync::mpsc;

use super::{
    hand::Hand,
    launches::{LaunchOrder, Launches, failed},
    watches::Watches,
};
use crate::{
    notice::Notice,
    process::{Child, Launcher, UNHEARD, Watch, group_of, lived, pid_of_ours},
};

/// What `SIGKILL` is on every Linux.
pub(super) const KILL: i32 = 9;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Local {
    launches: Launches,
    watches: Watches,
    /// Dead slaves of slots into which a process is being started: it may have been theirs.
    quick: Vec<Quick>,
    /// For tasks that tell the driver something later.
    notices: mpsc::Sender<Notice>,
}

/// A slave that was dead before it was known whose process it was.
#[derive(Debug)]
struct Quick {
    hello: Hello,
    /// The process group that it was of.
    group: Option<u32>,
}

/// What came of a launched process that ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its slot, which may take the next one.
    pub(crate) slot: String,
    /// How it ended; `None`: its slave lives on, and the slave's own end is told later.
    pub(crate) death: Option<Box<Death>>,
    /// It was still waited for.
    pub(crate) failed: Option<Input>,
}

impl Local {
    /// Of a fleet none of whose processes is known yet.
    pub(super) fn new(notices: mpsc::Sender<Notice>) -> Self {
        Self {
            launches: Launches::default(),
            watches: Watches::default(),
            quick: Vec::new(),
            notices,
        }
    }

    /// A process is there, or is not: what the core hears of it.
    pub(super) fn started(
        &mut self,
        launcher: &Launcher,
        slot: &str,
        started: Result<(u32, Child), String>,
    ) -> Option<Input> {
        let input = self.launches.started(slot, started, &self.notices);
        debug_assert!(
            !self.launches.is_starting(slot),
            "it has started, or will not"
        );
        for Quick { mut hello, group } in std::mem::take(&mut self.quick) {
            let pid = pid_of_ours(&hello.process);
            // It is dead: nobody has to know it by its pid.
            let _ = self.launches.recognise(&mut hello, pid, group);
            // What is of another slot waits on.
            self.tell_death_in(launcher, group, &hello);
        }
        input
    }

    /// A launched process ended; `None`: it is not one of ours.
    pub(super) fn exited(
        &mut self,
        pid: u32,
        ending: EndedBy,
        last_lines: Vec<String>,
    ) -> Option<Exit> {
        let launched = self.launches.ended(pid)?;
        let slot = launched.slot.clone();
        // Of a command that went away and left its slave behind the slave's pidfd tells.
        let joined = launched.joined.as_ref();
        if joined.is_some_and(|joined| joined.pid != pid && self.watches.lives(joined.slave)) {
            return Some(Exit {
                slot,
                death: None,
                failed: None,
            });
        }
        let slave = joined.map(|joined| joined.slave);
        let doomed = slave.and_then(|slave| self.watches.told(slave));
        let given_up = launched.is_given_up();
        let doomed = doomed.or(given_up.then_some("its start was given up"));
        let death = Death {
            slave,
            slot: slot.clone(),
            build: joined.map(|joined| joined.build.clone()),
            pid,
            host: None,
            ending: match (doomed, ending) {
                (Some(why), EndedBy::Signal(KILL)) => EndedBy::Killed(why),
                (Some(_) | None, ending) => ending,
            },
            lived: Some(launched.began.elapsed()),
            last_lines,
        };
        let failed = (!given_up && slave.is_none()).then(|| Input::LaunchFailed {
            launch: launched.launch,
            reason: format!("ended before it joined: {}", death.told()),
        });
        Some(Exit {
            slot,
            death: Some(Box::new(death)),
            failed,
        })
    }

    /// The order that waited for the process before.
    pub(super) fn launch_next(&mut self, launcher: &Launcher, slot: &str) -> Option<Input> {
        let order = self.launches.next(slot)?;
        self.launch(launcher, slot.to_owned(), order)
    }

    /// Tells the end of this slave's process from now on.
    pub(super) fn watch(&mut self, slave: SlaveId, watch: Watch) {
        self.watches.watch(slave, watch, &self.notices);
    }

    /// Looks again and again at a process that could not be seen, until it can, or until
    /// its slave is no longer known.
    pub(super) fn look_for(
        &mut self,
        slave: SlaveId,
        process: ProcessIdentity,
        is_known: impl Fn(SlaveId) -> bool,
    ) {
        self.watches
            .look_for(slave, process, is_known, &self.notices);
    }

    /// The process of a slave that could not be seen was looked at again.
    pub(super) fn was_looked_for(&mut self, slave: SlaveId) {
        self.watches.was_looked_for(slave);
    }

    fn tell_death_in(&mut self, launcher: &Launcher, group: Option<u32>, hello: &Hello) {
        let slave = hello.slave;
        if self.launches.of_slave(slave).next().is_some() {
            return;
        }
        if self.launches.is_starting(&hello.slot) {
            // Whether it was launched, and by whom its end is told, is not known yet.
            let hello = hello.clone();
            self.quick.push(Quick { hello, group });
            return;
        }
        let ending = match self.watches.doom(slave) {
            Some(why) => EndedBy::Killed(why),
            None => EndedBy::Unknown,
        };
        let mut death = Death {
            slave: Some(slave),
            slot: hello.slot.clone(),
            build: Some(hello.build.clone()),
            pid: hello.process.pid,
            host: None,
            ending,
            lived: lived(&hello.process),
            last_lines: vec![UNHEARD.to_owned()],
        };
        let leader = group.unwrap_or(death.pid);
        let output = launcher.output_of(&death.slot, leader);
        let notices = self.notices.clone();
        tokio::spawn(async move {
            if let Some(output) = output {
                death.last_lines = output.read().await;
            }
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Ended(Box::new(death))).await;
        });
    }
}

impl Hand for Local {
    fn launch(&mut self, launcher: &Launcher, slot: String, order: LaunchOrder) -> Option<Input> {
        if self.launches.is_launching(&slot) {
            self.launches.wait(slot, order);
            return None;
        }
        let LaunchOrder { role, launch, .. } = order;
        let command = order.command.as_deref();
        let plan = launcher.plan(&slot, role, command, order.deploy, launch);
        match plan {
            Ok(plan) => {
                self.launches.begin(&slot, &order);
                let notices = self.notices.clone();
                tokio::spawn(async move {
                    let started = plan.start().await;
                    // Fails only when the driver has ended.
                    let _ = notices.send(Notice::Started { slot, started }).await;
                });
                None
            }
            Err(reason) => Some(failed(&slot, launch, &reason)),
        }
    }

    fn give_up(&mut self, slot: &str) {
        self.launches.give_up(slot);
    }

    /// It says of which launch it is; one that does not is known by its process and group.
    /// Of a shell that was launched, the core hears by which pid to know the slave that is
    /// its child.
    fn recognise(&mut self, hello: &mut Hello) -> Vec<Input> {
        let pid = pid_of_ours(&hello.process);
        let group = pid.and_then(group_of);
        let inputs = self.launches.recognise(hello, pid, group);
        self.watches.is_of_group(hello.slave, group);
        inputs
    }

    fn refused(&self, slave: SlaveId, detail: &str) -> Vec<Input> {
        let launched = self.launches.of_slave(slave);
        launched
            .map(|launched| Input::LaunchFailed {
                launch: launched.launch,
                reason: format!("was refused: {detail}"),
            })
            .collect()
    }

    fn is_watched(&self, slave: SlaveId) -> bool {
        self.watches.get(slave).is_some()
    }

    fn may_kill(&self, slave: SlaveId) -> Option<bool> {
        self.watches.get(slave).map(Watch::may_kill)
    }

    fn meet(
        &mut self,
        slave: SlaveId,
        process: &ProcessIdentity,
        watch: Option<Watch>,
        is_known: &dyn Fn(SlaveId) -> bool,
    ) -> bool {
        let known = self.watches.get(slave);
        match watch {
            Some(watch) if known.is_none_or(|known| watch.may_kill() && !known.may_kill()) => {
                self.watch(slave, watch);
                true
            }
            None if known.is_none() => {
                self.look_for(slave, process.clone(), is_known);
                false
            }
            Some(_) | None => false,
        }
    }

    /// [`Notice::Died`] follows.
    fn kill(&mut self, slave: SlaveId, why: &'static str) {
        self.watches.kill(slave, why);
    }

    fn is_dead(&mut self, slave: SlaveId) -> bool {
        self.watches.forget_process(slave)
    }

    /// Of one that was launched here, `Exited` tells, before this or after. Of another one
    /// its launcher knows how it ended.
    fn tell_death(&mut self, launcher: &Launcher, slave: SlaveId, hello: Option<&Hello>) {
        let group = self.watches.leave_group(slave);
        if self.watches.was_told(slave) && !mutant!("death-told-twice") {
            return;
        }
        if let Some(hello) = hello {
            debug_assert_eq!(hello.slave, slave, "its own hello");
            self.tell_death_in(launcher, group, hello);
        }
    }

    fn forget(&mut self, slave: SlaveId) {
        self.watches.forget(slave);
    }
}

#[cfg(test)]
impl Local {
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        self.watches.counts()
    }

    pub(super) fn pretend_launched(&mut self, slot: &str, pid: u32) {
        self.launches.pretend(slot, pid);
    }

    pub(super) fn joined_from(&self, pid: u32) -> Option<SlaveId> {
        self.launches.joined_from(pid)
    }
}
