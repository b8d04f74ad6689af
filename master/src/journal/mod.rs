//! What a master must know after it was killed: entries of the core in a
//! key-value store, written by one thread, so that no disk ever blocks the
//! runtime.
//!
//! ```text
//! driver ──save──▶ Journal ──order──▶ Writer (a thread) ──batch──▶ Store
//!    ▲                                  │ Ledger: what is there
//!    └────────── done, refused, ────────┘ Roster: who may be alive
//!                or deposed
//! ```
//!
//! A save is answered when it is as durable as was asked; until then the driver
//! carries out nothing that follows it. Nothing follows a checkpoint:
//! checkpoints are taken at once, and written when the thread has nothing else to
//! do.

mod age;
mod arrangement;
mod contents;
#[cfg(feature = "nats")]
mod copy;
mod handle;
mod identifies;
pub mod inspect;
mod ledger;
mod open;
mod roster;
mod rows;
mod rules;
#[cfg(test)]
mod tests;
mod writer;

use baton_core::event::Entry;
use baton_protocol::SlaveId;

#[cfg(feature = "nats")]
pub(crate) use self::copy::Copy;
pub use self::{
    handle::Journal,
    open::{FILE, Opened},
    roster::Home,
};
pub use crate::store::SaveError;

/// The entries that remove slaves which died while no master ran.
#[must_use]
pub fn forget(dead: &[SlaveId]) -> Vec<Entry> {
    dead.iter().copied().map(Entry::Gone).collect()
}
