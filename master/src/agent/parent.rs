//! One slave that the agent starts by itself, because whatever started the agent started it
//! for that slave: a container, or a pod.
//!
//! ```text
//! due ──a master listens, and knows how the one before ended──▶ lives ──ends──▶ over
//!  ▲                                                              │
//!  └── it may be accepted later (exit code 75), or was not let ───┘
//!      in because the one before is not known to be dead yet
//! ```
//!
//! The agent ends with its slave, and with its exit code. The first slave of a folder comes as a
//! candidate: if another one fills its slot, a deploy begins. A later one takes the place of the
//! one before, and begins nothing.

use std::time::Duration;

use baton_core::event::EndedBy;
use baton_protocol::{
    LaunchId, SlaveId,
    message::{
        Role,
        agent::{Launch, Stands, Watch},
    },
};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    door::Status,
    processes::{Event, Processes},
};
use crate::{
    error::{EXIT_FAILED, EXIT_USAGE},
    process::is_of_launch,
};

/// A slave ends with it if the same one may be accepted later (`EX_TEMPFAIL`).
const BUSY: u8 = 75;

/// So long after the first refusal a slave is still tried that takes the place of one before:
/// the master may not know yet that that one is dead.
const NOT_DEAD_YET: Duration = Duration::from_secs(15);

/// The first pause before a slave is tried again, and the longest.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// A master has so long to note how the slave ended. The next agent of the folder tells it
/// otherwise.
const NOTED: Duration = Duration::from_secs(5);

/// A master is asked so often how the slave stands.
const ASK: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Parent {
    slot: String,
    command: Vec<String>,
    step: Step,
    /// As what the slave came that was started last.
    role: Role,
    /// When the first of several in a row was refused.
    refused: Option<Instant>,
    pause: Duration,
    /// Its slave, as a master calls it.
    slave: Option<SlaveId>,
    /// How it stood when a master said so last.
    stands: Option<Stands>,
    /// Whether it has served everything that it had, and fills its slot since.
    is_ready: bool,
    asks: Instant,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Nothing is started before that.
    Due(Instant),
    Lives(LaunchId, Option<u32>),
    /// The agent ends with this code, at this time at the latest.
    Over(u8, Instant),
}

impl Parent {
    /// Of a slave of this slot, which is started by this command.
    pub(super) fn new(slot: String, command: Vec<String>, processes: &Processes) -> Self {
        // An agent before may have started it, and it lives.
        let adopted = processes.adopted(&slot);
        let now = Instant::now();
        Self {
            step: adopted.map_or(Step::Due(now), |(launch, pid)| {
                Step::Lives(launch, Some(pid))
            }),
            slot,
            command,
            role: Role::Relaunch,
            refused: None,
            pause: AGAIN,
            slave: None,
            stands: None,
            is_ready: false,
            asks: now,
        }
    }

    /// When something is due; `None`: nothing is.
    pub(super) fn deadline(&self, linked: bool, processes: &Processes) -> Option<Instant> {
        match self.step {
            Step::Due(at) => (linked && processes.is_clear()).then_some(at),
            Step::Lives(..) => (linked && self.slave.is_some()).then_some(self.asks),
            Step::Over(_, until) => Some(until),
        }
    }

    /// With which code the agent is to end now; `None`: it goes on.
    pub(super) fn over(&self, processes: &Processes) -> Option<u8> {
        match self.step {
            Step::Over(code, until) => {
                (processes.is_clear() || Instant::now() >= until).then_some(code)
            }
            Step::Due(_) | Step::Lives(..) => None,
        }
    }

    /// With which code the agent ends that was asked to.
    pub(super) const fn code(&self) -> u8 {
        match self.step {
            Step::Over(code, _) => code,
            Step::Due(_) | Step::Lives(..) => 0,
        }
    }

    /// Starts the slave if it is due. Gives the slave that a master is to be asked about.
    pub(super) fn goes_on(&mut self, linked: bool, processes: &mut Processes) -> Option<SlaveId> {
        let now = Instant::now();
        if self.deadline(linked, processes).is_none_or(|due| due > now) {
            return None;
        }
        match self.step {
            Step::Due(_) => self.start(processes),
            Step::Lives(..) => {
                self.asks = now + ASK;
                return self.slave;
            }
            Step::Over(..) => {}
        }
        None
    }

    fn start(&mut self, processes: &mut Processes) {
        let Ok(launch) = LaunchId::random() else {
            // Without randomness there is no link either.
            self.step = Step::Due(Instant::now() + self.pause);
            return;
        };
        self.role = match processes.came() && !mutant!("restart-begins-deploy") {
            false => Role::Candidate,
            true => Role::Relaunch,
        };
        info!(slot = self.slot, role = ?self.role, "the slave is started");
        (self.slave, self.stands, self.is_ready) = (None, None, false);
        self.step = Step::Lives(launch, None);
        let order = Launch {
            launch,
            slot: self.slot.clone(),
            role: self.role,
            command: self.command.clone(),
            ..Launch::default()
        };
        if processes.launch(order).is_some() {
            // The reason is in the log.
            self.ends_with(EXIT_USAGE);
        }
    }

