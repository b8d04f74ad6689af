//! The one task that owns the core. It feeds what happened into it and carries
//! out what it asks for, in order: save, then send.
//!
//! ```text
//! peers, pidfds, operator --Notice--> driver --Input--> core
//!                                       |                 |
//!     journal <-- save, then send -- Action <-------------+
//! ```
//!
//! A round takes everything that waits before anything is carried out, so that
//! the checkpoints of a thousand shards are one round, and all shards that are to be
//! sealed in it wait for one save. The driver waits for the journal and for nothing else,
//! but for those who look at the fleet while a disk hangs. What comes meanwhile is the next
//! round: `store` says what a slow one costs, and why no order overtakes a save.

mod agents;
mod answers;
mod carry;
mod clock;
mod connections;
mod entry;
mod fence;
mod inbox;
mod rollout;
mod slaves;
mod tell;
#[cfg(test)]
mod tests;
mod twice;
mod wishes;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use baton_core::{
    Core,
    event::{Input, News, Time},
};
use baton_protocol::{ProcessIdentity, SlaveId};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use self::{
    answers::Answers,
    clock::{Clock, HEARTBEAT},
    connections::Connections,
    inbox::Inbox,
    rollout::Rollout,
};
use crate::{
    aside::Aside,
    doors::Hush,
    journal::Journal,
    news::{Gaps, Observer},
    notice::Notice,
    process::{Launcher, Watch},
    supervise::Supervisor,
};

/// Notices that wait for the driver. Beyond this a peer's reader waits, and with
/// it, by TCP, the slave.
pub const QUEUE: usize = 1024;

/// Notices of one round.
const ROUND: usize = 512;

/// After so many failed saves in one round the driver pauses.
const MAX_FAILURES: u32 = 4;

/// A save that takes longer does not hold up who only looks. A sooner look would see
/// what the observers have not heard yet.
const SLOW_SAVE: Duration = Duration::from_secs(1);

/// After failed saves the core is asked again after this time.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

/// A deadline that stays in the past is looked at again after this time.
const AGAIN: Duration = Duration::from_millis(1);

/// A core that was asked to leave and does not is left after this time beyond
/// its own limit.
const LEAVE_SLACK: Duration = Duration::from_secs(5);

/// How the driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The core said that the master may leave.
    Left,
    /// It did not say so in time, or a save that it needed failed.
    Overdue,
    /// Something went wrong, and a developer wants to see it first: what.
    Error(String),
    /// A task without which a master is none has panicked: which.
    Broken(&'static str),
    /// Another master has taken the term: what to do.
    Deposed(String),
    /// Another master of those that share a store leads, or is to: why.
    NotLeading(String),
}

