//! Whole fleets of real processes.
#![allow(clippy::unwrap_used)]

mod chaos;
mod configuration;
mod deploy;
mod docs;
mod fleet;
mod hosts;
mod hosts_apart;
mod packages;
mod pods;
mod proxy;
mod services;
mod slots;
mod testing;
mod twitch;
