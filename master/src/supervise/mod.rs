//! The processes of the fleet: launched, watched, killed, and known dead.
//!
//! ```text
//!            launch, give up, kill
//!  driver ───────────────────────────▶ Supervisor ──▶ Launches   what it starts
//!    ▲                                     │      └──▶ Watches    whose end it is told
//!    └──── Notice: Started, Exited, ◀──────┘ (tasks)
//!          Died, Seen, Ended
//! ```
//!
//! It decides nothing: what a process did goes back as an input for the core, which the
//! driver hands on, or as the death that it tells its observers. Nothing here waits: what
//! may take time is a task, and its result comes as a [`Notice`].

mod launches;
mod watches;

use std::{collections::BTreeMap, time::Duration};

use baton_core::event::{Death, EndedBy, Input};
use baton_protocol::{ProcessIdentity, SlaveId, message::Hello};
use tokio::{sync::mpsc, time::Instant};

pub(crate) use self::launches::LaunchOrder;
use self::{
    launches::{Launches, failed},
    watches::Watches,
};
use crate::{
    notice::Notice,
    process::{Child, Launcher, UNHEARD, Watch, group_of, lived, pid_of_ours},
};

/// A dead slave's connection is read to its end for at most this long: its last
/// words, tickets perhaps, count. Its end is there at once, unless another
/// process holds the socket.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What `SIGKILL` is on every Linux.
const KILL: i32 = 9;

/// The processes of one fleet on this host.
#[derive(Debug)]
pub(crate) struct Supervisor {
    launcher: Launcher,
    launches: Launches,
    watches: Watches,
    /// Dead slaves whose connection is not read to its end yet, and when the
    /// core hears of it anyway.
    dying: BTreeMap<SlaveId, Instant>,
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

impl Supervisor {
    /// Of a fleet none of whose processes is known yet.
    pub(crate) fn new(launcher: Launcher, notices: mpsc::Sender<Notice>) -> Self {
        Self {
            launcher,
            launches: Launches::default(),
            watches: Watches::default(),
            dying: BTreeMap::new(),
            quick: Vec::new(),
            notices,
        }
    }

    // ---- commands ------------------------------------------------------------

    /// The command of a slot; `None`: it has none.
    pub(crate) fn command(&self, slot: &str) -> Option<Vec<String>> {
        self.launcher.present(slot).map(<[String]>::to_vec)
    }

    /// The command that a slot had before the present one.
    pub(crate) fn command_before(&self, slot: &str) -> Option<Vec<String>> {
        self.launcher.former(slot).map(<[String]>::to_vec)
    }

    /// The command that a rollback deploys.
    ///
    /// # Errors
    /// There is none: why, and what to do.
    pub(crate) fn way_back(&self, slot: &str) -> Result<Vec<String>, String> {
        self.launcher.before(slot)
    }

    /// A deploy brought this command into a slot; it is in the journal.
    pub(crate) fn remember(&mut self, slot: &str, command: &[String]) {
        self.launcher.remember(slot, command);
    }

    // ---- launched processes --------------------------------------------------

    /// Starts a process into a slot. At most one process of a slot has been launched and
    /// not joined: one that lives is killed, and the launch waits until it is known dead.
    /// Gives what the core hears at once: that it cannot be started.
    pub(crate) fn launch(&mut self, slot: String, order: LaunchOrder) -> Option<Input> {
        if self.launches.is_launching(&slot) {
            self.launches.wait(slot, order);
            return None;
        }
        let LaunchOrder { role, launch, .. } = order;
        let command = order.command.as_deref();
        let plan = self
            .launcher
            .plan(&slot, role, command, order.deploy, launch);
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

    /// Nobody waits for what is launched into a slot any more.
    pub(crate) fn give_up(&mut self, slot: &str) {
        self.launches.give_up(slot);
    }

    /// A process is there, or is not: what the core hears of it.
    pub(crate) fn started(
        &mut self,
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
            self.tell_death_in(group, &hello);
        }
        input
    }

