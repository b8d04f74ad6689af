//! The guilds, what happens in them, and how it looks on the wire.

pub(crate) mod cell;
pub(crate) mod changes;
pub(crate) mod guild;
pub(crate) mod messages;
pub(crate) mod odd;
pub(crate) mod render;
pub(crate) mod view;
