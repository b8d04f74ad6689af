//! The simulated Discord, seen by its clients.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod close_codes;
mod commands;
mod common;
mod control;
mod faults;
mod lasting;
mod load;
mod models;
mod rest;
mod sessions;
mod twilight;
mod voice;