    /// A slave says hello, or had said it before it was known what was launched. It says of
    /// which launch it is; one that does not is known by its process and group. Gives what
    /// the core hears: of a shell that was launched, by which pid to know the slave that is
    /// its child.
    pub(crate) fn recognise(&mut self, hello: &mut Hello) -> Vec<Input> {
        let pid = pid_of_ours(&hello.process);
        let group = pid.and_then(group_of);
        let inputs = self.launches.recognise(hello, pid, group);
        self.watches.is_of_group(hello.slave, group);
        inputs
    }

    /// A launched process ended; `None`: it is not one of ours.
    pub(crate) fn exited(
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
    pub(crate) fn launch_next(&mut self, slot: &str) -> Option<Input> {
        let order = self.launches.next(slot)?;
        self.launch(slot.to_owned(), order)
    }

    /// The core refuses a slave: what the asker of its launch hears at once.
    pub(crate) fn refused(&self, slave: SlaveId, detail: &str) -> Vec<Input> {
        let launched = self.launches.of_slave(slave);
        launched
            .map(|launched| Input::LaunchFailed {
                launch: launched.launch,
                reason: format!("was refused: {detail}"),
            })
            .collect()
    }

    // ---- watched processes ---------------------------------------------------

    /// Whether the death of this slave will be known.
    pub(crate) fn is_watched(&self, slave: SlaveId) -> bool {
        self.watches.get(slave).is_some()
    }

    /// Whether this slave can be killed from here; `None`: its process is not seen.
    pub(crate) fn may_kill(&self, slave: SlaveId) -> Option<bool> {
        self.watches.get(slave).map(Watch::may_kill)
    }

    /// Tells the end of this slave's process from now on.
    pub(crate) fn watch(&mut self, slave: SlaveId, watch: Watch) {
        self.watches.watch(slave, watch, &self.notices);
    }

    /// A slave joins, with its process where that could be seen. Whether it is watched
    /// from now on and was not before.
    pub(crate) fn meet(
        &mut self,
        slave: SlaveId,
        process: &ProcessIdentity,
        watch: Option<Watch>,
        is_known: impl Fn(SlaveId) -> bool,
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

    /// Looks again and again at a process that could not be seen, until it can, or until
    /// its slave is no longer known.
    pub(crate) fn look_for(
        &mut self,
        slave: SlaveId,
        process: ProcessIdentity,
        is_known: impl Fn(SlaveId) -> bool,
    ) {
        self.watches
            .look_for(slave, process, is_known, &self.notices);
    }

    /// The process of a slave that could not be seen was looked at again.
    pub(crate) fn was_looked_for(&mut self, slave: SlaveId) {
        self.watches.was_looked_for(slave);
    }

    /// `SIGKILL`. [`Notice::Died`] follows. Where it cannot be done, a person is told.
    pub(crate) fn kill(&mut self, slave: SlaveId, why: &'static str) {
        self.watches.kill(slave, why);
    }

    /// A slave is known to be dead. Whether this one's death was waited for, so that it is
    /// news to the core.
    pub(crate) fn is_dead(&mut self, slave: SlaveId) -> bool {
        self.watches.forget_process(slave)
    }

    /// Tells how a slave ended that this master did not launch: its launcher knows.
    /// Of one that it did launch, `Exited` tells, before this or after. `hello`: as it
    /// introduced itself; `None`: nobody knows it.
    pub(crate) fn tell_death(&mut self, slave: SlaveId, hello: Option<&Hello>) {
        let group = self.watches.leave_group(slave);
        if self.watches.was_told(slave) && !mutant!("death-told-twice") {
            return;
        }
        if let Some(hello) = hello {
            debug_assert_eq!(hello.slave, slave, "its own hello");
            self.tell_death_in(group, hello);
        }
    }

    fn tell_death_in(&mut self, group: Option<u32>, hello: &Hello) {
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
            ending,
            lived: lived(&hello.process),
            last_lines: vec![UNHEARD.to_owned()],
        };
        let leader = group.unwrap_or(death.pid);
        let output = self.launcher.output_of(&death.slot, leader);
        let notices = self.notices.clone();
        tokio::spawn(async move {
            if let Some(output) = output {
                death.last_lines = output.read().await;
            }
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Ended(Box::new(death))).await;
        });
    }

