//! What has to be done so that the bot is where it is to be.
//!
//! It compares where the bot is to be ([`Manager::goal`](super::Manager::goal)) with where it
//! is or was asked to be, and says only what differs: nothing, if nothing changed. That
//! serves both transports: a channel is joined, or subscribed to, alike.
//!
//! What failed is tried again after 30 s, and after twice as long with each failure, up to an
//! hour. A ban, and what the broadcaster has to allow, is not tried again before somebody
//! says so ([`Reconciler::again`]), or the process starts anew.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Unix, Wanted};
use crate::Login;

/// After a first failure.
const FIRST: Duration = Duration::from_secs(30);

/// Never longer, unless it needs somebody's word.
const LONGEST: Duration = Duration::from_secs(3600);

/// Why a channel could not be joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The account is in as many channels as Twitch allows.
    Cap,
    /// The account is banned there.
    Banned,
    /// Twitch suspended the channel, or it does not exist.
    Suspended,
    /// The broadcaster has not allowed it: EventSub's 403.
    Unauthorised,
    /// Twitch did not answer in time.
    Silent,
    /// Something else, in Twitch's words: see [`Why::other`].
    Other(Box<str>),
}

impl Why {
    /// In Twitch's words, of which the first 200 characters are kept.
    #[must_use]
    pub fn other(words: &str) -> Self {
        Self::Other(words.chars().take(200).collect())
    }

    /// Whether only a person can change it, so that to try again is of no use.
    #[must_use]
    pub const fn needs_a_word(&self) -> bool {
        match self {
            Self::Banned | Self::Unauthorised => true,
            Self::Cap | Self::Suspended | Self::Silent | Self::Other(_) => false,
        }
    }
}

/// What has to be done, in this order: what goes makes room for what comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Todo {
    /// Channels to part, by name.
    pub remove: Vec<Login>,
    /// Channels to join, by name.
    pub add: Vec<Wanted>,
    /// Channels that another account is to read from now on, by name: to join by the new
    /// one, and then to part by the old one.
    pub change: Vec<Wanted>,
    /// When to compare again, if nothing happens until then: something that failed is
    /// tried again.
    pub wake: Option<Unix>,
}

impl Todo {
    /// Whether there is nothing to do now.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.add.is_empty() && self.change.is_empty() && self.remove.is_empty()
    }
}

/// A channel that could not be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, the last time.
    pub why: Why,
    /// When that was.
    pub at: Unix,
    /// How often in a row.
    pub times: u32,
    /// When it is tried again; `None`: when somebody says so.
    pub next: Option<Unix>,
}

/// Remembers what failed. It holds nothing of channels that are not wanted.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    failures: BTreeMap<Login, Failure>,
}

impl Reconciler {
    /// One that knows of no failure.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has to be done. `goal` is where the bot is to be, each channel once; `have`
    /// says of each channel where it is, or was asked to be, which account reads it;
    /// `default` is the account of a channel without one of its own. What found no room
    /// has not failed: it is in the answer each time.
    pub fn compare(
        &mut self,
        goal: &[Wanted],
        have: &BTreeMap<Login, Login>,
        default: &Login,
        now: Unix,
    ) -> Todo {
        let goal: BTreeMap<&Login, &Wanted> =
            goal.iter().map(|wanted| (&wanted.login, wanted)).collect();
        self.failures
            .retain(|channel, _| goal.contains_key(channel));
        let mut todo = Todo::default();
        for (&channel, &wanted) in &goal {
            let account = wanted.account.as_ref().unwrap_or(default);
            match have.get(channel) {
                Some(reads) if reads == account => {}
                Some(_) => todo.change.push(wanted.clone()),
                None if self.may_try(channel, now) => todo.add.push(wanted.clone()),
                None => {}
            }
        }
        let unwanted = have.keys().filter(|channel| !goal.contains_key(channel));
        todo.remove = unwanted.cloned().collect();
        let waiting = self.failures.iter();
        let waiting = waiting.filter(|(channel, _)| !have.contains_key(*channel));
        let later = waiting.filter_map(|(_, failure)| failure.next);
        todo.wake = later.filter(|next| *next > now).min();
        todo
    }

    /// A channel could not be joined, or the bot was thrown out of it.
    pub fn failed(&mut self, channel: &Login, why: Why, now: Unix) {
        let before = self.failures.get(channel);
        let times = before.map_or(0, |failure| failure.times).saturating_add(1);
        let next = (!why.needs_a_word()).then(|| now.plus(pause(times)));
        let failure = Failure {
            why,
            at: now,
            times,
            next,
        };
        self.failures.insert(channel.clone(), failure);
    }

    /// The bot is in the channel: what failed before is forgotten.
    pub fn confirmed(&mut self, channel: &Login) {
        self.failures.remove(channel);
    }

    /// An operator asks for it, or its broadcaster let the bot in: it is tried now,
    /// whatever failed before.
    pub fn again(&mut self, channel: &Login) {
        self.failures.remove(channel);
    }

    /// What failed last, and was not confirmed since, by name.
    pub fn failures(&self) -> impl Iterator<Item = (&Login, &Failure)> {
        self.failures.iter()
    }

    fn may_try(&self, channel: &Login, now: Unix) -> bool {
        let Some(failure) = self.failures.get(channel) else {
            return true;
        };
        // A clock that was set back does not make a pause longer than the longest one.
        let is_odd = failure.at.since(now) > LONGEST;
        failure.next.is_some_and(|next| next <= now || is_odd)
    }
}

/// After so many failures in a row.
fn pause(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(16);
    (FIRST * 2_u32.pow(doublings)).min(LONGEST)
}
