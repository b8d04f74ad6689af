//! How the sink of a slave does, where it publishes its events to a broker.
//!
//! What the broker does not take waits at the slave, and behind that at the service, which
//! replays only so much, and keeps a session without a connection only so long. How much it
//! replays is reckoned by what shards got before: once a window is full the slave reads
//! nothing, and the shard seems to get nothing.

use std::time::Duration;

use baton_protocol::{SlaveId, message::SinkReport, text};

use crate::{
    event::Time,
    fleet::{Fleet, Slave},
    out::Out,
    settings::Settings,
};

/// A broker that restarts is back sooner.
const LASTS: Duration = Duration::from_secs(15);

/// What a slave said of its sink, and what is known beside it.
#[derive(Clone, Debug)]
pub(crate) struct KnownSink {
    pub(crate) report: SinkReport,
    /// When it said so.
    at: Time,
    /// What the service keeps of its shards; the budget is the least since there is trouble.
    reach: Reach,
    /// How old its oldest unfinished event was.
    lag: Duration,
    told: Told,
}

/// How much the service keeps of the shards of a slave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The tightest replay budget; [`Duration::MAX`]: none is known.
    budget: Duration,
    /// When the first of their sessions ends; `None`: all of them are connected.
    ends: Option<Time>,
}

/// What an operator has heard of a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Lasts,
    Uncovered,
}

impl KnownSink {
    fn next(before: Option<&Self>, report: SinkReport, now: Time, reach: Reach) -> Self {
        let before = before.filter(|before| before.report.is_troubled() && report.is_troubled());
        let known = before.filter(|_| !mutant!("cover-by-what-is-read"));
        Self {
            report: report.bounded(),
            at: now,
            reach: Reach {
                budget: known.map_or(reach.budget, |it| it.reach.budget.min(reach.budget)),
                ..reach
            },
            lag: Duration::ZERO,
            told: before.map_or(Told::Nothing, |before| before.told),
        }
    }

    /// For how long events have not been taken; zero where they are.
    pub(crate) fn troubled(&self, now: Time) -> Duration {
        if !self.report.is_troubled() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.report.refused_ms).saturating_add(now.since(self.at))
    }

    /// For how long what waits is covered still by what the service keeps; `None`: nothing
    /// is the matter, or that is not known.
    pub(crate) fn covered(&self, now: Time) -> Option<Duration> {
        let Reach { budget, ends } = self.reach;
        let lag = self.lag.saturating_add(now.since(self.at));
        let replayed = (budget != Duration::MAX).then(|| budget.saturating_sub(lag));
        let kept = ends.map(|ends| ends.since(now));
        let least = replayed.into_iter().chain(kept).min();
        least.filter(|_| self.report.is_troubled())
    }
}

impl Fleet {
    /// How much the service keeps of the shards of a slave.
    pub(crate) fn reach(&self, id: SlaveId, settings: &Settings, now: Time) -> Reach {
        let mut reach = Reach {
            budget: Duration::MAX,
            ends: None,
        };
        let slave = self.slaves.get(&id);
        for shard in slave.into_iter().flat_map(|slave| &slave.holds) {
            let shard = &self.shards[*shard];
            let budget = shard.replay_budget(now, settings.replay_buffer);
            reach.budget = reach.budget.min(budget);
            let kept = shard.away.map(|away| away.max(shard.kept));
            let ends = kept.map(|kept| kept.after(settings.resume_window));
            reach.ends = reach.ends.into_iter().chain(ends).min();
        }
        reach
    }
}

impl Slave {
    /// It said how its sink does, and this is kept of its shards now; or that it has none.
    pub(crate) fn sink_fares(
        &mut self,
        id: SlaveId,
        said: Option<(Box<SinkReport>, Reach)>,
        out: &mut Out,
    ) {
        let Some((report, reach)) = said else {
            self.sink = None;
            return;
        };
        let mut sink = KnownSink::next(self.sink.as_deref(), *report, out.now, reach);
        let lasts = sink.troubled(out.now);
        sink.lag = self.lag.unwrap_or(lasts);
        let covered = sink.covered(out.now);
        let due = match covered {
            _ if lasts < LASTS => Told::Nothing,
            Some(Duration::ZERO) => Told::Uncovered,
            Some(_) | None => Told::Lasts,
        };
        if due > sink.told {
            sink.told = due;
            let build = &self.hello.build;
            let SinkReport {
                broker,
                waiting,
                reason,
                ..
            } = &sink.report;
            let covered = match covered {
                Some(Duration::ZERO) => "the service does not keep all of them any more".to_owned(),
                Some(left) => format!(
                    "the service keeps all of them for another {}",
                    text::span(left)
                ),
                None => "for how long the service keeps them is not known".to_owned(),
            };
            let lasts = text::span(lasts);
            out.alarm(format!(
                "slave {id:.8} (build {build}) publishes nothing: for {lasts} its broker {broker} \
                 has not taken what it got: {reason}. {waiting} events wait, and {covered}. Next: \
                 start the broker, or make room there, and leave the slave alone; what waits goes \
                 there by itself"
            ));
        }
        self.sink = Some(Box::new(sink));
    }
}
