//! What an agent has whatever wire it speaks: its shards, its link, the once-per-bot work,
//! and how it leaves.

use std::{sync::Arc, time::Duration};

use baton_protocol::{SlaveId, ToMaster};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Status,
    leaving::Leaving,
    link_error::LinkError,
    link_state::{LinkEvent, LinkState, Wire},
    table::Table,
    work::{Done, Worker},
};
use crate::{
    error::Error,
    shard::{Context, FromShard},
    unit::Office,
};

/// What the master hears last is waited for so long, and the ends of tasks as well.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who asks what the slave does.
pub(crate) type Requests = mpsc::Receiver<oneshot::Sender<Status>>;

/// See the module. `L` is a link that is up.
pub(super) struct Base<L: Wire> {
    pub(super) context: Arc<Context>,
    pub(super) table: Table,
    pub(super) work: Worker,
    /// What is no shard's, where this process serves another service than Discord.
    pub(super) office: Option<Office>,
    /// Dials of the master that failed in a row.
    pub(super) failures: u32,
    slave: SlaveId,
    link: LinkState<L>,
    leaving: Option<Leaving>,
    requests: Requests,
    stop: CancellationToken,
    /// Whether it was said that the process is asked to end.
    stopped: bool,
}

/// What an agent has to look at.
pub(super) enum Event<L: Wire> {
    Said(FromShard),
    Link(LinkEvent<L>),
    Work(Done),
    /// Something that is no shard's is to be said.
    Write(ToMaster),
    /// A request for the status.
    Asked(oneshot::Sender<Status>),
    /// The process is asked to end. Once.
    Stopped,
    /// The time of those who leave is over.
    Due,
}

impl<L: Wire> Base<L> {
    pub(super) fn new(
        context: Arc<Context>,
        requests: Requests,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        Ok(Self {
            table: Table::new(context.clone()),
            work: Worker::new(context.work.clone()),
            office: context.office.clone(),
            failures: 0,
            slave: SlaveId::random().map_err(|source| Error::System {
                what: "draw a slave id",
                source: std::io::Error::other(source),
            })?,
            link: LinkState::Waiting(Instant::now()),
            leaving: None,
            requests,
            stop,
            stopped: false,
            context,
        })
    }

    /// This run of the slave.
    pub(super) const fn slave(&self) -> SlaveId {
        self.slave
    }

    /// The next thing to look at, the most urgent first. Survives being cancelled.
    pub(super) async fn next(&mut self) -> Event<L> {
        let until = self.leaving.as_ref().map(|leaving| leaving.until);
        tokio::select! {
            biased;
            said = self.table.said() => Event::Said(said),
            event = self.link.next() => Event::Link(event),
            done = self.work.done() => Event::Work(done),
            message = outgoing(self.office.as_ref()) => Event::Write(message),
            Some(request) = self.requests.recv() => Event::Asked(request),
            () = self.stop.cancelled(), if !self.stopped && self.leaving.is_none() => {
                self.stopped = true;
                Event::Stopped
            }
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Event::Due,
        }
    }

    /// The link, if it is up.
    pub(super) fn link(&self) -> Option<&L> {
        match &self.link {
            LinkState::Up(link) => Some(link),
            LinkState::Waiting(_) | LinkState::Dialling(_) => None,
        }
    }

    /// The same.
    pub(super) fn link_mut(&mut self) -> Option<&mut L> {
        match &mut self.link {
            LinkState::Up(link) => Some(link),
            LinkState::Waiting(_) | LinkState::Dialling(_) => None,
        }
    }

    /// The master is being dialled.
    pub(super) fn dials(&mut self, dial: JoinHandle<Result<L, LinkError>>) {
        debug_assert!(self.link().is_none(), "one link at a time");
        self.link = LinkState::Dialling(dial);
    }

    /// The master is there.
    pub(super) fn linked(&mut self, link: L) {
        debug_assert!(self.link().is_none(), "one link at a time");
        self.link = LinkState::Up(Box::new(link));
    }

    /// Whatever there was of a link is over; the master is dialled again after a pause.
    pub(super) fn dials_again(&mut self, pause: Duration) {
        self.link = LinkState::Waiting(Instant::now() + pause);
    }

    /// There is no master. The first word, then one a minute or so, is enough.
    pub(super) fn no_master(&self, error: &LinkError) {
        if self.failures.is_multiple_of(16) {
            tracing::warn!(%error, "no master");
        } else {
            tracing::debug!(%error, "no master");
        }
    }

    /// Whether the last order found no room at its shard, so that the master has to be let
    /// go of.
    pub(super) fn is_overrun(&mut self) -> bool {
        let overrun = self.table.overrun();
        if let Some(shard) = overrun {
            tracing::error!(%shard, "this shard does not take its orders: link closed");
        }
        overrun.is_some()
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// See [`Leaving`].
    pub(super) const fn leaving(&self) -> Option<&Leaving> {
        self.leaving.as_ref()
    }

    /// Seals every shard, and ends when that is settled.
    pub(super) fn leave(&mut self, asked: bool) {
        let drain = self.context.config.timings.drain;
        self.leaving = Some(Leaving::begin(asked, drain, &mut self.table));
    }

    /// Whether it left, or has no time left.
    pub(super) fn has_left(&self) -> bool {
        let leaving = self.leaving.as_ref();
        leaving.is_some_and(|leaving| leaving.is_over(&self.table, &self.work))
    }

    /// Sends what is queued, and ends every task.
    pub(super) async fn farewell(mut self) {
        let nothing = LinkState::Waiting(Instant::now());
        if let LinkState::Up(link) = std::mem::replace(&mut self.link, nothing) {
            link.finish(LAST_WORDS).await;
        }
        let asked = self.leaving.as_ref().is_some_and(|leaving| leaving.asked);
        tracing::info!(asked, "left");
        let _ = timeout(LAST_WORDS, self.table.leave()).await;
    }

    /// What it does right now, under a master of this term.
    pub(super) fn status(&mut self, linked: bool, term: String) -> Status {
        self.table.collect();
        Status {
            linked,
            term,
            work: self.work.epoch().get(),
            ..Status::of(self.slave, &self.context, &self.table)
        }
    }
}

async fn outgoing(office: Option<&Office>) -> ToMaster {
    match office {
        Some(office) => office.outgoing().await,
        None => std::future::pending().await,
    }
}
