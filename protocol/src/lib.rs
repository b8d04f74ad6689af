#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! - [`message`]: one enum per direction; each variant says who sends it, when, and
//!   what answers. [`message::handshake`]: the same until a slave has joined.
//! - [`message::agent`]: what a master and its hand on another host say to each other.
//! - [`go`]: the Go program of 2018, and the shapes of its wire, which nothing else knows.
//! - [`ticket`]: what another process needs to go on with a shard: a position, and a
//!   session that is [`opaque`]. What of it is Discord's is in [`discord`].
//! - [`connection`]: the one type that owns a socket.
//! - `answer` (with the feature of that name): how long an answer of HTTP asks to be left alone.
//! - `tls` (with the feature of that name): TLS with certificates of the fleet.
//! - `command` (with the feature of that name): what others than the owner of a connection may
//!   send on it.
//! - [`state`]: state frames, which the master routes unread.
//! - [`version`]: what each version of the wire added.

pub mod address;
#[cfg(feature = "answer")]
pub mod answer;
#[cfg(feature = "io")]
pub mod auth;
mod body;
pub mod codec;
#[cfg(feature = "command")]
pub mod command;
#[cfg(feature = "io")]
pub mod connection;
pub mod discord;
pub mod error;
pub mod go;
pub mod host_name;
pub mod id;
pub mod lease;
pub mod message;
pub mod msgpack;
pub mod opaque;
pub mod peer;
#[cfg(feature = "io")]
pub mod process;
#[cfg(feature = "io")]
mod random;
pub mod ranges;
pub mod state;
pub mod text;
pub mod ticket;
#[cfg(feature = "tls")]
pub mod tls;
pub mod token;
pub mod version;

pub use self::{
    address::Address,
    codec::{Frame, Trust},
    error::DecodeError,
    host_name::HostName,
    id::{
        AgentId, DeployId, Epoch, FleetId, HostId, LaunchId, ProcessIdentity, Sequence, ShardId,
        SlaveId, Term,
    },
    message::{ToMaster, ToSlave, handshake},
    opaque::{Parameters, Session},
    peer::{CertificateName, Hosts, Peer, PeerRole},
    ranges::SequenceRanges,
    ticket::Ticket,
    version::Version,
};
#[cfg(feature = "io")]
pub use self::{connection::Connection, error::ConnectionError};
