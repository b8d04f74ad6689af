//! Which channels the bot is to be in, and where it is in them.
//!
//! Four parts, of which none runs by itself:
//!
//! - A [`Manager`] keeps what the bot's owner wants and what the broadcasters allow. There are
//!   two: [`Database`], which asks the broadcasters, and [`Anybody`], which asks nobody.
//! - A [`Layout`] knows which unit has which channel (IRC only: over conduits Twitch decides
//!   it).
//! - A [`Reconciler`] compares both and says what differs.
//! - [`request::join`] and [`request::part`] are what an operator's command calls.
//!
//! ```text
//!  operator ──▶ request ──▶ Manager ── goal ──▶ Reconciler ── todo ──▶ Layout ── deltas ──▶ units
//!                             ▲                     ▲  ▲                  │                   │
//!  broadcaster ── authorise ──┘                     │  └───── have ───────┘                   │
//!                                                   └─────────── failed, confirmed ───────────┘
//! ```
//!
//! The caller stores nothing but the manager's file: after a restart the units say what they
//! are in ([`Layout::adopt`]), and the comparison says what is missing.

mod anybody;
pub mod cleaning;
mod database;
pub(crate) mod file;
mod layout;
mod manager;
mod place;
mod reconcile;
pub mod request;
mod row;
mod rows;
#[cfg(test)]
mod tests;
mod unit;
mod unix;

pub use self::{
    anybody::Anybody,
    database::Database,
    file::Error,
    layout::{CAPACITY, Layout},
    manager::{Change, Grant, MOST, Manager, Revision, STALE_AFTER, Want},
    place::{Failed, Found, Place, Placed, State},
    reconcile::{Failure, Reconciler, Todo, Why},
    row::{Channel, Reconnect, Wanted},
    unit::{Delta, Deltas, Unit},
    unix::Unix,
};
