//! How the broker does, seen from here: counted, and said in the log when it changes.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

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
    /// `None`: the broker takes what it gets.
    pub trouble: Option<Trouble>,
}

/// Events that the broker does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// Since when there has been one all the time.
    pub since: SystemTime,
    /// How many there are, at most one a guild.
    pub events: u64,
    /// Why the last one was not taken.
    pub reason: String,
}

/// Shared by all lines of a sink.
#[derive(Debug)]
pub(crate) struct Health {
    broker: String,
    confirmed: AtomicU64,
    repeats: AtomicU64,
    retries: AtomicU64,
    waiting: AtomicU64,
    trouble: Mutex<Option<Now>>,
    revived: watch::Sender<()>,
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
            trouble: Mutex::default(),
            revived: watch::Sender::new(()),
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

    /// An event was confirmed; whether it had been refused before, and whether the broker
    /// had it already.
    pub(crate) fn confirms(&self, was_refused: bool, is_repeat: bool) {
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
        Status {
            broker: self.broker.clone(),
            confirmed: count(&self.confirmed),
            repeats: count(&self.repeats),
            retries: count(&self.retries),
            waiting: count(&self.waiting),
            trouble: self.trouble().as_ref().map(|now| now.trouble.clone()),
        }
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
        health.confirms(false, false);
        health.confirms(true, true);
        assert_eq!(
            health.status().trouble.map(|trouble| trouble.events),
            Some(1)
        );
        health.confirms(true, false);
        let status = health.status();
        assert_eq!((status.trouble, status.waiting), (None, 0));
        assert_eq!((status.confirmed, status.repeats), (3, 1));
    }
}
