#![doc = include_str!("../README.md")]

pub mod clock;
mod commands;
mod config;
mod conn;
mod control;
mod counters;
mod encode;
mod error;
mod faults;
mod gateway;
mod kind;
mod ledger;
mod limits;
mod net;
mod rest;
mod rng;
mod server;
mod session;
mod settings;
mod traffic;
mod world;

pub use commands::CommandLine;
pub use config::{GatewayConfig, MissedHeartbeat, ResumeWhileConnected, Tls};
pub use counters::{Counters, Counts};
pub use encode::Compression;
pub use error::Error;
pub use faults::{Fault, FaultName, When};
pub use gateway::Gateway;
pub use kind::{EventKind, intents};
pub use ledger::{Entry, LogLine, What};
pub use rest::RestLine;

pub use session::Fingerprint;
pub use settings::{Settings, SettingsChange};
pub use traffic::{Burst, Traffic};
