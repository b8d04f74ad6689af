//! Stores as a whole: random events against a plain model, real processes that are killed
//! and stopped, full disks and damaged files.
#![recursion_limit = "512"]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub
)]

mod care;
mod common;
mod killed;
mod owners;
mod racing;
mod random;
mod reading;
mod received;
mod stopped;
mod trouble;
