//! What the simulated Twitch promises. The clock is paused: time is stepped.
#![allow(clippy::unwrap_used, missing_docs)]

mod authorize;
mod chat;
mod common;
mod conduits;
mod control;
mod distance;
mod eventsub;
mod helix;
mod irc;
mod libraries;
mod limits;
mod traffic;
