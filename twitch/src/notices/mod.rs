//! Notices by webhook: what an operator wants to hear of without looking.
//!
//! Of each kind one notice in 300 s is sent: something that goes wrong goes wrong often. The
//! next one of its kind says how many were not sent. All of it is a decision that is
//! handed the time; whoever owns [`Notices`] sends what [`Notices::next`] gives by
//! [`post`], and says with [`Notices::ended`] what came of it.

mod body;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

/// So long nothing more of a kind is sent.
pub const QUIET: Duration = Duration::from_secs(300);

/// So many notices wait at most.
pub const MOST: usize = 32;

/// A webhook has so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a first failure; then twice as long with each.
const PAUSE: Duration = Duration::from_secs(5);

/// So often a notice is tried.
const TRIES: u32 = 5;

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Units were added.
    ScaledOut,
    /// A unit was drained and ended.
    ScaledIn,
    /// A unit lost its connection and does not come back by itself.
    UnitFailed,
    /// A channel could not be joined.
    JoinFailed,
    /// A broadcaster took the bot's permission back.
    Revoked,
    /// A slave ended and was started again.
    SlaveRestarted,
    /// A slave could not be started.
    LaunchFailed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScaledOut => "scaled out",
            Self::ScaledIn => "scaled in",
            Self::UnitFailed => "a unit failed",
            Self::JoinFailed => "a channel could not be joined",
            Self::Revoked => "a broadcaster revoked",
            Self::SlaveRestarted => "a slave was restarted",
            Self::LaunchFailed => "a slave could not be started",
        })
    }
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It will be sent.
    Queued,
    /// One of its kind was noted less than 300 s ago: it is counted.
    HeldBack,
    /// Too many wait: it is counted.
    Full,
}

/// Sends a body to an address, which is a secret: whoever knows it can write there.
pub trait Webhook: Sync {
    /// `POST`, as `application/json`. Neither the address nor the answer is to be in an
    /// error.
    fn post(&self, body: String) -> impl Future<Output = Result<(), NotSent>> + Send;
}

/// Why a notice was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The webhook does not want it: 4xx, but 408 and 429. It is not tried again.
    #[error("the webhook refused with {0}: compare its address with the one that was made")]
    Refused(u16),
    /// It could not be reached, or asked for patience.
    #[error("the webhook could not be reached: it is tried again")]
    Unavailable,
}

/// Posts one notice, and waits for at most 10 s.
///
/// # Errors
/// It was not taken.
pub async fn post(webhook: &impl Webhook, body: String) -> Result<(), NotSent> {
    let posted = timeout(PATIENCE, webhook.post(body)).await;
    posted.unwrap_or(Err(NotSent::Unavailable))
}

/// Notices that wait, and what was told lately.
#[derive(Debug)]
pub struct Notices {
    /// Who speaks.
    name: String,
    lately: BTreeMap<Kind, Lately>,
    waiting: VecDeque<Waiting>,
    lost: u64,
}

#[derive(Debug)]
struct Lately {
    at: Instant,
    held_back: u32,
}

#[derive(Debug)]
struct Waiting {
    body: String,
    tries: u32,
    not_before: Instant,
}

impl Notices {
    /// In the name of a bot.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lately: BTreeMap::new(),
            waiting: VecDeque::new(),
            lost: 0,
        }
    }

    /// Something happened. The text is one sentence for a person, without secrets; of a long
    /// one the first 1,000 characters are sent.
    pub fn note(&mut self, kind: Kind, text: &str, now: Instant) -> Noted {
        let lately = self.lately.get_mut(&kind);
        if let Some(lately) = lately
            && now.saturating_duration_since(lately.at) < QUIET
        {
            lately.held_back = lately.held_back.saturating_add(1);
            return Noted::HeldBack;
        }
        if self.waiting.len() >= MOST {
            self.lost += 1;
            return Noted::Full;
        }
        let now_lately = Lately {
            at: now,
            held_back: 0,
        };
        let before = self.lately.insert(kind, now_lately);
        let held_back = before.map_or(0, |before| before.held_back);
        self.waiting.push_back(Waiting {
            body: body::of(&self.name, kind, text, held_back),
            tries: 0,
            not_before: now,
        });
        Noted::Queued
    }

    /// The body to send now, if there is one. It stays until it has [ended](Self::ended).
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<String> {
        let first = self.waiting.front()?;
        (first.not_before <= now).then(|| first.body.clone())
    }

    /// When there is something to send; `None`: nothing waits.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.not_before)
    }

    /// What came of the one that [`next`](Self::next) gave. What was not sent is tried
    /// five times, within less than two minutes, and then lost.
    pub fn ended(&mut self, sent: Result<(), NotSent>, now: Instant) {
        let Some(mut first) = self.waiting.pop_front() else {
            return;
        };
        first.tries += 1;
        match sent {
            Ok(()) => {}
            Err(NotSent::Unavailable) if first.tries < TRIES => {
                first.not_before = now + PAUSE * 2_u32.pow(first.tries - 1);
                self.waiting.push_front(first);
            }
            Err(NotSent::Unavailable | NotSent::Refused(_)) => self.lost += 1,
        }
    }

    /// How many notices were to be sent and could not be.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
