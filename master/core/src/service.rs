//! What the core is told of the service whose sessions it moves: what is the service's own,
//! and not an operator's to choose.
//!
//! The core decides about units, positions in sessions that it cannot read, and permits
//! that have names. What these stand for is known to the program around it, which hands in
//! a [`Service`].

use std::{fmt, time::Duration};

use baton_protocol::{Parameters, Session, ShardId, message::Failed};

/// The service of a fleet. Its answers never change: the same question has the same one.
pub trait Service: fmt::Debug + Send + Sync {
    /// In which order the owners of a unit follow each other.
    fn order(&self) -> Order {
        Order::Resume
    }

    /// Why a slave that asks for `asked` is none of this service, for a person; `None`: it is.
    fn refuses(&self, _asked: &Parameters) -> Option<String> {
        None
    }

    // ---- sessions ------------------------------------------------------------

    /// Why a slave that asks for `asked` cannot go on with sessions that were made with
    /// `pinned`, and what to do, for a person; `None`: it can.
    fn difference(&self, pinned: &Parameters, asked: &Parameters) -> Option<String>;

    /// What the sessions of a fleet of so many units are made with, whose first slave asks
    /// for `asked`.
    fn pin(&self, asked: &Parameters, units: u32) -> Parameters;

    /// What it says of a session, which it opens for that.
    fn about(&self, session: &Session) -> About;

    /// It replays so many of every session: a refusal of less has another reason.
    fn replays_always(&self) -> u64;

    // ---- permits -------------------------------------------------------------

    /// The permit that a unit needs for a new session, where `at_once` units may have one
    /// in one window. Units that need the same one take turns.
    fn permit(&self, unit: ShardId, at_once: u32) -> Permit;

    /// How many permits a budget has that nobody told of, for so many units; `None`: nobody
    /// knows, and none is kept.
    fn budget(&self, _units: u32) -> Option<u32> {
        None
    }

    /// A budget of permits that was whole is whole again after this time.
    fn budget_period(&self) -> Duration;

    // ---- refusals ------------------------------------------------------------

    /// Why a unit cannot be served, for a person: its close code in words.
    fn words(&self, failed: &Failed) -> String;

    /// Whether it is the token that this close code refuses. Where the same token served a
    /// moment ago, the unit is tried once more; any other code waits for another build.
    fn refuses_token(&self, close_code: u16) -> bool;

    /// Whether it was the service that refused a RESUME beside an open connection, by what
    /// its slave says: a connection that broke says nothing of its rules.
    fn refuses_late(&self, why: &str) -> bool;
}

/// In which order the owners of a unit follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The service replays to the next owner what came since the one before sealed: that one
    /// stops first. After a death the next owner resumes from the last checkpoint.
    #[default]
    Resume,
    /// The service replays nothing, and two may receive at once: the next owner prepares
    /// (connects, and keeps what comes), the one before seals and says what it handed out, and
    /// the next one goes on with the rest. After a death the unit starts anew, and is deaf
    /// until then.
    Overlap,
}

/// What a service says of a session; `None`: it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// How many of its events are replayed at most, by what is known of it alone.
    pub replays: Option<u64>,
    /// As whom the service knows the bot.
    pub bot: Option<u64>,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: Option<u64>,
}

/// Names a permit, among those of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permit(pub u32);

/// A service of which nothing is known: every session can be resumed by everybody, and all
/// units need the same permit.
#[derive(Clone, Copy, Debug)]
pub struct Unknown;

impl Service for Unknown {
    fn difference(&self, _: &Parameters, _: &Parameters) -> Option<String> {
        None
    }

    fn pin(&self, asked: &Parameters, _: u32) -> Parameters {
        asked.clone()
    }

    fn about(&self, _: &Session) -> About {
        About::default()
    }

    fn replays_always(&self) -> u64 {
        0
    }

    fn permit(&self, _: ShardId, _: u32) -> Permit {
        Permit(0)
    }

    fn budget_period(&self) -> Duration {
        Duration::from_secs(24 * 60 * 60)
    }

    fn words(&self, failed: &Failed) -> String {
        match failed.close_code {
            0 => failed.detail.clone(),
            code => format!("close code {code}: {}", failed.detail),
        }
    }

    fn refuses_token(&self, _: u16) -> bool {
        false
    }

    fn refuses_late(&self, _: &str) -> bool {
        false
    }
}
