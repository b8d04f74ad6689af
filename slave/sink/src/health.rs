//! How the broker does, seen from here: counted, and said in the log when it changes.

mod times;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use baton_protocol::message::SinkReport;
use tokio::sync::watch;

use self::times::Times;
use crate::commands::Counts;

/// How often a broker that takes nothing is said to take nothing.
const REMINDER: Duration = Duration::from_secs(30);

/// What a sink says about itself. The counts begin with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The broker's address, without a password.
    pub broker: String,
    /// Events that were confirmed.
    pub confirmed: u64,
    /// Those of them that the broker had already.
    pub repeats: u64,
    /// Events that were published again, each time counted.
    pub retries: u64,
    /// Events that wait for their confirm, or for their turn.
    pub waiting: u64,
    /// Time from when each confirmed event was published first to its confirm, added up.
    pub confirming: Duration,
    /// The median of that time, of the newest 1,024 confirms; zero: there was none.
    pub confirm_p50: Duration,
    /// The same that 99 of 100 events did not exceed.
    pub confirm_p99: Duration,
    /// `None`: the broker takes what it gets.
    pub trouble: Option<Trouble>,
    /// Commands of workers.
    pub commands: CommandCounts,
}

/// What became of commands of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandCounts {
    /// They were written to Discord.
    pub written: u64,
    /// They were refused, and are among the dead letters.
    pub refused: u64,
}

/// Events that the broker does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// Since when there has been one all the time.
    pub since: SystemTime,
    /// For how long that is.
    pub lasts: Duration,
    /// How many there are, at most one a guild.
    pub events: u64,
    /// Why the last one was not taken.
    pub reason: String,
}

impl Status {
    /// What of it the master is told.
    #[must_use]
    pub fn report(&self) -> SinkReport {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let trouble = self.trouble.as_ref();
        SinkReport {
            broker: self.broker.clone(),
            confirmed: self.confirmed,
            repeats: self.repeats,
            retries: self.retries,
            waiting: self.waiting,
            confirming_us: micros(self.confirming),
            confirm_p50_us: micros(self.confirm_p50),
            confirm_p99_us: micros(self.confirm_p99),
            refused: trouble.map_or(0, |trouble| trouble.events),
            refused_ms: trouble.map_or(0, |trouble| {
                u64::try_from(trouble.lasts.as_millis()).unwrap_or(u64::MAX)
            }),
            reason: trouble.map_or_else(String::new, |trouble| trouble.reason.clone()),
        }
    }
}

/// Shared by all lines of a sink.
#[derive(Debug)]
pub(crate) struct Health {
    broker: String,
    confirmed: AtomicU64,
    repeats: AtomicU64,
    retries: AtomicU64,
    waiting: AtomicU64,
    times: Mutex<Times>,
    trouble: Mutex<Option<Now>>,
    revived: watch::Sender<()>,
    pub(crate) commands: Arc<Counts>,
}

#[derive(Debug)]
struct Now {
    trouble: Trouble,
    began: Instant,
    said: Instant,
}

impl Health {
    pub(crate) fn new(broker: String) -> Self {
        Self {
            broker,
            confirmed: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            times: Mutex::default(),
            trouble: Mutex::default(),
            revived: watch::Sender::new(()),
            commands: Arc::default(),
        }
    }

