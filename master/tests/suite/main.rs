//! The master's program, with small slaves.
#![allow(clippy::unwrap_used)]

mod budget;
mod certs;
mod completions;
mod doors;
mod fake;
mod fleet;
mod hostile;
mod logs;
mod operators;
mod run;
mod service;
#[cfg(feature = "nats")]
mod standby;
mod verbs;
