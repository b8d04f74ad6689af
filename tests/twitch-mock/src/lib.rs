#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! [`Twitch`] is a running simulated Twitch, [`Config`] how it is set up, [`Unknown`] what
//! nobody knows of Twitch, [`Fault`] what can go wrong, [`Message`] a line of its ledger,
//! [`Verdict`] what a consumer did wrong.

mod chat;
pub mod clock;
mod config;
mod control;
mod distance;
mod error;
mod eventsub;
mod faults;
mod helix;
mod irc;
mod ledger;
mod limits;
mod state;
mod traffic;
mod twitch;
mod verdict;
mod wire;

pub use config::{Account, Config, EventSub, Helix, Irc, JoinPenalty, Unknown};
pub use error::Error;
pub use faults::{Fault, FaultName};
pub use helix::{Reply, Request};
pub use ledger::{Delivery, Extent, Extents, Kind, LogLine, Message, Recipient};
pub use limits::Limit;
pub use state::Counters;
pub use traffic::Traffic;
pub use twitch::{Addresses, ChannelChange, Twitch};
pub use verdict::{Scope, Verdict};
