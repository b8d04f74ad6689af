//! What Prometheus gets: counts and times since this master started, and a
//! picture of the fleet at the moment of the question.
//!
//! Names and labels are a promise to dashboards and alerts. Counts that a master
//! keeps start at zero with each start of it, as Prometheus expects; those of a slave
//! are the slave's own and outlive the master.

mod clients;
mod each;
mod hosts;
mod leads;
mod leases;
mod picture;
mod plain;
mod process;
mod replays;
mod sinks;
mod stores;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_core::event::{Durability, EndedBy, News, Outcome};
use baton_protocol::{
    SlaveId, ToMaster, ToSlave,
    message::{IdentifyCause, Pong, ResumeAfter, Step},
};
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

pub use self::{
    picture::Scrape,
    plain::{PLAIN, plain},
};
use crate::news::{Counted, Observer, Stamped};

/// The type of what [`Metrics::text`] gives; see [`plain`] for who does not take it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In front of every name of ours.
const PREFIX: &str = "baton";

type Label = [(&'static str, &'static str); 1];
type Counters = Family<Label, Counter>;
type Histograms = Family<Label, Histogram, fn() -> Histogram>;

/// What happened since the start. Cheap to count in: nothing waits for it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    deploys: Counters,
    /// What there is of a service that replays, and of no other.
    of_replays: Registry,
    gap: Histograms,
    /// What slaves that are not known to be dead said of themselves.
    reported: Mutex<BTreeMap<SlaveId, Reported>>,
    alarms: Counter,
    disbelieved: Counter,
    leases_over: Counter,
    sessions_lost: Counter,
    events_given_up: Counter,
    launches: Counter,
    deaths: Counters,
    soaks_shortened: Counter,
    resumes: Counters,
    identifies: Counters,
    permits: Counter,
    reconnects: Counter,
    failures: Counters,
    round_trip: Histogram,
    saves: Histograms,
    saves_failed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let gaps: fn() -> Histogram = || Histogram::new(GAPS);
        let saves: fn() -> Histogram = || Histogram::new(TIMES);
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            of_replays: Registry::with_prefix(PREFIX),
            deploys: Family::default(),
            gap: Family::new_with_constructor(gaps),
            reported: Mutex::default(),
            alarms: Counter::default(),
            disbelieved: Counter::default(),
            leases_over: Counter::default(),
            sessions_lost: Counter::default(),
            events_given_up: Counter::default(),
            launches: Counter::default(),
            deaths: Family::default(),
            soaks_shortened: Counter::default(),
            resumes: Family::default(),
            identifies: Family::default(),
            permits: Counter::default(),
            reconnects: Counter::default(),
            failures: Family::default(),
            round_trip: Histogram::new(TIMES),
            saves: Family::new_with_constructor(saves),
            saves_failed: Counter::default(),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }
}

/// What a slave said last.
#[derive(Clone, Debug, Default)]
struct Reported {
    pong: Pong,
    /// When its last checkpoint came.
    checkpoint: Option<Instant>,
    /// Whether its process is known to run on this host.
    watched: bool,
}

/// Bounds of how long a shard had no owner, in seconds: from a held connection on
/// loopback to a seal that was not answered.
const GAPS: [f64; 14] = [
    0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0,
];

/// Bounds of a round trip and of a save, in seconds.
const TIMES: [f64; 12] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];

/// Every value of a label that may come, so that a count is there before its first
/// event: an increase from nothing is none to Prometheus.
mod label {
    use super::{EndedBy, IdentifyCause, Label, Outcome, ResumeAfter};

    pub(super) const OUTCOMES: [&str; 5] =
        ["done", "aborted", "rolled_back", "forced", "handed_on"];
    pub(super) const WAYS: [&str; 2] = ["on", "back"];
    pub(super) const DURABILITIES: [&str; 2] = ["now", "soon"];
    pub(super) const AFTER: [&str; 2] = ["seal", "death"];
    pub(super) const CLOSE_CODES: [&str; 8] = [
        "none", "4004", "4010", "4011", "4012", "4013", "4014", "other",
    ];
    pub(super) const DEATHS: [&str; 5] = ["left", "exit_code", "signal", "killed", "unknown"];
    pub(super) const CAUSES: [&str; 3] = ["cold", "session_lost", "state_lost"];

