//! The agent: one task that owns the link to the master and the table of shards.
//!
//! It is never the outage: without a master the shards go on, reconnect and
//! RESUME; only IDENTIFY, moves and the outcome of a seal wait for it.

mod base;
mod lease;
mod leaving;
#[cfg(feature = "legacy")]
pub(crate) mod legacy;
mod link;
mod link_error;
mod link_state;
mod orders;
mod pipe;
mod secure;
mod status;
pub(crate) mod table;
mod turns;
mod work;

use std::{str::FromStr, sync::Arc, time::Duration};

use baton_protocol::{
    DeployId, LaunchId, ProcessIdentity, Term, ToMaster, Version,
    message::{Hello, Report, Role},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use self::base::Requests;
pub use self::status::{ShardStatus, Status};
use self::{
    base::{Base, Event},
    link::{Introduction, Link},
    link_error::LinkError,
    link_state::{LinkEvent, Wire as _},
    turns::Turns,
};
use crate::{
    error::Error,
    shard::{Context, backoff::random},
};

/// Speaks our wire.
pub(crate) struct Agent {
    base: Base<Link>,
    /// For which deploy a master launched this process; zero: for none.
    deploy: DeployId,
    /// Of which launch this process is; zero: no master launched it.
    launch: LaunchId,
    /// The host whose agent launched it; empty: no agent did.
    host: String,
    process: ProcessIdentity,
    /// The highest term that orders were taken from.
    term: Term,
    /// Which master is dialled next.
    turns: Turns,
    heard: Instant,
    /// When checkpoints are collected next; `None`: nothing changed lately.
    line: Option<Instant>,
    /// It was asked to end, and the master to move its shards; not longer than this.
    followed_until: Option<Instant>,
    /// For how long it serves without a leader.
    kept: lease::Kept,
}

/// What a launching master set: a fact about this process, not a setting.
fn set_by_master<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

impl Agent {
    pub(crate) fn new(
        context: Arc<Context>,
        requests: Requests,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        Ok(Self {
            base: Base::new(context, requests, stop)?,
            deploy: DeployId(set_by_master("BATON_DEPLOY").unwrap_or_default()),
            launch: set_by_master("BATON_LAUNCH").unwrap_or_default(),
            host: set_by_master("BATON_HOST").unwrap_or_default(),
            process: ProcessIdentity::current().map_err(|source| Error::System {
                what: "read /proc/self",
                source,
            })?,
            term: Term::default(),
            turns: Turns::default(),
            heard: Instant::now(),
            line: None,
            followed_until: None,
            kept: lease::Kept::default(),
        })
    }

    /// Until the master tells it to leave, or the process is.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            if self.base.has_left() {
                self.farewell().await;
                return Ok(());
            }
            let config = &self.base.context.config;
            let patience = config.timings.master_silence;
            let silent = self.heard + Turns::silence(&config.masters, patience);
            let followed = self.followed_until.filter(|_| !self.base.is_leaving());
            let linked = self.base.link().is_some();
            let look = self.kept.look_in().map(|look| Instant::now() + look);
            let line = self.line;
            let context = self.base.context.clone();
            tokio::select! {
                biased;
                // First: also where shards never stop saying something, a copy say.
                () = sleep_until(line.unwrap_or_else(Instant::now)), if line.is_some() => {
                    let changed = self.base.table.collect();
                    self.line = changed.then(|| context.checkpoints.next_line());
                    self.checkpoint();
                }
                () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                    self.look_at_lease();
                }
                event = self.base.next() => self.event(event)?,
                () = sleep_until(silent), if linked => {
                    tracing::warn!("the master says nothing: link closed");
                    self.dialled_in_vain();
                }
                () = context.checkpoints.changed(), if line.is_none() => {
                    self.line = Some(context.checkpoints.next_line());
                }
                () = sleep_until(followed.unwrap_or_else(Instant::now)), if followed.is_some() => {
                    tracing::warn!("no other slave took over in time");
                    self.leave(false);
                }
            }
        }
    }

    fn event(&mut self, event: Event<Link>) -> Result<(), Error> {
        match event {
            Event::Said(said) => {
                self.said(said);
                while let Some(said) = self.base.table.said_already() {
                    self.said(said);
                }
                self.checkpoint();
            }
            Event::Link(event) => self.link_event(event)?,
            Event::Work(done) => self.work_done(done),
            Event::Write(message) => self.say(&message),
            Event::Asked(request) => {
                // No task waits any longer: fine.
                let _ = request.send(self.status());
            }
            Event::Stopped => self.stopped(),
            Event::Due => {}
        }
        Ok(())
    }

    fn link_event(&mut self, event: LinkEvent<Link>) -> Result<(), Error> {
        match event {
            LinkEvent::DialNow if !self.may_dial() => {}
            LinkEvent::DialNow => {
                self.lease_dials();
                let introduction = self.introduction();
                self.base.dials(tokio::spawn(Link::dial(introduction)));
            }
            LinkEvent::Dialled(Ok(link)) => self.linked(link),
            LinkEvent::Dialled(Err(LinkError::Refused(refused))) => self.refused(&refused)?,
            LinkEvent::Dialled(Err(error)) => {
                self.base.no_master(&error);
                self.dialled_in_vain();
            }
            LinkEvent::Order(order) => {
                self.heard = Instant::now();
                self.order(order)?;
                if self.base.is_overrun() {
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
        let config = &self.base.context.config;
        let running = self.base.table.owns_anything();
        let (address, deadline) = self.turns.master(&config.masters, config.timings.handshake);
        Introduction {
            address,
            hello: Hello {
                version: Version::NEWEST,
                lowest: Version::OLDEST,
                term: self.term,
                slave: self.base.slave(),
                role: if running { Role::Relaunch } else { config.role },
                slot: config.slot.clone(),
                build: config.build.clone(),
                parameters: self.base.context.parameters().seal(),
                process: self.process.clone(),
                nonce: Default::default(),
                deploy: self.deploy,
                launch: self.launch,
                host: self.host.clone(),
            },
            running,
            secret: config.secret.clone(),
            tls_dir: config.tls_dir.clone(),
            deadline,
        }
    }

    /// The master proved itself: report everything.
    fn linked(&mut self, link: Link) {
        debug_assert!(
            link.welcome.term.counter >= self.term.counter || mutant!("older-term-obeyed"),
            "a master of an older term has no link"
        );
        self.term = link.welcome.term;
        self.base.context.set_fleet(self.term.fleet);
        self.heard = Instant::now();
        let checkpoints = &self.base.context.checkpoints;
        checkpoints.set_interval(link.welcome.checkpoint_ms);
        self.base.table.new_connection();
        let held = self.base.table.report();
        let mut parts = held.chunks(Report::MAX_SHARDS).peekable();
        loop {
            let shards = parts.next().unwrap_or_default().to_vec();
            let last = parts.peek().is_none();
            link.report(Report {
                shards,
                work: self.base.work.epoch(),
                ready: true,
                lapsed: self.kept.lapsed(),
                last,
            });
            if last {
                break;
            }
        }
        self.base.linked(link);
    }

    /// Another master has its turn: at once, if not all of them had theirs.
    fn dialled_in_vain(&mut self) {
        let at_once = self.turns.in_vain(&self.base.context.config.masters);
        self.dials_again(at_once);
    }

    fn redial(&mut self) {
        self.dials_again(false);
    }

    fn dials_again(&mut self, at_once: bool) {
        self.base.table.link_lost();
        if self.followed_until.is_some() && !self.base.is_leaving() {
            self.leave(false);
        }
        if at_once {
            return self.base.dials_again(Duration::ZERO);
        }
        let timings = &self.base.context.config.timings;
        let pause = timings
            .master_redial_first
            .saturating_mul(2_u32.saturating_pow(self.base.failures.min(16)))
            .min(timings.master_redial_max)
            .mul_f64(0.5 + 0.5 * random());
        self.base.failures = self.base.failures.saturating_add(1);
        self.base.dials_again(pause);
    }

    /// Says something if a master listens.
    fn say(&mut self, message: &ToMaster) {
        if let Some(link) = self.accepting()
            && !link.say(message)
        {
            tracing::warn!("the master does not read: link closed");
            self.redial();
        }
    }

    /// The link, if the master accepted what this slave reported.
    fn accepting(&self) -> Option<&Link> {
        self.base.link().filter(|link| link.accepted)
    }

    /// Tells checkpoints, if a master listens; else they wait and grow together.
    fn checkpoint(&mut self) {
        if self.accepting().is_some() {
            for checkpoint in self.base.table.checkpoints() {
                self.say(&ToMaster::Checkpoint(checkpoint));
            }
        }
    }

    /// The process is asked to end. A slave that owns shards asks for a successor: one
    /// that is there takes them over with their state.
    fn stopped(&mut self) {
        let link = self.accepting();
        let may_ask = link.is_some_and(|link| link.welcome.version >= Version::LEAVE);
        let patience = self.base.context.config.timings.followed;
        if may_ask && self.base.table.owns_anything() && !patience.is_zero() {
            tracing::info!(?patience, "asked to end: a successor may take over");
            self.followed_until = Some(Instant::now() + patience);
            self.say(&ToMaster::Leave);
        } else {
            self.leave(false);
        }
    }

    fn leave(&mut self, asked: bool) {
        self.base.leave(asked);
        self.base.work.stop(None);
    }

    async fn farewell(mut self) {
        self.base.table.collect();
        self.checkpoint();
        self.say(&ToMaster::Shutdown);
        self.base.farewell().await;
    }

    fn status(&mut self) -> Status {
        let linked = self.accepting().is_some();
        self.base.status(linked, self.term.to_string())
    }
}
