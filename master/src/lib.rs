#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - `baton_core` decides. [`driver`] is the one task that owns it and carries its
//!   actions out in order: save, then send.
//! - [`notice`]: what others tell the driver. [`news`]: what it tells its observers.
//! - [`listener`] and [`peer`]: the connections of slaves; [`link`] is the driver's end.
//! - [`process`]: launch, known dead, kill; `supervise` has the processes of this fleet.
//! - [`journal`]: what is on the disk, in a key-value store (SQLite).
//! - [`admin`]: the operator's HTTP and page; [`metrics`] for Prometheus, [`doctor`]
//!   for what is wrong, [`history`] for what deploys did.
//! - [`discord`]: what Discord is asked, and what the core is told of it.
//! - `lead`: which of several masters that share a store leads, and [`post`] where this one
//!   stands.
//! - [`service`]: what systemd gives. [`doors`]: bounds of the operator's port.
//! - [`run`] puts them together.

#[macro_use]
#[path = "../../scripts/mutant.rs"]
mod mutants;

pub mod admin;
pub mod agent;
pub mod aside;
pub mod certs;
pub mod cli;
mod clock;
pub mod config;
pub mod counters;
pub mod discord;
pub mod doctor;
pub mod doors;
pub mod driver;
mod ending;
pub mod error;
pub mod history;
pub mod journal;
pub mod keeper;
#[cfg(feature = "nats")]
mod lead;
#[cfg(not(feature = "nats"))]
#[path = "lead_not_built.rs"]
mod lead;
pub mod legacy;
pub mod link;
pub mod listener;
pub mod metrics;
pub mod news;
pub mod notice;
pub mod peer;
pub mod post;
pub mod process;
pub mod reload;
pub mod run;
pub mod runtime_dir;
pub mod service;
mod sockets;
mod store;
mod supervise;
pub mod test_hooks;
mod twitch;
mod vital;
mod whole_file;
