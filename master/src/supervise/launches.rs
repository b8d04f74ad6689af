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

use baton_core::event::Input;
use baton_protocol::{
    DeployId, LaunchId, SlaveId,
    message::{Hello, Role},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    notice::Notice,
    process::{Child, is_of_launch},
};

/// Process groups of deploys that are remembered.
const MOST_GROUPS: usize = 64;

/// What was launched, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Launches {
    /// Processes that are being started, by slot.
    starting: BTreeMap<String, Starting>,
    /// Launched processes that have not ended, by pid.
    launched: BTreeMap<u32, Launched>,
    /// Orders that wait for the end of the process before, by slot.
    waiting: BTreeMap<String, LaunchOrder>,
    /// The process groups that deploys were launched in, the newest last: what was
    /// launched may have ended, and left a slave of its group behind.
    for_deploys: VecDeque<(u32, DeployId)>,
}

/// What is to be launched into a slot.
#[derive(Debug)]
pub(crate) struct LaunchOrder {
    /// With which role it is to say hello.
    pub(crate) role: Role,
    /// Instead of the slot's own command.
    pub(crate) command: Option<Vec<String>>,
    /// For which deploy.
    pub(crate) deploy: Option<DeployId>,
    /// Which launch it is.
    pub(crate) launch: LaunchId,
}

/// A process that is being started.
#[derive(Debug)]
struct Starting {
    role: Role,
    deploy: Option<DeployId>,
    launch: LaunchId,
    /// It is killed as soon as it is there.
    given_up: bool,
}

/// A process that the master launched and that has not ended.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) slot: String,
    pub(super) launch: LaunchId,
    /// The slave that joined from it: its end is then that slave's death.
    pub(super) joined: Option<Joined>,
    pub(super) began: Instant,
    /// Kills it, with its group; `None`: that was done, it was given up.
    kill: Option<oneshot::Sender<()>>,
}

/// The slave that joined from a launched process.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) slave: SlaveId,
    /// What that slave called its build.
    pub(super) build: String,
    /// Its process, where that is a child of the one that was launched.
    pub(super) pid: u32,
}

impl Launched {
    /// Whether it was killed before it joined.
    pub(super) const fn is_given_up(&self) -> bool {
        self.kill.is_none()
    }
}

impl Launches {
    /// Whether a process of this slot is being started, or was launched, has not joined
    /// and lives.
    pub(super) fn is_launching(&self, slot: &str) -> bool {
        self.launching(slot) > 0
    }

    /// Whether a process of this slot is being started, so that its pid is not known yet.
    pub(super) fn is_starting(&self, slot: &str) -> bool {
        self.starting.contains_key(slot)
    }

    fn launching(&self, slot: &str) -> usize {
        let launched = self.launched.values();
        let launched =
            launched.filter(|launched| launched.joined.is_none() && launched.slot == slot);
        usize::from(self.starting.contains_key(slot)) + launched.count()
    }

    /// A process is being started into a slot.
    pub(super) fn begin(&mut self, slot: &str, order: &LaunchOrder) {
        let starting = Starting {
            role: order.role,
            deploy: order.deploy,
            launch: order.launch,
            given_up: false,
        };
        self.starting.insert(slot.to_owned(), starting);
        self.check(slot);
    }

    /// The process before is killed; this order follows when it is known dead.
    pub(super) fn wait(&mut self, slot: String, order: LaunchOrder) {
        self.kill(&slot);
        self.waiting.insert(slot, order);
    }

    /// The order that waits for nothing any more.
    pub(super) fn next(&mut self, slot: &str) -> Option<LaunchOrder> {
        if self.is_launching(slot) {
            return None;
        }
        self.waiting.remove(slot)
    }

    /// Nobody waits for what is launched into a slot.
    pub(super) fn give_up(&mut self, slot: &str) {
        self.waiting.remove(slot);
        self.kill(slot);
    }