    pub(super) const fn outcome(outcome: &Outcome) -> Label {
        let name = match outcome {
            Outcome::Done => OUTCOMES[0],
            Outcome::Aborted { .. } => OUTCOMES[1],
            Outcome::RolledBack { .. } => OUTCOMES[2],
            Outcome::Forced { .. } => OUTCOMES[3],
            Outcome::HandedOn => OUTCOMES[4],
        };
        [("outcome", name)]
    }

    pub(super) const fn after(after: ResumeAfter) -> Label {
        match after {
            ResumeAfter::Seal => [("after", AFTER[0])],
            ResumeAfter::Death => [("after", AFTER[1])],
        }
    }

    pub(super) const fn death(ending: EndedBy) -> Label {
        let name = match ending {
            EndedBy::Code(0) => DEATHS[0],
            EndedBy::Code(_) => DEATHS[1],
            EndedBy::Signal(_) => DEATHS[2],
            EndedBy::Killed(_) => DEATHS[3],
            EndedBy::Unknown => DEATHS[4],
        };
        [("cause", name)]
    }

    pub(super) const fn cause(cause: IdentifyCause) -> Label {
        match cause {
            IdentifyCause::Cold => [("cause", CAUSES[0])],
            IdentifyCause::SessionLost => [("cause", CAUSES[1])],
            IdentifyCause::StateLost => [("cause", CAUSES[2])],
        }
    }

    /// Close codes of Discord that no reconnect helps against; everything else that a
    /// slave says is one value, so that there is a bounded number of them.
    pub(super) const fn close_code(code: u16) -> Label {
        let index = match code {
            0 => 0,
            4004 => 1,
            4010..=4014 => code as usize - 4010 + 2,
            _ => CLOSE_CODES.len() - 1,
        };
        [("close_code", CLOSE_CODES[index])]
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self {
            registry,
            of_replays,
            deploys,
            gap,
            reported: _,
            alarms,
            disbelieved,
            leases_over,
            sessions_lost,
            events_given_up,
            launches,
            deaths,
            soaks_shortened,
            resumes,
            identifies,
            permits,
            reconnects,
            failures,
            round_trip,
            saves,
            saves_failed,
        } = self;
        let seconds = || Unit::Seconds;
        registry.register("deploys", "Deploys that ended, by outcome", deploys.clone());
        registry.register_with_unit(
            "gap",
            "From the order to seal a shard until it served again",
            seconds(),
            gap.clone(),
        );
        registry.register(
            "alarms",
            "Times that an operator had to act",
            alarms.clone(),
        );
        registry.register(
            "disbelieved",
            "Times that a slave said what cannot be true",
            disbelieved.clone(),
        );
        registry.register(
            "leases_over",
            "Slaves that were dead by their leases, because they were silent",
            leases_over.clone(),
        );
        of_replays.register(
            "sessions_lost",
            "Sessions that ended with events missing",
            sessions_lost.clone(),
        );
        of_replays.register(
            "events_given_up",
            "Events that no slave finished and Discord no longer replays",
            events_given_up.clone(),
        );
        registry.register(
            "launches",
            "Slaves started into empty slots",
            launches.clone(),
        );
        registry.register(
            "slave_deaths",
            "Slaves that ended, by cause: left (exit code 0), exit_code, signal, killed (by the master), unknown",
            deaths.clone(),
        );
        of_replays.register(
            "soaks_shortened",
            "Soaks shorter than was asked for, so that everything can go back",
            soaks_shortened.clone(),
        );
        registry.register(
            "resumes",
            "Orders to RESUME a session, after a seal or a death",
            resumes.clone(),
        );
        of_replays.register(
            "identify_requests",
            "Shards that asked to IDENTIFY: session_lost is an op 9 or its like",
            identifies.clone(),
        );
        of_replays.register(
            "identify_permits",
            "IDENTIFYs that were permitted",
            permits.clone(),
        );
        registry.register(
            "reconnects",
            "Connections to Discord that were lost and resumed by their owner",
            reconnects.clone(),
        );
        registry.register(
            "shard_failures",
            "Shards that a slave could not serve, by close code",
            failures.clone(),
        );
        registry.register_with_unit(
            "link_round_trip",
            "From a ping of a slave to its answer",
            seconds(),
            round_trip.clone(),
        );
        registry.register_with_unit(
            "journal_save",
            "How long a save took; a seal waits for `now`",
            seconds(),
            saves.clone(),
        );
        registry.register(
            "journal_save_failures",
            "Saves that failed",
            saves_failed.clone(),
        );
    }

