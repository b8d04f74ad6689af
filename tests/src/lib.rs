#![doc = include_str!("../README.md")]

pub mod bench;
pub mod chaos;
pub mod checker;
pub mod demo;
pub mod discord;
pub mod error;
pub mod fleet;
pub mod gap;
pub mod http;
pub mod news;
pub mod processes;
pub mod records;
pub mod shim;
pub mod truth;
pub mod verdict;
