#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! [`fleet`], [`checker`], [`records`], [`truth`] and [`gap`] are the pieces of a run.
//! [`demo`] is the main job, [`chaos`] the fault matrix, [`bench`](mod@bench) the measurement.

pub mod bench;
pub mod chaos;
pub mod checker;
pub mod clients;
pub mod demo;
pub mod discord;
pub mod files;
pub mod fleet;
pub mod gap;
pub mod hosts;
pub mod news;
pub mod programs;
pub mod records;
pub mod shim;
pub mod truth;
pub mod twitch;
pub mod verdict;
pub mod watch;
pub mod workers;

pub use baton_testing::{error, http, parts, process};

/// Rust blocks of the documentation are compiled and run with the tests.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/bots.md")]
    struct Bots;
    #[doc = include_str!("../../docs/moving.md")]
    struct Moving;
    #[doc = include_str!("../testing/README.md")]
    struct Testing;
}
