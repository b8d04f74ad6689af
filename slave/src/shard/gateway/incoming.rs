//! What a connection yields, and how it ends.

use std::fmt;

use baton_protocol::Sequence;

use super::Refusal;
use crate::state::stays::Change;

/// What a connection yields.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// HELLO came. With a session, the next poll sends RESUME; without one a
    /// permit was asked for.
    Hello,
    /// A dispatch.
    Dispatch {
        sequence: Sequence,
        kind: Box<str>,
        json: String,
    },
    /// A heartbeat, its ACK, or an unknown op: the peer is alive.
    Alive,
    /// The connection is over; polling it again yields nothing.
    Ended(End),
}

impl Incoming {
    /// Bytes of its payload.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Dispatch { json, .. } => json.len(),
            Self::Hello | Self::Alive | Self::Ended(_) => 0,
        }
    }

    /// Whether it is a dispatch of a session that has begun.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Dispatch { kind, .. } if &**kind != "READY")
    }

    /// The same once more, if it is a dispatch.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Dispatch {
                sequence,
                kind,
                json,
            } => Some(Self::Dispatch {
                sequence: *sequence,
                kind: kind.clone(),
                json: json.clone(),
            }),
            Self::Hello | Self::Alive | Self::Ended(_) => None,
        }
    }

    /// What it may change of the state.
    pub(crate) fn change(&self) -> Option<Change<'_>> {
        match self {
            Self::Dispatch {
                sequence,
                kind,
                json,
            } => Some(Change {
                sequence: *sequence,
                kind,
                json,
            }),
            Self::Hello | Self::Alive | Self::Ended(_) => None,
        }
    }
}

/// Why a connection is over. Closed without a code (TCP, a websocket error, a
/// missed heartbeat ACK) has code 1006.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Op 7.
    Reconnect,
    /// Op 9, and whether the session can be resumed.
    InvalidSession { resumable: bool },
    /// A close frame, or none.
    Closed { code: u16, reason: String },
    /// It could not be dialled.
    Dial(String),
    /// What was dialled speaks HTTP, and opened no websocket.
    Refused(Refusal),
    /// Something that is no gateway payload.
    Garbled(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reconnect => write!(f, "op 7"),
            Self::InvalidSession { resumable } => write!(f, "op 9, d: {resumable}"),
            Self::Closed { code, reason } => write!(f, "closed with {code} {reason:?}"),
            Self::Dial(why) => write!(f, "cannot connect: {why}"),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Garbled(what) => write!(f, "{what}"),
        }
    }
}
