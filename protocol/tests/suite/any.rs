//! The whole wire as one enum for each direction: what a peer of any class says.

use baton_protocol::{DecodeError, Frame, go, handshake, message};

/// Whatever comes at a master.
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, and a pong is what it is"
)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToMaster {
    Handshake(handshake::ToMaster),
    Joined(message::ToMaster),
    Go(go::ToMaster),
}

/// Whatever comes at a slave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToSlave {
    Handshake(handshake::ToSlave),
    Joined(message::ToSlave),
    Go(go::ToSlave),
}

/// Whether another class may say it.
fn is_elsewhere<T>(read: &Result<T, DecodeError>) -> bool {
    matches!(
        read,
        Err(DecodeError::OutOfPlace { .. }
            | DecodeError::UnknownId { .. }
            | DecodeError::NoBaton { .. })
    )
}

macro_rules! any {
    ($name:ident) => {
        impl $name {
            pub(crate) fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
                let joined = message::$name::from_frame(frame.clone());
                if !is_elsewhere(&joined) {
                    return joined.map(Self::Joined);
                }
                let handshake = handshake::$name::from_frame(frame.clone());
                if !is_elsewhere(&handshake) {
                    return handshake.map(Self::Handshake);
                }
                go::$name::from_frame(frame).map(Self::Go)
            }

            pub(crate) fn to_frame(&self) -> Frame {
                match self {
                    Self::Handshake(message) => message.to_frame(),
                    Self::Joined(message) => message.to_frame(),
                    Self::Go(message) => message.to_frame(),
                }
            }
        }
    };
}

any!(ToMaster);
any!(ToSlave);
