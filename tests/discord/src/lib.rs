#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! [`Discord`] is a running simulated Discord, [`DiscordConfig`] how it is set up,
//! [`Fault`] what can go wrong, [`Entry`] a line of its ledger.

pub mod clock;
mod commands;
mod config;
mod conn;
mod control;
mod counters;
mod discord;
mod error;
mod faults;
mod id;
mod kind;
mod ledger;
mod limits;
mod rest;
mod rng;
mod server;
mod session;
mod settings;
mod traffic;
mod voice;
mod wire;
mod world;

pub use commands::CommandLine;
pub use config::{
    DiscordConfig, MissedHeartbeat, ResumeWhileConnected,
    traffic::{Burst, Traffic},
};
pub use counters::{Counters, Counts};
pub use discord::Discord;
pub use error::Error;
pub use faults::{Fault, FaultName, When};
pub use id::Fingerprint;
pub use kind::{EventKind, intents};
pub use ledger::{Entry, LogLine, What};
pub use rest::record::RestLine;
pub use settings::{Settings, SettingsChange};
pub use wire::{encode::Compression, tls::Tls};
