#![doc = include_str!("../README.md")]

#[macro_use]
#[path = "../../scripts/mutant.rs"]
mod mutants;

pub mod channels;
mod event;
pub mod eventsub;
pub mod helix;
pub mod invite;
pub mod irc;
mod name;
pub mod notices;
pub mod outbox;
pub mod scale;
mod seen;

pub use self::{
    event::Event,
    name::{BadLogin, Login, UserId},
    seen::{Key, Seen},
};
