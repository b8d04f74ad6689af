//! What an agent launched and what it watches: each process has a task that waits for its
//! end.
//!
//! ```text
//! Launch ──on the disk──▶ started ──its end──▶ ended ──Noted──▶ forgotten
//!             └─ cannot be ─▶ told, forgotten
//! ```

mod adopted;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use baton_core::event::EndedBy;
use baton_protocol::{
    LaunchId, ProcessIdentity, SlaveId,
    message::agent::{AgentReport, Ended, FromAgent, Launch, Launched, OfLaunch},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{error, info, warn};

use super::{
    ledger::{Ledger, MOST, Row, Written},
    watching::Watching,
};
use crate::{
    clock::millis,
    process::{Child, Common, Plan, group_of, keep_these_small, lived},
};

/// So many `log` files are kept small.
const MOST_LOGS: usize = 64;

/// What a task tells of a process.
#[derive(Debug)]
pub(super) enum Event {
    /// It was started, or could not be.
    Started(LaunchId, Result<Box<(u32, Child)>, String>),
    /// A launched process ended.
    Ended(LaunchId, EndedBy, Option<Duration>, Vec<String>),
    /// The process of a watched slave is dead.
    Died(SlaveId),
    /// One that could not be seen may be now.
    LookAgain(SlaveId),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Processes {
    common: Common,
    /// What masters want to be told the end of.
    watching: Watching,
    ledger: Ledger,
    /// As the file says them, the oldest first.
    rows: Vec<Row>,
    /// What kills a launched process with its group, while it lives.
    kills: BTreeMap<LaunchId, oneshot::Sender<()>>,
    /// What an agent before launched, and nobody can know of here whether it lives.
    unknown: BTreeSet<LaunchId>,
    /// The `log` files that are kept small.
    logs: BTreeSet<PathBuf>,
    /// Whether a slave that the agent started by itself came to a master.
    came: bool,
    /// The last write of the file.
    saving: Option<JoinHandle<()>>,
    /// Whether nothing is started any more.
    ends: bool,
    events: mpsc::Sender<Event>,
}

impl Processes {
    /// Takes up what an earlier agent launched.
    pub(super) fn adopt(
        common: Common,
        here: ProcessIdentity,
        (ledger, mut written): (Ledger, Written),
        events: mpsc::Sender<Event>,
    ) -> Self {
        written.taken_over_by(&here);
        let Written {
            over,
            launches,
            came,
            ..
        } = written;
        let mut processes = Self {
            watching: Watching::new(here, over, events.clone()),
            common,
            ledger,
            rows: launches,
            kills: BTreeMap::new(),
            unknown: BTreeSet::new(),
            logs: BTreeSet::new(),
            came,
            saving: None,
            ends: false,
            events,
        };
        let living: Vec<Row> = processes
            .rows
            .iter()
            .filter(|row| row.ended.is_none())
            .cloned()
            .collect();
        for row in living {
            processes.keep_small(row.log.clone());
            processes.adopt_one(&row);
        }
        processes.save();
        processes
    }

    // ---- orders --------------------------------------------------------------

    /// Slaves whose end is told.
    pub(super) const fn watching(&mut self) -> &mut Watching {
        &mut self.watching
    }

    /// Everything that was launched and that no master has noted as ended.
    pub(super) fn report(&self) -> AgentReport {
        let launches = self.rows.iter().map(|row| OfLaunch { launch: row.launch });
        AgentReport {
            launches: launches.collect(),
        }
    }

    /// What is told anew on each link.
    pub(super) fn untold(&self) -> Vec<FromAgent> {
        let rows = self.rows.iter();
        rows.filter_map(|row| Some(FromAgent::Ended(row.ended.clone()?)))
            .collect()
    }

    /// Starts a process, once for each launch. Gives what is to be answered now.
    pub(super) fn launch(&mut self, order: Launch) -> Option<FromAgent> {
        let launch = order.launch;
        if let Some(row) = self.rows.iter().find(|row| row.launch == launch)
            && !mutant!("launched-twice")
        {
            // It was carried out, or is about to be.
            return match (&row.process, &row.ended) {
                (_, Some(ended)) => Some(FromAgent::Ended(ended.clone())),
                (Some(process), None) => Some(launched(launch, process.clone())),
                (None, None) => None,
            };
        }
        let living = self.rows.iter().filter(|row| row.ended.is_none()).count();
        let refused = match (self.ends, living) {
            (true, _) => Some("the agent of its host is ending".to_owned()),
            (false, AgentReport::MAX_LAUNCHES..) => {
                Some("its host has too many processes".to_owned())
            }
            (false, _) => None,
        };
        let (slot, log) = (order.slot.clone(), order.log.clone());
        let plan = match refused {
            Some(reason) => Err(reason),
            None => Plan::ordered(order, &self.common),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(reason) => return Some(cannot(launch, reason)),
        };
        let log: Option<PathBuf> = (!log.is_empty()).then(|| log.into());
        self.keep_small(log.clone());
        self.rows.push(Row {
            launch,
            slot,
            log,
            ..Row::default()
        });
        self.make_room();
        let save = self.ledger.save(&self.written());
        let events = self.events.clone();
        tokio::spawn(async move {
            // An agent that dies in between does not start it a second time.
            let started = match save.written().await {
                Ok(()) => plan.start().await.map(Box::new),
                Err(error) => Err(format!("the agent's file cannot be written: {error}")),
            };
            // Fails only when the agent has ended.
            let _ = events.send(Event::Started(launch, started)).await;
        });
        None
    }

    /// The `log` files of slots are turned over by size, each by one thread.
    fn keep_small(&mut self, log: Option<PathBuf>) {
        let new = log.filter(|log| self.logs.len() < MOST_LOGS && self.logs.insert(log.clone()));
        if let Some(log) = new {
            keep_these_small(vec![log]);
        }
    }

    /// Nobody waits for what was launched.
    pub(super) fn give_up(&mut self, launch: LaunchId) {
        if let Some(kill) = self.kills.remove(&launch) {
            warn!(%launch, "a launched process that nobody waits for is killed");
            // It may have ended by itself.
            let _ = kill.send(());
        }
    }

    /// Whether every launch has ended and a master knows it, as far as that can be known.
    pub(super) fn is_clear(&self) -> bool {
        let mut rows = self.rows.iter();
        rows.all(|row| self.unknown.contains(&row.launch))
    }

    /// How many launched processes live.
    pub(super) fn lives(&self) -> usize {
        self.living().count()
    }

    /// Whether a slave that the agent started by itself, or one before it with the same folder,
    /// came to a master.
    pub(super) const fn came(&self) -> bool {
        self.came
    }

    /// It is so from now on.
    pub(super) fn set_came(&mut self, came: bool) {
        if self.came != came {
            self.came = came;
            self.save();
        }
    }

    /// A master knows how it ended.
    pub(super) fn noted(&mut self, launch: LaunchId) {
        let before = self.rows.len();
        self.rows
            .retain(|row| row.launch != launch || row.ended.is_none());
        if self.rows.len() != before {
            self.save();
        }
    }

    // ---- what tasks tell -----------------------------------------------------

    /// Gives what the master is told.
    pub(super) fn happened(&mut self, event: Event) -> Option<FromAgent> {
        match event {
            Event::Started(launch, Ok(started)) => {
                let (pid, child) = *started;
                Some(self.started(launch, pid, child))
            }
            Event::Started(launch, Err(reason)) => {
                warn!(%launch, reason, "launch failed");
                self.rows.retain(|row| row.launch != launch);
                self.save();
                Some(cannot(launch, reason))
            }
            Event::Ended(launch, ending, lived, last_lines) => {
                self.ended(launch, ending, lived, last_lines);
                self.save();
                let row = self.rows.iter().find(|row| row.launch == launch)?;
                Some(FromAgent::Ended(row.ended.clone()?))
            }
            Event::Died(slave) => self.watching.died(slave),
            Event::LookAgain(slave) => self.watching.look_at(slave),
        }
    }

    fn started(&mut self, launch: LaunchId, pid: u32, child: Child) -> FromAgent {
        // It has not been waited for, so its pid is its own.
        let process = ProcessIdentity::of(pid).unwrap_or_else(|_| ProcessIdentity {
            pid,
            ..self.watching.here().clone()
        });
        if let Some(row) = self.rows.iter_mut().find(|row| row.launch == launch) {
            info!(slot = row.slot, pid, "slave launched");
            row.process = Some(process.clone());
        }
        self.save();
        let (kill, killed) = oneshot::channel();
        self.kills.insert(launch, kill);
        let events = self.events.clone();
        let of_child = process.clone();
        tokio::spawn(async move {
            let (ending, last_lines) = child.ends(killed).await;
            let ended = Event::Ended(launch, ending, lived(&of_child), last_lines);
            // Fails only when the agent has ended.
            let _ = events.send(ended).await;
        });
        launched(launch, process)
    }

    fn ended(
        &mut self,
        launch: LaunchId,
        ending: EndedBy,
        lived: Option<Duration>,
        last_lines: Vec<String>,
    ) {
        self.kills.remove(&launch);
        let Some(row) = self.rows.iter_mut().find(|row| row.launch == launch) else {
            return;
        };
        let (code, signal) = match ending {
            EndedBy::Code(code) => (Some(code), None),
            EndedBy::Signal(signal) => (None, Some(signal)),
            EndedBy::Killed(_) | EndedBy::Unknown => (None, None),
        };
        let pid = row.process.as_ref().map_or(0, |process| process.pid);
        info!(slot = row.slot, pid, how = %ending, "a launched process ended");
        row.ended = Some(Box::new(Ended {
            launch,
            slot: row.slot.clone(),
            pid,
            code,
            signal,
            lived_ms: lived.map(millis),
            last_lines,
        }));
        self.make_room();
    }

    // ---- the end -------------------------------------------------------------

    /// Nothing is started from now on; what was is asked to end.
    pub(super) fn stop(&mut self) {
        self.ends = true;
        let leaders: BTreeSet<u32> = self.living().collect();
        // One that a launched command left running is of its group.
        let of_launch = |pid: &u32| group_of(*pid).is_some_and(|group| leaders.contains(&group));
        let slaves: Vec<u32> = self.watching.pids().filter(of_launch).collect();
        for pid in slaves
            .into_iter()
            .chain(leaders.iter().copied())
            .collect::<BTreeSet<_>>()
        {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }

    /// The grace is over.
    pub(super) fn kill_all(&mut self) {
        let launches: Vec<LaunchId> = self.kills.keys().copied().collect();
        launches.into_iter().for_each(|launch| self.give_up(launch));
    }

    /// Whether everything that was launched has ended.
    pub(super) fn all_ended(&self) -> bool {
        self.rows.iter().all(|row| row.ended.is_some())
    }

    fn living(&self) -> impl Iterator<Item = u32> {
        let living = self.rows.iter().filter(|row| row.ended.is_none());
        living.filter_map(|row| Some(row.process.as_ref()?.pid))
    }

    // ---- the file ------------------------------------------------------------

    fn written(&self) -> Written {
        Written {
            agent: self.watching.here().clone(),
            over: self.watching.over().to_vec(),
            launches: self.rows.clone(),
            came: self.came,
        }
    }

    fn save(&mut self) {
        let save = self.ledger.save(&self.written());
        self.saving = Some(tokio::spawn(async move {
            if let Err(error) = save.written().await {
                error!(%error, "what was launched cannot be written down: the next agent may not know it");
            }
        }));
    }

    /// Waits until the file says how it is now.
    pub(super) async fn saved(&mut self) {
        if let Some(saving) = self.saving.take() {
            // It says itself what went wrong.
            let _ = saving.await;
        }
    }

    /// Of those that ended, the oldest beyond a few are told to nobody any more.
    fn make_room(&mut self) {
        while self.rows.len() > MOST {
            let Some(oldest) = self.rows.iter().position(|row| row.ended.is_some()) else {
                return;
            };
            self.rows.remove(oldest);
        }
    }
}

const fn launched(launch: LaunchId, process: ProcessIdentity) -> FromAgent {
    FromAgent::Launched(Launched {
        launch,
        process,
        failed: String::new(),
    })
}

fn cannot(launch: LaunchId, failed: String) -> FromAgent {
    FromAgent::Launched(Launched {
        launch,
        failed,
        ..Launched::default()
    })
}
