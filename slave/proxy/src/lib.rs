#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - [`Proxy`] and [`ProxyConfig`]: what listens.
//! - [`Upstream`] and [`Input`]: what it stands on. [`Proxy::open`] brings a shard.
//! - [`Status`]: what it says about itself.

#[macro_use]
#[path = "../../../scripts/mutant.rs"]
mod mutants;

mod client;
mod config;
mod error;
mod input;
mod proxy;
mod server;
mod shard;
mod status;
mod tls;
mod token;
mod upstream;
mod wire;

pub use self::{
    config::{Limits, ProxyConfig, Timings},
    error::Error,
    input::{Input, Parting},
    proxy::Proxy,
    status::{ClientStatus, GivenUp, Kept, Reason, ShardStatus, Status, Totals},
    tls::tls,
    token::Token,
    upstream::{Begin, Call, CommandRefused, Dispatch, Fleet, Guild, Guilds, Json, Upstream},
};
#[doc(no_inline)]
pub use baton_protocol::{Sequence, ShardId, message::Clients};
