//! The agent of a host: the master's hand there. It launches, watches and kills the slaves of its host for
//! whoever leads, and what it says is dead, is dead.
//!
//! ```text
//! masters ◀──one link, dialled again for ever──▶ agent ──▶ Processes ──▶ slaves, which dial
//!                                                            │            the masters themselves
//!                                              agent.json ◀──┘
//! ```
//!
//! It decides nothing. It outlives every master; and its own end ends no slave, unless it was told to
//! (`--on-exit stop`), or is process 1 of its container. In a pod it starts one slave by itself, and
//! ends with it (`parent`).

mod door;
mod ledger;
mod link;
mod options;
mod parent;
mod processes;
mod reaper;
mod start;
#[cfg(test)]
mod tests;
mod turns;
mod watching;
mod way;

use std::{path::PathBuf, time::Duration};

use baton_protocol::{
    Address,
    auth::Secret,
    message::agent::{AgentHello, FromAgent, OfSlave, ToAgent},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use self::{
    door::Asked,
    link::{Link, LinkError},
    parent::Parent,
    processes::{Event, Processes},
    way::Way,
};
pub use self::{
    door::{Status, ask},
    options::{OnExit, Options},
    start::{Ready, run},
};
use crate::{ending::Ending, error::EXIT_DONE, service};

/// What tasks tell waits here.
const QUEUE: usize = 1024;

/// After the grace, killed slaves are dead within this time, or the agent ends before them.
const KILLED: Duration = Duration::from_secs(2);

/// A master has so long to note how the slaves ended, also one that is to be dialled first.
const TOLD: Duration = Duration::from_secs(2);

/// What is said last is written within this time.
const FAREWELL: Duration = Duration::from_secs(1);

/// One agent that runs.
struct Agent {
    hello: AgentHello,
    masters: Vec<Address>,
    /// The folder with its certificate.
    tls_dir: Option<PathBuf>,
    /// Which of them is dialled next.
    next: usize,
    /// Dials that failed in a row.
    failures: u32,
    secret: Secret,
    processes: Processes,
    /// The slave that it started by itself.
    parent: Option<Parent>,
    happened: mpsc::Receiver<Event>,
    /// Who wants to know how it does.
    asked: Asked,
    link: Way,
    /// When the master said something last.
    heard: Instant,
}

/// What an agent waits for.
enum Next {
    Order(Option<ToAgent>),
    Dialled(Result<Link, LinkError>),
    Due,
    Silent,
    Happened(Event),
    Asked(oneshot::Sender<Status>),
    /// Something of the slave that it started by itself is due.
    OfParent,
    End,
}

impl Agent {
    async fn run(mut self, ending: &mut Ending, on_exit: OnExit, grace: Duration) -> u8 {
        let mut over = None;
        while over.is_none() {
            let next = self.next(ending, None).await;
            if matches!(next, Next::End) {
                over = Some(self.end(ending, on_exit, grace).await);
            } else {
                self.take(next);
                let parent = self.parent.as_ref();
                over = parent.and_then(|parent| parent.over(&self.processes));
            }
        }
        // The next agent then tells nothing twice.
        let _ = timeout(FAREWELL, self.processes.saved()).await;
        if let Way::Linked(link) = self.link {
            link.finish(FAREWELL).await;
        }
        over.unwrap_or(EXIT_DONE)
    }

    /// It is asked to end. Gives its exit code.
    async fn end(&mut self, ending: &mut Ending, on_exit: OnExit, grace: Duration) -> u8 {
        if let Some(parent) = &mut self.parent {
            parent.stops();
        }
        match on_exit {
            OnExit::Leave => info!("asked to end; the slaves serve on"),
            OnExit::Stop => {
                info!(?grace, "asked to end; the slaves are asked too");
                service::stopping();
                self.stop(ending, grace).await;
            }
        }
        self.parent.as_ref().map_or(EXIT_DONE, Parent::code)
    }

    /// Has what was launched end, and tells how it did.
    async fn stop(&mut self, ending: &mut Ending, grace: Duration) {
        self.processes.stop();
        let (over, killed) = (Instant::now() + grace, Instant::now() + grace + KILLED);
        let mut was_killed = false;
        while !self.processes.all_ended() {
            let until = if was_killed { killed } else { over };
            let next = self.next(ending, Some(until)).await;
            if !matches!(next, Next::End) {
                self.take(next);
                continue;
            }
            // Asked once more, it waits no longer; so it does when the grace is over.
            if was_killed {
                break;
            }
            warn!("slaves that did not end in time are killed");
            self.processes.kill_all();
            was_killed = true;
        }
        // There may be no next agent to tell it: a pod that is gone does not come back.
        let until = Instant::now() + TOLD;
        while !self.processes.is_clear() {
            let next = self.next(ending, Some(until)).await;
            if matches!(next, Next::End) {
                break;
            }
            self.take(next);
        }
    }

    /// What comes next; `until`: not later than this, [`Next::End`].
    async fn next(&mut self, ending: &mut Ending, until: Option<Instant>) -> Next {
        let linked = matches!(self.link, Way::Linked(_));
        let parent = self.parent.as_ref();
        let due = parent.and_then(|parent| parent.deadline(linked, &self.processes));
        let Self {
            link,
            happened,
            asked,
            heard,
            masters,
            ..
        } = self;
        let way = async {
            match link {
                Way::Wait(until) => {
                    sleep_until(*until).await;
                    Next::Due
                }
                Way::Dial(dial) => {
                    Next::Dialled(dial.await.unwrap_or_else(|_| Err(LinkError::Closed)))
                }
                Way::Linked(link) => {
                    let ping = Duration::from_millis(link.accepted.ping_ms);
                    let silent = *heard + turns::silence(masters.len(), ping);
                    tokio::select! {
                        biased;
                        order = link.order() => Next::Order(order),
                        () = sleep_until(silent) => Next::Silent,
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = ending.asked() => Next::End,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Next::End,
            Some(event) = happened.recv() => Next::Happened(event),
            Some(asked) = asked.recv() => Next::Asked(asked),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::OfParent,
            next = way => next,
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Order(Some(order)) => {
                self.heard = Instant::now();
                self.order(order);
            }
            Next::Order(None) => {
                warn!("the link to the master is lost; the slaves go on");
                self.redial();
            }
            Next::Silent => {
                warn!("the master says nothing: link closed");
                self.next_master();
            }
            Next::Due => self.dial(),
            Next::Dialled(Ok(link)) => self.linked(link),
            Next::Dialled(Err(error)) => self.not_linked(&error),
            Next::Happened(event) => {
                if let Some(parent) = &mut self.parent {
                    parent.hears(&event, &mut self.processes);
                }
                if let Some(message) = self.processes.happened(event) {
                    self.say(message);
                }
            }
            Next::Asked(asked) => {
                // Who asked may have gone.
                let _ = asked.send(self.status());
            }
            Next::OfParent => {
                let linked = matches!(self.link, Way::Linked(_));
                let parent = self.parent.as_mut();
                let slave = parent.and_then(|it| it.goes_on(linked, &mut self.processes));
                if let Some(slave) = slave {
                    self.say(FromAgent::Ask(OfSlave { slave }));
                }
            }
            // Who calls sees to it.
            Next::End => {}
        }
    }

    fn order(&mut self, order: ToAgent) {
        let answer = match order {
            ToAgent::Ping(ping) => Some(FromAgent::Pong(ping)),
            ToAgent::Launch(order) => self.processes.launch(*order),
            ToAgent::GiveUp(of) => {
                self.processes.give_up(of.launch);
                None
            }
            ToAgent::Noted(of) => {
                self.processes.noted(of.launch);
                None
            }
            ToAgent::Watch(look) => {
                if let Some(parent) = &mut self.parent {
                    parent.watched(&look, &mut self.processes);
                }
                Some(self.processes.watching().watch(look))
            }
            ToAgent::Stands(stands) => {
                if let Some(parent) = &mut self.parent {
                    parent.stands(stands);
                }
                None
            }
            ToAgent::Kill(of) => {
                self.processes.watching().kill(of.slave);
                None
            }
            ToAgent::Unwatch(of) => {
                self.processes.watching().unwatch(of.slave);
                None
            }
            ToAgent::Refused(refused) => return self.refused(&refused),
            ToAgent::Welcome(_) | ToAgent::Accepted(_) => {
                warn!("the master greets twice: link closed");
                return self.redial();
            }
        };
        if let Some(answer) = answer {
            self.say(answer);
        }
    }

    /// How it does.
    fn status(&self) -> Status {
        let linked = matches!(self.link, Way::Linked(_));
        let mut status = Status {
            host: self.hello.host.clone(),
            pid: self.hello.process.pid,
            linked,
            launched: self.processes.lives(),
            ready: linked,
            ..Status::default()
        };
        match &self.parent {
            Some(parent) => parent.tell(&mut status),
            None if linked => {}
            None => status.why = "no master accepted this agent yet".to_owned(),
        }
        status
    }
}
