//! What goes over a client's socket, without knowing what for.

pub(crate) mod encode;
pub(crate) mod end;
pub(crate) mod opening;
pub(crate) mod payload;
pub(crate) mod websocket;
