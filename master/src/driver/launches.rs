//! Processes that are launched into slots, one at a time in each: from the order to the
//! end of one that did not join.
//!
//! ```text
//! order ──▶ starting (a thread, which may wait for a disk) ──▶ launched ──▶ joined
//!              │ cannot be started: told                          │ ended, or was
//!              ▼                                                  ▼ given up and killed
//!           the order that came meanwhile, where one did ◀────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};

use baton_core::event::{Death, EndedBy, Input, News, Time};
use baton_protocol::{
    DeployId, SlaveId,
    message::{Hello, Role},
};
use tokio::{sync::oneshot, time::Instant};
use tracing::{info, warn};

use super::{Driver, KILL, Notice};
use crate::process::{Child, group_of, is_of_launch, kill_group, pid_of_ours};

/// Process groups of deploys that are remembered.
const MOST_GROUPS: usize = 64;

/// What was launched, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Launches {
    /// Processes that are being started, by slot.
    starting: BTreeMap<String, Starting>,
    /// Launched processes that have not ended, by pid.
    pub(super) launched: BTreeMap<u32, Launched>,
    /// Orders that wait for the end of the process before, by slot.
    waiting: BTreeMap<String, LaunchOrder>,
    /// The process groups that deploys were launched in, the newest last: what was
    /// launched may have ended, and left a slave of its group behind.
    for_deploys: VecDeque<(u32, DeployId)>,
}

/// What is to be launched into a slot.
#[derive(Debug)]
pub(super) struct LaunchOrder {
    pub(super) role: Role,
    pub(super) command: Option<Vec<String>>,
    pub(super) deploy: Option<DeployId>,
}

/// A process that is being started.
#[derive(Debug)]
struct Starting {
    role: Role,
    deploy: Option<DeployId>,
    /// It is killed as soon as it is there.
    given_up: bool,
}

/// A process that the master launched and that has not ended.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) slot: String,
    pub(super) role: Role,
    /// The slave that joined from it: its end is then that slave's death.
    pub(super) joined: Option<SlaveId>,
    /// What that slave called its build.
    pub(super) build: Option<String>,
    pub(super) began: Instant,
    /// Kills it, with its group; `None`: that was done, it was given up.
    pub(super) kill: Option<oneshot::Sender<()>>,
}

impl Launches {
    /// Whether a process of this slot is being started, or was launched, has not joined
    /// and lives.
    fn is_launching(&self, slot: &str) -> bool {
        let mut launched = self.launched.values();
        self.starting.contains_key(slot)
            || launched.any(|launched| launched.joined.is_none() && launched.slot == slot)
    }

    /// What was launched for a slave that joined: the slot and the role of each.
    pub(super) fn of_slave(&self, slave: SlaveId) -> impl Iterator<Item = &Launched> {
        let launched = self.launched.values();
        launched.filter(move |launched| launched.joined == Some(slave))
    }

    /// Kills what was launched into a slot and has not joined; `Exited` follows.
    fn give_up(&mut self, slot: &str) {
        if let Some(starting) = self.starting.get_mut(slot) {
            starting.given_up = true;
        }
        for (pid, launched) in &mut self.launched {
            if launched.joined.is_none()
                && launched.slot == slot
                && let Some(kill) = launched.kill.take()
            {
                warn!(slot, pid, "a launched process that did not join is killed");
                // It may have ended by itself.
                let _ = kill.send(());
            }
        }
    }
}

impl Driver {
    /// At most one process of a slot has been launched and not joined: one that
    /// lives is killed, and the launch waits until it is known dead.
    pub(super) fn launch(&mut self, slot: String, order: LaunchOrder) -> Option<Input> {
        if self.launches.is_launching(&slot) {
            self.launches.give_up(&slot);
            self.launches.waiting.insert(slot, order);
            return None;
        }
        let LaunchOrder {
            role,
            command,
            deploy,
        } = order;
        match self.launcher.plan(&slot, role, command.as_deref(), deploy) {
            Ok(plan) => {
                let starting = Starting {
                    role,
                    deploy,
                    given_up: false,
                };
                self.launches.starting.insert(slot.clone(), starting);
                let notices = self.notices.clone();
                tokio::spawn(async move {
                    let started = plan.start().await;
                    // Fails only when the driver has ended.
                    let _ = notices.send(Notice::Started { slot, started }).await;
                });
                None
            }
            Err(reason) => Some(failed(slot, role, &reason)),
        }
    }

    /// Nobody waits for what is launched into a slot any more.
    pub(super) fn give_up(&mut self, slot: &str) {
        self.launches.waiting.remove(slot);
        self.launches.give_up(slot);
    }

    /// A process is there, or is not.
    pub(super) fn started(
        &mut self,
        now: Time,
        slot: String,
        started: Result<(u32, Child), String>,
    ) {
        let Some(starting) = self.launches.starting.remove(&slot) else {
            return;
        };
        let (role, given_up) = (starting.role, starting.given_up);
        match started {
            Ok((pid, child)) => {
                self.watch_launched(&slot, pid, child, &starting);
                if given_up {
                    self.launches.give_up(&slot);
                } else {
                    let slot = slot.clone();
                    self.core.handle(now, Input::Launched { slot, role, pid });
                    self.know_early(now);
                }
            }
            Err(reason) if given_up => warn!(slot, reason, "launch failed"),
            Err(reason) => self.core.handle(now, failed(slot.clone(), role, &reason)),
        }
        self.launch_next(now, slot);
    }

