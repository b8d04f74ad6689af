//! Sinks and real brokers.
#![allow(clippy::unwrap_used)]

mod commands;
mod common;
mod connector;
mod copies;
mod fleet;
mod guilds;
mod nats;
mod questions;
mod rabbit;
mod redis;
mod scenes;
mod tls;
mod voice;
mod workers;
