#![doc = include_str!("../README.md")]

#[macro_use]
#[path = "../../scripts/mutant.rs"]
mod mutants;

mod bot;
pub mod channels;
mod event;
pub mod eventsub;
pub mod helix;
pub mod irc;
mod name;
pub mod outbox;
mod scale;
mod seen;
mod unit;

pub use self::{
    bot::{Ack, Bot, Delivery},
    event::Event,
    name::{BadLogin, Login, UserId},
    seen::{Key, Seen},
    unit::{Channels, Cut, Item, Limits, Link, Opened, Order, Transport, Units},
};
