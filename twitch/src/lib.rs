#![doc = include_str!("../README.md")]

#[macro_use]
#[path = "../../scripts/mutant.rs"]
mod mutants;

mod bot;
pub mod channels;
mod event;
pub mod eventsub;
pub mod helix;
pub mod invite;
pub mod irc;
mod json;
mod name;
pub mod notices;
pub mod outbox;
mod publish;
pub mod scale;
mod seen;
mod tls;
mod unit;
mod work;

pub use self::publish::Publisher;
pub use self::{
    bot::{Ack, Bot, Delivery},
    event::Event,
    name::{BadLogin, Login, UserId},
    seen::{Key, Seen},
    unit::{
        Accounts, Channels, Conduits, Cut, Irc, Item, Limits, Link, Opened, Order, Transport, Units,
    },
    work::{ChannelWork, Consumers, Hook, PageConfig, Speaks, Way, WorkConfig},
};
