//! EventSub over a websocket: one session, and a stream that outlives the sessions of which
//! Twitch tells it.

mod frame;
mod session;
mod stream;

pub use self::{
    frame::Revoked,
    session::{Error, Session},
    stream::Stream,
};
use crate::event::Event;

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Something happened.
    Event(Event),
    /// A subscription is over.
    Revoked(Revoked),
    /// It is over.
    Ended {
        /// The close code, if there was one.
        code: Option<u16>,
        /// Why, for a person.
        why: String,
    },
}
