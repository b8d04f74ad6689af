//! Clients of a gateway: what they received, what they acknowledged, and one that is
//! written from Discord's documentation and does what a run tells it.
//!
//! A gateway that stands between Discord and its clients numbers events anew. So the
//! simulated Discord puts a stamp on each dispatch (`--stamp`), and the [`journal`] of a
//! client is compared with the ledger like the records of a slave, by the same checker.

pub mod bot;
mod connection;
mod follow;
pub mod journal;
pub mod library;
mod tap;
