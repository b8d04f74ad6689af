//! The agent: one task that owns the link to the master and the table of shards.
//!
//! It is never the outage: without a master the shards go on, reconnect and
//! RESUME; only IDENTIFY, moves and the outcome of a seal wait for it.

mod leaving;
#[cfg(feature = "legacy")]
pub(crate) mod legacy;
mod link;
mod link_error;
mod link_state;
mod orders;
mod status;
pub(crate) mod table;
mod work;

use std::{str::FromStr, sync::Arc, time::Duration};

use baton_protocol::{
    DeployId, LaunchId, ProcessIdentity, SlaveId, Term, ToMaster, Version,
    message::{Hello, Report, Role},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::status::{ShardStatus, Status};
use self::{
    leaving::Leaving,
    link::{Introduction, Link},
    link_error::LinkError,
    link_state::{LinkEvent, LinkState},
    table::Table,
    work::Worker,
};
use crate::{
    error::Error,
    shard::{Context, backoff::random},
};

/// Owns the link and the table.
pub(crate) struct Agent {
    context: Arc<Context>,
    table: Table,
    link: LinkState<Link>,
    slave: SlaveId,
    /// For which deploy a master launched this process; zero: for none.
    deploy: DeployId,
    /// Of which launch this process is; zero: no master launched it.
    launch: LaunchId,
    process: ProcessIdentity,
    /// The highest term that orders were taken from.
    term: Term,
    /// Dials of the master that failed in a row.
    failures: u32,
    heard: Instant,
    /// When checkpoints are collected next; `None`: nothing changed lately.
    line: Option<Instant>,
    work: Worker,
    leaving: Option<Leaving>,
    /// It was asked to end, and the master to move its shards; not longer than this.
    followed_until: Option<Instant>,
    requests: mpsc::Receiver<oneshot::Sender<Status>>,
    stop: CancellationToken,
}

/// What a launching master set: a fact about this process, not a setting.
fn set_by_master<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Agent {
    pub(crate) fn new(
        context: Arc<Context>,
        requests: mpsc::Receiver<oneshot::Sender<Status>>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let system = |what| move |source| Error::System { what, source };
        Ok(Self {
            table: Table::new(context.clone()),
            link: LinkState::Waiting(Instant::now()),
            slave: SlaveId::random()
                .map_err(std::io::Error::other)
                .map_err(system("draw a slave id"))?,
            deploy: DeployId(set_by_master("BATON_DEPLOY").unwrap_or_default()),
            launch: set_by_master("BATON_LAUNCH").unwrap_or_default(),
            process: ProcessIdentity::current().map_err(system("read /proc/self"))?,
            term: Term::default(),
            failures: 0,
            heard: Instant::now(),
            line: None,
            work: Worker::new(context.work.clone()),
            leaving: None,
            followed_until: None,
            requests,
            stop,
            context,
        })
    }

    /// Until the master tells it to leave, or the process is.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            if let Some(leaving) = &self.leaving
                && leaving.is_over(&self.table, &self.work)
            {
                self.farewell().await;
                return Ok(());
            }
            let until = self.leaving.as_ref().map(|leaving| leaving.until);
            let silent = self.heard + self.context.config.timings.master_silence;
            let followed = self.followed_until.filter(|_| self.leaving.is_none());
            let linked = self.link.is_up();
            let line = self.line;
            tokio::select! {
                biased;
                // First: also where shards never stop saying something, a copy say.
                () = sleep_until(line.unwrap_or_else(Instant::now)), if line.is_some() => {
                    let changed = self.table.collect();
                    self.line = changed.then(|| self.context.checkpoints.next_line());
                    self.checkpoint();
                }
                said = self.table.said() => {
                    self.said(said);
                    while let Some(said) = self.table.said_already() {
                        self.said(said);
                    }
                    self.checkpoint();
                }
                event = self.link.next() => self.link_event(event)?,
                () = sleep_until(silent), if linked => {
                    tracing::warn!("the master says nothing: link closed");
                    self.redial();
                }
                done = self.work.done() => self.work_done(done),
                Some(request) = self.requests.recv() => {
                    // No task waits any longer: fine.
                    let _ = request.send(self.status());
                }
                () = self.context.checkpoints.changed(), if line.is_none() => {
                    self.line = Some(self.context.checkpoints.next_line());
                }
                () = self.stop.cancelled(),
                    if self.leaving.is_none() && self.followed_until.is_none() => self.stopped(),
                () = sleep_until(followed.unwrap_or_else(Instant::now)), if followed.is_some() => {
                    tracing::warn!("no other slave took over in time");
                    self.leave(false);
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn link_event(&mut self, event: LinkEvent<Link>) -> Result<(), Error> {
        match event {
            LinkEvent::DialNow => {
                let introduction = self.introduction();
                self.link = LinkState::Dialling(tokio::spawn(Link::dial(introduction)));
            }
            LinkEvent::Dialled(Ok(link)) => self.linked(link),
            LinkEvent::Dialled(Err(LinkError::Refused(refused))) => self.refused(&refused)?,
            LinkEvent::Dialled(Err(error)) => {
                // The first word, then one a minute or so, is enough.
                if self.failures.is_multiple_of(16) {
                    tracing::warn!(%error, "no master");
                } else {
                    tracing::debug!(%error, "no master");
                }
                self.redial();
            }
            LinkEvent::Order(order) => {
                self.heard = Instant::now();
                self.order(order)?;
                if let Some(shard) = self.table.overrun() {
                    tracing::error!(%shard, "this shard does not take its orders: link closed");
                    self.redial();
                }
            }
            LinkEvent::Lost => {
                tracing::warn!("the link to the master is lost; shards go on");
                self.redial();
            }
        }
        Ok(())
    }

    /// Who we are, for a dial.
    fn introduction(&self) -> Introduction {
        let config = &self.context.config;
        let running = self.table.owns_anything();
        Introduction {
            address: config.master.clone(),
            hello: Hello {
                version: Version::NEWEST,
                lowest: Version::OLDEST,
                term: self.term,
                slave: self.slave,
                role: if running { Role::Relaunch } else { config.role },
                slot: config.slot.clone(),
                build: config.build.clone(),
                parameters: config.parameters(0),
                process: self.process.clone(),
                nonce: Default::default(),
                deploy: self.deploy,
                launch: self.launch,
            },
            running,
            secret: config.secret.clone(),
            deadline: config.timings.handshake,
        }
    }

    /// The master proved itself: report everything.
    fn linked(&mut self, link: Link) {
        debug_assert!(
            link.welcome.term.counter >= self.term.counter || cfg!(mutant = "older-term-obeyed"),
            "a master of an older term has no link"
        );
        self.term = link.welcome.term;
        self.heard = Instant::now();
        let checkpoints = &self.context.checkpoints;
        checkpoints.set_interval(link.welcome.checkpoint_ms);
        self.table.new_connection();
        let held = self.table.report();
        let mut parts = held.chunks(Report::MAX_SHARDS).peekable();
        loop {
            let shards = parts.next().unwrap_or_default().to_vec();
            let last = parts.peek().is_none();
            link.report(Report {
                shards,
                work: self.work.epoch(),
                ready: true,
                last,
            });
            if last {
                break;
            }
        }
        self.link = LinkState::Up(Box::new(link));
    }

    fn redial(&mut self) {
        self.table.link_lost();
        if self.followed_until.is_some() && self.leaving.is_none() {
            self.leave(false);
        }
        let timings = &self.context.config.timings;
        let pause = timings
            .master_redial_first
            .saturating_mul(2_u32.saturating_pow(self.failures.min(16)))
            .min(timings.master_redial_max)
            .mul_f64(0.5 + 0.5 * random());
        self.failures = self.failures.saturating_add(1);
        self.link = LinkState::Waiting(Instant::now() + pause);
    }

    /// Says something if a master listens.
    fn say(&mut self, message: &ToMaster) {
        if let LinkState::Up(link) = &self.link
            && link.accepted
            && !link.say(message)
        {
            tracing::warn!("the master does not read: link closed");
            self.redial();
        }
    }

    /// Tells checkpoints, if a master listens; else they wait and grow together.
    fn checkpoint(&mut self) {
        if matches!(&self.link, LinkState::Up(link) if link.accepted) {
            for checkpoint in self.table.checkpoints() {
                self.say(&ToMaster::Checkpoint(checkpoint));
            }
        }
    }

    /// The process is asked to end. A slave that owns shards asks for a successor: one
    /// that is there takes them over with their state.
    fn stopped(&mut self) {
        let may_ask = matches!(&self.link, LinkState::Up(link)
            if link.accepted && link.welcome.version >= Version::LEAVE);
        let patience = self.context.config.timings.followed;
        if may_ask && self.table.owns_anything() && !patience.is_zero() {
            tracing::info!(?patience, "asked to end: a successor may take over");
            self.followed_until = Some(Instant::now() + patience);
            self.say(&ToMaster::Leave);
        } else {
            self.leave(false);
        }
    }

    fn leave(&mut self, asked: bool) {
        let drain = self.context.config.timings.drain;
        self.leaving = Some(Leaving::begin(asked, drain, &mut self.table));
        self.work.stop(None);
    }

    async fn farewell(mut self) {
        self.table.collect();
        self.checkpoint();
        self.say(&ToMaster::Shutdown);
        if let LinkState::Up(link) =
            std::mem::replace(&mut self.link, LinkState::Waiting(Instant::now()))
        {
            link.finish(Duration::from_secs(1)).await;
        }
        let asked = self.leaving.as_ref().is_some_and(|leaving| leaving.asked);
        tracing::info!(asked, "left");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.table.leave()).await;
    }

    fn status(&mut self) -> Status {
        self.table.collect();
        Status {
            linked: matches!(&self.link, LinkState::Up(link) if link.accepted),
            term: self.term.to_string(),
            work: self.work.epoch().get(),
            ..Status::of(self.slave, &self.context, &self.table)
        }
    }
}
