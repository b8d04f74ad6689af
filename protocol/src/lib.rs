#![doc = include_str!("../README.md")]

pub mod auth;
pub mod codec;
pub mod connection;
pub mod error;
pub mod id;
pub mod message;
pub mod msgpack;
pub mod process;
pub mod ranges;
pub mod state;
pub mod text;
pub mod ticket;
pub mod token;
pub mod version;

pub use self::{
    codec::{Frame, Trust},
    connection::Connection,
    error::{ConnectionError, DecodeError},
    id::{DeployId, Epoch, FleetId, ProcessIdentity, Sequence, ShardId, SlaveId, Term},
    message::{ToMaster, ToSlave},
    ranges::SequenceRanges,
    ticket::{SessionParameters, Ticket},
    version::Version,
};
