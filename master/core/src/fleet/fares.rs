//! How a slave fares, as it says in its pongs: what its handlers did, whether it keeps up,
//! how well its connections hear.
//!
//! A backlog that grows is told: more events come than handlers finish. Nothing is lost while
//! the service replays the events that wait, but everything is late.

use std::time::Duration;

use baton_protocol::{
    ShardId, SlaveId, Version,
    message::{Clients, Pong, StoreRoom},
    text,
};

use crate::{
    event::Time,
    fleet::{Backpressure, FullMs, Hearing, Part, Record, Slave},
    out::Out,
    view::Because,
};

/// The part of its time, in percent, in which a slave's shards take nothing.
const MOSTLY: u64 = 50;

/// For so long, at least.
const LASTS: Duration = Duration::from_secs(60);

/// Each word forgets this part of what was usual before it: a handler that took long once
/// is forgotten after some thirty.
const FORGOTTEN: u32 = 8;

impl Slave {
    /// It said for how long its shards took nothing.
    pub(crate) fn backlog(&mut self, id: SlaveId, out: &mut Out) {
        let Part { percent, because } = self.backpressure.part;
        if percent < MOSTLY {
            self.full = None;
            return;
        }
        let (since, told) = *self.full.get_or_insert((out.now, false));
        let lasts = out.now.since(since);
        if told || lasts < LASTS {
            return;
        }
        self.full = Some((since, true));
        let late = self.lag.unwrap_or_default();
        let build = self.hello.build.clone();
        out.alarm(format!(
            "slave {id:.8} (build {build}) falls behind: for {lasts} its shards took nothing for \
             {percent} % of the time, because of {because}. The oldest unfinished event came \
             {late} ago. Next: {next}",
            lasts = text::span(lasts),
            late = text::span(late),
            next = because.next()
        ));
    }

    /// It said how its local clients do. Events that none of them got are told once.
    pub(crate) fn clients_fare(
        &mut self,
        id: SlaveId,
        clients: Option<Box<Clients>>,
        out: &mut Out,
    ) {
        let lost = |clients: &Option<Box<Clients>>| clients.as_ref().map_or(0, |it| it.lost);
        let (before, now) = (lost(&self.clients), lost(&clients));
        self.clients = clients.map(|clients| Box::new(clients.bounded()));
        if now <= before || mutant!("loss-of-clients-untold") {
            return;
        }
        let build = self.hello.build.clone();
        out.alarm(format!(
            "slave {id:.8} (build {build}) gave events up that no client took: {more} now, {now} \
             since its start. Start the clients, or find out why they do not read, and give them \
             more room or time",
            more = now - before,
        ));
    }

    /// Takes what it says of itself. For how long which of its shards has heard nothing.
    pub(crate) fn fares(&mut self, now: Time, pong: &Pong) -> (Duration, ShardId) {
        self.record = Record {
            finished: pong.finished,
            failed: pong.failed.min(pong.finished),
            handed: pong.handed,
        };
        let says_lag = self.speaks(Version::LAG);
        self.lag = says_lag.then(|| Duration::from_millis(pong.lag_ms));
        self.usual_lag = match (self.lag, self.usual_lag) {
            // Without shards it is handed nothing: that says nothing of what is usual.
            (Some(_), Some(usual)) if self.holds.is_empty() => Some(usual),
            (Some(lag), Some(usual)) if !mutant!("lag-of-a-moment") => {
                Some(lag.max(usual - usual / FORGOTTEN))
            }
            (lag, _) => lag,
        };
        let hearing = Hearing {
            silent: (Duration::from_millis(pong.silent_ms), pong.silent_shard),
            heartbeat: (
                Duration::from_millis(pong.heartbeat_ms),
                pong.heartbeat_shard,
            ),
        };
        self.hearing = says_lag.then_some(hearing);
        let shards = self.holds.len();
        let full = FullMs {
            all: pong.full_ms,
            bot: pong.full_bot_ms,
            store: pong.full_store_ms,
        };
        self.backpressure = self.backpressure.next(now, full, shards);
        // Where events are published they are finished when the broker has them.
        let part = &mut self.backpressure.part;
        if pong.sink.is_some() && part.because == Because::Window {
            part.because = Because::Sink;
        }
        hearing.silent
    }

    /// Takes what it says of the states that stay where they are.
    pub(crate) fn keeps(&mut self, store: Option<Box<StoreRoom>>) {
        self.store = store;
    }
}

impl Backpressure {
    /// A shorter time says nothing.
    const SHORTEST: Duration = Duration::from_millis(500);

    /// What is known after the next word.
    fn next(self, now: Time, full: FullMs, shards: usize) -> Self {
        let next = Self {
            at: now,
            full,
            ..self
        };
        // Words that follow each other quickly count together.
        let (at, full) = self.reckoned;
        if now.since(at) < Self::SHORTEST {
            return next;
        }
        let before = Self { at, full, ..self };
        Self {
            part: next.since(before, shards),
            reckoned: (next.at, next.full),
            ..next
        }
    }

    /// The part of the time of `shards` shards since `before`.
    pub(crate) fn since(self, before: Self, shards: usize) -> Part {
        let span = self.at.since(before.at);
        if span < Self::SHORTEST {
            return Part::NONE;
        }
        let full = self.full.since(before.full);
        let whole = span.as_millis() * shards.max(1) as u128;
        let percent = u128::from(full.all) * 100 / whole;
        Part {
            percent: u64::try_from(percent).unwrap_or(u64::MAX),
            because: full.because(),
        }
    }
}

impl FullMs {
    fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            bot: self.bot.saturating_sub(before.bot),
            store: self.store.saturating_sub(before.store),
        }
    }

    /// What most of it was for. A slave that does not tell the reasons apart means windows.
    fn because(self) -> Because {
        let Self { all, bot, store } = self;
        let window = all.saturating_sub(bot).saturating_sub(store);
        if window >= bot && window >= store {
            Because::Window
        } else if bot >= store {
            Because::Bot
        } else {
            Because::Store
        }
    }
}

impl Record {
    /// Whether the share that failed is more than `margin` percentage points
    /// above another's.
    pub(crate) fn is_worse(self, other: Self, margin: u32) -> bool {
        let share = |record: Self| {
            let of = u128::from(record.finished).max(1);
            u128::from(record.failed) * 10_000 / of
        };
        share(self) > share(other) + u128::from(margin) * 100
    }
}
