//! The agent under YAGPDB's unchanged 2018 Go master.
//!
//! ```text
//!               2                        3{true}
//!  bystander ──────▶ all shards start    ───────▶ source ── 4{k}: ticket k ──┐
//!    │  ▲                                           ▲ └──────────────────────┤
//!    │  └── silence                                 └── next k ◀─────────────┤
//!    │ 3{false,N}                                                 4{N}: left ◀┘
//!    ▼
//!  target ── 5{k}: RESUME, then 5{k} ──▶ ... ──▶ all shards serve
//! ```
//!
//! A part belongs to one connection: when that is lost, this slave is a
//! bystander again. Nothing said on one connection is answered on the next: the
//! Go master takes a late answer for one to its present question, or
//! crashes over it. The only thing that is still true is who owns shards, and
//! the hello says it.

mod link;
mod orders;
mod pace;
mod shards;
mod tickets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{
    Epoch, ShardId,
    go::{Session, ToMaster},
};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::{
    link::{Introduction, Link},
    pace::Pace,
};
use super::{
    Status,
    base::{Base, Event, Requests},
    link_state::{LinkEvent, Wire as _},
};
use crate::{config::Legacy, error::Error, shard::Context};

/// Speaks the Go wire.
pub(crate) struct LegacyAgent {
    base: Base<Link>,
    legacy: Legacy,
    /// Shards of the whole bot.
    count: u32,
    part: Part,
    /// The migration stands still if nothing happens until then.
    still: Instant,
    /// Whether an order came on this connection.
    heard: bool,
    /// Whether the master was out of reach since the last hello.
    missed: bool,
    pace: Pace,
    permit_at: Option<Instant>,
    /// Told to start, and not yet at the point where they need a permit.
    starting: BTreeSet<ShardId>,
    /// Tickets that this connection waits for, and how long the last of them
    /// waits for the end of the work.
    asked: BTreeMap<ShardId, Instant>,
    /// Shards whose ticket was given: another slave's now.
    given: BTreeSet<ShardId>,
    /// The last of them, until the master goes on.
    in_hand: Option<ShardId>,
    /// Sealed for a connection that is lost: served again.
    take_back: BTreeSet<ShardId>,
    /// Acknowledgements that this connection waits for.
    owed: BTreeMap<ShardId, Session>,
    /// Whether the once-per-bot work is to run here.
    works: bool,
    work_epoch: Epoch,
    work_ticket: Bytes,
    /// Whether something may have to be done.
    changed: bool,
}

/// What this slave is on the present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Bystander,
    /// Shards leave it.
    Source,
    /// Shards come to it.
    Target,
}

impl LegacyAgent {
    pub(crate) fn new(
        context: Arc<Context>,
        legacy: Legacy,
        requests: Requests,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let count = legacy.shards.get();
        let window = context.config.timings.identify_window;
        let base = Base::new(context, requests, stop)?;
        base.table.set_shard_count(count);
        Ok(Self {
            base,
            count,
            part: Part::Bystander,
            still: Instant::now(),
            heard: false,
            missed: false,
            pace: Pace::new(legacy.max_concurrency.get(), window, count),
            permit_at: None,
            starting: BTreeSet::new(),
            asked: BTreeMap::new(),
            given: BTreeSet::new(),
            in_hand: None,
            take_back: BTreeSet::new(),
            owed: BTreeMap::new(),
            works: false,
            work_epoch: Epoch(0),
            work_ticket: Bytes::new(),
            changed: false,
            legacy,
        })
    }

