#![doc = include_str!("../README.md")]

pub mod certificates;
mod error;
mod full;
mod nats;
mod operator;
pub mod parts;
mod process;
mod rabbit;
mod redis;
mod server;
pub mod worker;

pub use self::{
    error::{Error, are_wanted, or_pass_over},
    nats::Nats,
    operator::OperatorNats,
    process::Process,
    rabbit::Rabbit,
    redis::Redis,
    server::{Kind, Server},
};