/// What the driver is built of.
#[derive(Debug)]
pub struct Parts {
    /// The core, recovered.
    pub core: Core,
    /// The journal.
    pub journal: Journal,
    /// Starts slaves.
    pub launcher: Launcher,
    /// Slaves that the journal knew and that are alive.
    pub watches: BTreeMap<SlaveId, Watch>,
    /// Slaves that the journal knew and whose process cannot be seen now.
    pub unseen: BTreeMap<SlaveId, ProcessIdentity>,
    /// Slaves that the journal knew and that the agents of their hosts see to.
    pub elsewhere: Vec<SlaveId>,
    /// For tasks that tell the driver something later.
    pub notices: mpsc::Sender<Notice>,
    /// Who sees what it does, in this order.
    pub observers: Vec<Arc<dyn Observer>>,
    /// Where events are kept that were set aside.
    pub aside: Aside,
    /// The longest that the core may take to leave.
    pub shard_in_hand: Duration,
    /// Whether it ends at the first thing that went wrong, healed or not.
    pub fail_on_error: bool,
    /// An agent may be away for so long before an operator hears of it.
    pub agent_patience: Duration,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Driver {
    core: Core,
    clock: Clock,
    journal: Journal,
    supervisor: Supervisor,
    connections: Connections,
    answers: Answers,
    /// Saves that failed fill no log.
    unsaved: Hush,
    rollout: Option<Rollout>,
    notices: mpsc::Sender<Notice>,
    observers: Vec<Arc<dyn Observer>>,
    gaps: Gaps,
    aside: Aside,
    shard_in_hand: Duration,
    fail_on_error: bool,
    /// When a leaving master leaves, even if the core is not done.
    leave_by: Option<Instant>,
    /// When to go on after a failed save.
    resume_at: Option<Instant>,
    ending: Option<Ending>,
}

impl Driver {
    /// Puts the parts together; the core's time begins now.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let mut driver = Self {
            core: parts.core,
            clock: Clock::start(),
            journal: parts.journal,
            supervisor: Supervisor::new(
                parts.launcher,
                parts.agent_patience,
                parts.notices.clone(),
            ),
            connections: Connections::default(),
            answers: Answers::default(),
            unsaved: Hush::new("the journal could not be written"),
            rollout: None,
            notices: parts.notices,
            observers: parts.observers,
            gaps: Gaps::default(),
            aside: parts.aside,
            shard_in_hand: parts.shard_in_hand,
            fail_on_error: parts.fail_on_error,
            leave_by: None,
            resume_at: None,
            ending: None,
        };
        for slave in parts.elsewhere {
            if let Some(hello) = driver.core.hello(slave) {
                driver.supervisor.expect(hello);
            }
        }
        for (slave, watch) in parts.watches {
            driver.watch(slave, watch);
        }
        for (slave, process) in parts.unseen {
            let core = &driver.core;
            let is_known = |slave| core.hello(slave).is_some();
            driver.supervisor.look_for(slave, process, is_known);
        }
        driver
    }

    /// Runs until the core says that the master may leave. Gives the journal
    /// back, to be closed.
    pub async fn run(mut self, notices: mpsc::Receiver<Notice>) -> (Ending, Journal) {
        let mut inbox = Inbox::new(notices);
        let mut round = Vec::with_capacity(ROUND);
        // A new core draws its first conclusions with its first input.
        self.core.handle(self.clock.now(), Input::Tick);
        self.carry_out(&mut inbox).await;
        while self.ending.is_none() {
            let wake = self.wake();
            tokio::select! {
                biased;
                () = inbox.take(&mut round) => {}
                () = sleep_until(wake) => {}
            }
            if let Some(reason) = self.journal.deposed() {
                // What was found out in the background: nothing is decided any more.
                self.ending = Some(Ending::Deposed(reason.to_owned()));
                break;
            }
            let (now, gap) = self.clock.look();
            if let Some(gap) = gap {
                warn!(?gap, "the master did not run; deadlines start again");
                self.core.handle(now, Input::Resumed);
                self.leave_by = self.leave_by.map(|by| by + gap);
            }
            for notice in round.drain(..) {
                self.take(now, notice);
            }
            if matches!(self.ending, Some(Ending::NotLeading(_))) {
                break;
            }
            self.bury(now);
            self.miss_agents();
            if self.core.deadline().is_some_and(|deadline| deadline <= now) {
                self.core.handle(now, Input::Tick);
            }
            self.carry_out(&mut inbox).await;
            while self.ending.is_none() && self.rollout_goes_on(now) {
                self.carry_out(&mut inbox).await;
            }
            if self.leave_by.is_some_and(|by| by <= Instant::now()) && self.ending.is_none() {
                error!("the master leaves although the shard in hand is not settled");
                self.ending = Some(Ending::Overdue);
            }
        }
        // Peers write what is queued for them and close.
        self.connections.close();
        (self.ending.unwrap_or(Ending::Left), self.journal)
    }

    fn observe(&self, see: impl Fn(&dyn Observer)) {
        for observer in &self.observers {
            see(&**observer);
        }
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let deadline = self
            .core
            .deadline()
            .map(|deadline| self.clock.instant(deadline).max(now + AGAIN));
        [
            Some(now + HEARTBEAT),
            deadline,
            self.resume_at,
            self.leave_by,
            self.supervisor.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now)
    }

    fn take(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::Joined(joining) => self.joined(now, *joining),
            Notice::Said {
                link,
                slave,
                message,
            } => {
                if self.connections.is_current(slave, link) {
                    self.first_said(slave, &message);
                    self.observe(|observer| observer.said(slave, &message));
                    self.core.handle(now, Input::Said { slave, message });
                } else {
                    self.connections.second_said(slave, link, message);
                }
            }
            Notice::Left { link, slave } => {
                if self.connections.is_current(slave, link) {
                    self.left(now, slave);
                    if self.supervisor.was_heard_out(slave) {
                        self.died(now, slave);
                    }
                    self.first_ended(now, slave);
                } else {
                    self.connections.take_second_if(slave, link);
                }
            }
            Notice::Unanswered { link, slave } => self.unanswered(now, slave, link),
            Notice::Silent { link, slave } => {
                if self.connections.is_current(slave, link) {
                    self.core.handle(now, Input::Silent { slave });
                }
            }
            Notice::Died { slave } => self.dies(now, slave),
            Notice::Seen { slave, watch } => self.seen(now, slave, watch),
            Notice::Started { slot, started } => self.started(now, &slot, started),
            Notice::Exited {
                pid,
                ending,
                last_lines,
            } => self.exited(now, pid, ending, last_lines),
            Notice::Ended(death) => self.tell(News::SlaveEnded(death)),
            Notice::Deploy {
                order,
                build,
                answer,
            } => self.deploy(now, order, build.as_deref(), answer),
            Notice::RollOut { rolling, answer } => self.roll_out(now, rolling, answer),
            Notice::Rollback { order, answer } => self.roll_back(now, order, answer),
            Notice::Abort { slot, answer } => {
                self.wish(now, answer, |request| Input::Abort { request, slot });
            }
            Notice::Pause {
                slot,
                pause,
                answer,
            } => {
                self.wish(now, answer, |request| Input::Pause {
                    request,
                    slot,
                    pause,
                });
            }
            Notice::Arrange {
                order,
                dry_run,
                answer,
            } => self.arrange(now, order, dry_run, answer),
            Notice::Restart { shard, answer } => {
                self.wish(now, answer, |request| Input::Restart { request, shard });
            }
            Notice::LateSealsAgain { answer } => {
                self.wish(now, answer, |request| Input::LateSealsAgain { request });
            }
            Notice::Ask { body, answer } => {
                let request = self.answers.question(answer);
                self.core.handle(now, Input::Ask { request, body });
            }
            Notice::Identify { answer } => {
                self.wish(now, answer, |request| Input::Identify { request });
            }
            Notice::Settings(settings) => self.core.handle(now, Input::Settings(settings)),
            Notice::Slots {
                settings,
                slots,
                answer,
            } => self.recut(now, settings, slots, answer),
            Notice::Fence {
                slave,
                kill,
                answer,
            } => self.fence(now, &slave, kill, answer),
            Notice::FenceHost { host, answer } => self.fence_host(now, &host, answer),
            Notice::Agent(notice) => self.agent(now, notice),
            Notice::Look { answer } => {
                // The asker may be gone.
                let _ = answer.send(self.view(now));
            }
            Notice::Budget(budget) => self.core.handle(now, Input::Budget(budget)),
            Notice::Broken(task) => self.ending = Some(Ending::Broken(task)),
            Notice::Emptied { alarm } => {
                self.journal.write_roster();
                if let Some(detail) = alarm {
                    self.tell(News::Alarm { detail });
                }
            }
            Notice::Alarm(detail) => self.tell(News::Alarm { detail }),
            Notice::Forgot(term) => {
                self.journal.saw(term);
                self.ending = Some(Ending::NotLeading(format!(
                    "a slave has seen term {term}, which the store has forgotten"
                )));
            }
            Notice::LetGo => {
                self.connections.cut();
                self.supervisor.let_agents_go();
            }
            Notice::NotLeading(why) => {
                // Nothing is decided any more, and nothing that was is carried out.
                self.ending = Some(Ending::NotLeading(why));
            }
            Notice::Leave => {
                if self.leave_by.is_none() {
                    info!("asked to leave");
                    self.leave_by = Some(Instant::now() + self.shard_in_hand + LEAVE_SLACK);
                }
                self.core.handle(now, Input::Leave);
            }
        }
    }
}
