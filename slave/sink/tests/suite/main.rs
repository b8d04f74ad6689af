//! Sinks and real brokers.
#![allow(clippy::unwrap_used)]

mod common;
mod fleet;
mod nats;
mod rabbit;
mod redis;
mod scenes;
mod tls;
mod workers;
