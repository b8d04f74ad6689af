//! The hand on another host: what its agent starts, watches and kills.
//!
//! ```text
//! order ──▶ unsent ──agent here──▶ told ──Launched──▶ there ──Ended──▶ noted, forgotten
//!                                   │  ▲
//!                                   └──┘ the link was lost: told again, and done once
//! ```
//!
//! What an agent says of its own host is as good as what this master sees of its own: a process is dead
//! if the agent says so. While the agent is away nothing of its host is known, and nothing
//! is dead.

mod hand;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use baton_core::event::{Death, EndedBy, Input};
use baton_protocol::{
    LaunchId, ProcessIdentity, SlaveId,
    message::{
        Ping,
        agent::{
            AgentReport, Ended, Launch, Launched, OfLaunch, Sight, ToAgent, Watch as Look, Watched,
        },
    },
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    hand::Hand as _,
    launches::{Joined, LaunchOrder, failed},
    local::{Exit, KILL},
};
use crate::{link::AgentLink, notice::Notice, process::Launcher};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Remote {
    host: String,
    /// `None`: its agent is away.
    link: Option<AgentLink>,
    launches: BTreeMap<LaunchId, Order>,
    /// Orders that wait for the end of the process before, by slot.
    waiting: BTreeMap<String, LaunchOrder>,
    watched: BTreeMap<SlaveId, Seen>,
    /// Slaves that this master has killed, and why. The first reason is the true one.
    doomed: BTreeMap<SlaveId, &'static str>,
    /// Slaves whose end was told, and of which the agent has not said yet that they are dead.
    told: BTreeSet<SlaveId>,
    /// Launches whose end was told of late: the agent may not have heard that it was noted.
    noted: VecDeque<LaunchId>,
    /// For what is told later.
    notices: mpsc::Sender<Notice>,
}

/// So many ends that were told are remembered: an agent keeps fewer.
const MOST_NOTED: usize = 1024;

/// What was launched there, or is to be.
#[derive(Debug)]
struct Order {
    slot: String,
    /// What the agent is told, until it has answered; `None`: an earlier master told it.
    order: Option<Box<Launch>>,
    step: Step,
    joined: Option<Joined>,
    given_up: bool,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unsent,
    Told,
    There,
}

/// A slave that is there.
#[derive(Debug)]
struct Seen {
    process: ProcessIdentity,
    /// `None`: the agent did not say yet.
    sight: Option<Sight>,
    may_kill: bool,
}

impl Remote {
    /// Of a host whose agent did not come yet.
    pub(super) const fn new(host: String, notices: mpsc::Sender<Notice>) -> Self {
        Self {
            host,
            link: None,
            launches: BTreeMap::new(),
            waiting: BTreeMap::new(),
            watched: BTreeMap::new(),
            doomed: BTreeMap::new(),
            told: BTreeSet::new(),
            noted: VecDeque::new(),
            notices,
        }
    }

    /// Says something, if the agent is here. One that takes nothing is cut off.
    pub(super) fn say(&self, message: ToAgent) {
        if let Some(link) = &self.link
            && link.send(message).is_err()
        {
            warn!(
                host = self.host,
                "the agent takes nothing; connection dropped"
            );
            link.cut();
        }
    }

    /// Asks whether the agent lives.
    pub(super) fn ask(&self, number: u64) {
        self.say(ToAgent::Ping(Ping { number, heard: 0 }));
    }

    /// The agent came, and knows these launches. It is told everything that it may have missed.
    /// Gives what the core hears.
    pub(super) fn came(&mut self, link: AgentLink, report: &AgentReport) -> Vec<Input> {
        self.link = Some(link);
        let mut inputs = Vec::new();
        let knows = |launch| report.launches.iter().any(|known| known.launch == launch);
        let mut again = Vec::new();
        self.launches.retain(|&launch, order| {
            let of_launch = OfLaunch { launch };
            if knows(launch) {
                if order.step == Step::Unsent {
                    order.step = Step::Told;
                }
                if order.given_up {
                    again.push(ToAgent::GiveUp(of_launch));
                } else if order.step == Step::Told
                    && let Some(order) = &order.order
                {
                    // What came of it was lost with the link.
                    again.push(ToAgent::Launch(order.clone()));
                }
                return true;
            }
            match (&order.order, order.step) {
                (Some(wanted), Step::Unsent | Step::Told) if !order.given_up => {
                    again.push(ToAgent::Launch(wanted.clone()));
                    order.step = Step::Told;
                    true
                }
                _ => {
                    // Its process may live. If it is a slave, that is watched.
                    if order.joined.is_none() && !order.given_up {
                        inputs.push(Input::LaunchFailed {
                            launch,
                            reason: format!(
                                "is not known any more to the agent of host {:?}, which lost its \
                                 runtime folder",
                                self.host
                            ),
                        });
                    }
                    false
                }
            }
        });
        for (&slave, seen) in &mut self.watched {
            seen.sight = None;
            let process = seen.process.clone();
            again.push(ToAgent::Watch(Look { slave, process }));
        }
        again.into_iter().for_each(|message| self.say(message));
        inputs
    }

    /// Closes the connection of the agent, if it is here.
    pub(super) fn let_go(&self) {
        if let Some(link) = &self.link {
            link.cut();
        }
    }

    /// The agent is away: what it sees is not known any more.
    pub(super) fn away(&mut self) {
        self.link = None;
        for seen in self.watched.values_mut() {
            seen.sight = None;
        }
    }