    /// The agent is asked to end: nothing is started any more.
    pub(super) fn stops(&mut self) {
        if let Step::Due(_) = self.step {
            self.step = Step::Over(0, Instant::now());
        }
    }

    /// What a task tells, before anybody else hears it.
    pub(super) fn hears(&mut self, event: &Event, processes: &mut Processes) {
        let Step::Lives(launch, pid) = &mut self.step else {
            return;
        };
        match event {
            Event::Started(of, Ok(started)) if of == launch => *pid = Some(started.0),
            Event::Started(of, Err(_)) if of == launch => self.ends_with(EXIT_USAGE),
            Event::Ended(of, how, _, last_lines) if of == launch => {
                // What copies its output may end with the agent before it has copied that.
                let last_lines = last_lines.join("\n");
                info!(
                    slot = self.slot,
                    last_lines, "the last that the slave wrote"
                );
                self.ended(*how, processes);
            }
            Event::Started(..) | Event::Ended(..) | Event::Died(_) | Event::LookAgain(_) => {}
        }
    }

    fn ended(&mut self, how: EndedBy, processes: &mut Processes) {
        (self.slave, self.stands, self.is_ready) = (None, None, false);
        let code = code_of(how);
        let now = Instant::now();
        let again = match (code, self.role) {
            (BUSY, role) => {
                if role == Role::Candidate {
                    // It began nothing.
                    processes.set_came(false);
                }
                true
            }
            (EXIT_USAGE, Role::Relaunch) => now < *self.refused.get_or_insert(now) + NOT_DEAD_YET,
            _ => false,
        };
        if !again {
            return self.ends_with(code);
        }
        info!(slot = self.slot, pause = ?self.pause, "the slave is started again");
        self.step = Step::Due(now + self.pause);
        self.pause = (self.pause * 2).min(AGAIN_MOST);
    }

    fn ends_with(&mut self, code: u8) {
        warn!(
            slot = self.slot,
            code, "the slave ended, and so does its agent"
        );
        self.step = Step::Over(code, Instant::now() + NOTED);
    }

    /// A slave came to a master, which wants to know of its end.
    pub(super) fn watched(&mut self, look: &Watch, processes: &mut Processes) {
        if let Step::Lives(_, Some(leader)) = self.step
            && is_of_launch(look.process.pid, leader)
        {
            self.slave = Some(look.slave);
            processes.set_came(true);
        }
    }

    /// A master says how a slave stands.
    pub(super) fn stands(&mut self, stands: Stands) {
        if self.slave != Some(stands.slave) {
            return;
        }
        if stands.owner {
            // What was refused is over: the next one has all the time again.
            (self.refused, self.pause) = (None, AGAIN);
        }
        // Until a deploy is committed, the slave before may get everything back. A shard that
        // reconnects makes nobody unready, nor does the next build that comes.
        let settled = !stands.deploying || mutant!("ready-before-commit");
        let serves = settled && stands.serving >= stands.shards;
        self.is_ready = stands.owner && (self.is_ready || serves);
        self.stands = Some(stands);
    }

    /// What whoever started the agent is told.
    pub(super) fn tell(&self, status: &mut Status) {
        status.slot = Some(self.slot.clone());
        status.slave = self.slave.map(|slave| slave.to_string());
        let stands = self.stands.unwrap_or_default();
        (status.owner, status.deploying) = (stands.owner, stands.deploying);
        (status.shards, status.serving) = (stands.shards, stands.serving);
        status.ready = self.is_ready;
        status.why = match (self.step, self.stands) {
            (Step::Due(_), _) if !status.linked => "no master accepted this agent yet".to_owned(),
            (Step::Due(_), _) => "its slave is about to be started".to_owned(),
            (Step::Over(code, _), _) => format!("its slave ended with {code}"),
            (Step::Lives(..), None) => "no master accepted its slave yet".to_owned(),
            (Step::Lives(..), Some(_)) if self.is_ready => String::new(),
            (Step::Lives(..), Some(stands)) if stands.deploying => {
                format!("a deploy of slot {:?} is not committed yet", self.slot)
            }
            (Step::Lives(..), Some(stands)) if !stands.owner => {
                format!("another slave fills slot {:?}, or none does", self.slot)
            }
            (Step::Lives(..), Some(stands)) => {
                format!("{} of {} shards serve", stands.serving, stands.shards)
            }
        };
    }
}

/// As a shell says it.
fn code_of(how: EndedBy) -> u8 {
    match how {
        EndedBy::Code(code) => u8::try_from(code).unwrap_or(EXIT_FAILED),
        EndedBy::Signal(signal) => u8::try_from(128 + signal).unwrap_or(EXIT_FAILED),
        EndedBy::Killed(_) | EndedBy::Unknown => EXIT_FAILED,
    }
}
