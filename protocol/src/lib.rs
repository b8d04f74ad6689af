#![doc = include_str!("../README.md")]

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
    id::{DeployId, Epoch, FleetId, ProcessIdentity, Sequence, ShardId, SlaveId, Term},
    message::{ToMaster, ToSlave},
    ranges::SequenceRanges,
    ticket::{SessionParameters, Ticket},
    version::Version,
};
#[cfg(feature = "io")]
pub use self::{connection::Connection, error::ConnectionError};
