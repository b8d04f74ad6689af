//! The simulated Discord, seen by its clients.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod close_codes;
mod common;
mod control;
mod faults;
mod load;
mod models;
mod sessions;
mod twilight;
