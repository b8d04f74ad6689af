//! The slave as a whole, against the simulated Discord and a small master.
#![allow(
    clippy::disallowed_methods,
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub
)]

mod ahead;
mod back;
mod busy;
mod cache;
mod common;
mod copies;
mod dependencies;
mod hazards;
mod joining;
mod late;
mod leases;
mod leaving;
mod legacy;
mod logs;
mod lost;
mod moves;
mod panics;
mod promises;
mod secure;
mod sessions;
mod signals;
mod snapshots;
mod spans;
mod store;
mod turns;
mod unfinished;
