//! What goes into the core and what comes out: data, no I/O.
//!
//! The driver gives one [`Input`] and the time, then carries the queued
//! [`Action`]s out in their order. That order is the durability order: an
//! [`Action::Save`] stands before the [`Action::Send`] that relies on it, and
//! the driver makes it durable before it goes on.

mod action;
mod death;
mod entry;
mod input;
mod key;
mod news;
mod outcome;
mod recovered;
mod time;

pub(crate) use self::news::whole_millis;
pub use self::{
    action::Action,
    death::{Death, EndedBy, Evidence},
    entry::{Arrangement, Basis, Done, Durability, Entry, Hold, Identifies, LastDeploy, Moved},
    input::{
        AgentIs, Arranging, Beside, DeployOrder, IdentifyBudget, Input, Pause, Planned, RequestId,
    },
    key::{Key, UnknownKey},
    news::{News, RolloutOutcome},
    outcome::{DeployStep, Losses, MovePhase, Outcome, STOPPED},
    recovered::{JournalState, Recovered, RecoveredTicket, Row},
    time::Time,
};
