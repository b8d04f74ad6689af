//! Discord's side of the wire, without a world behind it: the handshake, the URL, the
//! transport compression, the frames, and how a connection ends. Nothing here knows of
//! sessions, faults or guilds.

pub(crate) mod delay;
pub(crate) mod encode;
pub(crate) mod end;
pub(crate) mod link;
pub(crate) mod opening;
pub(crate) mod pace;
pub(crate) mod payload;
pub(crate) mod tls;
pub(crate) mod websocket;