    /// Kills what was launched into a slot and has not joined; `Exited` follows.
    fn kill(&mut self, slot: &str) {
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

    /// What was launched for a slave that joined.
    pub(super) fn of_slave(&self, slave: SlaveId) -> impl Iterator<Item = &Launched> {
        let launched = self.launched.values();
        launched.filter(move |launched| {
            let joined = launched.joined.as_ref();
            joined.is_some_and(|joined| joined.slave == slave)
        })
    }

    /// A process is there, or is not: what the core hears of it.
    pub(super) fn started(
        &mut self,
        slot: &str,
        started: Result<(u32, Child), String>,
        notices: &mpsc::Sender<Notice>,
    ) -> Option<Input> {
        let starting = self.starting.remove(slot);
        debug_assert!(starting.is_some(), "nothing was started into slot {slot}");
        let starting = starting?;
        let launch = starting.launch;
        match started {
            Ok((pid, child)) => {
                self.keep(slot, pid, child, &starting, notices);
                if starting.given_up {
                    self.kill(slot);
                    return None;
                }
                Some(Input::Launched { launch, pid })
            }
            Err(reason) if starting.given_up => {
                warn!(slot, reason, "launch failed");
                None
            }
            Err(reason) => Some(failed(slot, launch, &reason)),
        }
    }

    fn keep(
        &mut self,
        slot: &str,
        pid: u32,
        child: Child,
        starting: &Starting,
        notices: &mpsc::Sender<Notice>,
    ) {
        let role = starting.role;
        self.for_deploys.retain(|&(group, _)| group != pid);
        if let Some(deploy) = starting.deploy {
            if self.for_deploys.len() >= MOST_GROUPS {
                self.for_deploys.pop_front();
            }
            self.for_deploys.push_back((pid, deploy));
        }
        info!(slot, pid, role = role_name(role), "slave launched");
        let notices = notices.clone();
        let (kill, killed) = oneshot::channel();
        tokio::spawn(async move {
            let (ending, last_lines) = child.ends(killed).await;
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
            launch: starting.launch,
            joined: None,
            began: Instant::now(),
            kill: Some(kill),
        };
        self.launched.insert(pid, launched);
        self.check(slot);
    }

    /// What was launched says of which launch it is, or is known by process and group; gives
    /// what the core hears.
    pub(super) fn recognise(
        &mut self,
        hello: &mut Hello,
        pid: Option<u32>,
        group: Option<u32>,
    ) -> Vec<Input> {
        if hello.deploy == DeployId(0)
            && hello.role == Role::Candidate
            && let Some(group) = group
            && let Some((_, deploy)) = self.for_deploys.iter().find(|(known, _)| *known == group)
        {
            // It does not say for which deploy it was launched. Its group does.
            hello.deploy = *deploy;
        }
        let mut inputs = Vec::new();
        for (leader, launched) in &mut self.launched {
            let says = hello.launch.is_said();
            let is_it = match pid {
                _ if says => launched.launch == hello.launch,
                Some(pid) => is_of_launch(pid, *leader),
                None => false,
            };
            if launched.joined.is_some() || !is_it {
                continue;
            }
            launched.joined = Some(Joined {
                slave: hello.slave,
                build: hello.build.clone(),
                pid: hello.process.pid,
            });
            if let Some(pid) = pid.filter(|pid| !says && pid != leader) {
                // A shell was launched, the slave is its child.
                let launch = launched.launch;
                inputs.push(Input::Launched { launch, pid });
            }
        }
        inputs
    }

    /// A launched process ended.
    pub(super) fn ended(&mut self, pid: u32) -> Option<Launched> {
        self.launched.remove(&pid)
    }

    /// What holds after each change: a slot has at most one process that did not join.
    fn check(&self, slot: &str) {
        debug_assert!(
            self.launching(slot) <= 1,
            "two processes were launched into slot {slot}"
        );
    }

    #[cfg(test)]
    pub(super) fn pretend(&mut self, slot: &str, pid: u32) {
        let launched = Launched {
            slot: slot.to_owned(),
            launch: LaunchId(1),
            joined: None,
            began: Instant::now(),
            kill: None,
        };
        self.launched.insert(pid, launched);
    }

    #[cfg(test)]
    pub(super) fn joined_from(&self, pid: u32) -> Option<SlaveId> {
        let joined = self.launched[&pid].joined.as_ref();
        joined.map(|joined| joined.slave)
    }
}

/// A launch that cannot be.
pub(super) fn failed(slot: &str, launch: LaunchId, reason: &str) -> Input {
    warn!(slot, reason, "launch failed");
    let reason = format!("cannot be started: {reason}");
    Input::LaunchFailed { launch, reason }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Candidate => "candidate",
        Role::Standby => "standby",
        Role::Relaunch => "relaunch",
    }
}
