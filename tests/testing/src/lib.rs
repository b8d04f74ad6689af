#![doc = include_str!("../README.md")]

mod builder;
pub mod error;
mod fleet;
pub mod http;
mod ledger;
pub mod parts;
pub mod process;

pub use baton_discord::{Discord, Fault, FaultName, RestLine, Traffic, When};

pub use self::{builder::Builder, error::Error, fleet::Fleet};