    /// Nothing of this slave's process is its any more: nobody is told its end, and it is
    /// not killed for what another one does.
    pub(crate) fn forget(&mut self, slave: SlaveId) {
        self.watches.forget(slave);
        self.dying.remove(&slave);
    }

    // ---- last words ----------------------------------------------------------

    /// A connected slave is dead: what it said last is heard first.
    pub(crate) fn hear_out(&mut self, slave: SlaveId) {
        self.dying.insert(slave, Instant::now() + LAST_WORDS);
    }

    /// The connection of a slave ended. Whether it is dead, and said everything now.
    pub(crate) fn was_heard_out(&mut self, slave: SlaveId) -> bool {
        self.dying.remove(&slave).is_some()
    }

    /// A dead slave whose connection does not end; each once.
    pub(crate) fn overdue(&mut self) -> Option<SlaveId> {
        let over = Instant::now();
        let mut dying = self.dying.iter();
        let slave = dying.find_map(|(slave, until)| (*until <= over).then_some(*slave))?;
        self.dying.remove(&slave);
        Some(slave)
    }

    /// When the next one is overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.dying.values().min().copied()
    }
}

#[cfg(test)]
impl Supervisor {
    /// How many processes are watched, looked for, and known by their group.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.watches.counts()
    }

    /// As if this process had been launched.
    pub(crate) fn pretend_launched(&mut self, slot: &str, pid: u32) {
        self.launches.pretend(slot, pid);
    }

    /// The slave that joined from a launched process.
    pub(crate) fn joined_from(&self, pid: u32) -> Option<SlaveId> {
        self.launches.joined_from(pid)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use baton_protocol::{LaunchId, auth::Secret, message::Role};

    use super::*;
    use crate::config::Slot;

    /// A slave is as quick as its launch is slow: it joins and is dead before the master
    /// knows what it launched.
    #[tokio::test]
    async fn a_slave_that_dies_before_its_launch_is_known_is_told_once_and_with_its_cause() {
        let (sender, mut notices) = mpsc::channel(16);
        let slot = Slot {
            name: "main".to_owned(),
            command: Some(["sh", "-c", "exit 7"].map(str::to_owned).to_vec()),
            shards: None,
            host: None,
            env: BTreeMap::new(),
            log: None,
            listen: None,
        };
        let nowhere = Path::new("/nonexistent");
        let secret = Secret::random().unwrap();
        let launcher = Launcher::new(
            nowhere,
            nowhere,
            secret,
            std::slice::from_ref(&slot),
            BTreeMap::new(),
        );
        let mut supervisor = Supervisor::new(launcher, sender);
        let launch = LaunchId(7);
        let order = LaunchOrder {
            role: Role::Relaunch,
            command: None,
            deploy: None,
            launch,
        };
        assert!(supervisor.launch(slot.name.clone(), order).is_none());
        let hello = |slave, launch| Hello {
            slave: SlaveId(slave),
            slot: slot.name.clone(),
            launch,
            ..Hello::default()
        };
        for dead in [hello(1, launch), hello(2, LaunchId(0))] {
            supervisor.tell_death(dead.slave, Some(&dead));
        }
        let mut told = BTreeMap::new();
        while told.len() < 2 {
            let notice = notices.recv().await.unwrap();
            let death = if let Notice::Started { slot, started } = notice {
                supervisor.started(&slot, started);
                continue;
            } else if let Notice::Exited {
                pid,
                ending,
                last_lines,
            } = notice
            {
                let exit = supervisor.exited(pid, ending, last_lines);
                exit.unwrap().death.unwrap()
            } else if let Notice::Ended(death) = notice {
                death
            } else {
                panic!("{notice:?}");
            };
            let before = told.insert(death.slave.unwrap(), death.ending);
            assert_eq!(before, None, "once");
        }
        assert_eq!(told[&SlaveId(1)], EndedBy::Code(7));
        assert_eq!(told[&SlaveId(2)], EndedBy::Unknown, "it was another one's");
    }
}
