#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - [`from_fn`] and [`from_fn_with`]: a bot of an `async` function. [`Bot`] is the trait
//!   below, for events that something else finishes. [`Event`], [`Ack`], [`Mark`] and
//!   [`ShardHandle`] are what it gets.
//! - [`Slave`], [`Builder`] and [`SlaveConfig`]: how a bot is run.
//! - [`State`] and `cache::Cache`: what moves with a shard. [`Snapshots`] keep it for
//!   use after a crash.
//! - `store::Guilds`: what stays where it is when a shard moves.
//! - [`Work`]: what one process of the fleet does.
//! - [`unit`](mod@unit): units of another service than Discord.
//! - [`log`](mod@log): logging that never waits for a reader.

#[macro_use]
#[path = "../../scripts/mutant.rs"]
mod mutants;

mod agent;
mod bot;
#[cfg(feature = "cache")]
pub mod cache;
mod caught;
mod config;
mod error;
mod lease;
pub mod log;
mod output;
mod permits;
mod sha256;
mod shard;
mod slave;
mod state;
#[cfg(feature = "store")]
pub mod store;
mod telemetry;
mod unique;
pub mod unit;

#[cfg(feature = "legacy")]
pub use self::config::Legacy;
pub use self::{
    agent::{ShardStatus, Status},
    bot::{
        Ack, Bot, CommandError, Commands, Event, FromFn, FromFnWith, Hold, ImportError,
        LuggageError, Mark, ParseError, Receipt, Settling, ShardHandle, State, StateStatus, Work,
        from_fn, from_fn_with,
    },
    config::{
        Address, OnDeadlyEvent, OnLostState, SecretSource, SlaveConfig, StateCompression, Timings,
        Token, parse_memory, parse_role,
    },
    error::Error,
    slave::{Builder, Monitor, Slave},
    state::Snapshots,
    telemetry::Counts,
};
#[doc(no_inline)]
pub use baton_protocol::{Epoch, Sequence, ShardId, message::Role};
#[doc(no_inline)]
pub use twilight_model;
#[doc(no_inline)]
pub use twilight_model::gateway::Intents;
