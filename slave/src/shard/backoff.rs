//! When a lost connection is dialled again, and at which address; how long each of
//! its steps is waited for; and when its session is given up.
//!
//! twilight has no pause of its own after connections that are accepted and then
//! closed; so the pauses are ours: the first reconnect at once, then 1 s doubling
//! up to 60 s, each with jitter. While the session may still be resumed they stay
//! at 5 s or below, so that none of them outlives it. RESUMEs are bounded by the
//! same pace.
//!
//! A session ends where Discord says so. Where it never says so and closes each
//! RESUME in some other way, it is over once that went on for as long as sessions
//! live. Time alone ends none: without an answered RESUME, the end is not known.

use std::time::Duration;

use tokio::time::Instant;

use super::gateway::{End, Url};
use crate::config::Timings;

/// RESUMEs that brought nothing, before a session is given up.
const REFUSALS: u32 = 3;

/// What is waited for on a connection, each with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// HELLO, from the dial on.
    Hello,
    /// The next thing of a replay.
    Progress,
    /// RESUMED, from the RESUME on.
    Resumed,
    /// READY, from the IDENTIFY on.
    Ready,
}

/// The memory of one shard's dialling.
#[derive(Debug)]
pub(crate) struct Redial {
    failures: u32,
    /// Replays in a row that got further and were cut short.
    cuts: u32,
    url: Url,
    /// Since when the connection serves.
    serving: Option<Instant>,
    /// When the session was last known to live.
    lived: Instant,
    /// RESUMEs since then that brought nothing.
    refused: u32,
    /// Whether the last dial failed: no HELLO.
    unreached: bool,
    /// How often the limit of each [`Wait`] passed, since it was met in time.
    passed: [u32; 4],
    /// Connections in a row that served and were taken away soon.
    taken: u32,
}

/// What Discord closes a connection with whose session was resumed on another one.
const TAKEN: u16 = 4000;

/// A connection that served for so long was not taken away by a process that takes it
/// again and again.
const LONG: Duration = Duration::from_secs(60);

impl Redial {
    /// Of a session that lives, or of none.
    pub(crate) fn new() -> Self {
        Self {
            failures: 0,
            cuts: 0,
            url: Url::OfSession,
            serving: None,
            lived: Instant::now(),
            refused: 0,
            unreached: false,
            passed: [0; 4],
            taken: 0,
        }
    }

    /// How far a connection came that is over.
    pub(crate) const fn reached_hello(&mut self, reached: bool) {
        self.unreached = !reached;
    }

    /// Whether the last dial failed: the next one is no progress, nor is its
    /// end.
    pub(crate) const fn is_unreached(&self) -> bool {
        self.unreached
    }

    /// Where the next dial goes.
    pub(crate) const fn url(&self) -> Url {
        self.url
    }

    /// The other address may be dialled sooner.
    pub(crate) const fn goes_elsewhere(&mut self) {
        self.url = self.url.other();
    }

    /// READY or RESUMED came.
    pub(crate) fn serving(&mut self) {
        self.serving = Some(Instant::now());
        self.lives();
    }

    /// A replay was cut short, and was on its way: trying once more is no failure.
    pub(crate) fn advanced(&mut self) {
        self.failures = 0;
        self.cuts = self.cuts.saturating_add(1);
        self.lives();
    }

    /// Connections in a row that served and were closed soon, as one is whose session
    /// another process resumes.
    pub(crate) const fn taken(&self) -> u32 {
        self.taken
    }

    /// A RESUME brought nothing.
    pub(crate) const fn refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    fn lives(&mut self) {
        self.lived = Instant::now();
        self.refused = 0;
    }

    /// Whether it is so long ago that anything came that trying again is no progress.
    pub(crate) fn gets_nowhere(&self, timings: &Timings) -> bool {
        self.lived.elapsed() >= timings.session / 4
    }

    /// Why the session is over, if it is: it could not be resumed for as long as
    /// sessions live.
    pub(crate) fn session_is_over(&self, timings: &Timings) -> Option<String> {
        let since = self.lived.elapsed();
        let over = self.refused >= REFUSALS
            && since >= timings.session
            && !mutant!("session-resumed-for-ever");
        over.then(|| {
            format!(
                "{} RESUMEs in {} s brought nothing",
                self.refused,
                since.as_secs()
            )
        })
    }

