//! The proxy as its clients see it: real sockets, an upstream that does what a test says.
#![allow(clippy::unwrap_used)]

mod backlog;
mod commands;
mod common;
mod identify;
mod intents;
mod libraries;
mod moves;
mod resume;
mod slow;
mod takeover;
mod wire;
