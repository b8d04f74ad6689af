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
    Epoch, ShardId, SlaveId,
    go::{Session, ToMaster},
};
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    link::{Introduction, Link},
    pace::Pace,
};
use super::{
    Status,
    leaving::Leaving,
    link_state::{LinkEvent, LinkState},
    table::Table,
    work::Worker,
};
use crate::{config::Legacy, error::Error, shard::Context};

/// Owns the link and the table.
pub(crate) struct LegacyAgent {
    context: Arc<Context>,
    legacy: Legacy,
    table: Table,
    link: LinkState<Link>,
    slave: SlaveId,
    /// Shards of the whole bot.
    count: u32,
    part: Part,
    /// The migration stands still if nothing happens until then.
    still: Instant,
    /// Whether an order came on this connection.
    heard: bool,
    /// Whether the master was out of reach since the last hello.
    missed: bool,
    /// Dials that failed in a row.
    failures: u32,
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
    work: Worker,
    /// Whether it is to run here.
    works: bool,
    work_epoch: Epoch,
    work_ticket: Bytes,
    /// Whether something may have to be done.
    changed: bool,
    leaving: Option<Leaving>,
    requests: mpsc::Receiver<oneshot::Sender<Status>>,
    stop: CancellationToken,
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
        requests: mpsc::Receiver<oneshot::Sender<Status>>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let count = legacy.shards.get();
        let table = Table::new(context.clone());
        table.set_shard_count(count);
        Ok(Self {
            table,
            link: LinkState::Waiting(Instant::now()),
            slave: SlaveId::random().map_err(|source| Error::System {
                what: "draw a slave id",
                source: std::io::Error::other(source),
            })?,
            count,
            part: Part::Bystander,
            still: Instant::now(),
            heard: false,
            missed: false,
            failures: 0,
            pace: Pace::new(
                legacy.max_concurrency.get(),
                context.config.timings.identify_window,
                count,
            ),
            permit_at: None,
            starting: BTreeSet::new(),
            asked: BTreeMap::new(),
            given: BTreeSet::new(),
            in_hand: None,
            take_back: BTreeSet::new(),
            owed: BTreeMap::new(),
            work: Worker::new(context.work.clone()),
            works: false,
            work_epoch: Epoch(0),
            work_ticket: Bytes::new(),
            changed: false,
            leaving: None,
            requests,
            stop,
            legacy,
            context,
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
                self.farewell().await;
                return Ok(());
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                said = self.table.said() => {
                    self.said(said);
                    while let Some(said) = self.table.said_already() {
                        self.said(said);
                    }
                }
                event = self.link.next() => self.link_event(event),
                done = self.work.done() => self.work_done(done),
                Some(request) = self.requests.recv() => {
                    // No task waits any longer: fine.
                    let _ = request.send(self.status());
                }
                () = self.stop.cancelled(), if self.leaving.is_none() => self.leave(false),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.changed = true;
                    self.stands_still();
                }
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let still = self.waits_for_master().then_some(self.still);
        // Once it is over, a ticket is given as soon as its shard is drained.
        let to_come = |until: &&Instant| self.works_yet() && **until > Instant::now();
        let work = self.asked.values().filter(to_come).min();
        [leaving, still, work.copied(), self.permit_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn link_event(&mut self, event: LinkEvent<Link>) {
        let pause = self.context.config.timings.legacy_redial;
        self.changed = true;
        match event {
            LinkEvent::DialNow => self.dial(),
            LinkEvent::Dialled(Ok(link)) => {
                self.failures = 0;
                self.missed = false;
                self.heard = false;
                self.link = LinkState::Up(Box::new(link));
                tracing::info!(running = self.owns(), "hello said to a legacy master");
            }
            LinkEvent::Dialled(Err(error)) => {
                // The first word, then one a minute or so, is enough.
                if self.failures.is_multiple_of(16) {
                    tracing::warn!(%error, "no master");
                } else {
                    tracing::debug!(%error, "no master");
                }
                self.failures = self.failures.saturating_add(1);
                self.missed = true;
                self.link = LinkState::Waiting(Instant::now() + pause);
            }
            LinkEvent::Order(order) => {
                self.heard = true;
                self.moves_on(self.part);
                self.order(order);
                if let Some(shard) = self.table.overrun() {
                    tracing::error!(%shard, "this shard does not take its orders: link closed");
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
        let timings = &self.context.config.timings;
        let running = self.owns();
        let grace = if self.missed && !running {
            timings.legacy_redial.mul_f64(1.2)
        } else {
            Duration::ZERO
        };
        self.link = LinkState::Dialling(tokio::spawn(Link::dial(Introduction {
            address: self.context.config.master.clone(),
            running,
            grace,
            deadline: timings.handshake,
        })));
    }

    /// The connection is over, and everything that was asked on it.
    fn lost(&mut self) {
        let pause = self.context.config.timings.legacy_redial;
        let lived = match &self.link {
            LinkState::Up(link) => link.since.elapsed(),
            LinkState::Waiting(_) | LinkState::Dialling(_) => Duration::ZERO,
        };
        // At once, unless the master closes each new connection.
        let useful = self.heard || lived >= pause;
        let pause = if useful { Duration::ZERO } else { pause };
        self.link = LinkState::Waiting(Instant::now() + pause);
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
        self.still = Instant::now() + self.context.config.timings.legacy_patience;
    }

    /// The Go master loses its place when a slave dies in a migration.
    /// An operator must know. One case can be mended from here: where the slave
    /// before died ahead of its first ticket, a target without shards is the main
    /// slave and no master will start it; its new hello is a cold start.
    fn stands_still(&mut self) {
        if !self.waits_for_master() || Instant::now() < self.still {
            return;
        }
        if self.part == Part::Target && !self.table.owns_anything() {
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
        if let LinkState::Up(link) = &self.link
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
        if self.leaving.is_none() {
            let drain = self.context.config.timings.drain;
            self.leaving = Some(Leaving::begin(asked, drain, &mut self.table));
            self.stop_work();
            self.changed = true;
        }
    }

    /// A source that something else than the master orders to end stays for
    /// those who fetch its tickets, as long as it may.
    fn has_left(&self) -> bool {
        let Some(leaving) = &self.leaving else {
            return false;
        };
        let fetched = leaving.asked || self.part != Part::Source || !self.owns();
        (fetched && leaving.is_over(&self.table, &self.work)) || Instant::now() >= leaving.until
    }

    async fn farewell(mut self) {
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
            linked: self.link.is_up(),
            term: "legacy".to_owned(),
            work: self.work.epoch().get(),
            ..Status::of(self.slave, &self.context, &self.table)
        }
    }
}