    /// The session is given up: the next one begins with an unspoilt memory of it.
    pub(crate) fn session_ended(&mut self) {
        self.lives();
        self.url = Url::OfSession;
    }

    /// How long to wait for something.
    pub(crate) fn limit(&self, wait: Wait, timings: &Timings) -> Duration {
        let base = wait.base(timings);
        let doubled = base.saturating_mul(2_u32.saturating_pow(self.passed[wait as usize].min(16)));
        // There is to be another try while the session may be resumed.
        let left = timings.session.saturating_sub(self.lived.elapsed()) / 2;
        let most = match wait {
            Wait::Hello | Wait::Progress if !left.is_zero() => timings.longest.min(left),
            Wait::Hello | Wait::Progress | Wait::Resumed | Wait::Ready => timings.longest,
        };
        doubled.min(most).max(base)
    }

    /// The limit passed.
    pub(crate) fn passed(&mut self, wait: Wait) {
        let passed = &mut self.passed[wait as usize];
        *passed = passed.saturating_add(1);
    }

    /// It came after so long. One that needed a longer limit has it the next time,
    /// too.
    pub(crate) fn came(&mut self, wait: Wait, after: Duration, timings: &Timings) {
        if after < wait.base(timings) {
            self.passed[wait as usize] = 0;
        }
    }

    /// A connection ended; how long to wait before the next dial. `resumable`: whether
    /// there is a session.
    pub(crate) fn ended(&mut self, end: &End, resumable: bool, timings: &Timings) -> Duration {
        let served = self.serving.take();
        if let Some(since) = served {
            self.lives();
            let is_taken = matches!(end, End::Closed { code: TAKEN, .. });
            self.taken = match is_taken && since.elapsed() < LONG {
                true => self.taken.saturating_add(1),
                false => 0,
            };
        }
        if served.is_some_and(|since| since.elapsed() >= timings.stable) {
            self.failures = 0;
            self.cuts = 0;
            self.url = Url::OfSession;
        }
        let pause = self.pause(resumable, timings);
        self.failures = self.failures.saturating_add(1);
        // An address that does not answer is not tried twice in a row.
        if served.is_none() && !matches!(end, End::InvalidSession { .. }) {
            self.url = self.url.other();
        }
        match end {
            End::InvalidSession { .. } => invalid_session(timings),
            End::Dial(_)
            | End::Refused(_)
            | End::Closed { .. }
            | End::Garbled(_)
            | End::Reconnect => pause,
        }
    }

    /// Nothing before the first reconnect, then doubling, between half and the
    /// whole of it.
    fn pause(&self, resumable: bool, timings: &Timings) -> Duration {
        let jitter = 0.5 + 0.5 * random();
        let Some(doublings) = self.failures.checked_sub(1) else {
            // A server that cuts each replay short is not dialled without any pause.
            let cut = timings.redial_first / 4;
            return if self.cuts > 1 {
                cut.mul_f64(jitter)
            } else {
                Duration::ZERO
            };
        };
        let young = resumable && self.lived.elapsed() < timings.session;
        let longest = if young && !mutant!("pause-outlives-session") {
            timings.redial_max.min(timings.redial_session)
        } else {
            timings.redial_max
        };
        let whole = timings
            .redial_first
            .saturating_mul(2_u32.saturating_pow(doublings.min(16)))
            .min(longest);
        whole.mul_f64(jitter)
    }
}

impl Wait {
    const fn base(self, timings: &Timings) -> Duration {
        match self {
            Self::Hello => timings.hello,
            Self::Progress => timings.progress,
            Self::Resumed => timings.replay,
            Self::Ready => timings.ready,
        }
    }
}

/// Discord's own rule after op 9: a random wait of 1 to 5 s.
pub(crate) fn invalid_session(timings: &Timings) -> Duration {
    timings.invalid_session.mul_f64(1.0 + 4.0 * random())
}

/// Evenly between 0 and 1. Without randomness from the operating system: 0.5.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