    /// Until the master tells it to leave, or the process is.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            if std::mem::take(&mut self.changed) {
                self.give_tickets();
                self.grant_permits();
                self.begin_work();
            }
            if self.has_left() {
                self.base.farewell().await;
                return Ok(());
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                event = self.base.next() => self.event(event),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.changed = true;
                    self.stands_still();
                }
            }
        }
    }

    fn event(&mut self, event: Event<Link>) {
        match event {
            Event::Said(said) => {
                self.said(said);
                while let Some(said) = self.base.table.said_already() {
                    self.said(said);
                }
            }
            Event::Link(event) => self.link_event(event),
            Event::Work(done) => self.work_done(done),
            Event::Asked(request) => {
                // No task waits any longer: fine.
                let _ = request.send(self.status());
            }
            Event::Stopped => self.leave(false),
            // A legacy master serves Discord.
            Event::Write(_) => {}
            Event::Due => self.changed = true,
        }
    }

    fn wake(&self) -> Option<Instant> {
        let still = self.waits_for_master().then_some(self.still);
        // Once it is over, a ticket is given as soon as its shard is drained.
        let to_come = |until: &&Instant| self.works_yet() && **until > Instant::now();
        let work = self.asked.values().filter(to_come).min();
        [still, work.copied(), self.permit_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn link_event(&mut self, event: LinkEvent<Link>) {
        let pause = self.base.context.config.timings.legacy_redial;
        self.changed = true;
        match event {
            LinkEvent::DialNow => self.dial(),
            LinkEvent::Dialled(Ok(link)) => {
                self.base.failures = 0;
                self.missed = false;
                self.heard = false;
                self.base.linked(link);
                tracing::info!(running = self.owns(), "hello said to a legacy master");
            }
            LinkEvent::Dialled(Err(error)) => {
                self.base.no_master(&error);
                self.base.failures = self.base.failures.saturating_add(1);
                self.missed = true;
                self.base.dials_again(pause);
            }
            LinkEvent::Order(order) => {
                self.heard = true;
                self.moves_on(self.part);
                self.order(order);
                if self.base.is_overrun() {
                    self.lost();
                }
            }
            LinkEvent::Lost => {
                tracing::warn!("the link to the master is lost; shards go on");
                self.lost();
            }
        }
    }

    /// A slave without shards that finds the master again lets those speak first
    /// that have some: they dial every `legacy_redial`. Else a master that was
    /// started again would have it start every shard a second time.
    fn dial(&mut self) {
        let timings = &self.base.context.config.timings;
        let running = self.owns();
        let grace = if self.missed && !running {
            timings.legacy_redial.mul_f64(1.2)
        } else {
            Duration::ZERO
        };
        let dial = tokio::spawn(Link::dial(Introduction {
            // It was checked that there is one.
            address: self.base.context.config.masters[0].clone(),
            running,
            grace,
            deadline: timings.handshake,
        }));
        self.base.dials(dial);
    }

    /// The connection is over, and everything that was asked on it.
    fn lost(&mut self) {
        let pause = self.base.context.config.timings.legacy_redial;
        let link = self.base.link();
        let lived = link.map_or(Duration::ZERO, |link| link.since.elapsed());
        // At once, unless the master closes each new connection.
        let useful = self.heard || lived >= pause;
        let pause = if useful { Duration::ZERO } else { pause };
        self.base.dials_again(pause);
        self.missed = true;
        self.owed.clear();
        self.part_ends();
    }

    /// Whether a migration goes on only when the master says something.
    fn waits_for_master(&self) -> bool {
        match self.part {
            Part::Bystander => false,
            Part::Source => self.asked.is_empty(),
            Part::Target => self.owed.is_empty() && self.owned().count() < self.count as usize,
        }
    }

    fn moves_on(&mut self, part: Part) {
        self.part = part;
        self.still = Instant::now() + self.base.context.config.timings.legacy_patience;
    }

    /// The Go master loses its place when a slave dies in a migration.
    /// An operator must know. One case can be mended from here: where the slave
    /// before died ahead of its first ticket, a target without shards is the main
    /// slave and no master will start it; its new hello is a cold start.
    fn stands_still(&mut self) {
        if !self.waits_for_master() || Instant::now() < self.still {
            return;
        }
        if self.part == Part::Target && !self.base.table.owns_anything() {
            tracing::error!("no shard came: the slave asks the master for work again");
            self.lost();
            return;
        }
        tracing::error!(
            part = ?self.part, owned = self.owned().count(), shards = self.count,
            "the migration stands still: if a slave has died, start the master again and deploy"
        );
        self.moves_on(self.part);
    }

    /// Says something if a master listens.
    fn say(&mut self, message: &ToMaster) {
        if let Some(link) = self.base.link()
            && !link.say(message)
        {
            tracing::warn!("the master does not read: link closed");
            self.lost();
        }
    }

    /// Whether any shard is ours: not given away.
    fn owns(&self) -> bool {
        self.owned().next().is_some()
    }

    fn leave(&mut self, asked: bool) {
        if !self.base.is_leaving() {
            self.base.leave(asked);
            self.stop_work();
            self.changed = true;
        }
    }

    /// A source that something else than the master orders to end stays for
    /// those who fetch its tickets, as long as it may.
    fn has_left(&self) -> bool {
        let Some(leaving) = self.base.leaving() else {
            return false;
        };
        let fetched = leaving.asked || self.part != Part::Source || !self.owns();
        (fetched && self.base.has_left()) || Instant::now() >= leaving.until
    }

    fn status(&mut self) -> Status {
        let linked = self.base.link().is_some();
        self.base.status(linked, "legacy".to_owned())
    }
}
