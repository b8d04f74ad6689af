#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - [`Sink`] and [`SinkConfig`]: the bot, and what it is told.
//! - [`Address`]: where the broker is. [`Dispatch`]: what is published of an event.
//! - [`Questions`]: what consumers ask a bot whose once-per-bot work answers them.
//! - [`Status`]: what it says about itself.
#![cfg_attr(
    not(all(feature = "amqp", feature = "nats", feature = "redis", feature = "zmq")),
    allow(dead_code, reason = "what the brokers of this build do not use")
)]
#![cfg_attr(
    not(any(feature = "amqp", feature = "nats", feature = "redis")),
    allow(
        unreachable_code,
        unused_imports,
        unused_mut,
        unused_variables,
        reason = "a build for no broker at all"
    )
)]

#[macro_use]
#[path = "../../../scripts/mutant.rs"]
mod mutants;

mod address;
mod broker;
mod commands;
mod config;
mod dispatch;
mod envelope;
mod error;
#[cfg(feature = "redis")]
mod guilds;
mod health;
mod inbox;
mod letters;
mod line;
mod order;
mod receipt;
mod sink;
#[cfg(feature = "zmq")]
mod zmq;
#[cfg(not(feature = "zmq"))]
#[path = "zmq_not_built.rs"]
mod zmq;

#[cfg(feature = "redis")]
pub use self::guilds::{Change, Changed, Documents, GuildCopies, Owned};
pub use self::{
    address::{Address, Broker},
    commands::{COMMANDS_VERSION, CommandsConfig, Question, Questions, WorkQueue},
    config::{Bounds, Credentials, SinkConfig, Timings, Tls},
    dispatch::Dispatch,
    envelope::{PARTITIONS, VERSION, partition},
    error::Error,
    health::{CommandCounts, Status, Trouble},
    letters::{DeadLetter, Letters},
    sink::Sink,
    zmq::Zmq,
};
#[doc(no_inline)]
pub use baton_slave::{Epoch, Sequence, ShardId};