    /// Slaves that are there.
    pub(super) fn slaves(&self) -> impl Iterator<Item = SlaveId> {
        self.watched.keys().copied()
    }

    /// What came of an order; gives the slot that may take the next one, and what the core hears.
    pub(super) fn launched(&mut self, launched: Launched) -> Option<(String, Option<Input>)> {
        let Launched {
            launch,
            process,
            failed: reason,
        } = launched;
        let order = self.launches.get_mut(&launch)?;
        let slot = order.slot.clone();
        if !reason.is_empty() {
            let given_up = order.given_up;
            self.launches.remove(&launch);
            let input = failed(&slot, launch, &reason);
            return Some((slot, (!given_up).then_some(input)));
        }
        if order.step == Step::There {
            return None;
        }
        order.step = Step::There;
        let pid = process.pid;
        info!(host = self.host, slot, pid, "slave launched");
        if order.given_up {
            self.say(ToAgent::GiveUp(OfLaunch { launch }));
            return None;
        }
        Some((slot, Some(Input::Launched { launch, pid })))
    }

    /// A launched process ended. One that is not known was launched for an earlier master.
    pub(super) fn ended(&mut self, ended: Ended) -> Exit {
        let launch = ended.launch;
        self.say(ToAgent::Noted(OfLaunch { launch }));
        if self.noted.contains(&launch) {
            return Exit {
                slot: ended.slot,
                death: None,
                failed: None,
            };
        }
        if self.noted.len() == MOST_NOTED {
            self.noted.pop_front();
        }
        self.noted.push_back(launch);
        let order = self.launches.remove(&launch);
        let (joined, given_up) = match &order {
            Some(order) => (order.joined.as_ref(), order.given_up),
            None => (None, false),
        };
        let slot = order.as_ref().map_or(&ended.slot, |order| &order.slot);
        let slot = slot.clone();
        // Of a command that went away and left its slave behind the slave's own end tells.
        let lives =
            |joined: &&Joined| joined.pid != ended.pid && self.watched.contains_key(&joined.slave);
        if joined.filter(lives).is_some() {
            return Exit {
                slot,
                death: None,
                failed: None,
            };
        }
        let slave = joined.map(|joined| joined.slave);
        let doomed = slave.and_then(|slave| self.doomed.remove(&slave));
        self.told
            .extend(slave.filter(|slave| self.watched.contains_key(slave)));
        let doomed = doomed.or(given_up.then_some("its start was given up"));
        let ending = match (ended.code, ended.signal) {
            (Some(code), _) => EndedBy::Code(code),
            (None, Some(signal)) => EndedBy::Signal(signal),
            (None, None) => EndedBy::Unknown,
        };
        let death = Death {
            slave,
            slot: slot.clone(),
            build: joined.map(|joined| joined.build.clone()),
            pid: ended.pid,
            host: Some(self.host.clone()),
            ending: match (doomed, ending) {
                (Some(why), EndedBy::Signal(KILL) | EndedBy::Unknown) => EndedBy::Killed(why),
                (Some(_) | None, ending) => ending,
            },
            lived: ended.lived_ms.map(Duration::from_millis),
            last_lines: ended.last_lines,
        };
        let waited_for = order.is_some() && !given_up && slave.is_none();
        let failed = waited_for.then(|| Input::LaunchFailed {
            launch,
            reason: format!("ended before it joined: {}", death.told()),
        });
        Exit {
            slot,
            death: Some(Box::new(death)),
            failed,
        }
    }

    /// How well the agent sees a slave.
    pub(super) fn sees(&mut self, watched: &Watched) {
        let Some(seen) = self.watched.get_mut(&watched.slave) else {
            return;
        };
        seen.sight = Some(watched.sight);
        seen.may_kill = watched.may_kill;
        if watched.sight != Sight::Watched {
            warn!(
                slave = %format_args!("{:.8}", watched.slave), host = self.host, pid = seen.process.pid,
                sight = ?watched.sight,
                "the agent of its host does not see this slave: its death cannot be known"
            );
        }
    }

    /// Slots whose order waits for the end of the process before.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.waiting.keys().cloned().collect()
    }

    /// The order that waited for the process before.
    pub(super) fn launch_next(&mut self, launcher: &Launcher, slot: &str) -> Option<Input> {
        if self.is_launching(slot) {
            return None;
        }
        let order = self.waiting.remove(slot)?;
        self.launch(launcher, slot.to_owned(), order)
    }

    fn is_launching(&self, slot: &str) -> bool {
        let mut launches = self.launches.values();
        launches.any(|order| order.joined.is_none() && order.slot == slot)
    }

    /// Kills what was launched into a slot and has not joined; its end follows.
    fn end_unjoined(&mut self, slot: &str) {
        let mut gone = Vec::new();
        for (&launch, order) in &mut self.launches {
            if order.joined.is_some() || order.slot != slot || order.given_up {
                continue;
            }
            order.given_up = true;
            if order.step == Step::Unsent {
                gone.push(launch);
                continue;
            }
            warn!(
                host = self.host,
                slot, "a launched process that did not join is killed"
            );
            if let Some(link) = &self.link {
                // One that takes nothing is noticed by its silence.
                let _ = link.send(ToAgent::GiveUp(OfLaunch { launch }));
            }
        }
        for launch in gone {
            self.launches.remove(&launch);
        }
    }
}
