#![doc = include_str!("../README.md")]

mod agent;
mod bot;
#[cfg(feature = "cache")]
pub mod cache;
mod caught;
mod checkpoints;
mod config;
mod counters;
mod error;
mod fullness;
mod hearing;
mod lag;
pub mod log;
mod output;
mod permits;
mod sha256;
mod shard;
mod slave;
mod state;

pub use self::{
    agent::{ShardStatus, Status},
    bot::{
        Ack, Bot, CommandError, Event, ImportError, Mark, ParseError, Receipt, ShardHandle, State,
    },
    config::{
        Address, Legacy, OnDeadlyEvent, OnLostState, SecretSource, SlaveConfig, StateCompression,
        Timings, Token, parse_role,
    },
    counters::Counts,
    error::Error,
    slave::{Builder, Monitor, Slave},
    state::Snapshots,
};
#[doc(no_inline)]
pub use baton_protocol::{Epoch, Sequence, ShardId, message::Role};
