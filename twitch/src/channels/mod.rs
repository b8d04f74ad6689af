//! Which channels the bot is to be in, and where it is in them.

mod anybody;
pub mod cleaning;
mod database;
pub(crate) mod file;
mod manager;
mod row;
mod rows;
#[cfg(test)]
mod tests;
mod unix;

pub use self::{
    anybody::Anybody,
    database::Database,
    file::Error,
    manager::{Change, Grant, MOST, Manager, Revision, STALE_AFTER, Want},
    row::{Channel, Reconnect, Wanted},
    unix::Unix,
};
