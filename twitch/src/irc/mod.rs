//! A connection to chat over IRC.
//!
//! A connection logs in, joins and parts when it is told to, and says which joins Twitch
//! confirmed. It counts no joins: whoever tells it to join has a permit for that.

mod address;
mod connection;
mod line;
mod wire;

pub use self::{
    address::Address,
    connection::{Connection, Error, Heard},
    line::{Reason, is_moderator},
};