    fn begin_at_zero(&self) {
        let zero = |family: &Counters, label, values: &[&'static str]| {
            for &value in values {
                let _ = family.get_or_create(&[(label, value)]);
            }
        };
        zero(&self.deploys, "outcome", &label::OUTCOMES);
        zero(&self.deaths, "cause", &label::DEATHS);
        zero(&self.resumes, "after", &label::AFTER);
        zero(&self.identifies, "cause", &label::CAUSES);
        zero(&self.failures, "close_code", &label::CLOSE_CODES);
        for way in label::WAYS {
            let _ = self.gap.get_or_create(&[("way", way)]);
        }
        for durability in label::DURABILITIES {
            let _ = self.saves.get_or_create(&[("durability", durability)]);
        }
    }

    fn reported(&self) -> MutexGuard<'_, BTreeMap<SlaveId, Reported>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, counted: Counted<'_>) {
        match counted {
            Counted::Deploy(outcome) => {
                count(&self.deploys.get_or_create(&label::outcome(outcome)));
            }
            Counted::SoakShortened => count(&self.soaks_shortened),
            Counted::SessionLost => count(&self.sessions_lost),
            Counted::EventGivenUp => count(&self.events_given_up),
            Counted::Launch => count(&self.launches),
            Counted::Death(ending) => count(&self.deaths.get_or_create(&label::death(ending))),
            Counted::Disbelieved => count(&self.disbelieved),
            Counted::LeaseOver => count(&self.leases_over),
            Counted::Alarm => count(&self.alarms),
        }
    }

    /// A slave answered a ping.
    pub fn answered(&self, after: Duration) {
        self.round_trip.observe(after.as_secs_f64());
    }

    /// Everything as `OpenMetrics` text.
    #[must_use]
    pub fn text(&self, scrape: &Scrape<'_>) -> String {
        let mut text = String::new();
        let mut written = encode_registry(&mut text, &self.registry);
        if !scrape.view.overlaps {
            written = written.and_then(|()| encode_registry(&mut text, &self.of_replays));
        }
        let written = written
            .and_then(|()| encode_registry(&mut text, &scrape.registry(&self.reported())))
            .and_then(|()| encode_eof(&mut text));
        debug_assert!(written.is_ok(), "a string takes everything");
        text
    }
}

impl Observer for Metrics {
    fn happened(&self, stamped: &Arc<Stamped>) {
        if let Some(gap) = stamped.gap {
            let way = label::WAYS[usize::from(!gap.on)];
            let gaps = self.gap.get_or_create(&[("way", way)]);
            gaps.observe(gap.length.as_secs_f64());
        }
        if let Some(counted) = stamped.meaning().counted {
            self.count(counted);
        }
        if let News::SlaveGone {
            slave,
            dead: Some(_),
            ..
        } = stamped.news
        {
            self.reported().remove(&slave);
        }
    }

    fn watched(&self, slave: SlaveId) {
        self.reported().entry(slave).or_default().watched = true;
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "most messages are not counted"
    )]
    fn said(&self, slave: SlaveId, message: &ToMaster) {
        match message {
            ToMaster::Checkpoint(_) => {
                let now = Some(Instant::now());
                self.reported().entry(slave).or_default().checkpoint = now;
            }
            ToMaster::Pong(pong) => {
                self.reported().entry(slave).or_default().pong = pong.clone();
            }
            ToMaster::IdentifyRequest(request) => {
                let cause = label::cause(request.cause);
                count(&self.identifies.get_or_create(&cause));
            }
            ToMaster::Progress(progress) if progress.step == Step::Reconnecting => {
                count(&self.reconnects);
            }
            ToMaster::Failed(failed) => {
                let code = label::close_code(failed.close_code);
                count(&self.failures.get_or_create(&code));
            }
            _ => {}
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "most messages are not counted"
    )]
    fn sent(&self, message: &ToSlave) {
        match message {
            ToSlave::Resume(resume) => {
                let after = label::after(resume.after);
                count(&self.resumes.get_or_create(&after));
            }
            ToSlave::IdentifyPermit(_) => count(&self.permits),
            _ => {}
        }
    }

    fn saved(&self, durability: Durability, took: Duration, well: bool) {
        let durability = match durability {
            Durability::Now => label::DURABILITIES[0],
            Durability::Soon => label::DURABILITIES[1],
        };
        let saves = self.saves.get_or_create(&[("durability", durability)]);
        saves.observe(took.as_secs_f64());
        if !well {
            count(&self.saves_failed);
        }
    }
}

fn count(counter: &Counter) {
    counter.inc();
}