    fn watch_launched(&mut self, slot: &str, pid: u32, mut child: Child, starting: &Starting) {
        let role = starting.role;
        let groups = &mut self.launches.for_deploys;
        groups.retain(|&(group, _)| group != pid);
        if let Some(deploy) = starting.deploy {
            if groups.len() >= MOST_GROUPS {
                groups.pop_front();
            }
            groups.push_back((pid, deploy));
        }
        info!(slot, pid, role = role_name(role), "slave launched");
        let notices = self.notices.clone();
        let (kill, killed) = oneshot::channel();
        tokio::spawn(async move {
            let asked = tokio::select! {
                ended = child.wait() => Err(ended),
                Ok(()) = killed => Ok(()),
            };
            let (ending, last_lines) = match asked {
                Err(ended) => ended,
                Ok(()) => {
                    kill_group(&child);
                    child.wait().await
                }
            };
            let exited = Notice::Exited {
                pid,
                ending,
                last_lines,
            };
            // Fails only when the driver has ended.
            let _ = notices.send(exited).await;
        });
        let launched = Launched {
            slot: slot.to_owned(),
            role,
            joined: None,
            build: None,
            began: Instant::now(),
            kill: Some(kill),
        };
        self.launches.launched.insert(pid, launched);
    }

    /// Slaves that were quick may have joined before it was known what was launched.
    fn know_early(&mut self, now: Time) {
        let slaves: Vec<SlaveId> = self.links.keys().copied().collect();
        for slave in slaves {
            let Some(hello) = self.core.hello(slave) else {
                continue;
            };
            let mut hello = hello.clone();
            self.know_by_launch(now, &mut hello);
        }
    }

    /// What was launched, and for which deploy, is known by process and group.
    pub(super) fn know_by_launch(&mut self, now: Time, hello: &mut Hello) {
        let Some(pid) = pid_of_ours(&hello.process) else {
            return;
        };
        let slave = hello.slave;
        let group = group_of(pid);
        let groups = &self.launches.for_deploys;
        if hello.deploy == DeployId(0)
            && hello.role == Role::Candidate
            && let Some(group) = group
            && let Some((_, deploy)) = groups.iter().find(|(known, _)| *known == group)
        {
            // It does not say for which deploy it was launched. Its group does.
            hello.deploy = *deploy;
        }
        for (leader, launched) in &mut self.launches.launched {
            if launched.joined.is_none() && is_of_launch(pid, *leader) {
                launched.joined = Some(slave);
                launched.build = Some(hello.build.clone());
                if pid != *leader {
                    // A shell was launched, the slave is its child: the core is
                    // told by which pid to know it.
                    let (slot, role) = (launched.slot.clone(), launched.role);
                    self.core.handle(now, Input::Launched { slot, role, pid });
                }
            }
        }
        if self.watches.contains_key(&slave)
            && let Some(group) = group
        {
            self.groups.insert(slave, group);
        }
    }

    /// A launched process ended.
    pub(super) fn exited(&mut self, now: Time, pid: u32, ending: EndedBy, last_lines: Vec<String>) {
        let Some(launched) = self.launches.launched.remove(&pid) else {
            return;
        };
        let (slot, role) = (launched.slot, launched.role);
        let given_up = launched.kill.is_none();
        // Of a command that went away and left its slave behind the slave's pidfd tells.
        let lives = launched
            .joined
            .is_some_and(|slave| self.outlives(slave, pid));
        if !lives {
            if let Some(slave) = launched.joined
                && self.watches.contains_key(&slave)
            {
                self.told.insert(slave);
            }
            let doomed = launched.joined.and_then(|slave| self.doomed.remove(&slave));
            let doomed = doomed.or(given_up.then_some("its start was given up"));
            let death = Death {
                slave: launched.joined,
                slot: slot.clone(),
                build: launched.build,
                pid,
                ending: match (doomed, ending) {
                    (Some(why), EndedBy::Signal(KILL)) => EndedBy::Killed(why),
                    (Some(_) | None, ending) => ending,
                },
                lived: Some(launched.began.elapsed()),
                last_lines,
            };
            let reason = format!("ended before it joined: {}", death.told());
            self.tell(News::SlaveEnded(Box::new(death)));
            if !given_up && launched.joined.is_none() {
                let slot = slot.clone();
                let failed = Input::LaunchFailed { slot, role, reason };
                self.core.handle(now, failed);
            }
        }
        self.launch_next(now, slot);
    }

    /// Whether a slave is another process than the launched one that it joined from, and
    /// is not known to have ended with it.
    fn outlives(&self, slave: SlaveId, launched: u32) -> bool {
        let hello = self.core.hello(slave);
        let is_another = hello.is_some_and(|hello| hello.process.pid != launched);
        let watched = self.watches.get(&slave);
        is_another && watched.is_some_and(|watched| !watched.watch.has_ended())
    }

    /// The order that waited for the process before.
    fn launch_next(&mut self, now: Time, slot: String) {
        if !self.launches.is_launching(&slot)
            && let Some(order) = self.launches.waiting.remove(&slot)
            && let Some(failed) = self.launch(slot, order)
        {
            self.core.handle(now, failed);
        }
    }
}

fn failed(slot: String, role: Role, reason: &str) -> Input {
    warn!(slot, reason, "launch failed");
    let reason = format!("cannot be started: {reason}");
    Input::LaunchFailed { slot, role, reason }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Candidate => "candidate",
        Role::Standby => "standby",
        Role::Relaunch => "relaunch",
    }
}
