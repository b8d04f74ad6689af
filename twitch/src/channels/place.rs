//! Where a channel is, as a [`Layout`](super::Layout) says it.

use serde::{Deserialize, Serialize};

use super::{Unit, Unix, Why};

/// Where a channel is, and whether it really is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The unit.
    pub unit: Unit,
    /// How far that is so.
    pub state: State,
}

/// How far a channel is in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The unit was asked to join it, then.
    Asked(Unix),
    /// Twitch confirmed it, then.
    Confirmed(Unix),
}

/// A channel that could not be joined. It has no place, and takes none away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The unit that tried.
    pub unit: Unit,
    /// Why not.
    pub why: Why,
    /// When that was said.
    pub at: Unix,
}

/// What is known of where a channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It has a place.
    At(Place),
    /// It had one, and could not be joined.
    Failed(Failed),
    /// It has none.
    Nowhere,
}

/// What became of a channel that is to have a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It has one now.
    New(Unit),
    /// It had one.
    Already(Unit),
    /// No unit of its account has room.
    NoRoom,
    /// Its account is in as many channels as Twitch allows.
    Cap,
}
