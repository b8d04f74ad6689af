#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - [`message`]: one enum per direction; each variant says who sends it, when, and
//!   what answers.
//! - [`ticket`]: what another process needs to go on with a shard.
//! - [`connection`]: the one type that owns a socket.
//! - [`state`]: state frames, which the master routes unread.
//! - [`version`]: what each version of the wire added.

#[cfg(feature = "io")]
pub mod auth;
pub mod codec;
#[cfg(feature = "io")]
pub mod connection;
pub mod error;
pub mod id;
pub mod message;
pub mod msgpack;
#[cfg(feature = "io")]
pub mod process;
#[cfg(feature = "io")]
mod random;
pub mod ranges;
pub mod state;
pub mod text;
pub mod ticket;
pub mod token;
pub mod version;

pub use self::{
    codec::{Frame, Trust},
    error::DecodeError,
    id::{DeployId, Epoch, FleetId, LaunchId, ProcessIdentity, Sequence, ShardId, SlaveId, Term},
    message::{ToMaster, ToSlave},
    ranges::SequenceRanges,
    ticket::{SessionParameters, Ticket},
    version::Version,
};
#[cfg(feature = "io")]
pub use self::{connection::Connection, error::ConnectionError};