    /// An event came.
    pub(crate) fn takes(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// An event is published once more.
    pub(crate) fn tries_again(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// An event was confirmed; whether it had been refused before, whether the broker had it
    /// already, and how long it took from when it was published first.
    pub(crate) fn confirms(&self, was_refused: bool, is_repeat: bool, took: Duration) {
        self.times().push(took);
        self.confirmed.fetch_add(1, Ordering::Relaxed);
        self.repeats
            .fetch_add(u64::from(is_repeat), Ordering::Relaxed);
        self.is_done_with(was_refused);
    }

    /// Nothing more is done for an event here; whether it had been refused.
    pub(crate) fn is_done_with(&self, was_refused: bool) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if !was_refused {
            return;
        }
        let mut trouble = self.trouble();
        let Some(now) = trouble.as_mut() else { return };
        now.trouble.events = now.trouble.events.saturating_sub(1);
        if now.trouble.events == 0 {
            let lasted = now.began.elapsed();
            *trouble = None;
            drop(trouble);
            tracing::info!(broker = %self.broker, ?lasted, "the broker takes events again");
        }
    }

    /// An event was not taken; whether that is new.
    pub(crate) fn refuses(&self, is_new: bool, reason: &str) {
        let now = Instant::now();
        let mut trouble = self.trouble();
        let is_first = trouble.is_none();
        let known = trouble.get_or_insert_with(|| Now {
            trouble: Trouble {
                since: SystemTime::now(),
                lasts: Duration::ZERO,
                events: 0,
                reason: String::new(),
            },
            began: now,
            said: now,
        });
        known.trouble.events += u64::from(is_new);
        if known.trouble.reason != reason {
            reason.clone_into(&mut known.trouble.reason);
        }
        if is_first || now.duration_since(known.said) >= REMINDER {
            known.said = now;
            let (events, lasts) = (known.trouble.events, known.began.elapsed());
            drop(trouble);
            tracing::warn!(
                broker = %self.broker, reason, events, ?lasts,
                "the broker does not take events: they wait, and are published again"
            );
        }
    }

    /// The broker is there again: lines need not wait for their next try.
    pub(crate) fn revive(&self) {
        self.revived.send_replace(());
    }

    pub(crate) fn revivals(&self) -> watch::Receiver<()> {
        self.revived.subscribe()
    }

    pub(crate) fn status(&self) -> Status {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let times = self.times();
        let confirming = times.sum();
        let [confirm_p50, confirm_p99] = times.percentiles([50, 99]);
        drop(times);
        Status {
            broker: self.broker.clone(),
            confirmed: count(&self.confirmed),
            repeats: count(&self.repeats),
            retries: count(&self.retries),
            waiting: count(&self.waiting),
            confirming,
            confirm_p50,
            confirm_p99,
            trouble: self.trouble().as_ref().map(|now| Trouble {
                lasts: now.began.elapsed(),
                ..now.trouble.clone()
            }),
            commands: CommandCounts {
                written: count(&self.commands.written),
                refused: count(&self.commands.refused),
            },
        }
    }

    // Nothing panics in here.
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Nothing panics in here.
    fn trouble(&self) -> MutexGuard<'_, Option<Now>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_the_first_refusal_and_ends_when_nothing_refused_is_left() {
        let health = Health::new("nats://a:1".to_owned());
        for _ in 0..3 {
            health.takes();
        }
        health.refuses(true, "full");
        health.refuses(true, "full");
        health.refuses(false, "away");
        let status = health.status();
        let trouble = status.trouble.expect("trouble");
        assert_eq!((trouble.events, trouble.reason.as_str()), (2, "away"));
        // One that was never refused says nothing of the others.
        let took = Duration::from_millis(3);
        health.confirms(false, false, took);
        health.confirms(true, true, took);
        assert_eq!(
            health.status().trouble.map(|trouble| trouble.events),
            Some(1)
        );
        health.confirms(true, false, took);
        let status = health.status();
        assert_eq!((status.trouble, status.waiting), (None, 0));
        assert_eq!((status.confirmed, status.repeats), (3, 1));
        assert_eq!((status.confirm_p50, status.confirming), (took, 3 * took));
    }

    #[test]
    fn the_master_is_told_what_is_the_matter_and_for_how_long() {
        let health = Health::new("nats://a:1".to_owned());
        assert!(!health.status().report().is_troubled());
        health.takes();
        health.takes();
        health.confirms(false, true, Duration::from_micros(1500));
        health.refuses(true, "full");
        let mut status = health.status();
        status.trouble.as_mut().expect("trouble").lasts = Duration::from_secs(7);
        let report = status.report();
        assert!(report.is_troubled());
        let expected = SinkReport {
            broker: "nats://a:1".to_owned(),
            confirmed: 1,
            repeats: 1,
            retries: 0,
            waiting: 1,
            confirming_us: 1500,
            confirm_p50_us: 1500,
            confirm_p99_us: 1500,
            refused: 1,
            refused_ms: 7000,
            reason: "full".to_owned(),
        };
        assert_eq!(report, expected);
    }
}
